"""Data sets as tensors in memory, and decoded data sets as safetensors files, one each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from common.errors import UserError, on_one_line, warn
from common.files import cache_root, reason, shown, write_atomic


@dataclass(frozen=True)
class Split:
    """Images and labels.

    Args:
        images: uint8, shape (n, channels, height, width), 0 … 255; data made by a paper's own code
            may have any shape (n, …) and type.
        labels: int64, shape (n,); targets made by a paper's own code may have any shape (n, …).
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Tensor | slice) -> Split:
        return Split(self.images[index], self.labels[index])


@dataclass(frozen=True)
class DataSet:
    """A training and a test split, with the data set's name and fingerprint.

    Args:
        name: its name in the registry.
        train, test: the splits.
        fingerprint: SHA-256 over shapes, pixels and labels of both splits, in order.
        classes: number of classes.
    """

    name: str
    train: Split
    test: Split
    fingerprint: str
    classes: int = 10


def fingerprint(*tensors: Tensor) -> str:
    """The SHA-256 of the tensors' types, shapes and contents, in hexadecimal."""
    digest = hashlib.sha256()
    for t in tensors:
        digest.update(f"{t.dtype}{tuple(t.shape)}".encode())
        digest.update(t.contiguous().numpy().data)
    return digest.hexdigest()


def assemble(name: str, train: Split, test: Split) -> DataSet:
    """A data set of two splits; computes its fingerprint and the number of classes."""
    its = fingerprint(train.images, train.labels, test.images, test.labels)
    return DataSet(name, train, test, its, classes=int(train.labels.max()) + 1)


MOST_CLASSES = 10**6
"""The largest label that a data set's file may hold."""


def check_splits(train: Split, test: Split) -> None:
    """Make sure that what was read from a file can be trained and evaluated on.

    Raises:
        ValueError: a split is empty, images differ in size, or a class has none to train on.
    """
    for split, part in (("train", train), ("test", test)):
        if part.labels.dim() != 1 or not 0 < len(part.labels) == len(part.images):
            raise ValueError(f"{split} has {len(part.images)} images and labels of shape "
                             f"{tuple(part.labels.shape)}: expected some, and a label for each")
        least, most, kind = part.labels.min(), part.labels.max(), part.labels.dtype
        if kind != torch.int64 or least < 0 or most > MOST_CLASSES:
            raise ValueError(f"{split} has labels of {kind} from {least} to {most}: expected int64 "
                             f"from 0 to {MOST_CLASSES:,}")
    if train.images.shape[1:] != test.images.shape[1:] or train.images.dtype != test.images.dtype:
        raise ValueError(f"images are {tuple(train.images.shape[1:])} in train, "
                         f"{tuple(test.images.shape[1:])} in test: expected one size")
    counts = train.labels.bincount(minlength=int(test.labels.max()) + 1)
    if not counts.all():
        raise ValueError(f"class {int(counts.argmin())} has no image in train: expected some of "
                         "every class")


def of_tensors(name: str, x: Tensor, y: Tensor | None = None) -> DataSet:
    """A data set whose training and test split are the same, such as a paper's own patterns.

    Args:
        name: its name in results.
        x: (n, …), of any type.
        y: targets (n, …); None: zeros.
    """
    whole = Split(x, torch.zeros(len(x), dtype=torch.long) if y is None else y)
    return assemble(name, whole, whole)


def write(path: Path, data: DataSet) -> None:
    """Write a data set as one safetensors file.

    Raises:
        UserError: the file cannot be written.
    """
    tensors = {"train.images": data.train.images, "train.labels": data.train.labels,
               "test.images": data.test.images, "test.labels": data.test.labels}
    tensors = {k: t.clone() for k, t in tensors.items()}  # safetensors takes no shared memory
    write_atomic(path, lambda p: save_file(tensors, p, {"fingerprint": data.fingerprint}))


def read(name: str, path: Path) -> DataSet:
    """Read a file written by :func:`write`.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        with safe_open(path, "pt") as f:
            expected = (f.metadata() or {}).get("fingerprint")
        t = load_file(path)
        train, test = (Split(t[f"{k}.images"], t[f"{k}.labels"]) for k in ("train", "test"))
        check_splits(train, test)
        data = assemble(name, train, test)
        if data.fingerprint != expected:
            raise ValueError("its content is not what was written")
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, RuntimeError) as e:
        why = reason(e, path) if isinstance(e, OSError) else on_one_line(str(e))
        raise UserError(f"data file {shown(path)} is damaged ({why})") from e
    return data


def cached(name: str, content: str, make: Callable[[], DataSet]) -> DataSet:
    """Read a data set from the cache, or make it and cache it.

    Args:
        name: its name.
        content: a digest of the source, so that different sources have different cache files.
        make: decodes the source.
    """
    path = cache_root() / f"{name}-{content[:20]}.safetensors"
    if path.is_file():
        try:
            return read(name, path)
        except UserError as e:
            warn(f"{e}; making it again")
    data = make()
    try:
        write(path, data)
    except UserError as e:  # without a cache the next start is only slower
        warn(str(e))
    return data
