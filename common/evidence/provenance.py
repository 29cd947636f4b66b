"""Where a number comes from: the commit of the code, the versions and the machine.

In a clone git says which commit is checked out and whether the code differs from it. A tree
without ``.git`` has its commit in ``common/COMMIT``, which ``git archive`` fills in. It counts as
unchanged only if ``common/DIGESTS`` stands beside it and its code is, file by file, what is listed
there; ``papers bundle pack`` writes that list. A plain archive has no list: nothing shows that its
code was not changed, so it counts as changed. A tree with neither file is ``unknown`` and changed.
"""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from common.errors import UserError
from common.files import ROOT, sha256
from common.segments import Hardware, Origin, Versions

CODE = ["*.py", "papers/*/config.yaml", "papers/*/published/*", "pyproject.toml"]
"""A change to these makes a tree dirty (published tables say what some runs do); results, reports
and prose cannot change a number."""

COMMIT, DIGESTS = "common/COMMIT", "common/DIGESTS"
"""The commit of an archive, and the SHA-256 of each of its files, as ``sha256sum`` writes them."""

PACKAGES = ("torch", "numpy", "einops", "omegaconf", "datasets")
"""Whose versions a result names, where they are installed."""


@functools.cache
def provenance() -> Origin:
    """The state of code and machine, taken once per process, of work on its processor."""
    commit, dirty = state_of_code(ROOT)
    return Origin(
        commit=commit, dirty=dirty,
        versions=Versions.model_validate({"python": platform.python_version()}
                                         | versions(PACKAGES)),
        hardware=Hardware(cpu=_cpu_name(), cores=os.cpu_count(),
                          capability=torch.backends.cpu.get_cpu_capability(),
                          system=platform.system(), device="cpu",
                          threads=torch.get_num_threads()))


def origin(device: torch.device) -> Origin:
    """The provenance of this process's work on a device, with the threads it has now."""
    used: dict[str, Any] = {"device": device.type, "threads": torch.get_num_threads()}
    if device.type == "cuda":
        used |= card(device)
    own = provenance()
    return own.model_copy(update={"hardware": own.hardware.model_copy(update=used)})


def state_of_code(root: Path) -> tuple[str, bool]:
    """The commit of a tree, and whether its code may differ from that commit.

    Args:
        root: the folder that holds ``common/`` and ``papers/``.
    """
    if (root / ".git").exists():
        commit = git(root, "rev-parse", "HEAD")
        status = git(root, "status", "--porcelain", "--", *CODE)
        return commit or "unknown", bool(status) if status is not None else True
    try:
        commit = (root / COMMIT).read_text(encoding="utf-8").strip()
    except OSError:
        return "unknown", True
    if not re.fullmatch(r"[0-9a-f]{40,64}", commit):  # nobody has filled it in
        return "unknown", True
    return commit, not _as_archived(root)


def one_clone(root: Path) -> None:
    """Make sure that the code of this process is that of one tree.

    With one clone installed and another as the working folder, a script of the second would use
    the code of the first, and its result would name a commit that did not make it.

    Args:
        root: of the script that was started; one without ``common/`` is of no clone.

    Raises:
        UserError: something was imported from elsewhere.
    """
    if not (root / "common").is_dir():
        return
    for name, module in sorted(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name.partition(".")[0] in ("common", "papers") and file and not Path(
                file).resolve().is_relative_to(root):
            raise UserError(f"{name} was imported from {Path(file).parent}: expected the code of "
                            f"{root}, whose script was started; set PYTHONPATH={root}, or pip "
                            f"install -e {root}")


def say_uncommitted() -> None:
    """Say before a result is made that it will be of uncommitted code, if it will."""
    if not provenance().dirty:
        return
    changed = (git(ROOT, "status", "--porcelain", "--", *CODE) or "").splitlines()
    names = [line.split(maxsplit=1)[-1] for line in changed]
    what = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    print(f"warning: not committed: {what or 'the code of this tree'}; the result will say so, and "
          "the tests will refuse it: commit first", file=sys.stderr, flush=True)


def git(root: Path, *arguments: str) -> str | None:
    """What a git command prints in a folder, or None where it fails."""
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True,
                              encoding="utf-8", errors="replace", timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def is_code(path: str) -> bool:
    """Whether a file, named from the root with slashes, can change a number; see CODE."""
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in CODE)


def digests(root: Path) -> dict[str, str]:
    """The SHA-256 of every file of the archive a tree was made from, as ``DIGESTS`` lists them.

    Raises:
        OSError, ValueError: there is no such list, or it is damaged.
    """
    text = (root / DIGESTS).read_text(encoding="utf-8")
    return {path: digest for digest, path in (line.split("  ", 1) for line in text.splitlines())}


def _as_archived(root: Path) -> bool:
    try:
        listed = {p: d for p, d in digests(root).items() if is_code(p)}
        files = [*root.glob("*"), *(f for folder in ("common", "papers", "tests")
                                    for f in (root / folder).rglob("*"))]
        here = {name for f in files if is_code(name := f.relative_to(root).as_posix())}
        return here == listed.keys() and all(sha256(root / p) == d for p, d in listed.items())
    except (OSError, ValueError):
        return False


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The versions of those packages that are installed."""
    found = {}
    for name in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def card(device: torch.device) -> dict[str, str]:
    """A graphics card's name (``gpu``), its driver, and the versions of CUDA and cuDNN.

    What cannot be found out is left out.
    """
    questions: dict[str, Callable[[], Any]] = {
        "gpu": lambda: torch.cuda.get_device_name(device),
        "driver": _driver,
        "cuda": lambda: torch.version.cuda,
        "cudnn": torch.backends.cudnn.version,
    }
    found = {}
    for name, ask in questions.items():
        with contextlib.suppress(Exception):  # each library has its own
            answer = ask()
            if answer is not None:
                found[name] = str(answer)
    return found


def _driver() -> str | None:
    done = subprocess.run(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
                          capture_output=True, text=True, timeout=20)
    return done.stdout.split()[0] if done.returncode == 0 else None


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
