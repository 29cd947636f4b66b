"""The provenance of a result: the commit of the code, the versions and the machine.

In a clone, git knows which commit is checked out and whether the code differs from it. A tree
without ``.git`` has its commit in ``common/COMMIT``, which ``git archive`` fills in. Such a tree
counts as unchanged only if all its code matches ``common/DIGESTS``, a list of digests that
``papers bundle pack`` writes. A plain archive has no such list, so it counts as changed. A tree
with neither file has the commit ``unknown`` and counts as changed.
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

from common.errors import UserError, warn
from common.files import ROOT, sha256
from common.segments import Hardware, Origin, Versions

CODE = ["*.py", "papers/*/config.yaml", "papers/*/published/*", "pyproject.toml"]
"""Files that can change a number, so that a change to them makes a tree dirty. Published tables are
among them because some runs read them; results, reports and prose are not."""

COMMIT, DIGESTS = "common/COMMIT", "common/DIGESTS"
"""Files with an archive's commit, and with the SHA-256 of its files in ``sha256sum``'s format."""

PACKAGES = ("torch", "numpy", "einops", "omegaconf", "datasets")
"""The packages whose versions a result records, if they are installed."""


@functools.cache
def provenance() -> Origin:
    """The provenance of this process for work on its CPU; determined once per process."""
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
    """The provenance of this process for work on a device, with its present number of threads."""
    used: dict[str, Any] = {"device": device.type, "threads": torch.get_num_threads()}
    if device.type == "cuda":
        used |= graphics_card(device)
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
    if not re.fullmatch(r"[0-9a-f]{40,64}", commit):  # git archive has not filled it in
        return "unknown", True
    return commit, not _as_archived(root)


def one_clone(root: Path) -> None:
    """Make sure that all code in this process comes from one clone.

    If one clone is installed and a script of another is started, the script would import the code
    of the first, and its result would name a commit that did not make it.

    Args:
        root: the root of the started script's clone; without ``common/`` in it nothing is checked.

    Raises:
        UserError: a module was imported from elsewhere.
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
    """Warn on stderr if the code is not committed, before a result is made with it."""
    if not provenance().dirty:
        return
    changed = (git(ROOT, "status", "--porcelain", "--", *CODE) or "").splitlines()
    names = [line.split(maxsplit=1)[-1] for line in changed]
    what = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    warn(f"not committed: {what or 'the code of this tree'}; the result will say so, and the tests "
         "will refuse it: commit first")


def git(root: Path, *arguments: str) -> str | None:
    """The output of a git command in a folder; None if it fails."""
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True,
                              encoding="utf-8", errors="replace", timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def is_code(path: str) -> bool:
    """Whether a file can change a number, see CODE; its path is relative to the root."""
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in CODE)


def digests(root: Path) -> dict[str, str]:
    """Read the SHA-256 of every file in the archive that a tree was unpacked from.

    Raises:
        OSError, ValueError: the list ``DIGESTS`` is missing or damaged.
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
    """The versions of the packages that are installed."""
    found = {}
    for name in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def graphics_card(device: torch.device) -> dict[str, str]:
    """A graphics card's name (``gpu``), its driver, and the versions of CUDA and cuDNN.

    Entries that cannot be determined are left out.
    """
    questions: dict[str, Callable[[], Any]] = {
        "gpu": lambda: torch.cuda.get_device_name(device),
        "driver": _driver,
        "cuda": lambda: torch.version.cuda,
        "cudnn": torch.backends.cudnn.version,
    }
    found = {}
    for name, ask in questions.items():
        with contextlib.suppress(Exception):  # each library raises a different type
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
