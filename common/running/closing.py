"""The end of ``papers reproduce``: the report while there is time, and what an interrupt leaves."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
from collections.abc import Iterator, Sequence
from types import FrameType

from common.evidence import generated
from common.evidence.paper import Paper
from common.running.plan import Wanting, finished_here, left_over
from common.running.runs import Outcome
from common.training.budget import Budget

REPORT, SHARE = 60.0, 0.25
"""Seconds that a report may take, and the share of a short budget that is kept for it."""


def kept_for_report(budget: Budget) -> float:
    """The seconds of a budget that its runs leave to the report."""
    return min(REPORT, SHARE * budget.left)


class Late(BaseException):
    """The time is over; no ``except Exception`` of a library holds it up."""


@contextlib.contextmanager
def ended_in(seconds: float) -> Iterator[None]:
    """A context that raises :class:`Late` after so many seconds, where the system can."""
    if (math.isinf(seconds) or not hasattr(signal, "setitimer")
            or threading.current_thread() is not threading.main_thread()):
        yield
        return

    def late(number: int, frame: FrameType | None) -> None:
        raise Late
    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def report_in_time(paper: str, budget: Budget) -> str:
    """Make a paper's report, or leave it out where the budget ends first; returns a line on it."""
    try:
        with ended_in(budget.left):
            generated.main([paper])
    except Late:
        return f"the budget is used up before the report is made: papers report {paper} makes it"
    except KeyboardInterrupt as e:
        raise KeyboardInterrupt(f"interrupted before the report was made: papers report {paper} "
                                "makes it") from e
    return f"report: papers/{paper}/REPORT.md"


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM while runs were made; ``outcome`` has what is left of them."""

    def __init__(self, outcome: Outcome):
        super().__init__()
        self.outcome = outcome


def said_of(paper: Paper, interrupted: Interrupted) -> KeyboardInterrupt:
    """The same interrupt with a message: the runs that are left, and how they go on."""
    left = left_over(paper, interrupted.outcome).removeprefix("left, and ").replace("\n", " ", 1)
    return KeyboardInterrupt(f"interrupted; {left}".replace("\n", ", ") if left else
                             f"interrupted; every run has ended: papers report {paper.name} makes "
                             "the report")


def finished_before(paper: Paper, claims: Sequence[Wanting], seeds: int | None) -> list[str]:
    """The wanted runs that are not made again, because they were finished here.

    Args:
        paper: the paper.
        claims: what the command names.
        seeds: the largest number of seeds; None: as many as are planned.
    """
    found: dict[str, None] = {}
    for claim in claims:
        for name in claim.experiments:
            planned = paper.experiments.planned(name)[-1]
            for seed in range(1 if claim.repeatable else min(planned, seeds or planned)):
                if finished_here(paper, name, seed):
                    found[f"{paper.name}/{name}/seed{seed}"] = None
    return list(found)
