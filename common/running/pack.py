"""Pack what a machine without repository, network and package index needs, in parts of a size."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from common import data
from common.compressed import compress
from common.config import names_file, start_of, unused
from common.errors import UserError, on_one_line, say
from common.evidence.paper import Paper
from common.evidence.provenance import CODE, DIGESTS, git, state_of_code
from common.files import ROOT, cache_root, renewed, runs_root, sha256
from common.running import unpack
from common.running.plan import finished_here
from common.training import checkpoint, tracking

if TYPE_CHECKING:
    from typing_extensions import Buffer

WHEELS = ("omegaconf", "pydantic", "einops", "safetensors", "pyyaml", "tqdm", "pillow", "scipy",
          "scikit-learn", "matplotlib")
"""Packages to include, with their dependencies, unless ``wheels=`` says otherwise."""

THEIR_OWN = ("torch", "numpy")
"""Packages that the other machine must have itself; never included, even as dependencies."""

PLATFORMS = tuple(f"manylinux{v}_x86_64" for v in ("_2_28", "_2_27", "_2_17", "2014"))
"""The platforms of the wheels."""

RUN_FILES = (checkpoint.NAME, tracking.FILE, "config.json")
"""The files that a run needs to resume on another machine."""


def pack(paper: Paper, experiments: Sequence[str], to: Path, part: int,
         wheels: Sequence[str] = WHEELS, python: str = "3.12") -> list[Path]:
    """Write a bundle: parts, their manifest and the program that unpacks them.

    Args:
        paper: the paper.
        experiments: the experiments whose data and unfinished runs are included, and the runs that
            these start from.
        to: the folder for the bundle, which replaces an earlier one in it.
        part: the largest size of a part in bytes.
        wheels: packages to include; empty: none.
        python: the other machine's version of Python.

    Returns:
        The files written.

    Raises:
        UserError: this is not a clone, its code is not committed, the data are not at hand,
            there is no such package, or the bundle cannot be written; an earlier one is kept.
    """
    commit = committed()
    say("packing the committed code; about half a minute")
    with tempfile.TemporaryDirectory() as name:
        staging = Path(name)
        (staging / "code.tar.xz").write_bytes(archive())
        for its in data_of(paper, experiments):
            shutil.copytree(compressed(its), staging / "data" / its)
        for run in runs_that_travel(paper, experiments):
            there = staging / "runs" / run.relative_to(runs_root())
            there.mkdir(parents=True)
            for file in RUN_FILES:
                if (run / file).is_file():
                    shutil.copy(run / file, there)
        if wheels:
            download(wheels, python, staging / "wheels")
        with renewed(to, "bundle.[0-9]*") as new:
            parts = split(staging, new, part)
            (new / "unpack.py").write_bytes(Path(unpack.__file__).read_bytes())
            (new / unpack.MANIFEST).write_text(json.dumps({
                "commit": commit, "paper": paper.name, "experiments": list(experiments),
                **({"python": python} if wheels else {}),
                "parts": [{"name": p.name, "bytes": p.stat().st_size, "sha256": sha256(p)}
                          for p in parts]}, indent=1) + "\n", encoding="utf-8")
    return [to / p.name for p in (*parts, new / unpack.MANIFEST, new / "unpack.py")]


def committed() -> str:
    """The commit that is checked out.

    Raises:
        UserError: this is not a clone, or its code differs from the commit.
    """
    if not (ROOT / ".git").exists():
        raise UserError("a bundle is made in a clone: there is no .git here")
    commit, dirty = state_of_code(ROOT)
    if dirty:
        changed = (git(ROOT, "status", "--porcelain", "--", *CODE) or "?").splitlines()
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise UserError(f"a bundle holds committed code: commit {changed[0].split()[-1]}{more} "
                        "first, or move it away")
    return commit


def archive() -> bytes:
    """The committed tree as a compressed tar archive, with a list of its files' digests.

    Raises:
        UserError: ``git archive`` fails.
    """
    done = subprocess.run(["git", "-C", str(ROOT), "archive", "--format=tar", "HEAD"],
                          capture_output=True)
    if done.returncode:
        raise UserError(f"git archive: {done.stderr.decode(errors='replace').strip()}")
    packed, lines = io.BytesIO(), []
    with (tarfile.open(fileobj=io.BytesIO(done.stdout)) as made,
          tarfile.open(fileobj=packed, mode="w:xz") as tar):
        for name, member, content in unpack.members(made):
            read = content.read()
            tar.addfile(member, io.BytesIO(read))
            lines.append(f"{hashlib.sha256(read).hexdigest()}  {name}\n")
        listed = "".join(lines).encode()
        info = tarfile.TarInfo(DIGESTS)
        info.size, info.mode = len(listed), 0o644
        tar.addfile(info, io.BytesIO(listed))
    return packed.getvalue()


def data_of(paper: Paper, experiments: Sequence[str]) -> list[str]:
    """The names of the data sets that experiments use, and digits.

    These are small, and a recipe may take them unnamed, as hopfield's patterns do.
    """
    configs = [paper.config(e) for e in experiments]
    named = [c.data.name for c in configs if "data.name" not in unused(c)]
    return list(dict.fromkeys([*named, "digits"]))


def compressed(name: str) -> Path:
    """The folder of a compressed data set in the cache, where it is created if necessary.

    Raises:
        UserError: the data are not at hand.
    """
    its = data.load(name)
    folder = cache_root() / f"{name}-{its.fingerprint[:20]}.packed"
    if not (folder / "index.json").is_file():  # written last
        say(f"compressing {name} once; later bundles read it from the cache")
        compress(its, folder)
    return folder


def runs_that_travel(paper: Paper, experiments: Sequence[str]) -> list[Path]:
    """The folders of unfinished runs, and of runs that others start from.

    The latter are included even if they are finished, as their checkpoints contain the weights.
    """
    sources = sources_of(paper, experiments)
    return [f.parent for e in dict.fromkeys([*sources, *experiments])
            for f in sorted((runs_root() / paper.name / e).glob(f"seed*/{checkpoint.NAME}"))
            if e in sources
            or not finished_here(paper, e, int(f.parent.name.removeprefix("seed")))]


def sources_of(paper: Paper, experiments: Sequence[str]) -> list[str]:
    """The experiments that some experiments start from, directly or indirectly."""
    found: list[str] = []
    waiting = list(experiments)
    while waiting:
        needed = start_of(paper.config(waiting.pop()))
        if needed and not names_file(needed) and needed not in found:
            found.append(needed)
            waiting.append(needed)
    return found


def download(packages: Sequence[str], python: str, folder: Path) -> None:
    """Download the wheels of packages and their dependencies, except THEIR_OWN.

    Raises:
        UserError: a package has no wheel for that Python, or the package index is out of reach.
    """
    known = requirements()
    words = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
             "--only-binary=:all:", "--implementation=cp", f"--python-version={python}",
             *(f"--platform={p}" for p in PLATFORMS), f"--dest={folder}",
             *(known.get(p, p) for p in packages)]
    done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        said = [l for l in done.stderr.splitlines() if l.startswith("ERROR")] or [
            "no output", *done.stderr.splitlines()]
        raise UserError(f"wheels={','.join(packages)}: pip download fails: "
                        f"{on_one_line(said[-1].removeprefix('ERROR: '))}")
    for wheel in folder.glob("*.whl"):
        if wheel.name.split("-")[0].lower() in THEIR_OWN:
            wheel.unlink()


def requirements() -> dict[str, str]:
    """The requirements in ``pyproject.toml``, by the name of the package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {re.split(r"[^\w.-]", r)[0].lower(): r for r in project["dependencies"]}


def chosen_experiments(paper: Paper, names: Sequence[str]) -> list[str]:
    """The experiments that names stand for; without names, all that claims need.

    Raises:
        UserError: there is no such experiment.
    """
    return paper.experiments.expand_all(
        names or [e for c in paper.claims for e in c.experiments])


class Parts(io.RawIOBase):
    """A writable stream that is split into numbered files of a given size.

    Args:
        folder: the folder for the files.
        size: the largest size of a file in bytes.
    """

    def __init__(self, folder: Path, size: int):
        self.folder, self.size, self.paths = folder, size, list[Path]()
        self._file: io.BufferedWriter | None = None
        self._left = 0

    def writable(self) -> bool:
        """Always true."""
        return True

    def write(self, content: Buffer) -> int:
        """Write content, beginning a new file whenever one is full."""
        rest = memoryview(content)
        length = len(rest)
        while rest:
            if not self._left or self._file is None:
                self.close()
                self.paths.append(self.folder / f"bundle.{len(self.paths) + 1:03}")
                self._file, self._left = open(self.paths[-1], "wb"), self.size
            count = min(len(rest), self._left)
            self._file.write(rest[:count])
            rest, self._left = rest[count:], self._left - count
        return length

    def close(self) -> None:
        """Close the current file."""
        if self._file is not None:
            self._file.close()


def split(staging: Path, to: Path, size: int) -> list[Path]:
    """Write the files of a folder as one archive, split into parts."""
    def plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.mtime, info.uid, info.gid, info.uname, info.gname = 0, 0, 0, "", ""
        return info
    to.mkdir(parents=True, exist_ok=True)
    parts = Parts(to, size)
    with tarfile.open(fileobj=parts, mode="w|") as tar:
        for file in sorted(f for f in staging.rglob("*") if f.is_file()):
            tar.add(file, file.relative_to(staging).as_posix(), filter=plain)
    parts.close()
    return parts.paths
