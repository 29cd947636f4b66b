"""Planning: which runs a report still needs, and what they will cost.

:mod:`common.running.reproduce` executes the plan on this machine, :mod:`common.running.cluster` as
cluster jobs.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from common.config import names_file, start_of
from common.errors import UserError, nearest, say
from common.evidence import results
from common.evidence.claims import Claim
from common.evidence.counting import card_seconds
from common.evidence.paper import Paper
from common.evidence.provenance import origin
from common.files import ROOT, run_folder, runs_root
from common.running.runs import IN_RESULTS, PUBLISHED, PendingRun, train_command
from common.running.runs import Outcome as Outcome
from common.running.runs import batched as batched
from common.running.runs import in_turns as in_turns
from common.running.words import names_of
from common.training import checkpoint, start
from common.training.precision import fits_here
from common.training.progress import duration

PACE_PATIENCE = 180.0
"""Seconds after which measuring an experiment's speed is given up."""

AT_A_TIME = (1, 2, 4, 8)
"""The numbers of runs side by side on one card whose speed is measured."""

CONTENTION = 1.1
"""The assumed slowdown of concurrent processes, compared with the same process alone."""


def cores() -> int:
    """Number of CPU cores that this process may use."""
    with contextlib.suppress(AttributeError):  # not on every system
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def chosen_claims(paper: Paper, ids: str | None) -> list[Claim]:
    """The claims with these comma-separated ids; None: all claims.

    Raises:
        UserError: there is no such claim, or one is named twice.
    """
    known = {c.id: c for c in paper.claims}
    names = list(known) if ids is None else names_of("claims", str(ids))
    for name in names:
        if name not in known:
            raise UserError(f"claims={name}: {paper.name} has no such claim{nearest(name, known)}")
    return [known[n] for n in names]


class Wanting(Protocol):
    """What wants runs to be made: a claim, or a command that names experiments."""

    @property
    def experiments(self) -> list[str]:
        """The experiments whose runs are wanted."""

    @property
    def repeatable(self) -> bool:
        """Whether one run of each is enough, because no seed can change what is measured."""


@dataclass(frozen=True)
class AskedFor:
    """Experiments whose runs a command asks for, whatever the claims need."""

    experiments: list[str]
    repeatable: bool = False


def named(paper: Paper, names: str) -> AskedFor:
    """The experiments that comma-separated names of experiments and groups stand for.

    Raises:
        UserError: there is no such experiment, or a name is given twice.
    """
    return AskedFor(paper.experiments.expand_all(names_of("experiments", names)))


def plan(paper: Paper, claims: Sequence[Wanting], seeds: int | None = None, again: bool = False,
         jobs: int | None = None, threads: int | None = None) -> list[PendingRun]:
    """The runs that claims still need: seed 0 of every experiment, then seed 1 …

    A run with ``start_from`` comes after the run that provides its weights (of the other experiment
    with the same seed, or the paper's run that leaves the file), if that still has to be made.

    Args:
        paper: the paper.
        claims: the claims, or other wants, most important first.
        seeds: the largest number of seeds, at most as many as ``config.yaml`` plans; None: all.
        again: also make runs whose result is committed, unless they were finished here.
        jobs: how many runs share the cores; None: not fixed.
        threads: the threads of a run whose configuration does not set them, if ``jobs`` is None;
            None: all cores.
    """
    found: dict[tuple[str, int], PendingRun] = {}

    def add(name: str, seed: int, why: str) -> None:
        config = paper.config(name)
        begin = start_of(config)
        filed = names_file(begin)
        needed = maker(paper, begin) if filed else (begin, seed) if begin else None
        needs: tuple[str, ...] = ()
        if needed and needed != (name, seed):
            its = lacking(paper, *needed, again) if needed[0] in wanted(needed[1]) else ""
            there = ((ROOT / begin).exists() if filed
                     else start.find(paper.experiments, begin, seed) is not None)
            if its or not there:
                needs = (f"{needed[0]}/seed{needed[1]}",)
                if needed not in found:
                    add(*needed, its or "needed")
        takes = max(1, cores() // jobs) if jobs else min(
            config.train.threads or threads or cores(), cores())
        here = finished_here(paper, name, seed) and why != "needed"
        done = config.train.steps if here else checkpoint.newest_step(
            run_folder(paper.name, name, seed))
        pace, elsewhere, at_most = known_pace(paper, name, takes)
        left = config.train.steps - done
        found[name, seed] = PendingRun(
            paper.name, name, (seed,), why, left, takes,
            None if pace is None else left * pace, elsewhere, at_most, needs=needs)

    planned = {e: min(paper.experiments.planned(e)[-1], seeds or paper.experiments.planned(e)[-1])
               for c in claims for e in c.experiments}

    def wanted(seed: int) -> list[str]:
        names = dict.fromkeys(e for c in claims for e in c.experiments
                              if seed == 0 or (not c.repeatable and seed < planned[e]))
        return [name for name in names if fits_here(paper.config(name))]

    for seed in range(max(planned.values(), default=0)):
        for name in wanted(seed):
            if (name, seed) not in found and (why := lacking(paper, name, seed, again)):
                add(name, seed, why)
    return list(found.values())


def maker(paper: Paper, file: str) -> tuple[str, int] | None:
    """Experiment and seed of the paper's run that leaves a file; None if there is none.

    Args:
        paper: the paper.
        file: the value of ``start_from``, ``papers/<paper>/…``.
    """
    match = re.fullmatch(rf"(?:{PUBLISHED}|{IN_RESULTS})\.safetensors",
                         file.removeprefix(f"papers/{paper.name}/"))
    name, seed = (match[1] or match[3], match[2] or match[4] or "0") if match else ("", "0")
    return (name, int(seed)) if name in paper.experiments.experiments else None


def lacking(paper: Paper, experiment: str, seed: int, again: bool) -> str:
    """Why a claim still needs a run, see :attr:`PendingRun.why`; empty if it does not."""
    committed = {r.seed: r for r in paper.results.get(experiment, [])}.get(seed)
    if committed is None:
        return "missing"
    if not results.is_current(committed, paper.config(experiment), paper.experiments):
        return "stale"
    return "asked for" if again and not finished_here(paper, experiment, seed) else ""


def finished_here(paper: Paper, experiment: str, seed: int) -> bool:
    """Whether ``runs/`` contains the finished run in the experiment's present configuration."""
    path = run_folder(paper.name, experiment, seed) / "result.json"
    try:
        return path.exists() and results.is_current(
            results.parse(path, paper.schema), paper.config(experiment), paper.experiments)
    except UserError:
        return False


def finished(paper: Paper, run: PendingRun) -> bool:
    """Whether ``runs/`` contains the finished runs of all its seeds, see :func:`finished_here`."""
    return all(finished_here(paper, run.experiment, seed) for seed in run.seeds)


def left_over(paper: Paper, outcome: Outcome) -> str:
    """The runs that are paused or were not started, one line each; empty if there are none."""
    lines = [f"{r.name}: paused at step {checkpoint.newest_step(r.folder):,} of "
             f"{paper.config(r.experiment).train.steps:,}" for r in outcome.paused]
    lines += [f"{r.name}: not started" for r in outcome.waiting]
    return "\n".join(["left, and the same command goes on:", *lines]) if lines else ""


def cards() -> int:
    """Number of CUDA cards of this machine."""
    return torch.cuda.device_count()


def this_machine() -> str:
    """The name of this machine's graphics card, or of its processor, as in measured paces."""
    return origin(torch.device("cuda" if cards() else "cpu")).hardware.machine


def paces_here(paper: Paper, experiment: str) -> dict[int, float]:
    """Seconds per step that ``train.py --pace`` measured on this machine, by number of threads.

    On a graphics card, by the number of runs that take turns.
    """
    found = results.read_pace(runs_root() / paper.name / experiment, paper.config(experiment))
    return found.seconds if found and found.cpu == this_machine() else {}


def known_pace(paper: Paper, experiment: str, threads: int
               ) -> tuple[float | None, tuple[str, ...], bool]:
    """Seconds per step of an experiment: from ``--pace`` here, a committed result or a pace.

    What a graphics card needed counts only where there is one.

    Returns:
        The seconds, None if nothing was measured; the machines other than this one on which they
        were measured; and whether it was with fewer threads, so that they are an upper bound.
    """
    here = paces_here(paper, experiment)
    if here:
        return here.get(threads, min(here.values())), (), False
    config = paper.config(experiment)
    made = [r for r in paper.results.get(experiment, []) if cards() or not card_seconds(r.record)]
    run = next((r for r in made if results.is_current(r, config, paper.experiments)), None)
    if run is not None:
        its = [s.hardware.machine for s in run.record.segments]
        seconds = run.record.seconds / run.record.config["train"]["steps"]
        took = max(s.hardware.threads for s in run.record.segments)
    elif kept := results.read_pace(paper.folder / "results" / experiment, config):
        its, (took, seconds) = [kept.cpu], kept.best()
    else:
        return None, (), False
    elsewhere = tuple(p for p in dict.fromkeys(its) if p != this_machine())
    return seconds, elsewhere, took < threads and not cards()


def measure_paces(paper: Paper, wanted: Iterable[tuple[str, int]],
                  patience: float = PACE_PATIENCE) -> None:
    """Measure speeds that are not known yet, with ``train.py --pace``.

    Args:
        paper: the paper.
        wanted: pairs of an experiment and a number of threads (on a graphics card, of runs).
        patience: seconds after which the measurement of a pair is given up.

    Raises:
        UserError: ``train.py`` failed, as it would for the other pairs.
    """
    for experiment, threads in wanted:
        if threads in paces_here(paper, experiment):
            continue
        what, word = (("run", "train.side_by_side") if cards() else ("thread", "train.threads"))
        say(f"measuring the speed of {experiment} with {threads} {what}{'s' * (threads > 1)} …")
        with contextlib.suppress(subprocess.TimeoutExpired):
            done = subprocess.run(
                [*train_command(paper.name), f"experiment={experiment}",
                 f"{word}={threads}", "--pace"], cwd=ROOT, stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE, text=True, errors="replace", timeout=patience)
            if done.returncode:
                last = (done.stderr.strip().splitlines() or ["no output"])[-1]
                raise UserError(last.removeprefix("error: "))


def better_threads(paper: Paper, experiment: str, patience: float = PACE_PATIENCE) -> int:
    """The better number of threads here: 1 for concurrent runs, or all cores for one run at a time.

    Raises:
        UserError: see :func:`measure_paces`.
    """
    all_ = cores()
    measure_paces(paper, [(experiment, 1), (experiment, all_)], patience)
    found = paces_here(paper, experiment)
    if not {1, all_} <= found.keys():
        return all_
    return 1 if CONTENTION * found[1] < all_ * found[all_] else all_


def how_many_pay(paper: Paper, experiment: str, patience: float = PACE_PATIENCE) -> int:
    """How many runs of an experiment should take turns on this machine's card to be fastest.

    Raises:
        UserError: see :func:`measure_paces`.
    """
    measure_paces(paper, [(experiment, n) for n in AT_A_TIME], patience)
    found = paces_here(paper, experiment)
    return min(found, key=lambda n: found[n]) if found else AT_A_TIME[-2]


def seconds_of_all(runs: Iterable[PendingRun], starting: float) -> float:
    """The total time of the runs whose speed is known, one after the other.

    Args:
        runs: the runs.
        starting: seconds that each needs before its first step.
    """
    return sum(r.seconds + starting for r in runs if r.seconds is not None)


def show(runs: Sequence[PendingRun], jobs: int | None, starting: float = 0.0) -> str:
    """The plan as a table, and what it costs; see :func:`seconds_of_all`."""
    width = max(len(r.name) for r in runs) + 2
    lines = [f"{'run':<{width}}{'why':<11}{'steps left':>10}{'threads':>9}{'time':>10}"]
    for r in runs:
        time_ = "?" if r.seconds is None else "≤ " * r.at_most + duration(r.seconds)
        lines.append(f"{r.name:<{width}}{r.why:<11}{r.left:>10,}{r.threads:>9}{time_:>10}")
    total = seconds_of_all(runs, starting) / at_a_time(runs, jobs)
    unknown = sum(r.seconds is None for r in runs)
    bound = any(r.at_most for r in runs)
    parts = [f"{runs_in_words(len(runs) - unknown)}, {'at most' if bound else 'about'} "
             f"{duration(total)} on {cores()} cores",
             f"{runs_in_words(unknown)} whose speed is not known"]
    lines.append(", and ".join(parts[unknown == len(runs):1 + (unknown > 0)]))
    if starting >= 1:
        lines[-1] += f" ({duration(starting)} of each to start)"
    if bound:
        lines.append("(≤: measured with fewer threads than these)")
    elsewhere = sorted({p for r in runs for p in r.elsewhere})
    if elsewhere:
        lines.append(f"(speeds partly measured on another machine: {', '.join(elsewhere)})")
    return "\n".join(lines)


def runs_in_words(runs: int) -> str:
    """A number of runs in words."""
    return f"{runs} run{'s' * (runs != 1)}"


def at_a_time(runs: Sequence[PendingRun], jobs: int | None) -> int:
    """How many of the runs are trained at the same time."""
    return min(len(runs), jobs or max(1, cores() // max(r.threads for r in runs)))
