"""Data sets as uint8 tensors in memory, and batches as a pure function of (seed, step)."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import os
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.config import DataConfig, one_line
from common.decoded import MOST_CLASSES, DataSet, Split, assemble, cached, check_splits
from common.decoded import read as read_decoded
from common.errors import NotAtHand, UserError, cut, nearest, say
from common.files import cache_root, sha256

HUB_TIMEOUT = 5.0
"""Seconds to wait for the data hub before giving up."""


@dataclass(frozen=True)
class Source:
    """Where to find a data set with the ``datasets`` library.

    Args:
        hub: owner/name on the data hub; also the path of its folder below ``$PAPERS_DATA``.
        config: the hub's configuration name; also the name of a subfolder.
        image, label: column names.
    """

    hub: str
    config: str
    image: str = "image"
    label: str = "label"


REGISTRY: dict[str, Source] = {
    "mnist": Source("ylecun/mnist", "mnist"),
    "fashion_mnist": Source("zalando-datasets/fashion_mnist", "fashion_mnist"),
    "cifar10": Source("uoft-cs/cifar10", "plain_text", image="img"),
}
"""Data sets in the hub's layout."""

FINGERPRINTS: dict[str, str] = {
    "mnist": "3ee7f568b8fdc8915ba79f8c2e5cfce6e08e6def379bae044b8ec31ae87c0afb",
    "fashion_mnist": "90fb00bb668ec4c4f3e864e1311d6ae4c924dd932cedfd473338d54a19e451a7",
    "cifar10": "cb85cdd084bdd7718e8e746014bbc16f32cbe9ab4e0757d9f59e641b39f8f958",
    "mushroom": "2e22c51a68d1e6f2740e83cb94788e5993a1f266dd9776e315f588f158b9543b",
    "digits": "1a9262383f6089ed86e5b4d6fa74dd1300447d466fd65f3fcde19c96ddc973ba",
    "diabetes": "79a66bb094d6df7959a51f8a782225d9b6bcfe36d5b752f1db4dd0e3f97b0c87",
    "encoder": "527fbf34efe3dd3e69b8aca9d46e074e4998404b0541a62246f0228b88c15d59",
    "family_trees": "5e617764acbf8bd5d9e8f5988933e58b4de17e43fe7093f76bb68875212ffc5a",
    "fig5": "36ac7725df01123a1ae4642444a7161cd05f2ebce9c2bc5fbe8e8e2073961ec3",
    "parity": "e92a09ca0f8b4dab441561517ebefb8b64e5bed46b3ab07da7f69042aa1afc3c",
    "symmetry": "41531d335a375cb944c4a8100574cdc74ef0af0b06e3266e1e41c6a9d0a2b0a7",
    "xor": "35a0036d5c8928df302f2e0924ef2c9bf8cc5c5fa1897e2bdadc2b7548e40b2b",
}
"""The expected :func:`common.decoded.fingerprint` of each data set, papers' small tables with them;
results on other data do not count. What is drawn at random or computed by sine and exponential is
not here: its last bits may differ between machines."""

MUSHROOMS = "uci/mushroom/agaricus-lepiota.csv"
"""The mushrooms' file below ``$PAPERS_DATA``: a header line, then the class and 22 attributes."""


def load(name: str) -> DataSet:
    """Load a data set by its name in the registry.

    If ``$PAPERS_DATA`` is set, it is read from there (a folder in the hub's layout, or one that
    holds ``<name>.safetensors``, as in an unpacked bundle); otherwise it is downloaded from the
    data hub. It is decoded once and cached. ``digits`` is bundled with scikit-learn, which also
    fetches ``mushroom`` from OpenML.

    Raises:
        UserError: the name is unknown; the folder ``$PAPERS_DATA`` is missing, lacks the data set
            or holds a damaged file; or it is not set and the hub does not answer.
    """
    folder = os.environ.get("PAPERS_DATA")
    if folder and (path := Path(folder) / f"{name}.safetensors").is_file():
        return read_decoded(name, path)
    if name in ELSEWHERE:
        return ELSEWHERE[name]()
    if name not in REGISTRY:
        raise UserError(f"unknown data set {name!r}{nearest(name, [*REGISTRY, *ELSEWHERE])}")
    source = REGISTRY[name]
    return _from_folder(name, source, Path(folder)) if folder else _from_hub(name, source)


def digits() -> DataSet:
    """scikit-learn's 8×8 digits: the first 1,437 for training, the other 360 for testing.

    The two splits are by different writers. The values 0 … 16 are scaled to 0 … 255, so that a
    threshold or a scale chosen for MNIST means the same here.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = torch.from_numpy(np.rint(bunch.images * (255 / 16)).astype(np.uint8))[:, None]
    every = Split(images.contiguous(), torch.from_numpy(bunch.target).long())
    return assemble("digits", every[:1437], every[1437:])


def mushroom() -> DataSet:
    """UCI's 8,124 mushrooms, all of them in both splits; label 1 means poisonous.

    ``images`` is uint8 of shape (n, 117): every attribute is one-hot encoded, its values in
    alphabetical order; a missing value (``?``) counts as a value.

    Raises:
        UserError: the file in ``$PAPERS_DATA`` is missing or damaged; or the variable is not set
            and OpenML does not answer.
    """
    folder = os.environ.get("PAPERS_DATA")
    rows = _mushroom_rows(Path(folder) / MUSHROOMS) if folder else _mushroom_rows_of_openml()
    columns = list(zip(*rows, strict=True))
    onehot = [[v == level for v in column] for column in columns[1:]
              for level in sorted(set(column))]
    split = Split(torch.tensor(onehot, dtype=torch.uint8).T.contiguous(),
                  torch.tensor([c == "p" for c in columns[0]]).long())
    return assemble("mushroom", split, split)


def _mushroom_rows(path: Path) -> list[list[str]]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as f:
            rows = list(csv.reader(f))[1:]
    except OSError as e:
        raise NotAtHand(f"cannot read {path}: {e.strerror}; expected $PAPERS_DATA to hold "
                        f"{MUSHROOMS}") from e
    except (UnicodeDecodeError, csv.Error) as e:
        raise UserError(f"{path} is no CSV table in UTF-8: {one_line(e)}") from e
    for number, row in enumerate(rows, 2):
        if len(row) != 23 or row[0] not in ("e", "p") or "" in row:
            raise UserError(f"{path}, line {number}: {','.join(row)[:60]!r}: expected a class, e "
                            "or p, and 22 attributes")
    if {row[0] for row in rows} != {"e", "p"}:
        raise UserError(f"{path}: expected rows of both classes, e and p, found "
                        f"{', '.join(sorted({row[0] for row in rows})) or 'none'}")
    return rows


def _mushroom_rows_of_openml() -> list[list[str]]:
    from sklearn.datasets import fetch_openml

    try:
        with warnings.catch_warnings(action="ignore"):  # of retries; the error below is enough
            bunch = fetch_openml("mushroom", version=1, as_frame=True, n_retries=1, delay=0.1)
    except Exception as e:  # offline, proxy, a changed service: each raises a different type
        raise NotAtHand(
            f"mushroom is not at hand: OpenML does not answer ({one_line(e)}) and $PAPERS_DATA is "
            f"not set; set it to a folder that holds {MUSHROOMS}") from e
    frame = bunch.data.astype(object).where(bunch.data.notna(), "?")
    return [[c, *r] for c, r in zip(bunch.target, frame.to_numpy().tolist(), strict=True)]


ELSEWHERE: dict[str, Callable[[], DataSet]] = {"digits": digits, "mushroom": mushroom}
"""Data sets that are not on the hub; both come with or through scikit-learn."""


def evaluation_splits(config: DataConfig) -> tuple[DataSet, Split, Split]:
    """The data set, the split to train on and the split to evaluate on.

    With ``evaluate_on=validation`` the held-out part is a fixed random subset of the training
    data, the same for every seed, and the test split is not used.

    Raises:
        UserError: the data set has no images, or no more than ``validation`` asks to hold out.
    """
    data = load(config.name)
    if data.train.images.dim() != 4:
        raise UserError(f"data.name={config.name}: expected a data set of images")
    if config.evaluate_on == "test":
        return data, data.train, data.test
    if config.validation >= len(data.train):
        raise UserError(f"data.validation={config.validation}: expected fewer than the "
                        f"{len(data.train)} training images of {config.name}")
    order = torch.randperm(len(data.train), generator=generator(0, "validation"))
    return data, data.train[order[config.validation:]], data.train[order[:config.validation]]


def stream_seed(seed: int, stream: str, index: int = 0) -> int:
    """A seed for a random generator, a pure function of the arguments.

    Different streams, and different indices of one stream, give independent seeds.
    """
    tag = int.from_bytes(hashlib.sha256(stream.encode()).digest()[:8], "little")
    return int(np.random.SeedSequence([seed, tag, index]).generate_state(1, np.uint64)[0])


def generator(seed: int, stream: str, index: int = 0) -> torch.Generator:
    """A random generator on the CPU that is a pure function of its arguments."""
    return torch.Generator().manual_seed(stream_seed(seed, stream, index))


class BatchOrder:
    """Which examples make up the batch of each step: a pure function of (seed, step).

    Epochs are random permutations, concatenated and cut into batches. So every example appears
    equally often even if the batch size does not divide the number of examples.

    Args:
        n: number of examples.
        batch_size: examples per batch, at most n.
        seed: the run's seed.
        given: what leaves no more examples, such as ``data.validation=1000``, for the message.

    Raises:
        UserError: the batch is larger than the data.
    """

    def __init__(self, n: int, batch_size: int, seed: int, given: str = ""):
        if batch_size > n:
            raise UserError(f"train.batch_size={batch_size}: expected at most " + (
                f"{n}, all the examples there are with {given}" if given else
                f"the {n} examples"))
        self.n, self.batch_size, self.seed = n, batch_size, seed
        self._epochs: dict[int, Tensor] = {}  # at most two are needed at a time

    def _epoch(self, epoch: int) -> Tensor:
        if epoch not in self._epochs:
            self._epochs = {k: v for k, v in self._epochs.items() if k == epoch - 1}
            self._epochs[epoch] = torch.randperm(
                self.n, generator=generator(self.seed, "batches", epoch))
        return self._epochs[epoch]

    def __call__(self, step: int) -> Tensor:
        """The indices of step ``step`` (from 0), int64, shape (batch_size,)."""
        epoch, offset = divmod(step * self.batch_size, self.n)
        end = offset + self.batch_size
        if end <= self.n:
            return self._epoch(epoch)[offset:end]
        return torch.cat([self._epoch(epoch)[offset:], self._epoch(epoch + 1)[:end - self.n]])


def _from_folder(name: str, source: Source, folder: Path) -> DataSet:
    if not folder.is_dir():
        raise NotAtHand(f"$PAPERS_DATA={folder}: expected a folder in the data hub's layout")
    base = folder / source.hub / source.config
    files = {s: sorted(base.glob(f"{s}-*.parquet")) for s in ("train", "test")}
    for split, found in files.items():
        if not found:
            raise NotAtHand(f"$PAPERS_DATA={folder} does not hold {name}: expected "
                            f"{source.hub}/{source.config}/{split}-*.parquet in it")
    os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")  # a folder needs no network
    content = hashlib.sha256("".join(sha256(f) for fs in files.values() for f in fs).encode())
    paths = {s: [str(f) for f in fs] for s, fs in files.items()}

    def rows(split: str) -> Any:
        import datasets

        with tempfile.TemporaryDirectory() as folder:  # the user's HF_HOME may be read-only
            return datasets.load_dataset("parquet", data_files={split: paths[split]}, split=split,
                                         cache_dir=folder, keep_in_memory=True)

    where = f"{base} (is a Parquet file damaged or cut short?)"
    return cached(name, content.hexdigest(), lambda: _decode(name, source, rows, where))


def _from_hub(name: str, source: Source) -> DataSet:
    from huggingface_hub import HfApi

    try:
        revision = HfApi().dataset_info(source.hub, timeout=HUB_TIMEOUT).sha
    except Exception as e:  # offline, proxy, time-out: each raises a different type
        known = sorted(cache_root().glob(f"{name}-hub-*.safetensors"),
                       key=lambda p: p.stat().st_mtime)
        if known:
            with contextlib.suppress(UserError):
                return read_decoded(name, known[-1])
        raise NotAtHand(
            f"{name} is not at hand: the data hub does not answer ({one_line(e)}) and $PAPERS_DATA "
            f"is not set; set it to a folder that holds {source.hub}/{source.config}/*.parquet, "
            "or train on the bundled digits with experiment=quick") from e

    def rows(split: str) -> Any:
        import datasets

        return datasets.load_dataset(source.hub, source.config, split=split, revision=revision)

    return cached(name, f"hub-{revision}",
                  lambda: _decode(name, source, rows, f"{source.hub} on the data hub"))


def _decode(name: str, source: Source, rows: Callable, where: str) -> DataSet:
    """Decode both splits through the ``datasets`` library into uint8 tensors."""
    import datasets

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # the error below is enough
    say(f"decoding {name} once; later starts read it from the cache")
    try:
        train, test = (_split(source, rows(split), split) for split in ("train", "test"))
        check_splits(train, test)
    except Exception as e:  # pyarrow, datasets and Pillow each raise their own types
        reason = cut(one_line(e.__cause__ or e), 160)
        raise UserError(f"cannot read {name} from {where}: {reason}") from e
    return assemble(name, train, test)


def _split(source: Source, table: Any, split: str) -> Split:
    """One split of a table with a column of images and one of labels.

    Raises:
        ValueError: a column is missing, or holds something else.
    """
    import datasets

    if missing := {source.image, source.label} - {*table.column_names}:
        raise ValueError(f"{split} has no column {min(missing)}, but "
                         f"{', '.join(table.column_names)}")
    kind = table.features[source.image]
    if isinstance(kind, dict) and kind.keys() == {"bytes", "path"}:  # without the hub's metadata
        table, kind = table.cast_column(source.image, datasets.Image()), datasets.Image()
    if not isinstance(kind, datasets.Image):
        raise ValueError(f"{source.image} in {split} holds {type(kind).__name__}: expected images")
    table = table.with_format("numpy")
    found = list(table[source.image][:])
    if len(shapes := {image.shape for image in found}) > 1:
        raise ValueError(f"{source.image} in {split}: expected images of one size, found "
                         f"{' and '.join(map(str, sorted(shapes)[:2]))}")
    images, labels = np.stack(found), np.asarray(table[source.label][:])
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise ValueError(f"{source.image} in {split}: {images.dtype} of shape {images.shape[1:]}: "
                         "expected images of 8 bits a channel")
    whole = labels.dtype.kind in "iu" and labels.ndim == 1
    if not whole or labels.min() < 0 or labels.max() > MOST_CLASSES:
        wrong = (labels.min() if labels.min() < 0 else labels.max()) if whole else labels[:1]
        raise ValueError(f"{source.label} {wrong.tolist()!r} in {split}: expected whole numbers "
                         f"from 0 on, none above {MOST_CLASSES:,}")
    images = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    return Split(torch.from_numpy(np.ascontiguousarray(images)),
                 torch.from_numpy(labels.astype(np.int64)))
