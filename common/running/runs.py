"""Single runs of a plan, runs of several seeds made of them, and what became of them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from common.files import ROOT, runs_root


@dataclass(frozen=True)
class Run:
    """One experiment that has to be trained, with one seed or with several side by side.

    Attributes:
        paper, experiment, seeds: which.
        why: ``missing``, ``stale``, ``asked for``, or ``needed`` by a run that starts from it.
        left: updates still to be made.
        threads: CPU threads it takes.
        seconds: how long that takes, or None where no speed was measured.
        elsewhere: the machines on which the speed was measured, other than this one.
        by_turns: whether several seeds take turns on a card instead of being one batched network.
        needs: names of the single runs of the plan that have to be done before it.
    """

    paper: str
    experiment: str
    seeds: tuple[int, ...]
    why: str
    left: int
    threads: int
    seconds: float | None
    elsewhere: tuple[str, ...]
    by_turns: bool = False
    needs: tuple[str, ...] = ()

    @property
    def singles(self) -> set[str]:
        """The names of the single runs it consists of."""
        return {f"{self.experiment}/seed{k}" for k in self.seeds}

    @property
    def name(self) -> str:
        """experiment/seed, as tables and messages show it."""
        return f"{self.experiment}/seed{','.join(map(str, self.seeds))}"

    @property
    def folder(self) -> Path:
        """Where its log lies, and its checkpoints, those of its first seed."""
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
    """What became of the runs that did not come to their end.

    Attributes:
        failed: each with its reason.
        paused: they stopped before their last step, as asked, with everything on disk.
        waiting: not started.
    """

    failed: list[tuple[Run, str]] = field(default_factory=list)
    paused: list[Run] = field(default_factory=list)
    waiting: list[Run] = field(default_factory=list)

    def ready(self, active: Iterable[Run]) -> Run | None:
        """The first waiting run that needs no other, or none that is not done, if there is one.

        A run that needs one that failed is moved to ``failed``; one that needs a paused one waits.

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
    """The program of a paper's ``train.py``."""
    return [sys.executable, str(ROOT / "papers" / paper / "train.py")]


def side_by_side(runs: Sequence[Run]) -> list[Run]:
    """The same runs with the seeds of an experiment joined where they stand at the same step."""
    joined: dict[tuple[str, int], Run] = {}
    for r in runs:
        there = joined.get((r.experiment, r.left))
        joined[r.experiment, r.left] = r if there is None else replace(
            there, seeds=there.seeds + r.seeds, needs=there.needs + r.needs,
            seconds=None if r.seconds is None or there.seconds is None
            else there.seconds + r.seconds)
    return list(joined.values())


def in_turns(runs: Sequence[Run], at_a_time: int) -> list[Run]:
    """The same runs with the seeds of an experiment joined, to take turns on a card.

    Args:
        runs: of one seed each.
        at_a_time: how many a card trains at a time.
    """
    seeds: dict[str, list[Run]] = {}
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


def run_folder(paper: str, experiment: str, seed: int) -> Path:
    """Where a run's checkpoints lie."""
    return runs_root() / paper / experiment / f"seed{seed}"
