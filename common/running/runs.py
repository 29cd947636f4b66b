"""The runs of a plan, their combination into runs of several seeds, and their outcomes."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from common.experiments import SEED
from common.files import ROOT, run_folder

PUBLISHED = rf"weights/([^/]+?)(?:-seed({SEED}))?"
IN_RESULTS = rf"results/([^/]+)/[a-z_]+({SEED})"
"""Files that a finished run leaves in its paper's folder, without their ends: experiment, seed."""


@dataclass(frozen=True)
class PendingRun:
    """An experiment to be trained with one seed, or with several in one process.

    Attributes:
        paper, experiment, seeds: what to train.
        why: ``missing``, ``stale``, ``asked for``, or ``needed`` by a run that starts from it.
        left: number of updates still to be made.
        threads: number of CPU threads.
        seconds: the expected time; None if its speed is not known.
        elsewhere: the machines other than this one on which the speed was measured.
        at_most: whether it was measured with fewer threads, so that the time is an upper bound.
        by_turns: whether several seeds take turns on a card rather than form one batched network.
        needs: names of the single runs in the plan that must be done first.
    """

    paper: str
    experiment: str
    seeds: tuple[int, ...]
    why: str
    left: int
    threads: int
    seconds: float | None
    elsewhere: tuple[str, ...]
    at_most: bool = False
    by_turns: bool = False
    needs: tuple[str, ...] = ()

    @property
    def singles(self) -> set[str]:
        """The names of its single runs, one for each seed."""
        return {f"{self.experiment}/seed{k}" for k in self.seeds}

    @property
    def name(self) -> str:
        """Its name in tables and messages: experiment/seed."""
        return f"{self.experiment}/seed{','.join(map(str, self.seeds))}"

    @property
    def folder(self) -> Path:
        """The folder of its log and of its first seed's checkpoints."""
        return run_folder(self.paper, self.experiment, self.seeds[0])

    @property
    def command(self) -> list[str]:
        """The command that trains it."""
        words = [*train_command(self.paper), f"experiment={self.experiment}",
                 f"seed={','.join(map(str, self.seeds))}", f"train.threads={self.threads}"]
        if len(self.seeds) == 1:
            return words
        return [*words, f"train.side_by_side={len(self.seeds)}" if self.by_turns
                else "train.vectorize=true"]


@dataclass
class Outcome:
    """The runs that did not finish.

    Attributes:
        failed: the runs that failed, each with its reason.
        paused: the runs that stopped before their last step, as asked, with everything on disk.
        waiting: the runs that were not started.
    """

    failed: list[tuple[PendingRun, str]] = field(default_factory=list)
    paused: list[PendingRun] = field(default_factory=list)
    waiting: list[PendingRun] = field(default_factory=list)

    def ready(self, active: Iterable[PendingRun]) -> PendingRun | None:
        """The first waiting run whose prerequisites are done; None if there is none.

        A run whose prerequisite failed is moved to ``failed``; if it was paused, the run waits.

        Args:
            active: the runs that are being trained.
        """
        lost = {n for r, _ in self.failed for n in r.singles}
        while hit := next((r for r in self.waiting if lost & set(r.needs)), None):
            self.waiting.remove(hit)
            self.failed.append((hit, f"needs {min(lost & set(hit.needs))}, which failed"))
            lost |= hit.singles
        undone = {n for r in (*self.waiting, *self.paused, *active) for n in r.singles}
        return next((r for r in self.waiting if not undone & set(r.needs)), None)


def train_command(paper: str) -> list[str]:
    """The command that starts a paper's ``train.py``, without arguments."""
    return [sys.executable, str(ROOT / "papers" / paper / "train.py")]


def batched(runs: Sequence[PendingRun]) -> list[PendingRun]:
    """Join runs of one experiment at the same step, to be trained as one batched network."""
    joined: dict[tuple[str, int], PendingRun] = {}
    for r in runs:
        there = joined.get((r.experiment, r.left))
        joined[r.experiment, r.left] = r if there is None else replace(
            there, seeds=there.seeds + r.seeds, needs=there.needs + r.needs,
            seconds=None if r.seconds is None or there.seconds is None
            else there.seconds + r.seconds)
    return list(joined.values())


def in_turns(runs: Sequence[PendingRun], at_a_time: int) -> list[PendingRun]:
    """Join runs of one experiment, to take turns on a card.

    Args:
        runs: runs of one seed each.
        at_a_time: how many a card trains at a time.
    """
    seeds: dict[str, list[PendingRun]] = {}
    for r in runs:
        seeds.setdefault(r.experiment, []).append(r)
    joined = []
    for same in seeds.values():
        for k in range(0, len(same), at_a_time):
            some = same[k:k + at_a_time]
            times = [r.seconds for r in some if r.seconds is not None]
            joined.append(replace(some[0], seeds=tuple(s for r in some for s in r.seeds),
                                  needs=tuple(n for r in some for n in r.needs),
                                  left=max(r.left for r in some), by_turns=True,
                                  seconds=sum(times) if len(times) == len(some) else None))
    return joined
