"""Collect what a machine has made into files small enough to carry home."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field

from common.config import Config, identity, one_line
from common.errors import UserError
from common.evidence.paper import Paper, papers
from common.evidence.provenance import digests, state_of_code
from common.files import ROOT, renewed, runs_root, shown
from common.running.unpack import Refused, members
from common.training import checkpoint, tracking
from common.typed import Model, checked, parse_json

INDEX = "digests.json"
"""The first member of every file: the commit of the tree, and the SHA-256 of the other members."""



class Digests(Model):
    """The content of :data:`INDEX`."""

    commit: str
    files: dict[str, Annotated[str, Field(pattern="^[0-9a-f]{64}$")]]


FOLLOWED = (tracking.FILE, "config.json", "log.txt")
"""Files of a run that show how it went."""

DAMAGED = "damaged, or not made by papers bundle collect"

LEAST = 100_000
"""The smallest allowed size of a file in bytes; smaller ones would be mostly headers."""


def collect(to: Path, size: int) -> tuple[list[Path], list[str]]:
    """Write new results, weights, paces, logs and checkpoints into numbered tar files.

    The newest results come first; the files of a run stay in one tar file.

    Args:
        to: the folder for the tar files; they replace those of an earlier call.
        size: the largest size of a tar file in bytes.

    Returns:
        The tar files, and the names of files too large for one.

    Raises:
        UserError: a file cannot be read, or the tar files cannot be written; those of an earlier
            call are kept.
    """
    commit = state_of_code(ROOT)[0]
    made, left_out = list[Path](), list[str]()
    batch: dict[str, bytes] = {}

    def write(new: Path) -> None:
        if batch:
            made.append(to / f"collected.{len(made) + 1:03}.tar")
            (new / made[-1].name).write_bytes(tar_of(batch, commit))
            batch.clear()
    with renewed(to, "collected.*.tar") as new:
        for unit in units():
            read = {name: content_of(path) for name, path in unit.items()}
            files = {name: content for name, content in read.items() if content is not None}
            while files and weight(files) > size:  # a run without its checkpoint still has its log
                largest = max(files, key=lambda n: len(files[n]))
                left_out.append(f"{largest} ({len(files.pop(largest)) / 1e6:.1f} MB)")
            if weight(batch | files) > size:
                write(new)
            batch |= files
        write(new)
    return made, left_out


def units() -> Iterator[dict[str, Path]]:
    """Sets of files that belong together, as paths by name, the most useful first."""
    try:
        committed = digests(ROOT)
    except (OSError, ValueError):  # not unpacked from a bundle: accept skips what is committed
        committed = {}

    def new(paths: Iterable[Path]) -> Iterator[dict[str, Path]]:
        for path in sorted(paths, key=changed, reverse=True):
            name = path.relative_to(ROOT).as_posix()
            if path.name.startswith(".") or (content := content_of(path)) is None:
                continue
            if committed.get(name) != hashlib.sha256(content).hexdigest():
                yield {name: path}
    yield from new(ROOT.glob("papers/*/results/*/seed*.json"))
    yield from new(ROOT.glob("papers/*/results/*/pace.json"))
    yield from new([p for pattern in ("results/*/*.safetensors", "results/*/seed*.dcn",
                                      "results/*/seed*.md", "weights/*")
                    for p in ROOT.glob(f"papers/*/{pattern}")])
    runs = sorted((f for f in runs_root().glob("*/*/seed*") if may_count(f.parent)),
                  key=changed, reverse=True)
    for folder in runs:
        finished = (folder / "result.json").exists()
        # the checkpoint first: the run may go on, and what is read later has more than it needs
        names = FOLLOWED if finished else (checkpoint.NAME, *FOLLOWED)
        if unit := {in_runs(p): p for n in names if (p := folder / n).is_file()}:
            yield unit
    for path in sorted(runs_root().glob("*/*/pace.json")):
        yield {in_runs(path): path}


def content_of(path: Path) -> bytes | None:
    """The bytes of a file; None if it is gone, as another process may have moved it away.

    Raises:
        UserError: the system refuses it.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as e:
        raise UserError(f"cannot read {shown(path)}: {e.strerror}") from e


def changed(path: Path) -> float:
    """When a file or folder was last changed, in seconds; 0 if it is gone."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


PRECISION = ",train.precision="
"""The text between experiment and precision in the name of a run's folder."""


def own_config(paper: Paper, name: str) -> Config:
    """The configuration of the runs in a folder ``runs/<paper>/<name>`` whose results count.

    Args:
        paper: the paper.
        name: an experiment, or an experiment with a precision that counts for it.

    Raises:
        UserError: there is no such experiment, or the precision does not count.
    """
    experiment, _, precision = name.partition(PRECISION)
    own = paper.config(experiment)
    if not precision:
        return own
    found = paper.experiments.resolve(experiment, 0, {"train.precision": precision})
    if not paper.experiments.counts(identity(found), own):
        raise UserError(f"{paper.name}/{experiment} does not count in {precision}")
    return found


def may_count(folder: Path) -> bool:
    """Whether the results of runs in a folder ``runs/<paper>/<name>`` may count."""
    try:
        (paper,) = papers([folder.parent.name])
        own_config(paper, folder.name)
    except UserError:
        return False
    return True


def in_runs(path: Path) -> str:
    """The name of a file below ``runs/``, wherever that folder is."""
    return f"runs/{path.relative_to(runs_root()).as_posix()}"


def weight(files: dict[str, bytes]) -> int:
    """An upper bound of a tar file's size in bytes, with headers, padding and list of digests."""
    return 12_288 + sum(2_048 + 2 * len(n) + len(c) for n, c in files.items())


def tar_of(files: dict[str, bytes], commit: str) -> bytes:
    """The bytes of a tar file that begins with the digests of its files."""
    index = {"commit": commit,
             "files": {n: hashlib.sha256(c).hexdigest() for n, c in files.items()}}
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, content in {INDEX: json.dumps(index, indent=1).encode(), **files}.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o644
            tar.addfile(info, io.BytesIO(content))
    return made.getvalue()


def read(path: Path) -> dict[str, bytes]:
    """Read a tar file that :func:`collect` wrote, and check every digest.

    Raises:
        UserError: it is damaged, or its members are not those it lists.
    """
    try:
        with tarfile.open(path, "r:") as tar:
            found = [(name, content.read()) for name, _, content in members(tar)]
        files = dict(found)
        if len(files) < len(found):
            raise ValueError("it has two members of one name")
        listed = checked(Digests, parse_json(files.pop(INDEX, b"")), INDEX).files
        if files.keys() != listed.keys():
            raise ValueError("its members are not those it lists")
        for name, content in files.items():
            if hashlib.sha256(content).hexdigest() != listed[name]:
                raise ValueError(f"{name} is not what was collected")
    except Refused as e:
        raise UserError(str(e)) from e
    except UserError as e:
        raise UserError(f"{DAMAGED}: {e}") from e
    except (OSError, tarfile.TarError, ValueError, RecursionError) as e:
        raise UserError(f"{DAMAGED}: {type(e).__name__} {one_line(e)}") from e
    return files
