"""Runs as processes of their own, which end with this process; and how it ends."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

import torch

from common.errors import UserError
from common.files import ROOT, shown
from common.running.live import standing
from common.running.runs import PendingRun


@dataclass
class Process:
    """A run that is being trained."""

    run: PendingRun
    process: subprocess.Popen
    started: float
    slot: int
    since: int = 0
    """The size of the log, in bytes, when the process started."""

    @property
    def standing(self) -> str:
        """The run's progress line."""
        return standing(self.run.name, self.run.folder / "log.txt", self.since, self.started)


def start(run: PendingRun, slot: int, seconds: float = math.inf, says_every: float | None = None,
          ) -> Process:
    """Start a run's process; its output goes to ``log.txt`` in its folder.

    On Linux the process ends with this one. With several graphics cards, ``slot`` determines which
    one it uses.

    Args:
        run: what to train.
        slot: a number that no other running process has.
        seconds: its budget.
        says_every: seconds between its progress lines; None: the default of ``train.py``.

    Raises:
        UserError: the run's folder cannot be written.
    """
    environment = os.environ | {"OMP_NUM_THREADS": str(run.threads)}
    if says_every is not None:
        environment["PAPERS_SAYS_EVERY"] = str(says_every)
    if (cards_here := torch.cuda.device_count()) > 1:
        visible = [c.strip() for c in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
        names = visible if len(visible) == cards_here else list(map(str, range(cards_here)))
        environment["CUDA_VISIBLE_DEVICES"] = names[slot % cards_here]
    words = [f"budget={math.floor(seconds)}s"] if math.isfinite(seconds) else []
    try:
        run.folder.mkdir(parents=True, exist_ok=True)
        with open(run.folder / "log.txt", "ab") as log:
            since = log.tell()
            process = subprocess.Popen([*run.command, *words], cwd=ROOT, env=environment,
                                       stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                       preexec_fn=die_with if LINUX else None)
    except OSError as e:
        raise UserError(f"cannot write the run's folder {shown(run.folder)}: {e.strerror}; choose "
                        "another with $PAPERS_RUNS") from e
    return Process(run, process, time.monotonic(), slot, since)


LINUX = sys.platform.startswith("linux")


def die_with() -> None:
    """Make Linux end this process when its parent ends, however the parent ends."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


@contextlib.contextmanager
def terminated_like_ctrl_c() -> Iterator[None]:
    """A context in which SIGTERM ends this process, and its runs, as Ctrl-C does."""
    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
