"""Files are written whole or not at all."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import UserError
from common.files import ROOT, cache_root, empty, locked, sha256, shown, write_atomic


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


def test_a_link_that_leads_to_itself_is_shown(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    assert shown(tmp_path / "loop/a") == str(tmp_path / "loop/a")


@pytest.mark.parametrize("variable", ["PAPERS_RUNS", "PAPERS_DATA", "PAPERS_CACHE"])
def test_a_folder_that_is_a_link_to_itself_is_one_line(tmp_path, variable):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "tail").symlink_to(tmp_path / "loop" / "more")
    known = {"PAPERS_RUNS": "quick_plain", "PAPERS_DATA": "plain", "PAPERS_CACHE": "quick_plain"}
    for link in ("loop", "tail"):
        done = subprocess.run(
            [sys.executable, str(ROOT / "papers/batchnorm/train.py"), "train.steps=2",
             f"experiment={known[variable]}"], capture_output=True, text=True, timeout=120,
            env=os.environ | {"PAPERS_RUNS": str(tmp_path / "runs"),
                              variable: str(tmp_path / link)})
        if variable == "PAPERS_CACHE":  # digits need none
            assert done.returncode == 0, done.stderr
        else:
            assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
            assert str(tmp_path / link) in done.stderr


def test_shown_is_relative_where_it_can_be(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shown(tmp_path / "a" / "b") == "a/b"


def test_a_folder_that_cannot_be_synced_is_written_all_the_same(tmp_path, monkeypatch):
    opened = os.open

    def refuse(path, flags, *rest, **named):
        if Path(path).is_dir():
            raise PermissionError(13, "no handles of folders here")
        return opened(path, flags, *rest, **named)
    monkeypatch.setattr(os, "open", refuse)
    write_atomic(tmp_path / "f", "content")
    assert (tmp_path / "f").read_text() == "content"


def test_a_file_system_without_locks_is_said_and_no_other_process_is_blamed(
        tmp_path, monkeypatch, capsys):
    fcntl = pytest.importorskip("fcntl")

    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")
    monkeypatch.setattr(fcntl, "flock", no_locks)
    with locked(tmp_path, "busy"):
        pass
    assert "cannot be locked (No locks available)" in capsys.readouterr().err


def test_emptying_a_folder_leaves_its_lock(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "f").touch()
    (tmp_path / "f").touch()
    (tmp_path / "link").symlink_to(tmp_path / "inner")
    with locked(tmp_path, "busy"):
        empty(tmp_path)
        assert [p.name for p in tmp_path.iterdir()] == [".lock"]


def test_without_a_home_it_is_said_where_data_could_go(monkeypatch):
    for name in ("PAPERS_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)

    def nobody():
        raise RuntimeError("Could not determine home directory.")
    monkeypatch.setattr(Path, "home", nobody)
    with pytest.raises(UserError, match=r"set .PAPERS_CACHE to a folder"):
        cache_root()
