"""How far running runs are: in a terminal a line each, elsewhere a line now and then."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from common.training.progress import Progress, duration

CLEAR, UP = "\r\033[K", "\033[1A"
"""Empty the line; go to the one above."""


def last_line(log: Path, since: int = 0) -> str:
    """What a run said last, of what stands in its log after so many bytes; empty if nothing."""
    with contextlib.suppress(OSError, IndexError), open(log, "rb") as f:
        f.seek(since)
        return f.read().decode(errors="replace").strip().splitlines()[-1]
    return ""


def standing(name: str, log: Path, since: int, started: float) -> str:
    """A run's line: steps, rate, time left, newest metric, as the run itself says them.

    Args:
        name: of the run.
        log: its file.
        since: how many bytes of it are an earlier process's.
        started: when its process was, by the monotonic clock.
    """
    said = re.sub(r"^\S.*?: (?=step )", "", last_line(log, since))
    said = re.sub(r", loss \S+(?=, )", "", said)  # beside a metric, for 80 columns
    return f"{name}: {said or f'starting, {duration(time.monotonic() - started)}'}"


def start_up() -> float:
    """Seconds since this process began: as long as a run, which loads the same, takes to start."""
    with contextlib.suppress(OSError, ValueError, IndexError):  # /proc is Linux's
        began = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
        now = Path("/proc/uptime").read_text(encoding="utf-8").split()[0]
        return float(now) - int(began) / os.sysconf("SC_CLK_TCK")
    return time.process_time()


class Live:
    """The lines of the running runs below what is said, drawn anew in place in a terminal.

    Elsewhere they are printed after ten seconds, then once a minute, as ``train.py`` does.

    Attributes:
        terminal: whether standard output is one.
    """

    OFTEN, SAID = 0.5, 2.0
    """Seconds between two drawings in a terminal, and between two lines of a run's log then."""

    def __init__(self) -> None:
        self.terminal = sys.stdout.isatty()
        self._drawn, self._due = 0, time.monotonic() + (0 if self.terminal else Progress.SOON)

    def show(self, lines: Callable[[], Sequence[str]]) -> None:
        """Show the runs' lines, where it is time to."""
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + (self.OFTEN if self.terminal else Progress.EVERY)
        if not self.terminal:
            print("\n".join(f"  {l}" for l in lines()), flush=True)
            return
        width = shutil.get_terminal_size().columns - 1
        found = [l[:width] for l in lines()]
        self._write("".join(f"{l}\n" for l in found))
        self._drawn = len(found)

    def say(self, text: str) -> None:
        """A line that stays."""
        self._write(f"{text}\n")

    def close(self) -> None:
        """Take the lines off the screen."""
        self._write("")

    def _write(self, text: str) -> None:
        above = (CLEAR + UP) * self._drawn + CLEAR if self._drawn else ""
        self._drawn = 0
        print(above + text, end="", flush=True)
