"""Lossless compression of data sets, for machines that cannot download them.

Colour images are stacked in columns, one below the other, and saved as lossless WebP (CIFAR-10:
99 MB instead of 184); everything else goes through LZMA (MNIST: 10 MB instead of 55).
``index.json`` lists the contents.
"""

from __future__ import annotations

import io
import json
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from torch import Tensor

from common.decoded import DataSet, Split, assemble
from common.errors import UserError, on_one_line
from common.files import shown, write_atomic
from common.typed import Model, read_json

TALLEST = 16_383
"""The largest width or height of a WebP image, in pixels."""

METHOD, QUALITY = 6, 75
"""WebP's effort; a higher quality gains half a percent and takes twenty times as long."""

PARTS = ("train.images", "train.labels", "test.images", "test.labels")


class Stored(Model):
    """A stored tensor: its type, as NumPy writes it, and its shape."""

    type: str
    shape: list[Annotated[int, Field(ge=1)]]


class Index(Model):
    """The content of ``index.json``."""

    name: str
    fingerprint: str
    tensors: dict[str, Stored]


def compress(data: DataSet, folder: Path) -> None:
    """Write a data set into a folder of its own.

    Raises:
        UserError: the folder cannot be written.
    """
    tensors = dict(zip(PARTS, (data.train.images, data.train.labels, data.test.images,
                               data.test.labels), strict=True))
    index = {"name": data.name, "fingerprint": data.fingerprint, "tensors": {
        k: {"type": t.numpy().dtype.str, "shape": list(t.shape)} for k, t in tensors.items()}}
    for name, tensor in tensors.items():
        if _in_colour(tensor.numpy().dtype.str, tensor.shape):
            for k, column in enumerate(_columns(tensor)):
                write_atomic(folder / f"{name}.{k:03}.webp", column)
        else:
            write_atomic(folder / f"{name}.xz",
                         lzma.compress(tensor.contiguous().numpy().tobytes()))
    write_atomic(folder / "index.json", json.dumps(index, indent=1) + "\n")


def decompress(folder: Path) -> DataSet:
    """The data set that :func:`compress` wrote there, bit for bit.

    Raises:
        UserError: a file is missing or damaged.
    """
    try:
        index = read_json(Index, folder / "index.json")
        t = {k: _read(folder, k, index.tensors[k].type, index.tensors[k].shape) for k in PARTS}
        data = assemble(index.name, Split(t["train.images"], t["train.labels"]),
                        Split(t["test.images"], t["test.labels"]))
        if data.fingerprint != index.fingerprint:
            raise ValueError("its content is not what was packed")
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, lzma.LZMAError,
            Image.DecompressionBombError, UserError) as e:
        kind = "" if isinstance(e, UserError) else f"{type(e).__name__} "
        raise UserError(f"packed data {shown(folder)} are damaged: {kind}{on_one_line(str(e))}"
                        ) from e
    return data


def _in_colour(type: str, shape: tuple[int, ...]) -> bool:
    return type == "|u1" and len(shape) == 4 and shape[1] == 3 and max(shape[2:]) <= TALLEST


def _columns(images: Tensor) -> Iterator[bytes]:
    """Images (n, 3, h, w) as WebP files, each a column of as many images as its height allows."""
    for some in images.split(TALLEST // images.shape[2]):
        pixels = some.permute(0, 2, 3, 1).reshape(-1, images.shape[3], 3).contiguous().numpy()
        made = io.BytesIO()
        Image.fromarray(pixels).save(made, "WEBP", lossless=True, method=METHOD, quality=QUALITY)
        yield made.getvalue()


def _read(folder: Path, name: str, type: str, shape: list[int]) -> Tensor:
    if not _in_colour(type, tuple(shape)):
        content = lzma.decompress((folder / f"{name}.xz").read_bytes())
        return torch.from_numpy(np.frombuffer(content, type).reshape(shape).copy())
    n, _, height, width = shape
    columns = []
    for k in range(-(-n // (TALLEST // height))):
        with Image.open(folder / f"{name}.{k:03}.webp", formats=["WEBP"]) as image:
            columns.append(np.asarray(image.convert("RGB")))
    pixels = np.concatenate(columns).reshape(n, height, width, 3)
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
