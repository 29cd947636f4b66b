"""Progress of several runs: live lines in a terminal, occasional lines elsewhere."""

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
"""Control sequences: clear the line, go up one line."""


def last_line(log: Path, since: int = 0) -> str:
    """The last line of a run's log, ignoring its first ``since`` bytes; empty if there is none."""
    with contextlib.suppress(OSError, IndexError), open(log, "rb") as f:
        f.seek(since)
        return f.read().decode(errors="replace").strip().splitlines()[-1]
    return ""


def standing(name: str, log: Path, since: int, started: float) -> str:
    """A run's progress line: steps, rate, time left and newest metric, from its log.

    Args:
        name: the run's name.
        log: its log file.
        since: how many bytes of the log an earlier process wrote.
        started: when its process was started, by the monotonic clock.
    """
    said = re.sub(r"^\S.*?: (?=step |goes on at )", "", last_line(log, since))
    said = re.sub(r", loss \S+(?=, )", "", said)  # with a metric, omit the loss to fit 80 columns
    return f"{name}: {said or f'starting, {duration(time.monotonic() - started)}'}"


def start_up() -> float:
    """Seconds since this process began, an estimate of how long a run takes to start."""
    with contextlib.suppress(OSError, ValueError, IndexError):  # /proc is Linux's
        began = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
        now = Path("/proc/uptime").read_text(encoding="utf-8").split()[0]
        return float(now) - int(began) / os.sysconf("SC_CLK_TCK")
    return time.process_time()


class Live:
    """Progress lines of the active runs, below permanent output.

    In a terminal they are redrawn in place. Elsewhere they are printed after ten seconds, then once
    a minute, as ``train.py`` does.

    Attributes:
        terminal: whether standard output is a terminal.
    """

    OFTEN, SAID = 0.5, 2.0
    """In a terminal: seconds between redraws, and between progress lines in a run's log."""

    def __init__(self) -> None:
        self.terminal = sys.stdout.isatty()
        self._drawn, self._due = 0, time.monotonic() + (0 if self.terminal else Progress.SOON)

    def show(self, lines: Callable[[], Sequence[str]]) -> None:
        """Show the runs' lines if it is time to."""
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
        """Print a permanent line."""
        self._write(f"{text}\n")

    def close(self) -> None:
        """Remove the progress lines from the screen."""
        self._write("")

    def _write(self, text: str) -> None:
        above = (CLEAR + UP) * self._drawn + CLEAR if self._drawn else ""
        self._drawn = 0
        print(above + text, end="", flush=True)
