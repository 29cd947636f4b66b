"""Everything a report still lacks, in one command.

    papers reproduce batchnorm                      # all its claims, all planned seeds
    papers reproduce batchnorm claims=fig1a-bn-10k seeds=1
    papers reproduce resnet --dry-run               # the plan and its cost, nothing more
    papers reproduce resnet budget=8m               # as far as eight minutes go

    claims=a,b       only these claims; their runs are made here even if results are committed,
                     but for those that were finished here before
    experiments=a,b  the runs of these experiments or groups instead of those that claims need: a
                     search, whose winner a claim's experiment has
    seeds=3          at most seeds 0, 1, 2 of those that config.yaml plans
    jobs=2           this many runs at a time, sharing the cores; without it one thread each and as
                     many as there are cores, or one after the other with all cores, whichever
                     the paper's first steps show to be faster here
    vectorize=true   the seeds of an experiment as one batched network, for small networks
    launcher=slurm   every run is a job of a cluster; slurm.partition=… and so on go to slurm
    budget=8m        stop in time: runs that are not done by then write a checkpoint, and what is
                     left is said at the end, also the report where there is no time for it; 90s,
                     8m or 1.5h
    pace=false       do not measure the speed of experiments that nobody has run yet; --dry-run
                     measures nothing unless pace=true asks for it

Runs that have a current result are left out. Stopped at any point, the same command goes on where
it was. A run that fails is reported at the end and stops no other.
"""

from __future__ import annotations

import functools
import math
import signal
import time
from collections.abc import Callable, Sequence

from common.conditions import written
from common.errors import UserError, asks_for_help, say
from common.evidence.paper import Paper, papers
from common.evidence.provenance import say_uncommitted
from common.experiments import MOST_SEEDS
from common.files import locked, runs_root, shown
from common.running import cluster
from common.running.by_claim import check_metrics, finished_and_measured, outcome_by_claim
from common.running.closing import (
    Interrupted,
    finished_before,
    kept_for_report,
    report_in_time,
    said_of,
)
from common.running.live import Live, last_line, start_up
from common.running.plan import (
    AT_A_TIME,
    PACE_PATIENCE,
    Outcome,
    PendingRun,
    Wanting,
    at_a_time,
    batched,
    better_threads,
    cards,
    chosen_claims,
    cores,
    how_many_pay,
    in_turns,
    left_over,
    measure_paces,
    named,
    plan,
    seconds_of_all,
    show,
)
from common.running.processes import Process, start, terminated_like_ctrl_c
from common.running.words import as_typed, parse_options
from common.training.budget import Budget, seconds_of
from common.training.progress import duration

OPTIONS = ("claims", "experiments", "seeds", "jobs", "vectorize", "launcher", "pace", "budget")

RESERVE, LEAST = 10.0, 5.0
"""Seconds of a budget reserved for starting and ending a run; the least time worth a start."""


def make_runs(runs: Sequence[PendingRun], jobs: int | None, finished: Callable[[PendingRun], bool],
              budget: Budget, starting: float = 0.0) -> Outcome:
    """Train the runs on this machine, several at a time, and print how each ended.

    A run that needs others starts when they are done, and fails if one of them fails.

    Raises:
        Interrupted: on Ctrl-C or SIGTERM, after the runs under way have written checkpoints.

    Args:
        runs: what to train.
        jobs: how many at a time; None: as many as the cores allow for their threads.
        finished: whether a run has a result; a run that ended without one counts as paused.
        budget: each run gets what is left of it when the run starts, minus RESERVE.
        starting: seconds that a run needs before its first step.
    """
    outcome, active, done = Outcome(waiting=list(runs)), list[Process](), 0
    waiting, limit, told, live = outcome.waiting, jobs or cores(), False, Live()
    try:
        while active or (outcome.ready(()) and budget.left >= RESERVE + LEAST):
            used = len(active) if jobs else sum(p.run.threads for p in active)
            while (run := outcome.ready(p.run for p in active)) and (
                    budget.left >= RESERVE + LEAST) and (
                    not active or used + (1 if jobs else run.threads) <= limit):
                slots = {p.slot for p in active}
                waiting.remove(run)
                active.append(start(run, min(set(range(limit + 1)) - slots),
                                    budget.left - RESERVE, live.SAID if live.terminal else None))
                used += 1 if jobs else active[-1].run.threads
            time.sleep(0.05)
            live.show(lambda: [p.standing for p in active])
            if budget.over and not told:  # a run started late, or its last step takes long
                told = True
                for p in active:
                    p.process.terminate()
            for p in [p for p in active if p.process.poll() is not None]:
                active.remove(p)
                done += 1
                how = ended(p, finished, told, outcome)
                left = seconds_of_all(waiting, starting) / at_a_time(runs, jobs)
                live.say(f"[{done}/{len(runs)}] {p.run.name}: {how} after "
                         f"{duration(time.monotonic() - p.started)}"
                         + (f", about {duration(left)} to go" if left else ""))
    except KeyboardInterrupt as e:
        stop(active, live)
        outcome.paused += [p.run for p in active if not finished(p.run)]
        raise Interrupted(outcome) from e
    finally:
        stop(active, live)
    return outcome


def stop(active: Sequence[Process], live: Live) -> None:
    """Remove the progress lines, and wait until the runs have written their checkpoints."""
    live.close()
    for p in active:
        p.process.terminate()
    for p in active:
        p.process.wait()


def ended(p: Process, finished: Callable[[PendingRun], bool], told: bool, outcome: Outcome) -> str:
    """Add a run that has ended to the outcome, unless it is done; returns how it ended, in a word.

    Args:
        p: the run's process.
        finished: see :func:`make_runs`.
        told: whether it was asked to end, so that ending by SIGTERM is not a failure.
        outcome: changed in place.
    """
    code = p.process.returncode
    if code and not (told and code == -signal.SIGTERM):
        why = f"ended by signal {-code}" if code < 0 else (
            last_line(p.run.folder / "log.txt", p.since) or "no output")
        outcome.failed.append((p.run, f"{why}; its log: {shown(p.run.folder / 'log.txt')}"))
        return "FAILED"
    if code or not finished(p.run):
        outcome.paused.append(p.run)
        return "paused"
    return "done"


def options_of(argv: list[str]) -> dict:
    """Parse and check the command line's options.

    Raises:
        UserError: a key or flag is unknown, or a value is not allowed.
    """
    for word in argv:
        if word.startswith("-") and word != "--dry-run":
            raise UserError(f"unknown option {word!r}: expected --dry-run or key=value")
    options = parse_options([a for a in argv if not a.startswith("-")], OPTIONS, "slurm.")
    for k in ("claims", "experiments"):
        v = options.get(k, "a")
        if not v or isinstance(v, bool | list | dict):
            raise UserError(f"{k}={written(v)}: expected names, such as {k}=a,b")
    if {"claims", "experiments"} <= options.keys():
        raise UserError("experiments=: expected claims= or experiments=, not both")
    for k in ("seeds", "jobs"):
        v = options.get(k, 1)
        if not isinstance(v, int) or isinstance(v, bool) or v < 1:
            raise UserError(f"{k}={written(v)}: expected a whole number of at least 1")
        if v > MOST_SEEDS:
            raise UserError(f"{k}={v}: expected at most {MOST_SEEDS:,}")
    if options.get("launcher", "slurm") not in cluster.LAUNCHERS:
        raise UserError(f"launcher={written(options['launcher'])}: expected one of "
                        f"{', '.join(cluster.LAUNCHERS)}")
    if "launcher" in options:
        cluster.check_launcher(options["launcher"])
    if "launcher" not in options and any(k.startswith("slurm.") for k in options):
        raise UserError("slurm.… needs launcher=slurm")
    if "budget" in options:
        seconds_of(options["budget"])
        if "launcher" in options:
            raise UserError(f"budget={options['budget']}: not with launcher=…, whose jobs have a "
                            "time of their own (slurm.time=…)")
    for k in ("pace", "vectorize"):
        if not isinstance(options.get(k, True), bool):
            raise UserError(f"{k}={written(options[k])}: expected true or false")
    return options


def check_seeds(paper: Paper, wants: Sequence[Wanting], seeds: int) -> None:
    """Refuse more seeds than planned; seeds added until a verdict pleases would prove nothing.

    Raises:
        UserError: more seeds are requested than ``config.yaml`` plans.
    """
    most = max((paper.experiments.planned(e)[-1] for w in wants for e in w.experiments), default=1)
    if seeds > most:
        raise UserError(f"seeds={seeds}: papers/{paper.name}/config.yaml plans {most}; raise the "
                        f"number under its 'seeds' first (seeds: [{most}, {seeds}]); intervals "
                        "then become wider, see papers/README.md")


def runs_to_make(paper: Paper, wants: Sequence[Wanting], options: dict, budget: Budget,
                 ) -> list[PendingRun]:
    """The runs to make, after measuring the speeds that the plan depends on.

    With a short budget nothing is measured; with a longer one, only what decides how many runs are
    trained at the same time.
    """
    jobs, threads = options.get("jobs"), None
    arguments = paper, wants, options.get("seeds"), "claims" in options, jobs
    runs = plan(*arguments)
    if runs and cards():
        return batched(runs) if options.get("vectorize", False) else runs_for_cards(
            paper, runs, options, budget)
    if runs and options.get("pace", True) and budget.left > PACE_PATIENCE:
        patience = min(PACE_PATIENCE, budget.left / 4)
        try:
            if not jobs and len(runs) > 1:
                threads = better_threads(paper, runs[0].experiment, patience)
            if math.isinf(budget.left):
                measure_paces(paper, [(r.experiment, r.threads) for r in plan(*arguments, threads)
                                      if r.seconds is None])
        except UserError as e:
            say(f"speeds stay unknown: {e}")
        runs = plan(*arguments, threads)
    return batched(runs) if options.get("vectorize", False) else runs


def runs_for_cards(paper: Paper, runs: list[PendingRun], options: dict, budget: Budget,
                   ) -> list[PendingRun]:
    """The same runs, with as many seeds of an experiment taking turns on a card as is fastest."""
    together = AT_A_TIME[-2]
    if options.get("pace", True) and budget.left > PACE_PATIENCE:
        try:
            together = how_many_pay(paper, runs[0].experiment, min(60.0, budget.left / 16))
        except UserError as e:
            say(f"speeds stay unknown: {e}")
    return in_turns(runs, together)


def main(argv: list[str]) -> int:
    """The command line; see the module's docstring.

    Returns:
        0, or 1 if a run failed.
    """
    if asks_for_help(argv or ["--help"], __doc__):
        return 0
    (paper,) = papers(argv[:1])
    starting = start_up()
    with as_typed(argv):
        options = options_of(argv[1:])
    budget = Budget(str(options.get("budget", "")))
    names = options.get("experiments")
    claims = chosen_claims(paper, options.get("claims")) if names is None else []
    wants: Sequence[Wanting] = claims if names is None else [named(paper, str(names))]
    check_seeds(paper, wants, options.get("seeds", 1))
    check_metrics(paper, claims)
    ready = functools.partial(finished_and_measured, paper, claims)
    jobs = options.get("jobs") or cards() or None  # one process per card is fastest
    if "--dry-run" in argv:
        runs = runs_to_make(paper, wants, {"pace": False, **options}, budget)
        print(show(runs, jobs, starting) if runs else "nothing to run")
        if any(r.seconds is None or r.at_most for r in runs) and "pace" not in options:
            print("(pace=true measures speeds that are not known)")
        return 0
    there = finished_before(paper, wants, options.get("seeds")) if "claims" in options else []
    about_report = f"report: papers/{paper.name}/REPORT.md"
    with locked(runs_root() / paper.name,
                f"another process is reproducing {paper.name}"), terminated_like_ctrl_c():
        runs, outcome = runs_to_make(paper, wants, options, budget), Outcome()
        if runs:
            say_uncommitted()
            print(show(runs, jobs, starting), flush=True)
            if "launcher" in options:
                outcome = cluster.submit_runs(runs, options["launcher"], {
                    k.removeprefix("slurm."): v for k, v in options.items()
                    if k.startswith("slurm.")}, ready)
            else:
                try:
                    outcome = make_runs(runs, jobs, ready, budget.before(kept_for_report(budget)),
                                        starting)
                except Interrupted as e:
                    raise said_of(paper, e) from e
            about_report = report_in_time(paper.name, budget)
    if there:
        print(f"finished before, nothing was trained: {', '.join(there)} (train.py with "
              "fresh=true trains anew)")
    if "claims" in options:
        print(outcome_by_claim(paper, Paper(paper.folder), claims, runs, outcome))
    if "claims" not in options or not about_report.startswith("report: "):
        print(about_report)
    if left := left_over(paper, outcome):
        print(left)
    for run, why in outcome.failed:
        say(f"{run.name} failed: {why}")
    return 1 if outcome.failed else 0
