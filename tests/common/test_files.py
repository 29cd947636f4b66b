"""Files are written whole or not at all."""

import os

import pytest

from common.errors import UserError
from common.files import sha256, shown, write_atomic


def test_text_bytes_and_functions_are_written(tmp_path):
    write_atomic(tmp_path / "a" / "t", "text")
    write_atomic(tmp_path / "b", b"\0\1")
    write_atomic(tmp_path / "c", lambda p: p.write_text("written"))
    assert [(tmp_path / n).read_bytes() for n in ("a/t", "b", "c")] == [
        b"text", b"\0\1", b"written"]


def test_a_failure_leaves_the_old_content_and_no_rest(tmp_path):
    path = tmp_path / "f"
    write_atomic(path, "old")
    with pytest.raises(UserError, match=r"cannot write .*disk"):
        write_atomic(path, lambda p: (p.write_text("ne"), (_ for _ in ()).throw(
            OSError(28, "no space on disk"))))
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["f"]


def test_keep_moves_the_old_file(tmp_path):
    write_atomic(tmp_path / "f", "1", keep=tmp_path / "g")
    write_atomic(tmp_path / "f", "2", keep=tmp_path / "g")
    assert ((tmp_path / "f").read_text(), (tmp_path / "g").read_text()) == ("2", "1")


def test_sha256(tmp_path):
    write_atomic(tmp_path / "f", "abc")
    assert sha256(tmp_path / "f").startswith("ba7816bf8f01cfea")


def test_shown_is_relative_where_it_can_be(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shown(tmp_path / "a" / "b") == "a/b"
