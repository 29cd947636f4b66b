"""Atomic writes, locks, and the folders that this repository uses."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

from common.errors import UserError, on_one_line, warn

ROOT = Path(__file__).resolve().parent.parent
"""The root of the clone, which contains ``common/``, ``papers/`` and ``runs/``."""


def is_clone() -> bool:
    """Whether this code is in a clone or an archive of the repository, not an installed package.

    A package has no ``pyproject.toml`` of this project beside it, whatever folder it is in.
    """
    try:
        declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(declared.get("project", {}).get("name") == "papers-to-code")


def runs_root() -> Path:
    """The folder of runs in progress: ``$PAPERS_RUNS``, else ``runs/`` in the clone.

    For an installed wheel, ``runs/`` in the working folder.
    """
    return Path(os.environ.get("PAPERS_RUNS") or (ROOT if is_clone() else Path.cwd()) / "runs")


def run_folder(paper: str, name: str, seed: int) -> Path:
    """The folder of a run in progress; ``name`` is its experiment, and what differs from it."""
    return runs_root() / paper / name / f"seed{seed}"


def cache_root() -> Path:
    """The folder of decoded data sets: ``$PAPERS_CACHE``, else one in the user's cache folder."""
    if chosen := os.environ.get("PAPERS_CACHE"):
        return Path(chosen)
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError as e:
        raise UserError("there is no home folder for decoded data: set $PAPERS_CACHE to a folder "
                        "for them") from e
    return Path(base) / "papers-to-code"


WINDOWS = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?|.*\.", re.IGNORECASE)
"""Names of letters, digits and signs that Windows gives to devices, or shortens."""


def no_name_on_windows(name: str) -> bool:
    """Whether Windows has no file or folder of this name: ``con``, ``aux.txt``, ``a.``."""
    return WINDOWS.fullmatch(name) is not None


def shown(path: Path) -> str:
    """A path as messages and files show it: relative to the working folder or the clone."""
    for base in (Path.cwd(), ROOT):
        with contextlib.suppress(ValueError, OSError, RuntimeError):  # a link may be circular
            return path.resolve().relative_to(base).as_posix()
    return str(path)


def reason(error: OSError, path: Path) -> str:
    """Why the system refused a file, without the file's name, which some libraries add."""
    return error.strerror or on_one_line(str(error)).removesuffix(f": {path}") or (
        type(error).__name__)


def read_text(path: Path) -> str:
    """Read a UTF-8 text file, whatever the system's default encoding.

    Raises:
        UserError: it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as e:
        raise UserError(f"cannot read {shown(path)}: {e.strerror}") from e
    except UnicodeDecodeError as e:
        raise UserError(f"{shown(path)}: expected text in UTF-8, not byte {e.object[e.start]:#x} "
                        f"at position {e.start}") from e


def write_atomic(path: Path, content: str | bytes | Callable[[Path], None],
                 keep: Path | None = None) -> None:
    """Write a file atomically: a reader sees the old or the new content, never a part of it.

    Args:
        path: the file; missing folders are created.
        content: the text or bytes, or a function that writes them to the path it is given.
        keep: where to keep the old file; None: it is not kept.

    Raises:
        UserError: the disk is full or the folder cannot be written; ``path`` is unchanged.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        temporary = Path(name)
        os.close(handle)
        if callable(content):
            content(temporary)
        else:
            temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        with open(temporary, "r+b") as f:  # Windows syncs only what is open for writing
            os.fsync(f.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp's 0600 is for secrets
        if keep is not None and path.exists():
            _keep(path, keep, temporary.with_suffix(".keep"))
        os.replace(temporary, path)
    except Exception as e:  # safetensors raises its own exception for a full disk
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        why = e.strerror if isinstance(e, OSError) and e.strerror else e
        raise UserError(f"cannot write {shown(path)}: {why}; nothing there was changed") from e
    except BaseException:  # Ctrl-C leaves nothing behind either
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise
    with contextlib.suppress(OSError):  # some systems and mounted drives cannot sync a folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _keep(path: Path, keep: Path, link: Path) -> None:
    """Give a file a second name, so that it is never without its own; ``link`` is a free name."""
    try:
        os.link(path, link)
    except OSError:  # a file system without second names
        os.replace(path, keep)
        return
    try:
        os.replace(link, keep)
    finally:
        link.unlink(missing_ok=True)  # still there where keep was the same file already


@contextlib.contextmanager
def renewed(folder: Path, pattern: str) -> Iterator[Path]:
    """Replace the files of an earlier call by new ones, when all of those are written.

    Yields:
        An empty folder for the new files, which are then moved into ``folder``.

    Args:
        folder: created if missing.
        pattern: the names of an earlier call's files, such as ``collected.*.tar``; those that are
            not replaced are removed, after the others have been.

    Raises:
        UserError: the disk is full or the folder cannot be written; the earlier files are all
            there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".new-") as name:
            yield Path(name)
            new = sorted(Path(name).iterdir())
            for path in new:
                with open(path, "r+b") as f:
                    os.fsync(f.fileno())
            for path in new:
                os.replace(path, folder / path.name)
        for old in {*folder.glob(pattern)} - {folder / path.name for path in new}:
            old.unlink()
    except OSError as e:
        raise UserError(f"cannot write {shown(folder)}: {e.strerror or e}; what was there is "
                        "kept") from e


LOCK = ".lock"


@contextlib.contextmanager
def locked(folder: Path, busy: str) -> Iterator[None]:
    """Keep other processes out of a folder below ``runs/``; the lock ends with this process.

    Args:
        folder: created if missing; the lock is the file ``.lock`` in it.
        busy: the message if another process holds the lock.

    Raises:
        UserError: another process holds the lock, or the folder cannot be created.
    """
    try:
        import fcntl
    except ImportError:  # no such locks on this platform
        folder.mkdir(parents=True, exist_ok=True)
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = open(folder / LOCK, "w", encoding="utf-8")
    except OSError as e:
        raise UserError(f"cannot write the run's folder {shown(folder)}: {e.strerror}; choose "
                        "another with $PAPERS_RUNS") from e
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            raise UserError(busy) from e
        except OSError as e:  # some network file systems have no locks
            warn(f"{shown(folder)} cannot be locked ({e.strerror}); nothing keeps a second process "
                 "out of it")
        yield


def empty_folder(folder: Path) -> None:
    """Remove everything except the lock from a folder that this process has locked."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()
