"""Files written whole or not at all, and the places this repository keeps them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from common.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
"""The clone: ``common/``, ``papers/`` and ``runs/`` lie here."""


def is_clone() -> bool:
    """Whether this code lies in a clone or an archive of the repository, not among packages."""
    return not {"site-packages", "dist-packages"} & set(ROOT.parts)


def runs_root() -> Path:
    """Where runs in progress live: ``$PAPERS_RUNS``, else the ignored ``runs/`` of the clone.

    Of an installed wheel ``runs/`` of the working folder.
    """
    return Path(os.environ.get("PAPERS_RUNS") or (ROOT if is_clone() else Path.cwd()) / "runs")


def cache_root() -> Path:
    """Where decoded data sets live: ``$PAPERS_CACHE``, else the user's cache folder."""
    if chosen := os.environ.get("PAPERS_CACHE"):
        return Path(chosen)
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError as e:
        raise UserError("there is no home folder for decoded data: set $PAPERS_CACHE to a folder "
                        "for them") from e
    return Path(base) / "papers-to-code"


def shown(path: Path) -> str:
    """A path as messages and files show it: relative to the clone or the working folder."""
    for base in (Path.cwd(), ROOT):
        with contextlib.suppress(ValueError, OSError, RuntimeError):  # a link may lead to itself
            return path.resolve().relative_to(base).as_posix()
    return str(path)


def read_text(path: Path) -> str:
    """A file's text, which is UTF-8 whatever the system's own encoding.

    Raises:
        UserError: it cannot be read, or is no text.
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
    """Write a file so that a reader sees the old or the new one, never a part.

    Args:
        path: where the file goes; missing folders are made.
        content: the text or bytes, or a function that writes them to the path it is given.
        keep: where the file that stood at ``path`` is moved first, if anywhere.

    Raises:
        UserError: the disk is full or the folder cannot be written; ``path`` is untouched.
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
            os.replace(path, keep)
        os.replace(temporary, path)
    except Exception as e:  # safetensors reports a full disk with an exception of its own
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        reason = e.strerror if isinstance(e, OSError) and e.strerror else e
        raise UserError(f"cannot write {shown(path)}: {reason}; nothing there was changed") from e
    with contextlib.suppress(OSError):  # some systems and mounted drives cannot sync a folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


LOCK = ".lock"


@contextlib.contextmanager
def locked(folder: Path, busy: str) -> Iterator[None]:
    """Hold a folder below ``runs/`` against a second process; the lock dies with this one.

    Args:
        folder: made if missing; the lock is the file ``.lock`` in it.
        busy: what to say if another process holds it.

    Raises:
        UserError: another process holds it, or the folder cannot be made.
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
            print(f"warning: {shown(folder)} cannot be locked ({e.strerror}); nothing keeps a "
                  "second process out of it", file=sys.stderr)
        yield


def empty(folder: Path) -> None:
    """Remove what lies in a folder that this process holds, but for the lock."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()
