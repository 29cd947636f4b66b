"""One run's folder in training: its state, its log and its checkpoints."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from common.config import completed, differences, identity, same_run
from common.errors import UserError, say
from common.files import shown
from common.segments import Origin, Segment
from common.training import checkpoint, distributed, start, tracking
from common.training.recipe import Recipe

FIRST = 20
"""How many of a run's first losses are kept. So early, rounding errors have not grown yet, so these
losses show whether the code still computes the same."""

COSTLY, SHARE = 0.5, 0.05
"""Checkpoints that take longer than COSTLY seconds may use at most SHARE of the training time,
summed over all runs that take turns."""


class Run:
    """A run in training: its recipe, and the state that its folder stores.

    Attributes:
        first: the step it starts or resumes from.
        finished: whether its checkpoint includes the final evaluation.
        good: the step of its newest checkpoint.
        seen: number of updates whose losses have been read.
        tracker: writes the metrics; None if another process writes to the folder.
        seconds: training time of all attempts, divided among runs that train side by side.
        metrics: the results of the newest evaluation.
        first_losses: losses of the first updates; fewer in runs begun before these were kept.
    """

    def __init__(self, recipe: Recipe, folder: Path, name: str, origin: Origin,
                 companions: int = 1, source: start.LoadWeights | None = None,
                 precisions: Collection[str] = ()):
        self.recipe, self.folder, self.name, self.companions = recipe, folder, name, companions
        self.fixed = identity(recipe.config) | {"data.fingerprint": recipe.data.fingerprint}
        self.first, self.seconds, self.finished = 0, 0.0, False
        self.window: list[float] = [0.0, 0]
        segments: list[Segment] = []
        before = ""
        self.first_losses: list[float] = []
        self.metrics: dict[str, float] = {}
        saved = checkpoint.of_run(folder)
        if saved is not None:
            there = completed(saved.config, recipe.config)
            if not same_run(there, self.fixed, precisions):
                raise UserError(f"{shown(folder)} holds a run of another configuration: "
                                f"{', '.join(differences(there, self.fixed))}; add fresh=true to "
                                "discard it")
            last = recipe.config.train.steps
            if saved.step > last or (saved.finished and saved.step < last):
                raise UserError(f"checkpoint in {shown(folder)}: step: {saved.step}: expected "
                                f"{last}, the last, of a finished run, and no later one of any; "
                                "add fresh=true to start anew")
            try:
                recipe.load_state(saved.recipe)
                checkpoint.set_random_states(saved.random)
            except UserError as e:
                raise UserError(f"checkpoint in {shown(folder)}: {e}") from e
            self.first, self.window, self.seconds = saved.step, saved.window, saved.seconds
            segments, self.metrics, self.finished = saved.segments, saved.metrics, saved.finished
            self.first_losses = saved.first_losses
            was, now = there.get("train.precision"), self.fixed.get("train.precision")
            before = f", in {now}, begun in {was}" if was != now else ""
        else:
            start.begin(recipe, source)
        began: dict[str, Any] = {"from_seconds": round(self.seconds, 1)} if self.first else {}
        if recipe.started_from:
            began["started_from"] = recipe.started_from
        mine = [] if self.finished else [
            Segment.model_validate(origin.written() | {"from_step": self.first} | began)]
        self.segments = [*segments, *mine]  # nothing is added by opening a finished run
        self.good = self.seen = self.first
        evaluated = self.finished or self.first < recipe.config.train.steps
        lines = saved.lines if saved else None
        self.tracker = None if distributed.rank() else tracking.Tracker(
            folder, recipe.config, self.first, name, evaluated, lines)
        if self.first and mine and not distributed.rank():
            say(f"{name}: goes on at step {self.first:,} of {recipe.config.train.steps:,}{before}")
        self.before, self.started = self.seconds, time.perf_counter()
        self.saved_at, self.cost = self.started, 0.0

    def see(self, value: float) -> None:
        """Add the loss of the next step to the mean that is logged next.

        Raises:
            UserError: it is not finite.
        """
        self.seen += 1
        if not math.isfinite(value):
            raise self.diverged(f"the loss is {value}", self.seen)
        self.window = [self.window[0] + value, self.window[1] + 1]
        if self.seen <= FIRST:
            self.first_losses.append(value)

    def log(self, step: int) -> float:
        """Log the mean loss since the last logged line, and return it."""
        mean = self.window[0] / max(self.window[1], 1)
        self.window = [0.0, 0]
        rate = self.recipe.rate(step)
        if self.tracker is not None:  # not every optimiser has a learning rate
            self.tracker.log(step, loss=mean, **({} if rate is None else {"lr": rate}))
        return mean

    def evaluate(self, step: int, final: bool = False) -> None:
        """Evaluate and log the metrics.

        Raises:
            UserError: one of them is NaN.
        """
        if self.tracker is None:
            return
        metrics = self.recipe.evaluate(step, final=final)
        for name, value in metrics.items():
            if math.isnan(value):
                raise self.diverged(f"the metric {name!r} is {value}", step)
        self.metrics = metrics
        self.recipe.train_mode()
        self.tracker.log(step, **{f"eval/{k}": v for k, v in self.metrics.items()})

    def due(self, step: int) -> bool:
        """Whether a checkpoint is due after a step other than the last.

        It is due by time; and by number of steps, unless the previous checkpoint took so long that
        another one would use too much of the training time.
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
        """Make the final evaluation; the last state is already on disk, so no error loses it."""
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
        """The error to raise when training cannot go on."""
        return UserError(f"{self.name}: {what} at step {step}; training stopped, {self.kept}")

    @property
    def interrupted(self) -> str:
        """What to say when the user ends training."""
        how = "goes on from there" if self.good else "begins anew"
        return f"{self.name}: interrupted; {self.kept}, the same command {how}"

    @property
    def kept(self) -> str:
        """Which checkpoint is on disk, for messages."""
        return (f"the checkpoint of step {self.good} is kept" if self.good
                else "there is no checkpoint yet")
