"""The base classes of the papers' training code.

A :class:`Recipe` makes numbered steps and can be saved, resumed and evaluated. :class:`Planned` is
a recipe whose steps run on the device alone, each from a row of numbers that is planned ahead on
the host. :class:`Supervised` learns from examples in minibatches, as most papers do.
"""

from __future__ import annotations

import contextlib
import functools
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.config import Config, unused
from common.data import BatchOrder, DataSet, Split, evaluation_splits, generator
from common.training import distributed, start
from common.training.compiling import compile_apart
from common.training.devices import choose_device, reuse_memory, run_generator, same_bits_again
from common.training.noise import use_generator
from common.training.precision import check_precision, set_precision
from common.training.restoring import restore
from common.training.rows import Row as Row
from common.training.rows import as_tensor, on_device, scalar
from common.training.sums import fraction
from common.training.weight_files import RecordedRun

Batch = tuple[Tensor, ...]  # inputs, labels, and whatever else the loss needs


class Recipe:
    """A run as a sequence of numbered steps.

    Args:
        config: the resolved configuration of one run.

    Attributes:
        state_names: names of the attributes that form the run's state, which checkpoints store:
            modules, optimisers and other objects with a ``state_dict``, tensors, numbers, lists of
            numbers. A subclass adds its own; attributes that are None are skipped.
        float64: whether the paper computes in double precision, which some devices lack.
        loss_name: what a step returns; the axis label of the run's learning curve.
        clocked: names of the metrics that read a clock, which ``papers recheck`` leaves out.
        device: where the run computes.
        data: the data set; its name and fingerprint go into the result.
        chance: the run's random generator on its device; None on a CPU, where the run uses
            torch's default generator.
        model: the network, set by :meth:`build`; further networks are further attributes.
        optimizer: set by :meth:`build`; None if nothing is trained by gradients.
        started_from: name and SHA-256 of the weights the run started from, or None.
    """

    state_names: tuple[str, ...] = ("model", "optimizer")
    float64, loss_name = False, "training loss"
    clocked: tuple[str, ...] = ()
    data: DataSet
    model: nn.Module
    optimizer: torch.optim.Optimizer | None = None
    started_from: dict[str, str] | None = None

    def __init__(self, config: Config):
        reuse_memory()
        self.config = config
        self.device = distributed.local_device(choose_device(config.train.device, self.float64))
        check_precision(config, self.device.type)
        set_precision(config.train.precision)
        same_bits_again(self.device)
        if config.train.threads:
            torch.set_num_threads(config.train.threads)
        self.chance = run_generator(self.device, config.seed)
        self.load_data()
        torch.manual_seed(config.seed)
        np.random.seed(config.seed)
        random.seed(config.seed)
        self.build()
        for network in self.networks():
            network.to(self.device)
            use_generator(network, self.chance)

    def load_data(self) -> None:
        """Set ``data``, and any other attributes that the steps take from it."""
        raise NotImplementedError

    def build(self) -> None:
        """Set ``model``, ``optimizer`` and the other attributes named in ``state_names``."""
        raise NotImplementedError

    def start_with(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Load weights before the first step; returns those loaded, see :func:`start.fit`."""
        return start.fit(self.model, weights)

    def step(self, number: int) -> Tensor:
        """Make update ``number`` (from 0); returns its loss, a scalar, detached."""
        raise NotImplementedError

    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """The metrics after ``step`` updates; ``final`` is True only after the last update."""
        raise NotImplementedError

    def headlines(self, names: list[str]) -> tuple[list[str], list[str]]:
        """The final metrics to print in the table of finished runs, and those to plot."""
        return names[:4], names[:1]

    def rates(self, step: int) -> dict[str, float]:
        """The options, such as ``lr``, to set in the optimiser for update ``step`` (from 0).

        A pure function of the step; empty if the options never change.
        """
        return {}

    def rate(self, step: int) -> float | None:
        """The learning rate of update ``step``, for the log; None if there is none."""
        group = self.optimizer.param_groups[0] if self.optimizer else {}
        return self.rates(step).get("lr", group.get("lr"))

    def shorten(self) -> float:
        """Shorten long steps, to measure their pace; returns which part of a step remains."""
        return 1.0

    def generator(self, stream: str, step: int) -> torch.Generator:
        """A random generator for one step, on the CPU, independent of earlier steps."""
        return generator(self.config.seed, stream, step)

    def networks(self) -> list[nn.Module]:
        """The modules among the attributes named in ``state_names``."""
        state = (getattr(self, name) for name in self.state_names)
        return [s for s in state if isinstance(s, nn.Module)]

    def train_mode(self) -> None:
        """Switch every network to training mode."""
        for network in self.networks():
            network.train()

    def publish(self, paper_folder: Path, run: RecordedRun) -> None:
        """Write further files of a finished, recorded run, such as its trained weights.

        Args:
            paper_folder: such as ``papers/resnet``.
            run: the run and its final metrics.
        """

    def state(self) -> dict[str, Any]:
        """Everything a resumed run needs from the recipe, by the names in ``state_names``."""
        found = {name: getattr(self, name) for name in self.state_names}
        state = {name: v.state_dict() if hasattr(v, "state_dict") else v
                 for name, v in found.items() if v is not None}
        return state if self.chance is None else state | {"chance": self.chance.get_state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state` returned.

        Raises:
            UserError: it is the state of another recipe, or of another version of this one.
        """
        restore(self, state)


class Planned(Recipe):
    """A recipe whose steps are planned on the host and run on the device.

    A step has two halves. :meth:`row` computes on the host what update k needs (which examples,
    where they are cropped, which rate). It is a pure function of the seed and k, so the rows of the
    next thousand steps can be planned ahead. :meth:`update` does the rest without the host, so it
    can be captured once and replayed.

    Attributes:
        block: rows sent to a device at once, see :class:`common.training.steps.InBlocks`.
    """

    block = 1000

    def __init__(self, config: Config):
        super().__init__(config)
        self._rates = tuple(self.rates(0))
        self._alone = distributed.processes() == 1

    def row(self, step: int) -> Row:
        """What update ``step`` (from 0) needs, on the CPU: a pure function of (seed, step).

        Here its ``number`` and all of :meth:`rates`.
        """
        return {"number": step, **self.rates(step)}

    def plan(self, first: int, last: int) -> dict[str, Tensor]:
        """The rows of updates ``first`` to ``last - 1``, stacked by name: (last − first, …)."""
        rows = [self.row(k) for k in range(first, last)]
        return {name: torch.stack([as_tensor(r[name]) for r in rows]) for name in rows[0]}

    def row_here(self, step: int) -> Row:
        """:meth:`row` on the device; on a CPU numbers stay Python numbers."""
        row = self.row(step)
        if self.device.type == "cpu":
            return row
        return {name: on_device(as_tensor(v), self.device) for name, v in row.items()}

    @property
    def steady(self) -> bool:
        """Whether coming updates may be planned ahead and captured.

        False while the host has to look at one update before it can plan the next.
        """
        return True

    def update(self, row: Row) -> Tensor:
        """One update from a row on the device; returns its loss, detached."""
        raise NotImplementedError

    def set_rates(self, row: Row) -> None:
        """Set a row's rates in the optimiser."""
        for group in self.optimizer.param_groups if self.optimizer else ():
            group.update({name: scalar(row[name]) for name in self._rates})

    def step(self, number: int) -> Tensor:
        """Make update ``number``; its row is sent to the device by itself."""
        loss = self.update(self.row_here(number))
        return loss if self._alone else distributed.mean(loss)


class Supervised(Planned):
    """Learning from labelled examples, one minibatch per step.

    Attributes:
        chunk: how many inputs :meth:`predict` processes at a time on a CPU.
        device_chunk: the same on other devices.
        net: the model as the update calls it, compiled if the configuration says so.
        inputs, labels: the training data on the device, after :meth:`prepare`.
        eval_inputs, eval_labels: the data to evaluate on.
    """

    chunk, device_chunk = 1000, 5000
    optimizer: torch.optim.Optimizer

    def __init__(self, config: Config):
        super().__init__(config)
        self.net: Any = distributed.wrap(self.compiled(), self.device)
        self._autocast = (
            torch.autocast(self.device.type, dtype=torch.bfloat16,
                           cache_enabled=self.device.type == "cpu")  # a cache outlives no capture
            if config.train.precision == "bfloat16" else contextlib.nullcontext())

    # ---- the data --------------------------------------------------------------------------------

    def load_data(self) -> None:
        """Load the splits, call :meth:`measure` on the training data, and prepare all of it."""
        self.data, train, evaluation = self.splits()
        train = self.select(train)
        self.measure(train)
        self.inputs = self.prepare(train.images).to(self.device)
        self.labels = train.labels.to(self.device)
        self.eval_inputs = self.prepare(evaluation.images).to(self.device)
        self.eval_labels = evaluation.labels.to(self.device)

    def splits(self) -> tuple[DataSet, Split, Split]:
        """The data set, the split to train on and the split to evaluate on, as ``data.*`` says."""
        return evaluation_splits(self.config.data)

    def select(self, train: Split) -> Split:
        """The part of the training split to train on; here all of it."""
        return train

    def measure(self, train: Split) -> None:
        """Compute statistics of the training data for :meth:`prepare`, such as the mean image."""

    def prepare(self, images: Tensor) -> Tensor:
        """uint8 images (n, c, h, w) as the network's float input; here divided by 255."""
        return images.float() / 255

    # ---- a step ----------------------------------------------------------------------------------

    @functools.cached_property
    def order(self) -> BatchOrder:
        """Which examples make up the batch of each step."""
        held_out = "data.validation" not in unused(self.config)
        return BatchOrder(len(self.inputs), self.config.train.batch_size, self.config.seed,
                          f"data.validation={self.config.data.validation}" if held_out else "")

    def row(self, step: int) -> Row:
        """The base class's row, and ``index``, the examples of the batch."""
        return super().row(step) | {"index": self.order(step)}

    def batch(self, row: Row) -> Batch:
        """Inputs and labels of a row, both on the device."""
        return self.inputs[row["index"]], self.labels[row["index"]]

    def batch_of(self, step: int) -> Batch:
        """The batch of update ``step``."""
        return self.batch(self.row_here(step))

    def loss(self, batch: Batch, row: Row) -> Tensor:
        """The objective of one batch, a scalar; here the mean cross-entropy."""
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def update(self, row: Row) -> Tensor:
        """One update from a row on the device; returns the batch's loss, detached."""
        self.set_rates(row)
        self.optimizer.zero_grad(set_to_none=True)
        with self._autocast:
            batch = self.batch(row)
            loss = self.loss(batch if self._alone else distributed.share(batch), row)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def compiled(self) -> Any:
        """The model as the update calls it: through the compiler where ``train.compile`` is set."""
        if not self.config.train.compile:
            return self.model
        return compile_apart(self.model, dynamic=None)

    def batchable(self) -> None:
        """Convert the model to a form that ``torch.func.vmap`` accepts, if necessary.

        Called before several seeds are trained as one batched network.
        """

    # ---- evaluation ------------------------------------------------------------------------------

    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """The metrics; here ``accuracy`` on the evaluation split."""
        return {"accuracy": self.accuracy(self.eval_inputs, self.eval_labels)}

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        """The model's outputs in evaluation mode, computed a chunk of inputs at a time."""
        training = self.model.training
        self.model.eval()
        size = self.chunk if self.device.type == "cpu" else self.device_chunk
        outputs = torch.cat([self.model(part) for part in x.split(size)])
        self.model.train(training)
        return outputs

    def shipped(self) -> nn.Module:
        """The trained network for export, without what only training needs, such as masks."""
        return self.model

    def accuracy(self, x: Tensor, y: Tensor) -> float:
        """The fraction of correct predictions."""
        return fraction(self.predict(x).argmax(1) == y)
