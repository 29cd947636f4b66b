"""The training loop every paper shares.

A paper subclasses :class:`Recipe` and supplies model and optimiser (:meth:`Recipe.build`), and
where it differs from plain supervised learning its own loss, step or evaluation. :func:`run`
counts steps, evaluates, logs, checkpoints and resumes.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from common.config import Config, completed, differences, identity
from common.data import BatchOrder, DataSet, Split, evaluation_splits, generator
from common.errors import UserError
from common.files import locked, shown
from common.training import checkpoint, distributed, tracking
from common.training.compiling import compile_apart

Batch = tuple[Tensor, Tensor]


class Recipe:
    """What a paper supplies to be trained.

    Args:
        config: the resolved configuration of one run.

    Attributes:
        chunk: how many inputs :meth:`predict` takes at a time.
        model: the network, set by :meth:`build`.
        net: the model as the training step calls it, compiled where the configuration says so.
        optimizer: set by :meth:`build`; None where nothing is trained by gradients.
        scheduler: a torch learning-rate scheduler stepped after every update, or None.
        inputs, labels: the training data on the device, as :meth:`prepare` made it.
        eval_inputs, eval_labels: the data to evaluate on.
    """

    chunk = 1000
    model: nn.Module
    optimizer: torch.optim.Optimizer | None = None
    scheduler: torch.optim.lr_scheduler.LRScheduler | None = None

    def __init__(self, config: Config):
        reuse_memory()
        self.config = config
        self.device = distributed.local_device(choose_device(config.train.device))
        if config.train.threads:
            torch.set_num_threads(config.train.threads)
        self.data, train, evaluation = self.splits()
        train = self.select(train)
        self.order = BatchOrder(len(train), config.train.batch_size, config.seed)
        self.inputs = self.prepare(train.images).to(self.device)
        self.labels = train.labels.to(self.device)
        self.eval_inputs = self.prepare(evaluation.images).to(self.device)
        self.eval_labels = evaluation.labels.to(self.device)
        torch.manual_seed(config.seed)
        np.random.seed(config.seed)
        random.seed(config.seed)
        self.build()
        self.model.to(self.device)
        self.net: Any = distributed.wrap(
            compile_apart(self.model, dynamic=None) if config.train.compile else self.model,
            self.device)
        self._autocast = (
            torch.autocast(self.device.type, dtype=torch.bfloat16)
            if config.train.precision == "bfloat16" else contextlib.nullcontext())

    def build(self) -> None:
        """Set ``model``, ``optimizer`` and, where there is one, ``scheduler``."""
        raise NotImplementedError

    def splits(self) -> tuple[DataSet, Split, Split]:
        """The data set, what to train on and what to evaluate on; as ``data.*`` says."""
        return evaluation_splits(self.config.data)

    def select(self, train: Split) -> Split:
        """The part of the training split to train on; all of it unless a paper says otherwise."""
        return train

    def prepare(self, images: Tensor) -> Tensor:
        """uint8 images (n, c, h, w) as the network's float input; here divided by 255."""
        return images.float() / 255

    def batch(self, step: int) -> Batch:
        """Inputs and labels of one step, a pure function of (seed, step)."""
        index = self.order(step)
        return self.inputs[index], self.labels[index]

    def generator(self, stream: str, step: int) -> torch.Generator:
        """Randomness of one step that does not depend on the steps before it."""
        return generator(self.config.seed, stream, step)

    def loss(self, batch: Batch) -> Tensor:
        """The objective of one batch, a scalar; here the mean cross-entropy."""
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def step(self, batch: Batch) -> Tensor:
        """One update; returns the batch's loss, detached."""
        self.optimizer.zero_grad(set_to_none=True)
        with self._autocast:
            loss = self.loss(batch)
        loss.backward()
        self.optimizer.step()
        if self.scheduler is not None:
            self.scheduler.step()
        return loss.detach()

    def batchable(self) -> None:
        """Put the model into a form that ``torch.func.vmap`` takes, where it is not in one.

        Called before several seeds are trained as one batched network.
        """

    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """Metrics after ``step`` updates; ``final`` is True once, after the last one."""
        return {"accuracy": self.accuracy(self.eval_inputs, self.eval_labels)}

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        """The model's outputs in evaluation mode, :attr:`chunk` inputs at a time."""
        training = self.model.training
        self.model.eval()
        outputs = torch.cat([self.model(part) for part in x.split(self.chunk)])
        self.model.train(training)
        return outputs

    def accuracy(self, x: Tensor, y: Tensor) -> float:
        """The fraction of correct predictions."""
        return (self.predict(x).argmax(1) == y).double().mean().item()

    def publish(self, paper_folder: Path, record: dict[str, Any]) -> None:
        """Leave more than numbers of a finished, recorded run, such as trained weights.

        Args:
            paper_folder: such as ``papers/resnet``.
            record: the result, see :func:`common.evidence.results.write`.
        """

    def extra_state(self) -> dict[str, Any]:
        """Further state of a paper's own that a checkpoint has to hold."""
        return {}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """Put back what :meth:`extra_state` returned."""

    def state(self) -> dict[str, Any]:
        """Everything a resumed run needs from the recipe."""
        return {"model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict() if self.optimizer else None,
                "scheduler": self.scheduler.state_dict() if self.scheduler else None,
                "extra": self.extra_state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Put back what :meth:`state` returned."""
        self.model.load_state_dict(state["model"])
        if self.optimizer is not None:
            self.optimizer.load_state_dict(state["optimizer"])
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state["scheduler"])
        self.load_extra_state(state["extra"])


def reuse_memory() -> None:
    """Let the C library keep the memory a step frees for the next step.

    By default glibc gives large blocks back to the kernel, which clears every page again when the
    next step asks for them; that costs up to a fifth of a convolutional network's step.
    """
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError, AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 2**27)):
            mallopt(option, value)


M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
"""Of glibc's malloc.h."""


def choose_device(name: str) -> torch.device:
    """The device ``train.device`` names; ``auto`` takes an accelerator where there is one.

    Raises:
        UserError: no such device here.
    """
    if name == "auto":
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        return accelerator or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except Exception as e:  # each backend has its own
        raise UserError(f"train.device={name}: not available here; try auto or cpu") from e
    return device


def updates(recipe: Any, first: int, last: int) -> Iterator[tuple[int, Tensor]]:
    """Make the updates ``first`` to ``last - 1`` and yield (updates made, loss) after each."""
    recipe.model.train()
    for step in range(first, last):
        loss = recipe.step(distributed.share(recipe.batch(step)))
        yield step + 1, distributed.mean(loss)


def run(recipe: Recipe, folder: Path, name: str, segment: dict[str, Any],
        ) -> tuple[dict[str, float], dict[str, Any]]:
    """Train a recipe to its last step, resuming where ``folder`` holds a checkpoint.

    Args:
        recipe: what to train.
        folder: the run's folder, for checkpoints and metrics.
        name: the run's name in messages.
        segment: the provenance of this process (commit, hardware …), kept with the checkpoint.

    Returns:
        The metrics of the final step, and ``{"seconds": training time of all attempts,
        "segments": the provenance of each}``.

    Raises:
        UserError: the folder holds another configuration's checkpoint, another process trains in
            it, it cannot be written, or the loss is no longer finite.
    """
    (ended,) = run_all([recipe], [folder], [name], segment)
    return ended


def run_all(recipes: Sequence[Recipe], folders: Sequence[Path], names: Sequence[str],
            segment: dict[str, Any], together: Callable[[Sequence[Recipe]], Any] | None = None,
            ) -> list[tuple[dict[str, float], dict[str, Any]]]:
    """Train several seeds of one experiment in step, each with a folder of its own.

    Args:
        recipes, folders, names: of each run, see :func:`run`.
        segment: the provenance of this process.
        together: makes of the recipes what takes their steps, such as
            :class:`common.training.vectorised.SideBySide`; not needed for one.

    Returns:
        What :func:`run` returns, for each.

    Raises:
        UserError: see :func:`run`; or the runs stand at different steps.
    """
    with contextlib.ExitStack() as locks:
        for folder in folders if distributed.rank() == 0 else ():
            locks.enter_context(
                locked(folder, f"another process is training in {shown(folder)}"))
        runs = [_Run(*parts, segment, len(recipes))
                for parts in zip(recipes, folders, names, strict=True)]
        if len({r.first for r in runs}) > 1:
            raise UserError("runs side by side have to stand at the same step: " + ", ".join(
                f"{r.name} at {r.first}" for r in runs) + "; finish them one by one")
        taking_steps = together(recipes) if together else recipes[0]
        return _run(runs, taking_steps)


class _Run:
    """One run's folder: what was loaded from it, and what goes into it.

    Attributes:
        first: the step it starts from.
        good: the step of its newest checkpoint.
        writes: whether this process writes to the folder; one of several does.
        seconds: training time of all attempts, its share where several train side by side.
        metrics: of the newest evaluation.
    """

    def __init__(self, recipe: Recipe, folder: Path, name: str, segment: dict[str, Any],
                 companions: int = 1):
        self.recipe, self.folder, self.name, self.companions = recipe, folder, name, companions
        self.fixed = identity(recipe.config) | {"data.fingerprint": recipe.data.fingerprint}
        self.first, self.window, self.seconds = 0, [0.0, 0], 0.0
        segments: list[dict[str, Any]] = []
        self.metrics: dict[str, float] = {}
        saved = checkpoint.load(folder)
        if saved is not None:
            there = completed(saved["config"], recipe.config)
            if there != self.fixed:
                raise UserError(f"{shown(folder)} holds a run of another configuration: "
                                f"{', '.join(differences(there, self.fixed))}; add fresh=true to "
                                "discard it")
            recipe.load_state(saved["recipe"])
            checkpoint.set_random_states(saved["random"])
            self.first, self.window, self.seconds = saved["step"], saved["window"], saved["seconds"]
            segments, self.metrics = saved["segments"], saved["metrics"]
        self.segments = [*segments, segment | {"from_step": self.first}]
        self.good = self.first
        self.writes = distributed.rank() == 0
        self.tracker = (tracking.Tracker(folder, recipe.config, self.first, name) if self.writes
                        else None)
        self.before, self.started = self.seconds, time.perf_counter()

    def see(self, value: float, step: int) -> None:
        """Take the loss of a step into the log's window.

        Raises:
            UserError: it is not finite.
        """
        if not math.isfinite(value):
            raise self.diverged(f"the loss is {value}", step)
        self.window = [self.window[0] + value, self.window[1] + 1]

    def log(self, step: int) -> float:
        """Log the mean loss of the window, and return it."""
        mean = self.window[0] / max(self.window[1], 1)
        self.window = [0.0, 0]
        group = self.recipe.optimizer.param_groups[0] if self.recipe.optimizer else {}
        if self.writes:  # not every optimiser has a learning rate
            self.tracker.log(step, loss=mean, **({"lr": group["lr"]} if "lr" in group else {}))
        return mean

    def evaluate(self, step: int, final: bool) -> None:
        """Evaluate and log the metrics."""
        if not self.writes:
            return
        self.metrics = self.recipe.evaluate(step, final=final)
        self.recipe.model.train()
        self.tracker.log(step, **{f"eval/{k}": v for k, v in self.metrics.items()})

    def save(self, step: int) -> None:
        """Write a checkpoint.

        Raises:
            UserError: a weight is not finite, or the disk is full.
        """
        if not all(p.isfinite().all() for p in self.recipe.model.parameters()):
            raise self.diverged("a weight is not finite", step)
        distributed.check_agreement(self.recipe.model)
        if not self.writes:
            return
        self.tracker.flush()
        self.seconds = self.before + (time.perf_counter() - self.started) / self.companions
        checkpoint.save(self.folder, {
            "config": self.fixed, "step": step, "recipe": self.recipe.state(),
            "random": checkpoint.random_states(), "window": self.window, "seconds": self.seconds,
            "segments": self.segments, "metrics": self.metrics})
        self.good = step

    def diverged(self, what: str, step: int) -> UserError:
        """What to raise when training cannot go on."""
        kept = (f"the checkpoint of step {self.good} is kept" if self.good
                else "there is no checkpoint yet")
        return UserError(f"{self.name}: {what} at step {step}; training stopped, {kept}")


def _run(runs: Sequence[_Run], recipe: Any) -> list[tuple[dict[str, float], dict[str, Any]]]:
    """Take the steps; ``recipe`` is the only run's, or trains all of them at once."""
    one = runs[0]
    train = one.recipe.config.train
    checked = one.recipe.device.type == "cpu"  # elsewhere reading the loss waits for the device
    gather = getattr(recipe, "gather", lambda: None)
    progress = Progress(one.name if len(runs) == 1 else f"{one.name} and {len(runs) - 1} more",
                        one.first, train.steps)
    try:
        for step, loss in updates(recipe, one.first, train.steps):
            log, last = step % train.log_every == 0, step == train.steps
            evaluates = step % train.eval_every == 0 or last
            saves = step % train.checkpoint_every == 0 or last
            if checked or log:
                for r, value in zip(runs, loss.reshape(-1).tolist(), strict=True):
                    r.see(value, step)
            if evaluates or saves or log:
                gather()
            for r in runs:
                if log or last:
                    progress.loss = r.log(step)
                if evaluates:
                    r.evaluate(step, final=last)
                    progress.metrics = r.metrics
                if saves:
                    r.save(step)
            progress.update(step)
    except OSError as e:
        raise UserError(f"{one.name}: cannot write {shown(one.folder)}: {e.strerror}; the "
                        f"checkpoint of step {one.good} is kept") from e
    finally:
        progress.close()
        for r in runs if one.writes else ():
            with contextlib.suppress(OSError):
                r.tracker.close()
    return [(r.metrics, {"seconds": r.seconds, "segments": r.segments}) for r in runs]


def duration(seconds: float) -> str:
    """A time as people say it: 40 s, 12 min, 3.4 h, 5.1 days."""
    for unit, size in (("days", 86_400), ("h", 3600)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


class Progress:
    """A progress bar with rate, loss and time left; without a terminal a line a minute.

    Attributes:
        loss: the mean training loss to show; None before the first is known.
        metrics: the newest evaluation.
    """

    EVERY = 60.0

    def __init__(self, name: str, first: int, last: int):
        self.name, self.last = name, last
        self.loss: float | None = None
        self.metrics: dict[str, float] = {}
        self.silent = distributed.rank() > 0
        self.bar = tqdm(total=last, initial=first, desc=name, unit="step",
                        disable=True if self.silent else None,
                        dynamic_ncols=True, mininterval=0.2, leave=False)
        self._first, self._started = first, time.monotonic()
        self._due = self._started + self.EVERY

    def update(self, step: int) -> None:
        """Say that ``step`` updates are made."""
        if not self.bar.disable:
            if self.bar.update(1):
                self.bar.set_postfix_str(self.text(), refresh=False)
            return
        if step % 32 == 0 and time.monotonic() >= self._due and not self.silent:
            self._due = time.monotonic() + self.EVERY
            rate = (step - self._first) / (time.monotonic() - self._started)
            left = (self.last - step) / rate / 60
            said = [f"{self.name}: step {step}/{self.last}", f"{rate:.1f} steps/s",
                    f"{left:.0f} min left", self.text()]
            print(", ".join(filter(None, said)), file=sys.stderr, flush=True)

    def text(self) -> str:
        """Loss and newest metrics, short."""
        shown_metrics = [f"{k} {v:.6g}" for k, v in list(self.metrics.items())[:1]]
        loss = [] if self.loss is None else [f"loss {self.loss:.4f}"]
        return ", ".join(loss + shown_metrics)

    def close(self) -> None:
        """Take the bar off the screen."""
        self.bar.close()
