"""The folder of a site: it is built beside its place, and moved there once it is whole."""

from __future__ import annotations

import contextlib
import glob
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from common.errors import UserError
from common.files import LOCK, locked, shown

MARK = ".papers-site"
"""Lies in a folder that this command made and may make again."""

EARLIER = ".earlier"
"""Ends the name of an earlier site that has been moved aside."""

SITE_SIZE = "<!-- the size of the site -->"
"""Stands in the front page until there is a size to be stated."""


def write(path: Path, text: str) -> None:
    """Write a file of the site, its folder with it; nothing of it outlives the next build."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def megabytes(to: Path, form: str = "**/*") -> float:
    """The size of the files in a folder, in millions of bytes.

    Args:
        to: the folder.
        form: a pattern for their paths in it.
    """
    return sum(p.stat().st_size for p in to.glob(form) if p.is_file()) / 1e6


def state_size(to: Path) -> None:
    """Let the front page say how large the site is, which is known when all else is written."""
    page = to / "index.html"
    said = (f'<p class="legend">All of this site is {megabytes(to):.1f} MB, of which the claims '
            f'explorer takes {megabytes(to, "claims.html"):.1f} MB. It needs no network.</p>')
    page.write_text(page.read_text(encoding="utf-8").replace(SITE_SIZE, said), encoding="utf-8")


def expect_free(to: Path, said: str) -> None:
    """Refuse a folder for the site that holds something else.

    Args:
        to: the folder.
        said: as the user wrote it.

    Raises:
        UserError: it does, is no folder, or holds the current folder.
    """
    if not said or (to.exists() and (not to.is_dir() or any(to.iterdir()))
                    and not (to / MARK).is_file()):
        raise UserError(f"to={said}: expected a folder that is missing, empty or made by papers "
                        "site")
    if Path.cwd().is_relative_to(to.resolve()):
        raise UserError(f"to={said}: expected another folder than the current one, which the site "
                        "would replace")


@contextlib.contextmanager
def instead_of(to: Path) -> Iterator[Path]:
    """A folder to build in, which takes the place of an earlier site once it is whole.

    It lies beside that place and is locked. What an earlier build left there, whose process was
    killed, is locked no more and is removed first.

    Raises:
        UserError: ``to`` holds something else, or cannot be written.
    """
    expect_free(to, str(to))
    remove_left(to)
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        begun = Path(tempfile.mkdtemp(prefix=f".{to.name}.", dir=to.parent))
    except OSError as e:
        raise UserError(f"cannot write {shown(to)}: {e.strerror}") from e
    earlier = begun.with_name(begun.name + EARLIER)
    try:
        begun.chmod(0o755)  # others may read a site
        with locked(begun, f"{shown(begun)}: another process builds in it"):
            write(begun / MARK, "")
            yield begun
            (begun / LOCK).unlink(missing_ok=True)
            if to.exists():
                to.replace(earlier)
            begun.replace(to)
    finally:
        if earlier.exists() and not to.exists():  # ended between the two moves
            earlier.replace(to)
        shutil.rmtree(earlier, ignore_errors=True)
        shutil.rmtree(begun, ignore_errors=True)


def remove_left(to: Path) -> None:
    """Remove what builds into a folder have left beside it that no process works on any more.

    A site that was moved aside by a process killed before it moved the new one in is put back.
    """
    for left in to.parent.glob(f".{glob.escape(to.name)}.*"):
        if (left / MARK).is_file():
            if left.suffix == EARLIER and not to.exists():
                left.replace(to)
                continue
            with contextlib.suppress(UserError), locked(left, "a build that is under way"):
                shutil.rmtree(left, ignore_errors=True)
