"""Runs as jobs of a cluster, through submitit.

A job is the command that a user would type. When the cluster preempts it or its time limit ends,
submitit requeues it and it resumes from its checkpoint.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from common.errors import UserError
from common.files import ROOT, runs_root, shown
from common.running.plan import Outcome, PendingRun

try:
    from submitit import AutoExecutor
    from submitit.helpers import Checkpointable
except ImportError:  # an optional extra
    AutoExecutor, Checkpointable = None, object  # type: ignore[assignment, misc]  # no submitit

LAUNCHERS = ("slurm", "local")
"""``slurm``, or ``local``, with which submitit uses processes on this machine instead."""

POLL = 1.0
"""Seconds between polls of the jobs."""


class ClusterJob(Checkpointable):
    """A training command as a job; if it is requeued, it does what is left.

    Args:
        command: see :attr:`common.running.plan.PendingRun.command`.
    """

    def __init__(self, command: list[str]):
        self.command = command

    def __call__(self) -> None:
        """Train.

        Raises:
            RuntimeError: the command failed; the message is its last line.
        """
        done = subprocess.run(self.command, cwd=ROOT, text=True, stdin=subprocess.DEVNULL,
                              stderr=subprocess.PIPE)
        sys.stderr.write(done.stderr)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no output"]
            raise RuntimeError(lines[-1])


def check_launcher(launcher: str) -> None:
    """Make sure that a launcher can submit jobs.

    Raises:
        UserError: submitit or slurm is not installed.
    """
    if AutoExecutor is None:
        raise UserError(f"launcher={launcher}: needs submitit; pip install -e '.[cluster]'")
    if launcher == "slurm" and shutil.which("sbatch") is None:
        raise UserError("launcher=slurm: there is no sbatch here; type this on a machine that "
                        "submits to slurm")


def submit_runs(runs: Sequence[PendingRun], launcher: str, parameters: dict[str, Any],
                finished: Callable[[PendingRun], bool]) -> Outcome:
    """Submit the runs as jobs and wait for them; the jobs go on if this process is stopped.

    A run that needs others is submitted when they are done.

    Args:
        runs: what to train.
        launcher: one of LAUNCHERS.
        parameters: slurm's parameters, such as ``partition`` or ``time``.
        finished: whether a run has a result; a run that ended without one counts as paused.

    Raises:
        UserError: there is no such parameter.
    """
    executor = AutoExecutor(runs_root() / "jobs", cluster=launcher)
    try:
        executor.update_parameters(
            name="papers-to-code", timeout_min=24 * 60, cpus_per_task=max(r.threads for r in runs),
            **{f"slurm_{k}": v for k, v in parameters.items()})
    except (NameError, TypeError, ValueError) as e:
        raise UserError(f"slurm parameters {parameters}: {e}") from e
    outcome, count, ended = Outcome(waiting=list(runs)), len(runs), 0
    waiting: dict[Any, PendingRun] = {}
    while True:
        while (ready := outcome.ready(waiting.values())) is not None:
            outcome.waiting.remove(ready)
            waiting[executor.submit(ClusterJob(ready.command))] = ready
        if not waiting:
            return outcome
        time.sleep(POLL)
        for job in [j for j in waiting if j.done()]:
            run, error = waiting.pop(job), job.exception()
            if error is not None:
                _, _, why = str(error).rpartition("RuntimeError: ")  # drops submitit's traceback
                outcome.failed.append((run, f"{why.strip().splitlines()[0]}; its log: "
                                            f"{shown(job.paths.stderr)}"))
            elif not finished(run):
                outcome.paused.append(run)
            how = "FAILED" if error else "paused" if run in outcome.paused else "done"
            ended += 1
            print(f"[{ended}/{count}] {run.name}: {how} (job {job.job_id})", flush=True)
