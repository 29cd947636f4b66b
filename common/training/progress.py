"""Progress of a run: a bar in a terminal, elsewhere a line after ten seconds, then every minute."""

from __future__ import annotations

import math
import os
import shutil
import sys
import time

from tqdm import tqdm

from common.errors import UserError, say, shorten
from common.training import distributed


def duration(seconds: float) -> str:
    """A duration for people to read: 40 s, 12 min, 3.4 h, 5.1 days."""
    for unit, size in (("days", 86_400), ("h", 3600)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def seconds_between(text: str) -> float:
    """The seconds that ``$PAPERS_SAYS_EVERY`` says.

    Raises:
        UserError: it is not a number from 0 on.
    """
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise UserError(f"PAPERS_SAYS_EVERY={shorten(text)} in the environment: expected seconds, "
                        "a number from 0 on")
    return seconds


class Progress:
    """A progress bar with rate, loss and time left; without a terminal, occasional lines.

    Attributes:
        loss: the mean training loss to show; None until the first is known.
        metrics: the results of the newest evaluation.
    """

    NARROW = "{percentage:.0f}% {n_fmt}/{total_fmt} {remaining} left {rate_fmt}{postfix}"
    """The bar where the name, steps, rate and time left do not fit into one line: without the name,
    which is said before. What does not fit here either is cut from the end."""

    ROOM = 45
    """Columns of a bar besides its name and its two numbers of steps."""

    SOON, EVERY = 10.0, 60.0
    """Seconds until the first line, and between lines; $PAPERS_SAYS_EVERY sets both."""

    def __init__(self, name: str, first: int, last: int):
        self.name, self.last = name, last
        self.loss: float | None = None
        self.metrics: dict[str, float] = {}
        self.silent = distributed.rank() > 0
        room = shutil.get_terminal_size().columns - len(name) - 2 * len(str(last))
        if room < self.ROOM and sys.stderr.isatty() and not self.silent:
            say(name)
        self.bar = tqdm(total=last, initial=first, desc=name, unit="step",
                        disable=True if self.silent else None, dynamic_ncols=True,
                        mininterval=0.2, leave=False,
                        bar_format=self.NARROW if room < self.ROOM else None)
        self._first, self._started, self._shown = first, time.monotonic(), first
        often = os.environ.get("PAPERS_SAYS_EVERY")  # set by papers reproduce in a terminal
        self._every = seconds_between(often) if often else self.EVERY
        self._due = self._started + (self._every if often else self.SOON)

    def update(self, step: int) -> None:
        """Show that ``step`` updates have been made."""
        if not self.bar.disable:
            if self.bar.update(step - self._shown):
                self.bar.set_postfix_str(self.text(), refresh=False)
            self._shown = step
        elif not self.silent and time.monotonic() >= self._due:
            self._due = time.monotonic() + self._every
            rate = (step - self._first) / (time.monotonic() - self._started)
            left = (self.last - step) / rate / 60
            said = [f"{self.name}: step {step}/{self.last}", f"{rate:.1f} steps/s",
                    f"{left:.0f} min left", self.text()]
            say(", ".join(filter(None, said)))

    def text(self) -> str:
        """The loss and the first of the newest metrics, in brief."""
        shown_metrics = [f"{k} {v:.6g}" for k, v in list(self.metrics.items())[:1]]
        loss = [] if self.loss is None else [f"loss {self.loss:.4f}"]
        return ", ".join(loss + shown_metrics)

    def close(self) -> None:
        """Remove the bar from the screen."""
        self.bar.close()
