"""The training loop every paper shares: steps, logs, evaluations, checkpoints, resuming."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.config import completed, differences, identity
from common.errors import Paused, UserError
from common.files import empty, locked, shown
from common.segments import Origin, Segment
from common.training import checkpoint, distributed, start, tracking
from common.training.budget import Budget
from common.training.progress import Progress
from common.training.recipe import Recipe
from common.training.steps import OneByOne, Steps, steps_of


@dataclass(frozen=True)
class Ended:
    """How a run ended.

    Attributes:
        metrics: of the final step.
        seconds: training time of all attempts.
        segments: the provenance of each.
        first_losses: of the first updates.
    """

    metrics: dict[str, float]
    seconds: float
    segments: list[Segment]
    first_losses: list[float]


FIRST = 20
"""So many losses of a run's beginning are kept, where rounding has not yet grown: they tell whether
code still computes what it did."""

COSTLY, SHARE = 0.5, 0.05
"""Checkpoints that take longer than COSTLY seconds take at most this share of the time; those of
all runs that take turns together."""


def run(recipe: Recipe, folder: Path, name: str, origin: Origin,
        budget: Budget | None = None) -> Ended:
    """Train a recipe to its last step, resuming where ``folder`` holds a checkpoint.

    Args:
        recipe: what to train.
        folder: the run's folder, for checkpoints and metrics.
        name: the run's name in messages.
        origin: the provenance of this process, kept with the checkpoint.
        budget: when to stop sooner.

    Raises:
        UserError: the folder holds another configuration's checkpoint, another process trains in
            it, it cannot be written, or the loss is no longer finite.
        Paused: the budget was over first; a checkpoint of the last update is written.
    """
    (ended,) = run_all([recipe], [folder], [name], origin, budget=budget)
    return ended


def run_all(recipes: Sequence[Recipe], folders: Sequence[Path], names: Sequence[str],
            origin: Origin, together: Callable[[Sequence[Recipe]], Any] | None = None,
            budget: Budget | None = None, source: start.Source | None = None) -> list[Ended]:
    """Train several runs of this process, each with a folder of its own.

    Args:
        recipes, folders, names: of each run, see :func:`run`.
        origin: the provenance of this process.
        together: makes of the recipes what takes their steps as one, such as
            :class:`common.training.vectorised.SideBySide`. Without it each run takes its own
            steps, and they take turns, which fills a graphics card.
        budget: when to stop sooner.
        source: finds the weights of runs that start from some.

    Raises:
        UserError: see :func:`run`; or the runs are to be trained as one and stand at different
            steps. Runs that take turns go on when one of them fails.
            Or the weights to start from cannot be used, see :func:`common.training.start.begin`.
        Paused: see :func:`run`.
    """
    budget = budget or Budget()
    with contextlib.ExitStack() as locks:
        for folder in folders if distributed.rank() == 0 else ():
            locks.enter_context(
                locked(folder, f"another process is training in {shown(folder)}"))
        begin_anew(recipes, folders)
        locks.enter_context(budget.ended_by_sigterm())
        runs = [Run(recipe, folder, name, origin, len(recipes), source)
                for recipe, folder, name in zip(recipes, folders, names, strict=True)]
        for r in runs:
            locks.callback(r.close)
        if together is not None:
            if len({r.first for r in runs}) > 1:
                raise UserError("runs side by side have to stand at the same step: " + ", ".join(
                    f"{r.name} at {r.first}" for r in runs) + "; finish them one by one")
            joined = together(recipes)
            take_turns([advance(runs, OneByOne(joined), budget, joined.gather)])
        else:
            take_turns([advance([r], steps_of(r.recipe, r.recipe.config.train.steps), budget)
                        for r in runs])
    return [Ended(r.metrics, r.seconds, r.segments, r.first_losses) for r in runs]


def begin_anew(recipes: Sequence[Recipe], folders: Sequence[Path]) -> None:
    """Empty the folders of runs that are to start anew, which this process holds.

    Raises:
        UserError: something in them cannot be removed.
    """
    for recipe, folder in zip(recipes, folders, strict=True):
        if recipe.config.fresh and distributed.rank() == 0 and folder.is_dir():
            try:
                empty(folder)
            except OSError as e:
                raise UserError(f"fresh=true: cannot empty {shown(folder)}: {e.strerror}") from e
    distributed.anywhere(False)  # the others look into the folders when that is done


def take_turns(runs: Sequence[Iterator[None]]) -> None:
    """Let runs advance in turn to their ends.

    Raises:
        UserError, Paused: how the first one ended that did not reach its last step; the others
            were carried on.
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
    """Take a run to its last step, or several in step; yields whenever others may have a turn.

    Args:
        runs: what is trained; at the same step.
        steps: takes their steps.
        budget: when to stop sooner.
        gather: called before the runs' recipes are looked at.

    Raises:
        UserError, Paused: see :func:`run`.
    """
    one = runs[0]
    train = one.recipe.config.train
    at_once = one.recipe.device.type == "cpu"  # elsewhere reading a loss waits for the device
    progress = Progress(one.name if len(runs) == 1 else f"{one.name} and {len(runs) - 1} more",
                        one.first, train.steps)
    step = seen = one.first
    for r in runs:
        r.recipe.train_mode()

    def see() -> None:
        nonlocal seen
        for losses in steps.losses():
            seen += 1
            for r, value in zip(runs, losses, strict=True):
                r.see(value, seen)

    try:
        while step < train.steps:
            until = min(train.steps, *(step + n - step % n for n in (
                train.log_every, train.eval_every, train.checkpoint_every)))
            for made in steps.take(step, until):
                step = made
                if at_once:
                    see()
                progress.update(step)
                stops = distributed.anywhere(budget.over)
                if stops:
                    if not budget.over:  # another process was asked to end
                        budget.stop()
                    break
                yield
            see()
            gather()
            last = step == train.steps
            stops = stops and not last
            due = last or stops or distributed.anywhere(one.due(step))
            with steps.at_work():
                for r in runs:
                    if step % train.log_every == 0 or last:
                        progress.loss = r.log(step)
                    if step % train.eval_every == 0 and not last:
                        r.evaluate(step)
                        progress.metrics = r.metrics
                    if due:
                        r.save(step)
            if stops:
                raise Paused(f"{one.name}: {budget.why}; stopped at step {step} of "
                             f"{train.steps}, the same command goes on from there")
        with steps.at_work():
            for r in runs:
                r.finish()
    except OSError as e:
        raise UserError(f"{one.name}: cannot write {shown(one.folder)}: {e.strerror}; the "
                        f"checkpoint of step {one.good} is kept") from e
    finally:
        progress.close()


class Run:
    """One run's folder: what was loaded from it, and what goes into it.

    Attributes:
        first: the step it starts from.
        finished: whether the final evaluation is in its checkpoint.
        good: the step of its newest checkpoint.
        tracker: writes the metrics; None where another process writes to the folder.
        seconds: training time of all attempts, its share where several train side by side.
        metrics: of the newest evaluation.
        first_losses: of the first updates; fewer where the run began before they were kept.
    """

    def __init__(self, recipe: Recipe, folder: Path, name: str, origin: Origin,
                 companions: int = 1, source: start.Source | None = None):
        self.recipe, self.folder, self.name, self.companions = recipe, folder, name, companions
        self.fixed = identity(recipe.config) | {"data.fingerprint": recipe.data.fingerprint}
        self.first, self.seconds, self.finished = 0, 0.0, False
        self.window: list[float] = [0.0, 0]
        segments: list[Segment] = []
        self.first_losses: list[float] = []
        self.metrics: dict[str, float] = {}
        saved = checkpoint.of_run(folder)
        if saved is not None:
            there = completed(saved.config, recipe.config)
            if there != self.fixed:
                raise UserError(f"{shown(folder)} holds a run of another configuration: "
                                f"{', '.join(differences(there, self.fixed))}; add fresh=true to "
                                "discard it")
            recipe.load_state(saved.recipe)
            checkpoint.set_random_states(saved.random)
            self.first, self.window, self.seconds = saved.step, saved.window, saved.seconds
            segments, self.metrics, self.finished = saved.segments, saved.metrics, saved.finished
            self.first_losses = saved.first_losses
        else:
            start.begin(recipe, source)
        began = {"started_from": recipe.started_from} if recipe.started_from else {}
        mine = [] if self.finished else [
            Segment.model_validate(origin.written() | {"from_step": self.first} | began)]
        self.segments = [*segments, *mine]  # who only looks at a finished run had no share in it
        self.good = self.first
        evaluated = self.finished or self.first < recipe.config.train.steps
        lines = saved.lines if saved else None
        self.tracker = None if distributed.rank() else tracking.Tracker(
            folder, recipe.config, self.first, name, evaluated, lines)
        self.before, self.started = self.seconds, time.perf_counter()
        self.saved_at, self.cost = self.started, 0.0

    def see(self, value: float, step: int) -> None:
        """Take the loss of a step into the log's window.

        Raises:
            UserError: it is not finite.
        """
        if not math.isfinite(value):
            raise self.diverged(f"the loss is {value}", step)
        self.window = [self.window[0] + value, self.window[1] + 1]
        if step <= FIRST:
            self.first_losses.append(value)

    def log(self, step: int) -> float:
        """Log the mean loss of the window, and return it."""
        mean = self.window[0] / max(self.window[1], 1)
        self.window = [0.0, 0]
        rate = self.recipe.rate(step)
        if self.tracker is not None:  # not every optimiser has a learning rate
            self.tracker.log(step, loss=mean, **({} if rate is None else {"lr": rate}))
        return mean

    def evaluate(self, step: int, final: bool = False) -> None:
        """Evaluate and log the metrics."""
        if self.tracker is None:
            return
        self.metrics = self.recipe.evaluate(step, final=final)
        self.recipe.train_mode()
        self.tracker.log(step, **{f"eval/{k}": v for k, v in self.metrics.items()})

    def due(self, step: int) -> bool:
        """Whether a checkpoint is due after a step that is not the last.

        By steps, unless the last one took so long that it would cost too much of the time; and by
        time.
        """
        train, since = self.recipe.config.train, time.perf_counter() - self.saved_at
        by_steps, cost = step % train.checkpoint_every == 0, self.cost * self.companions
        return since >= train.checkpoint_seconds or (by_steps and (
            cost < COSTLY or cost < SHARE * since))

    def save(self, step: int) -> None:
        """Write a checkpoint.

        Raises:
            UserError: a weight is not finite, or the disk is full.
        """
        started = time.perf_counter()
        networks = self.recipe.networks()
        if not all(p.isfinite().all() for n in networks for p in n.parameters()):
            raise self.diverged("a weight is not finite", step)
        distributed.check_agreement(networks)
        if self.tracker is None:
            return
        self.tracker.flush()
        self.seconds = self.before + (time.perf_counter() - self.started) / self.companions
        checkpoint.save(self.folder, {
            "config": self.fixed, "step": step, "recipe": self.recipe.state(),
            "random": checkpoint.random_states(), "window": self.window, "seconds": self.seconds,
            "segments": [s.written() for s in self.segments], "metrics": self.metrics,
            "finished": self.finished, "first_losses": self.first_losses,
            "lines": self.tracker.state.written()})
        self.good, self.saved_at = step, time.perf_counter()
        self.cost = self.saved_at - started

    def finish(self) -> None:
        """The final evaluation; the state it looks at is on disk before, so no error loses it."""
        if self.finished:
            return
        step = self.recipe.config.train.steps
        self.evaluate(step, final=True)
        self.finished = True
        self.save(step)

    def close(self) -> None:
        """End tracking."""
        if self.tracker is not None:
            with contextlib.suppress(OSError):
                self.tracker.close()

    def diverged(self, what: str, step: int) -> UserError:
        """What to raise when training cannot go on."""
        kept = (f"the checkpoint of step {self.good} is kept" if self.good
                else "there is no checkpoint yet")
        return UserError(f"{self.name}: {what} at step {step}; training stopped, {kept}")
