"""What every command does alike: ``--help``, and one clear line and status 2 for bad input."""

from __future__ import annotations

import contextlib
import difflib
import errno
import io
import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import TextIO


class UserError(Exception):
    """The user's input cannot be used; the message names it and what was expected."""


class NotAtHand(UserError):
    """Required data, or the device that a precision needs, are not on this machine."""


class Paused(Exception):
    """Work stopped early, as requested, with its state on disk; the message says how far it got."""


HELP = frozenset({"--help", "-h"})


NO_TEXT = "no help here: Python was told to leave texts out (-OO); without that it is shown"


def asks_for_help(argv: Sequence[str], about: str | None) -> bool:
    """Whether ``--help`` or ``-h`` is among the arguments; ``about`` is then printed.

    Args:
        argv: the arguments.
        about: the module's docstring; None where Python was told to leave it out.
    """
    asked = not HELP.isdisjoint(argv)
    if asked:
        print((about or NO_TEXT).strip())
    return asked


def on_one_line(text: str) -> str:
    """A text without line breaks and repeated spaces."""
    return " ".join(text.split())


def shorten(text: str, most: int = 60) -> str:
    """A text as a message shows it: its beginning, where it is long."""
    return text if len(text) <= most else f"{text[:most]}…"


def cut(text: str, most: int = 200) -> str:
    """A text on one line, without the words that are too many; of one long word its beginning."""
    shown = textwrap.shorten(text, most, placeholder=" …")
    return shown if shown != "…" else shorten(on_one_line(text), most)


LONGEST_WORD, LONGEST = 400, 4000
"""The largest number of characters of a message that stand without a space, and in all."""


def legible(message: str) -> str:
    """A message on one line, as a terminal can show it.

    Control characters, which could colour, move or erase what the terminal shows, are written as
    Python's escapes. Very long values, paths and lists lose their middle.
    """
    def without_middle(text: str, most: int) -> str:
        return text if len(text) <= most else f"{text[:most // 2]}…{text[-most // 4:]}"
    def escaped(text: str) -> str:
        return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    words = [without_middle(escaped(word), LONGEST_WORD) for word in message.split()]
    return without_middle(" ".join(words), LONGEST)


def say(message: str) -> None:
    """Print a message to the standard error stream, see :func:`legible`.

    Every message of this repository except those on standard output comes through here. A stream
    that is full, or closed by its reader, stops nothing.
    """
    try:
        print(legible(message), file=sys.stderr, flush=True)
    except OSError:
        discard(sys.stderr)


def warn(message: str) -> None:
    """:func:`say` that something is not as it should be, where work goes on."""
    say(f"warning: {message}")


def nearest(name: str, known: Iterable[str], listing: str = "") -> str:
    """``"; did you mean 'x'?"`` with the closest known name, or else a list of the known names.

    Args:
        name: what is not known.
        known: the known names.
        listing: the command that lists them, named where they are too many for a message.
    """
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    if not close:  # 'stpes' should find 'train.steps' even without its section
        tails = {k.rsplit(".", 1)[-1]: k for k in known}
        close = [tails[t] for t in difflib.get_close_matches(name.rsplit(".", 1)[-1], tails, n=1)]
    if close:
        return f"; did you mean {close[0]!r}?"
    if len(known) > 30 and listing:
        return f"; {listing} lists the {len(known)} that there are"
    if len(known) > 30:
        return f"; expected one of {len(known)} names such as {known[0]!r} or {known[-1]!r}"
    return f"; known: {', '.join(known)}"


OUT_OF_MEMORY = re.compile("can't allocate memory|out of memory")
"""torch's messages when the processor's or a card's memory runs out."""

COMPILER = ("torch._inductor", "torch._dynamo")
"""Where the errors of torch's compiler come from."""


def exit_with(main: Callable[[], int | None]) -> None:
    """Run ``main`` and exit: with status 0, or with 2 after a one-line message for bad input.

    Work that stopped because its budget was used up prints a line and exits with 0. Work that was
    interrupted prints the interrupt's message, which says what is kept where somebody knows it.
    Characters that the terminal cannot encode are printed as question marks. If the reader of the
    output closes it, as ``head`` does, the status is 1. If the system refuses a file or a program,
    the message names it.

    Of several processes that train together, only rank 0 prints the message, and all skip the
    interpreter's clean-up, during which gloo's threads sometimes abort the process.
    """
    expect_current_folder()
    status = status_of(main)
    if together():
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def status_of(main: Callable[[], int | None]) -> int:
    """Run ``main``, print what ended it; returns the exit status. See :func:`exit_with`."""
    try:
        code = main() or 0
        sys.stdout.flush()
        return code
    except UserError as e:
        if speaks():
            say(f"error: {e}")
        return 2
    except Paused as e:
        if speaks():
            say(str(e))
        return 0
    except KeyboardInterrupt as e:
        say(str(e) or "interrupted")
        return 130
    except (MemoryError, RuntimeError) as e:
        if type(e).__module__.startswith(COMPILER):
            reason = cut(str(e).split("\n\n")[0])
            say(f"error: train.compile=true: torch's compiler failed ({reason}); "
                "train.compile=false trains without it")
            return 2
        if not isinstance(e, MemoryError) and not OUT_OF_MEMORY.search(str(e)):
            raise
        say("error: there is not enough memory for what was asked: expected a smaller network, "
            f"batch or data ({cut(str(e).splitlines()[0]) if str(e) else 'MemoryError'})")
        return 2
    except BrokenPipeError:
        discard(sys.stdout)
        return 1
    except OSError as e:
        if e.filename is not None:
            say(f"error: cannot use {e.filename}: {e.strerror}")
            return 2
        if e.errno not in (errno.ENOSPC, errno.EIO, errno.EBADF):
            raise
        discard(sys.stdout)
        say(f"error: cannot write to the standard output: {e.strerror}")
        return 2


def expect_current_folder() -> None:
    """End the process with one line and status 2 where the current folder is gone."""
    open_streams()
    try:
        os.getcwd()
    except OSError:
        say("error: the current folder is not there any more: change to another one")
        sys.exit(2)


def open_streams() -> None:
    """Make the standard streams usable whatever the terminal encodes, and if some are closed.

    A closed one becomes the null device: otherwise the next file opened would take its number, and
    whatever a library prints would land in that file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def of_several() -> tuple[int, int]:
    """This process's rank and how many train together, as torchrun names them; 0 and 1 alone."""
    size, rank = (re.fullmatch("[0-9]{1,9}", os.environ.get(name, "").strip())
                  for name in ("WORLD_SIZE", "RANK"))
    return (0, 1) if size is None or rank is None else (int(rank[0]), int(size[0]))


def together() -> bool:
    """Whether this process is one of several that train together."""
    return of_several()[1] > 1


def speaks() -> bool:
    """Whether this process prints messages: of several that train together, only rank 0."""
    rank, size = of_several()
    return not 0 < rank < size


def discard(stream: TextIO) -> None:
    """Send a stream's remaining output to the null device, so that its last flush cannot fail."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
