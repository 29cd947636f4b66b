"""The one way bad input ends: a single clear line and exit status 2."""

from __future__ import annotations

import difflib
import errno
import io
import os
import re
import sys
from collections.abc import Callable, Iterable


class UserError(Exception):
    """Something the user gave cannot be used; the message names it and what was expected."""


class NotAtHand(UserError):
    """Data that are wanted are not on this machine, and cannot be fetched."""


class Paused(Exception):
    """Work stopped before its end, as asked, with everything on disk; the message says where."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest known name, else what is known."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    if not close:  # 'stpes' should find 'train.steps' although the section is missing
        tails = {k.rsplit(".", 1)[-1]: k for k in known}
        close = [tails[t] for t in difflib.get_close_matches(name.rsplit(".", 1)[-1], tails, n=1)]
    if close:
        return f"; did you mean {close[0]!r}?"
    if len(known) > 30:
        return f"; expected one of {len(known)} names such as {known[0]!r} or {known[-1]!r}"
    return f"; known: {', '.join(known)}"


OUT_OF_MEMORY = re.compile("can't allocate memory|out of memory")
"""How torch says so, of the processor's memory and of a card's."""


def exit_with(main: Callable[[], int | None]) -> None:
    """Run ``main`` and leave the process: 0, or 2 after one line when the user erred.

    Work that stopped because its time was over says so in a line and ends with 0. Signs that a
    terminal does not have are shown as question marks; a reader that has read enough, such as
    ``head``, ends the work with 1. A file or a program that the system refuses is named.

    Of several processes that train together only that of rank 0 prints the line.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        os.getcwd()
    except OSError:
        print("error: the current folder is not there any more: change to another one",
              file=sys.stderr)
        sys.exit(2)
    try:
        code = main() or 0
        sys.stdout.flush()
        sys.exit(code)
    except UserError as e:
        alone = os.environ.get("WORLD_SIZE", "") in ("", "1")
        if alone or os.environ.get("RANK", "0") == "0":
            print(f"error: {e}", file=sys.stderr)
        sys.exit(2)
    except Paused as e:
        print(e, file=sys.stderr)
        sys.exit(0)
    except KeyboardInterrupt:
        print("\ninterrupted; the same command continues from the last checkpoint",
              file=sys.stderr)
        sys.exit(130)
    except (MemoryError, RuntimeError) as e:
        if not isinstance(e, MemoryError) and not OUT_OF_MEMORY.search(str(e)):
            raise
        print("error: there is not enough memory for what was asked: expected a smaller network, "
              f"batch or data ({str(e).splitlines()[0][-120:] if str(e) else 'MemoryError'})",
              file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        discard_output()
        sys.exit(1)
    except OSError as e:
        if e.filename is not None:
            print(f"error: cannot use {e.filename}: {e.strerror}", file=sys.stderr)
            sys.exit(2)
        if e.errno not in (errno.ENOSPC, errno.EIO, errno.EBADF):
            raise
        discard_output()
        print(f"error: cannot write to the standard output: {e.strerror}", file=sys.stderr)
        sys.exit(2)


def discard_output() -> None:
    """Let what is still to be printed go nowhere, so that leaving does not fail over it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
