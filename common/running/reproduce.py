"""Everything a report still lacks, in one command.

    papers reproduce batchnorm                      # all its claims, three seeds
    papers reproduce batchnorm claims=fig1a-bn-10k seeds=1
    papers reproduce resnet --dry-run               # the plan and its cost, nothing more

    claims=a,b       only these claims; their runs are made here even if results are committed
    seeds=3          seeds 0, 1, 2
    jobs=2           so many runs at a time, sharing the cores; without it one thread each and as
                     many as there are cores, or one after the other with all cores, whichever
                     the paper's first steps show to be faster here
    vectorize=true   the seeds of an experiment as one batched network, for small networks
    launcher=slurm   every run is a job of a cluster; slurm.partition=… and so on go to slurm
    pace=false       do not measure the speed of experiments that nobody has run yet

Runs that have a current result are left out. Stopped at any point, the same command goes on where
it was. A run that fails is reported at the end and stops no other.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

import torch

from common.errors import UserError, nearest
from common.evidence import report, results
from common.evidence.claims import ENOUGH_SEEDS, Claim, Paper, papers
from common.experiments import parse_arguments
from common.files import ROOT, locked, runs_root, shown
from common.running import cluster
from common.training import checkpoint
from common.training.loop import duration

OPTIONS = ("claims", "seeds", "jobs", "vectorize", "launcher", "pace")
PACE_PATIENCE = 180.0
"""Seconds an experiment's first steps may take before its speed stays unknown."""

CONTENTION = 1.1
"""How much slower runs side by side are taken to be than the same runs alone on their cores."""


@dataclass(frozen=True)
class Run:
    """One experiment that has to be trained, with one seed or with several side by side.

    Attributes:
        paper, experiment, seeds: which.
        why: ``missing``, ``stale`` or ``asked for``.
        left: updates still to be made.
        threads: CPU threads it takes.
        seconds: how long that takes, or None where no speed was measured.
        elsewhere: the processors on which the speed was measured, other than this one.
    """

    paper: str
    experiment: str
    seeds: tuple[int, ...]
    why: str
    left: int
    threads: int
    seconds: float | None
    elsewhere: tuple[str, ...]

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
        return [*words, "train.vectorize=true"] if len(self.seeds) > 1 else words


def train_command(paper: str) -> list[str]:
    """The program of a paper's ``train.py``."""
    return [sys.executable, str(ROOT / "papers" / paper / "train.py")]


def cores() -> int:
    """CPU cores this process may use."""
    with contextlib.suppress(AttributeError):  # not on every system
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def chosen_claims(paper: Paper, ids: str | None) -> list[Claim]:
    """The claims with these comma-separated ids, or all.

    Raises:
        UserError: there is no such claim.
    """
    known = {c.id: c for c in paper.claims}
    names = list(known) if ids is None else str(ids).split(",")
    for name in names:
        if name not in known:
            raise UserError(f"claims={name}: {paper.name} has no such claim{nearest(name, known)}")
    return [known[n] for n in names]


def plan(paper: Paper, claims: Sequence[Claim], seeds: int, again: bool = False,
         jobs: int | None = None, threads: int | None = None) -> list[Run]:
    """The runs these claims still need: seed 0 of every experiment, then seed 1 …

    Args:
        paper: whose claims.
        claims: in the order in which they are to be settled.
        seeds: how many.
        again: also make runs whose result is committed, unless they were finished here.
        jobs: how many runs share the cores, or None.
        threads: of a run whose configuration does not say, where ``jobs`` is None; None: all.
    """
    found = []
    for seed in range(seeds):
        for name in dict.fromkeys(e for c in claims for e in c.experiments
                                  if seed == 0 or not c.repeatable):
            committed = {r.seed: r for r in paper.results.get(name, [])}.get(seed)
            here = finished_here(paper, name, seed)
            if committed is None:
                why = "missing"
            elif not results.is_current(committed, paper.config(name), paper.experiments):
                why = "stale"
            elif again and not here:
                why = "asked for"
            else:
                continue
            config = paper.config(name).train
            takes = max(1, cores() // jobs) if jobs else min(
                config.threads or threads or cores(), cores())
            done = config.steps if here else checkpoint.newest_step(
                run_folder(paper.name, name, seed))
            pace, elsewhere = known_pace(paper, name, takes)
            left = config.steps - done
            found.append(Run(paper.name, name, (seed,), why, left, takes,
                             None if pace is None else left * pace, elsewhere))
    return found


def side_by_side(runs: Sequence[Run]) -> list[Run]:
    """The same runs with the seeds of an experiment joined where they stand at the same step."""
    joined: dict[tuple[str, int], Run] = {}
    for r in runs:
        there = joined.get((r.experiment, r.left))
        joined[r.experiment, r.left] = r if there is None else replace(
            there, seeds=there.seeds + r.seeds,
            seconds=None if r.seconds is None else there.seconds + r.seconds)
    return list(joined.values())


def run_folder(paper: str, experiment: str, seed: int) -> Path:
    """Where a run's checkpoints lie."""
    return runs_root() / paper / experiment / f"seed{seed}"


def finished_here(paper: Paper, experiment: str, seed: int) -> bool:
    """Whether ``runs/`` holds the run, finished, in the experiment's present configuration."""
    path = run_folder(paper.name, experiment, seed) / "result.json"
    try:
        return path.exists() and results.is_current(
            results.parse(path, paper.schema), paper.config(experiment), paper.experiments)
    except UserError:
        return False


def this_processor() -> str:
    """The processor of this machine, as paces name it."""
    return results.processor(results.provenance()["hardware"])


def paces_here(paper: Paper, experiment: str) -> dict[int, float]:
    """Seconds per step as ``train.py --pace`` measured them on this machine, by threads."""
    found = results.read_pace(runs_root() / paper.name / experiment, paper.config(experiment))
    return found.seconds if found and found.cpu == this_processor() else {}


def known_pace(paper: Paper, experiment: str, threads: int
               ) -> tuple[float | None, tuple[str, ...]]:
    """Seconds per step of an experiment, from ``--pace`` here, a committed result or pace.

    Returns:
        The seconds, None if nothing was measured; and the processors other than this one.
    """
    here = paces_here(paper, experiment)
    if here:
        return here.get(threads, min(here.values())), ()
    config = paper.config(experiment)
    made = paper.results.get(experiment, [])
    run = next((r for r in made if results.is_current(r, config, paper.experiments)), None)
    if run is not None:
        its = [results.processor(s["hardware"]) for s in run.record["segments"]]
        seconds = run.record["seconds"] / run.record["config"]["train"]["steps"]
    elif kept := results.read_pace(paper.folder / "results" / experiment, config):
        its, seconds = [kept.cpu], kept.best()[1]
    else:
        return None, ()
    return seconds, tuple(p for p in dict.fromkeys(its) if p != this_processor())


def measure_paces(paper: Paper, wanted: Iterable[tuple[str, int]]) -> None:
    """Let ``train.py --pace`` measure (experiment, threads) that it has not measured yet.

    Raises:
        UserError: it ended in an error, which the others would meet too.
    """
    for experiment, threads in wanted:
        if threads in paces_here(paper, experiment):
            continue
        print(f"measuring the speed of {experiment} with {threads} thread{'s' * (threads > 1)} …",
              file=sys.stderr, flush=True)
        with contextlib.suppress(subprocess.TimeoutExpired):
            done = subprocess.run(
                [*train_command(paper.name), f"experiment={experiment}",
                 f"train.threads={threads}", "--pace"], cwd=ROOT, stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE, text=True, errors="replace", timeout=PACE_PATIENCE)
            if done.returncode:
                last = (done.stderr.strip().splitlines() or ["no output"])[-1]
                raise UserError(last.removeprefix("error: "))


def better_threads(paper: Paper, experiment: str) -> int:
    """1 where runs side by side get more done here than one with all cores, else all cores.

    Raises:
        UserError: see :func:`measure_paces`.
    """
    all_ = cores()
    measure_paces(paper, [(experiment, 1), (experiment, all_)])
    found = paces_here(paper, experiment)
    if not {1, all_} <= found.keys():
        return all_
    return 1 if CONTENTION * found[1] < all_ * found[all_] else all_


def show(runs: Sequence[Run], jobs: int | None) -> str:
    """The plan as a table, and what it costs."""
    width = max(len(r.name) for r in runs) + 2
    lines = [f"{'run':<{width}}{'why':<11}{'steps left':>10}{'threads':>9}{'time':>10}"]
    for r in runs:
        time_ = "?" if r.seconds is None else duration(r.seconds)
        lines.append(f"{r.name:<{width}}{r.why:<11}{r.left:>10,}{r.threads:>9}{time_:>10}")
    total = sum(r.seconds or 0 for r in runs) / at_a_time(runs, jobs)
    unknown = sum(r.seconds is None for r in runs)
    parts = [f"{count(len(runs) - unknown)}, about {duration(total)} on {cores()} cores",
             f"{count(unknown)} whose speed is not known"]
    lines.append(", and ".join(parts[unknown == len(runs):1 + (unknown > 0)]))
    elsewhere = sorted({p for r in runs for p in r.elsewhere})
    if elsewhere:
        lines.append(f"(speeds partly measured on another machine: {', '.join(elsewhere)})")
    return "\n".join(lines)


def count(runs: int) -> str:
    """A number of runs in words."""
    return f"{runs} run{'s' * (runs != 1)}"


def at_a_time(runs: Sequence[Run], jobs: int | None) -> int:
    """How many of these runs go at a time."""
    return min(len(runs), jobs or max(1, cores() // max(r.threads for r in runs)))


@dataclass
class Process:
    """A run that is being trained."""

    run: Run
    process: subprocess.Popen
    started: float
    slot: int


def start(run: Run, slot: int) -> Process:
    """Start a run's process; its output goes to ``log.txt`` in its folder.

    It dies with this process (on Linux), and takes the graphics card ``slot`` where there are any.

    Raises:
        UserError: the run's folder cannot be written.
    """
    environment = os.environ | {"OMP_NUM_THREADS": str(run.threads)}
    if torch.cuda.device_count() > 1:
        environment["CUDA_VISIBLE_DEVICES"] = str(slot % torch.cuda.device_count())
    try:
        run.folder.mkdir(parents=True, exist_ok=True)
        with open(run.folder / "log.txt", "ab") as log:
            process = subprocess.Popen(run.command, cwd=ROOT, env=environment, stdout=log,
                                       stderr=log, stdin=subprocess.DEVNULL, preexec_fn=die_with)
    except OSError as e:
        raise UserError(f"cannot write the run's folder {shown(run.folder)}: {e.strerror}; choose "
                        "another with $PAPERS_RUNS") from e
    return Process(run, process, time.monotonic(), slot)


def die_with() -> None:
    """Ask the kernel to end this process when its parent ends, however that ends."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def last_line(run: Run) -> str:
    """What a run said last."""
    with contextlib.suppress(OSError, IndexError):
        return (run.folder / "log.txt").read_text(errors="replace").strip().splitlines()[-1]
    return "no output"


def carry_out(runs: Sequence[Run], jobs: int | None) -> list[tuple[Run, str]]:
    """Train the runs, several at a time, and say how each ended.

    Returns:
        The runs that failed, each with its reason.
    """
    waiting, active, failed, done = list(runs), [], [], 0
    limit = jobs or cores()
    try:
        while waiting or active:
            used = len(active) if jobs else sum(p.run.threads for p in active)
            while waiting and (not active or used + (1 if jobs else waiting[0].threads) <= limit):
                slots = {p.slot for p in active}
                active.append(start(waiting.pop(0), min(set(range(limit + 1)) - slots)))
                used += 1 if jobs else active[-1].run.threads
            time.sleep(0.05)
            for p in [p for p in active if p.process.poll() is not None]:
                active.remove(p)
                done += 1
                code, took = p.process.returncode, duration(time.monotonic() - p.started)
                if code:
                    how = f"ended by signal {-code}" if code < 0 else last_line(p.run)
                    failed.append((p.run, f"{how}; its log: {shown(p.run.folder / 'log.txt')}"))
                left = sum(r.seconds or 0 for r in waiting) / at_a_time(runs, jobs)
                print(f"[{done}/{len(runs)}] {p.run.name}: {'FAILED' if code else 'done'} after "
                      f"{took}" + (f", about {duration(left)} to go" if left else ""), flush=True)
    finally:
        for p in active:
            p.process.terminate()
        for p in active:
            p.process.wait()
    return failed


@contextlib.contextmanager
def terminated_like_ctrl_c() -> Iterator[None]:
    """Let SIGTERM end this process as Ctrl-C does, runs and all."""
    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def verdicts(paper: Paper, claims: Sequence[Claim]) -> str:
    """Published value, measured value and verdict of each claim."""
    lines = []
    for c in claims:
        j = paper.judge(c)
        published = "–" if c.published is None else report.number(c.published, c.show)
        lines.append(f"{c.id}: published {published}, measured {report.measured(j)}: {j.verdict}")
        if j.verdict == "not run" and c.because:
            lines.append(f"    {c.because}")
    return "\n".join(lines)


def options_of(argv: list[str]) -> dict:
    """The command line's keys.

    Raises:
        UserError: an unknown key or flag, or a value out of range.
    """
    for word in argv:
        if word.startswith("-") and word != "--dry-run":
            raise UserError(f"unknown option {word!r}: expected --dry-run or key=value")
    experiment, _, options = parse_arguments([a for a in argv if not a.startswith("-")])
    if experiment is not None:
        options["experiment"] = experiment
    for k in options:
        if k not in OPTIONS and not k.startswith("slurm."):
            raise UserError(f"unknown key {k!r}{nearest(k, OPTIONS)}")
    for k in ("seeds", "jobs"):
        v = options.get(k, 1)
        if not isinstance(v, int) or isinstance(v, bool) or v < 1:
            raise UserError(f"{k}={v}: expected a whole number of at least 1")
    if options.get("launcher", "slurm") not in cluster.LAUNCHERS:
        raise UserError(f"launcher={options['launcher']}: expected one of "
                        f"{', '.join(cluster.LAUNCHERS)}")
    if "launcher" in options:
        cluster.check(options["launcher"])
    if "launcher" not in options and any(k.startswith("slurm.") for k in options):
        raise UserError("slurm.… needs launcher=slurm")
    for k in ("pace", "vectorize"):
        if not isinstance(options.get(k, True), bool):
            raise UserError(f"{k}={options[k]}: expected true or false")
    return options


def main(argv: list[str]) -> int:
    """The command line; see the module's text.

    Returns:
        0, or 1 if a run failed.
    """
    if not argv or {"--help", "-h"} & set(argv):
        print(__doc__.strip())
        return 0
    (paper,) = papers(argv[:1])
    options = options_of(argv[1:])
    claims = chosen_claims(paper, options.get("claims"))
    seeds, jobs = options.get("seeds", ENOUGH_SEEDS), options.get("jobs")

    def planned() -> list[Run]:
        arguments = paper, claims, seeds, "claims" in options, jobs
        runs = plan(*arguments)
        if runs and options.get("pace", True):
            threads = None
            try:
                if not jobs and len(runs) > 1:
                    threads = better_threads(paper, runs[0].experiment)
                measure_paces(paper, [(r.experiment, r.threads) for r in plan(*arguments, threads)
                                      if r.seconds is None])
            except UserError as e:
                print(f"speeds stay unknown: {e}", file=sys.stderr, flush=True)
            runs = plan(*arguments, threads)
        return side_by_side(runs) if options.get("vectorize", False) else runs
    if "--dry-run" in argv:
        runs = planned()
        print(show(runs, jobs) if runs else "nothing to run")
        return 0
    with locked(runs_root() / paper.name,
                f"another process is reproducing {paper.name}"), terminated_like_ctrl_c():
        runs, failed = planned(), []
        if runs:
            print(show(runs, jobs), flush=True)
            if "launcher" in options:
                failed = cluster.carry_out(runs, options["launcher"], {
                    k.removeprefix("slurm."): v for k, v in options.items()
                    if k.startswith("slurm.")})
            else:
                failed = carry_out(runs, jobs)
            report.main([paper.name])
    print(verdicts(Paper(paper.folder), claims) if "claims" in options else
          f"report: papers/{paper.name}/REPORT.md")
    for run, why in failed:
        print(f"{run.name} failed: {why}", file=sys.stderr)
    return 1 if failed else 0
