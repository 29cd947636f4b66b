"""A limit on how long a process may train, and a way to stop it sooner.

When the time is used up, or when the process receives SIGTERM, the loop writes a checkpoint after
the current step, prints how far it got, and the process exits with status 0. Nothing is lost; the
same command resumes.
"""

from __future__ import annotations

import contextlib
import re
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

from common.errors import UserError
from common.segments import MOST_SECONDS

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def seconds_of(text: str, key: str = "budget") -> float:
    """Convert ``"90s"``, ``"8m"`` or ``"1.5h"`` to seconds; ``key`` is named in the error message.

    Raises:
        UserError: the text is not a time, or one of decades.
    """
    match = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)([smh])", str(text).strip())
    if not match or float(match[1]) == 0:
        raise UserError(f"{key}={text}: expected a time such as 90s, 8m or 1.5h")
    seconds = float(match[1]) * UNITS[match[2]]
    if seconds > MOST_SECONDS:  # the system's timers overflow
        raise UserError(f"{key}={text}: expected at most {MOST_SECONDS:,.0f} s")
    return seconds


class Budget:
    """The time that a process has left to train.

    Args:
        text: see :func:`seconds_of`; empty for no limit.
    """

    def __init__(self, text: str = ""):
        self.ends = time.monotonic() + seconds_of(text) if text else float("inf")
        self._asked = threading.Event()

    @property
    def left(self) -> float:
        """Seconds left; infinite without a limit."""
        return self.ends - time.monotonic()

    @property
    def over(self) -> bool:
        """Whether the process should stop now."""
        return self._asked.is_set() or self.left <= 0

    @property
    def why(self) -> str:
        """The reason to stop, for messages."""
        return "asked to end" if self._asked.is_set() else "the budget is used up"

    def before(self, seconds: float) -> Budget:
        """A budget that ends so many seconds before this one."""
        sooner = Budget()
        sooner.ends = self.ends - seconds
        return sooner

    def stop(self) -> None:
        """End the budget now."""
        self._asked.set()

    @contextlib.contextmanager
    def ended_by_sigterm(self) -> Iterator[None]:
        """A context in which SIGTERM ends the budget instead of killing the process."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread may set handlers
            return

        def asked(number: int, frame: FrameType | None) -> None:
            self.stop()
        before = signal.signal(signal.SIGTERM, asked)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)
