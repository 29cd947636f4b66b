"""Decoded data sets: one file each, which is whole or refused."""

import pytest
import torch

from common import data
from common.decoded import Split, assemble, cached, read, write
from common.errors import UserError


def small(name="mnist"):
    images = torch.arange(5 * 4, dtype=torch.uint8).reshape(5, 1, 2, 2)
    split = Split(images, torch.arange(5))
    return assemble(name, split, split[:2])


def test_what_is_written_is_read(tmp_path):
    write(tmp_path / "a.safetensors", small())
    again = read("mnist", tmp_path / "a.safetensors")
    assert again.fingerprint == small().fingerprint and again.classes == 5
    assert torch.equal(again.test.images, small().test.images)


@pytest.mark.parametrize("damage", [lambda c: c[:-3], lambda c: c[:-3] + b"abc", lambda c: b""])
def test_a_damaged_file_is_one_line(tmp_path, damage):
    path = tmp_path / "a.safetensors"
    write(path, small())
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=r"a\.safetensors is damaged") as e:
        read("mnist", path)
    assert "\n" not in str(e.value)


def test_the_cache_is_made_once_and_anew_where_damaged(capsys):
    assert cached("mnist", "x" * 30, small).fingerprint == small().fingerprint
    cached("mnist", "x" * 30, lambda: pytest.fail("made again"))
    (path,) = data.cache_root().glob("*")
    path.write_bytes(b"")
    assert cached("mnist", "x" * 30, small).fingerprint == small().fingerprint
    assert "making it again" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["mnist", "digits", "mushroom"])
def test_a_folder_of_decoded_files_needs_nothing_else(tmp_path, monkeypatch, name):
    write(tmp_path / f"{name}.safetensors", small(name))
    monkeypatch.setenv("PAPERS_DATA", str(tmp_path))
    assert data.load(name).fingerprint == small(name).fingerprint
    (tmp_path / f"{name}.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match="is damaged"):
        data.load(name)
