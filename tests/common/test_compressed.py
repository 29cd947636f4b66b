"""Compressed data sets come back bit for bit, or not at all."""

import re

import pytest
import torch
from PIL import Image

from common import compressed
from common.compressed import compress, decompress
from common.data import load
from common.decoded import Split, assemble
from common.errors import UserError


def colour(n=50, height=9, width=7):
    g = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (n, 3, height, width), generator=g, dtype=torch.uint8)
    images[::3] //= 64  # some smooth, as real images are
    images[0], images[1] = 0, 255
    split = Split(images, torch.arange(n) % 10)
    return assemble("cifar10", split, split[:20])


def same(one, other):
    return (one.name, one.fingerprint, one.classes) == (other.name, other.fingerprint,
                                                        other.classes)


def test_colour_images_come_back_bit_for_bit(tmp_path, monkeypatch):
    monkeypatch.setattr(compressed, "TALLEST", 9 * 20 + 3)
    compress(colour(), tmp_path)
    names = sorted(p.name for p in tmp_path.glob("*.webp"))
    assert names == ["test.images.000.webp", *(f"train.images.00{k}.webp" for k in range(3))]
    again = decompress(tmp_path)
    assert same(again, colour()) and torch.equal(again.train.images, colour().train.images)


def test_everything_else_comes_back_bit_for_bit(tmp_path):
    compress(load("digits"), tmp_path / "digits")
    assert same(decompress(tmp_path / "digits"), load("digits"))
    columns = Split(torch.rand(6, 4), torch.rand(6, 2))  # a paper's own patterns and targets
    own = assemble("own", columns, columns)
    compress(own, tmp_path / "own")
    assert same(decompress(tmp_path / "own"), own)


@pytest.mark.parametrize(("file", "damage"), [
    ("train.images.000.webp", lambda c: c[:-40]), ("train.images.000.webp", lambda c: b"no"),
    ("train.labels.xz", lambda c: c[:-8]), ("index.json", lambda c: c.replace(b"50", b"49")),
    ("index.json", lambda c: c.replace(b"|u1", b"|O")), ("index.json", lambda c: b"[]"),
    *(("index.json", lambda c, k=k: re.sub(rb"\b%d\b" % k, b"0", c)) for k in (50, 3, 9, 7))])
def test_damaged_data_are_one_line(tmp_path, file, damage):
    compress(colour(), tmp_path)
    (tmp_path / file).write_bytes(damage((tmp_path / file).read_bytes()))
    with pytest.raises(UserError, match=r"packed data .* are damaged") as e:
        decompress(tmp_path)
    assert "\n" not in str(e.value)


def test_a_picture_that_is_too_large_to_open_is_one_line(tmp_path, monkeypatch):
    compress(colour(), tmp_path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(UserError, match=r"packed data .* are damaged: DecompressionBombError"):
        decompress(tmp_path)


def test_another_content_is_refused(tmp_path):
    compress(colour(), tmp_path / "a")
    other = colour()
    other.train.images[3] ^= 1
    compress(other, tmp_path / "b")
    for part in (tmp_path / "b").glob("train.images.*"):
        part.rename(tmp_path / "a" / part.name)
    with pytest.raises(UserError, match="not what was packed"):
        decompress(tmp_path / "a")
