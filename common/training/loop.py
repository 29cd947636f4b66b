"""The training loop that all papers share: steps, logs, evaluations, checkpoints, resuming."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.config import TrainConfig
from common.errors import Paused, UserError
from common.files import empty_folder, locked, shown
from common.segments import Origin, Segment
from common.training import distributed, start
from common.training.budget import Budget
from common.training.progress import Progress
from common.training.recipe import Recipe
from common.training.run import Run as Run
from common.training.steps import OneByOne, Steps, steps_of


@dataclass(frozen=True)
class Ended:
    """The outcome of a run that was trained to its last step.

    Attributes:
        metrics: the final evaluation.
        seconds: training time of all attempts.
        segments: the provenance of each attempt.
        first_losses: losses of the first updates.
    """

    metrics: dict[str, float]
    seconds: float
    segments: list[Segment]
    first_losses: list[float]


def run(recipe: Recipe, folder: Path, name: str, origin: Origin,
        budget: Budget | None = None) -> Ended:
    """Train a recipe to its last step, resuming if ``folder`` holds a checkpoint.

    Args:
        recipe: what to train.
        folder: the run's folder, for checkpoints and metrics.
        name: the run's name in messages.
        origin: the provenance of this process, stored in the checkpoint.
        budget: a limit on the time.

    Raises:
        UserError: the folder holds another configuration's checkpoint, another process is training
            in it, it cannot be written, the loss or a weight is not finite, or a metric is NaN.
        Paused: the budget ended first; a checkpoint of the last update was written.
    """
    (ended,) = run_all([recipe], [folder], [name], origin, budget=budget)
    return ended


def run_all(recipes: Sequence[Recipe], folders: Sequence[Path], names: Sequence[str],
            origin: Origin, together: Callable[[Sequence[Recipe]], Any] | None = None,
            budget: Budget | None = None, source: start.LoadWeights | None = None,
            precisions: Mapping[str, Collection[str]] | None = None,
            record: Callable[[int, Ended], None] = lambda k, ended: None) -> list[Ended]:
    """Train several runs in this process, each with a folder of its own.

    Args:
        recipes, folders, names: one of each per run, see :func:`run`.
        origin: the provenance of this process.
        together: combines the recipes into one object that makes their steps as one, such as
            :class:`common.training.vectorised.BatchedSeeds`. Without it each run makes its own
            steps and the runs take turns, which keeps a graphics card busy.
        budget: a limit on the time.
        source: loads the weights for runs with ``start_from``.
        precisions: the precisions that count, by experiment, see
            :func:`common.config.same_run`; None: a run goes on in its own only.
        record: called with the number and the outcome of every run when all have ended, in the
            first process only. The folders are still locked: what it reads there is this run's.

    Raises:
        UserError: see :func:`run`; or the runs are combined but stand at different steps; or the
            weights to start from cannot be used, see :func:`common.training.start.begin`. If one
            of several runs that take turns fails, the others still finish.
        Paused: see :func:`run`.
    """
    budget = budget or Budget()
    with contextlib.ExitStack() as locks:
        for folder in folders if distributed.rank() == 0 else ():
            locks.enter_context(
                locked(folder, f"another process is training in {shown(folder)}"))
        begin_anew(recipes, folders)
        locks.enter_context(budget.ended_by_sigterm())
        runs = [Run(recipe, folder, name, origin, len(recipes), source,
                    (precisions or {}).get(recipe.config.experiment, ()))
                for recipe, folder, name in zip(recipes, folders, names, strict=True)]
        for r in runs:
            locks.callback(r.close)
        if together is not None:
            if len({r.first for r in runs}) > 1:
                at = ", ".join(f"{r.name} at {r.first}" for r in runs)
                raise UserError("runs in one batched network have to be at the same step: "
                                f"{at}; finish them one by one")
            joined = together(recipes)
            take_turns([advance(runs, OneByOne(joined), budget, joined.gather)])
        else:
            take_turns([advance([r], steps_of(r.recipe, r.recipe.config.train.steps), budget)
                        for r in runs])
        ended = [Ended(r.metrics, r.seconds, r.segments, r.first_losses) for r in runs]
        for k, of_run in enumerate(ended) if distributed.rank() == 0 else ():
            record(k, of_run)
    return ended


def begin_anew(recipes: Sequence[Recipe], folders: Sequence[Path]) -> None:
    """Empty the folders of runs with ``fresh=true``; this process has locked them.

    Raises:
        UserError: a file in them cannot be removed.
    """
    for recipe, folder in zip(recipes, folders, strict=True):
        if recipe.config.fresh and distributed.rank() == 0 and folder.is_dir():
            try:
                empty_folder(folder)
            except OSError as e:
                raise UserError(f"fresh=true: cannot empty {shown(folder)}: {e.strerror}") from e
    distributed.anywhere(False)  # the other processes wait here until the folders are empty


def take_turns(runs: Sequence[Iterator[None]]) -> None:
    """Advance several runs in turn until all have ended.

    Raises:
        UserError, Paused: raised by the first run that did not reach its last step (a UserError
            takes precedence), after the others have ended.
    """
    active, failures = list(runs), []
    while active:
        for each in list(active):
            try:
                next(each)
            except StopIteration:
                active.remove(each)
            except (UserError, Paused) as e:
                active.remove(each)
                failures.append(e)
    if failures:
        raise next((e for e in failures if isinstance(e, UserError)), failures[0])


def advance(runs: Sequence[Run], steps: Steps, budget: Budget,
            gather: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Train one run, or several in lockstep, to the last step; yields when others may have a turn.

    Args:
        runs: the runs, all at the same step.
        steps: makes their steps.
        budget: a limit on the time.
        gather: called before the recipes' state is read.

    Raises:
        UserError, Paused: see :func:`run`.
    """
    one = runs[0]
    train = one.recipe.config.train
    at_once = one.recipe.device.type == "cpu"  # elsewhere reading a loss waits for the device
    progress = Progress(one.name if len(runs) == 1 else f"{one.name} and {len(runs) - 1} more",
                        one.first, train.steps)
    step = one.first
    for r in runs:
        r.recipe.train_mode()
    try:
        while step < train.steps:
            stops = False
            for made in steps.take(step, next_look(train, step)):
                step = made
                if at_once:
                    see(runs, steps)
                progress.update(step)
                if stops := over(budget):
                    break
                yield
            see(runs, steps)
            gather()
            last = step == train.steps
            stops = stops and not last
            due = last or stops or distributed.anywhere(one.due(step))
            with steps.at_work():
                look(runs, step, due, progress)
            if stops:
                raise Paused(f"{one.name}: {budget.why}; stopped at step {step} of "
                             f"{train.steps}, the same command goes on from there")
        with steps.at_work():
            for r in runs:
                r.finish()
    except KeyboardInterrupt as e:
        raise KeyboardInterrupt(one.interrupted) from e
    except OSError as e:
        raise UserError(f"{one.name}: cannot write {shown(one.folder)}: {e.strerror}; the "
                        f"checkpoint of step {one.good} is kept") from e
    finally:
        progress.close()


def next_look(train: TrainConfig, step: int) -> int:
    """The next step after which a log line, an evaluation or a checkpoint is due."""
    return min(train.steps, *(step + n - step % n for n in (
        train.log_every, train.eval_every, train.checkpoint_every)))


def see(runs: Sequence[Run], steps: Steps) -> None:
    """Give every run the losses of the steps made since the last call."""
    for losses in steps.losses():
        for r, value in zip(runs, losses, strict=True):
            r.see(value)


def over(budget: Budget) -> bool:
    """Whether the budget has ended in this process or in one that trains with it."""
    stops = distributed.anywhere(budget.over)
    if stops and not budget.over:  # another process was asked to end
        budget.stop()
    return stops


def look(runs: Sequence[Run], step: int, due: bool, progress: Progress) -> None:
    """Log, evaluate and write checkpoints as due after a step.

    Args:
        runs: the runs that have made the step.
        step: number of updates made.
        due: whether a checkpoint is due.
        progress: shows the loss and the metrics.
    """
    for r in runs:
        train = r.recipe.config.train
        last = step == train.steps
        if step % train.log_every == 0 or last:
            progress.loss = r.log(step)
        if step % train.eval_every == 0 and not last:
            r.evaluate(step)
            progress.metrics = r.metrics
        if due:
            r.save(step)
