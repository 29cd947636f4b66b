"""What a paper supplies to be trained.

:class:`Recipe` is anything that makes numbered steps, can be saved, resumed and evaluated.
:class:`Planned` is a recipe whose step is a pure update on the device from one row of a plan that
is made ahead of time. :class:`Supervised` is learning from examples in minibatches, as most papers
do it.
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

from common.config import Config
from common.data import BatchOrder, DataSet, Split, evaluation_splits, generator
from common.errors import UserError
from common.training import distributed, start
from common.training.compiling import compile_apart
from common.training.devices import choose_device, reuse_memory, run_generator, same_bits_again
from common.training.noise import use_generator
from common.training.precision import check_precision, set_precision
from common.training.published import Made
from common.training.rows import Row as Row
from common.training.rows import as_tensor, on_device, scalar
from common.training.sums import fraction

Batch = tuple[Tensor, ...]  # inputs, labels, and whatever else a loss looks at


class Recipe:
    """Numbered steps of one run.

    Args:
        config: the resolved configuration of one run.

    Attributes:
        kept: names of the attributes that make up the run's state, which checkpoints hold:
            modules, optimisers and whatever else has a ``state_dict``, tensors, numbers, lists of
            numbers. A subclass adds its own; those that are None are left out.
        float64: whether the paper computes in double precision, which not every device has.
        loss_name: what a step returns, for the axis of a run's picture.
        device: where the run computes.
        data: what it learns from; its name and fingerprint go into the result.
        chance: the run's random generator on its device, None on a CPU, where torch's default
            generator is the run's.
        model: the network, set by :meth:`build`; what else is trained has names of its own.
        optimizer: set by :meth:`build`, None where nothing is trained by gradients.
        started_from: name and SHA-256 of the weights it started from, where it did from any.
    """

    kept: tuple[str, ...] = ("model", "optimizer")
    float64, loss_name = False, "training loss"
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
        """Set ``data``, and whatever else of the data the steps need."""
        raise NotImplementedError

    def build(self) -> None:
        """Set ``model``, ``optimizer`` and what else ``kept`` names."""
        raise NotImplementedError

    def start_with(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Take these weights before the first step; returns those taken, see :func:`start.fit`."""
        return start.fit(self.model, weights)

    def step(self, number: int) -> Tensor:
        """Make update ``number`` (from 0); returns its loss, a scalar, detached."""
        raise NotImplementedError

    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """Metrics after ``step`` updates; ``final`` is True once, after the last one."""
        raise NotImplementedError

    def shown(self, names: list[str]) -> tuple[list[str], list[str]]:
        """Which of the final metrics stand in the table of runs that end, and which it draws."""
        return names[:4], names[:1]

    def rates(self, step: int) -> dict[str, float]:
        """What update ``step`` (from 0) sets in the optimiser's groups, such as ``lr``.

        A pure function of the step. Empty where nothing ever changes.
        """
        return {}

    def rate(self, step: int) -> float | None:
        """The learning rate of update ``step``, for the log; None where there is none."""
        group = self.optimizer.param_groups[0] if self.optimizer else {}
        return self.rates(step).get("lr", group.get("lr"))

    def generator(self, stream: str, step: int) -> torch.Generator:
        """Randomness of one step, on the CPU, that does not depend on the steps before it."""
        return generator(self.config.seed, stream, step)

    def networks(self) -> list[nn.Module]:
        """The modules among what is kept."""
        kept = (getattr(self, name) for name in self.kept)
        return [k for k in kept if isinstance(k, nn.Module)]

    def train_mode(self) -> None:
        """Put every network into training mode."""
        for network in self.networks():
            network.train()

    def publish(self, paper_folder: Path, run: Made) -> None:
        """Leave more than numbers of a finished, recorded run, such as trained weights.

        Args:
            paper_folder: such as ``papers/resnet``.
            run: the run and what it measured.
        """

    def state(self) -> dict[str, Any]:
        """Everything a resumed run needs from the recipe, by the names in ``kept``."""
        found = {name: getattr(self, name) for name in self.kept}
        state = {name: v.state_dict() if hasattr(v, "state_dict") else v
                 for name, v in found.items() if v is not None}
        return state if self.chance is None else state | {"chance": self.chance.get_state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Put back what :meth:`state` returned.

        Raises:
            UserError: it is the state of another recipe, or of an earlier version of this one.
        """
        names = {name for name in self.kept if getattr(self, name) is not None}
        if state.keys() - {"chance"} != names:
            raise UserError(f"the checkpoint holds {', '.join(sorted(state))}: expected "
                            f"{', '.join(sorted(names))}; add fresh=true to discard it")
        for name in sorted(names):
            there = getattr(self, name)
            if hasattr(there, "load_state_dict"):
                there.load_state_dict(state[name])
            else:
                value = state[name]
                setattr(self, name, value.to(there.device) if isinstance(there, Tensor) else value)
        if self.chance is not None and "chance" in state:
            self.chance.set_state(state["chance"])


class Planned(Recipe):
    """Steps that are planned on the host and made on the device.

    A step has two halves. :meth:`row` says on the host what update number k needs (which examples,
    where they are cropped, which rate): a pure function of the seed and k, so that it can be known
    for the next thousand steps. :meth:`update` does the rest, and nothing in it depends on the
    host: it can be captured once and repeated.

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

        Here its ``number``, and every one of :meth:`rates`.
        """
        return {"number": step, **self.rates(step)}

    def plan(self, first: int, last: int) -> dict[str, Tensor]:
        """The rows of the updates ``first`` to ``last - 1``, stacked: (last − first, …) each."""
        rows = [self.row(k) for k in range(first, last)]
        return {name: torch.stack([as_tensor(r[name]) for r in rows]) for name in rows[0]}

    def row_here(self, step: int) -> Row:
        """:meth:`row`, on the device; on a CPU its numbers stay plain ones."""
        row = self.row(step)
        if self.device.type == "cpu":
            return row
        return {name: on_device(as_tensor(v), self.device) for name, v in row.items()}

    @property
    def steady(self) -> bool:
        """Whether the coming updates may be planned ahead, and captured.

        False while what they do depends on the updates before them through the host.
        """
        return True

    def update(self, row: Row) -> Tensor:
        """One update from a row on the device; returns its loss, detached."""
        raise NotImplementedError

    def set_rates(self, row: Row) -> None:
        """Put a row's rates into the optimiser."""
        for group in self.optimizer.param_groups if self.optimizer else ():
            group.update({name: scalar(row[name]) for name in self._rates})

    def step(self, number: int) -> Tensor:
        """Make update ``number`` by itself, its row taken to the device."""
        loss = self.update(self.row_here(number))
        return loss if self._alone else distributed.mean(loss)


class Supervised(Planned):
    """Learning from examples and their labels, a minibatch a step.

    Attributes:
        chunk: how many inputs :meth:`predict` takes at a time on a CPU.
        device_chunk: and on other devices.
        net: the model as the update calls it, compiled where the configuration says so.
        inputs, labels: the training data on the device, as :meth:`prepare` made it.
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
        """Read the splits, take what :meth:`prepare` needs from them, and prepare them."""
        self.data, train, evaluation = self.splits()
        train = self.select(train)
        self.measure(train)
        self.inputs = self.prepare(train.images).to(self.device)
        self.labels = train.labels.to(self.device)
        self.eval_inputs = self.prepare(evaluation.images).to(self.device)
        self.eval_labels = evaluation.labels.to(self.device)

    def splits(self) -> tuple[DataSet, Split, Split]:
        """The data set, what to train on and what to evaluate on; as ``data.*`` says."""
        return evaluation_splits(self.config.data)

    def select(self, train: Split) -> Split:
        """The part of the training split to train on; all of it unless a paper says otherwise."""
        return train

    def measure(self, train: Split) -> None:
        """Take statistics of the training data that :meth:`prepare` needs, such as their mean."""

    def prepare(self, images: Tensor) -> Tensor:
        """uint8 images (n, c, h, w) as the network's float input; here divided by 255."""
        return images.float() / 255

    # ---- a step ----------------------------------------------------------------------------------

    @functools.cached_property
    def order(self) -> BatchOrder:
        """Which examples make up the batch of each step."""
        return BatchOrder(len(self.inputs), self.config.train.batch_size, self.config.seed)

    def row(self, step: int) -> Row:
        """Also ``index``, the examples of the batch."""
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
        """Put the model into a form that ``torch.func.vmap`` takes, where it is not in one.

        Called before several seeds are trained as one batched network.
        """

    # ---- what comes out --------------------------------------------------------------------------

    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """``accuracy`` on the evaluation split, unless a paper measures something else."""
        return {"accuracy": self.accuracy(self.eval_inputs, self.eval_labels)}

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        """The model's outputs in evaluation mode, a chunk of inputs at a time."""
        training = self.model.training
        self.model.eval()
        size = self.chunk if self.device.type == "cpu" else self.device_chunk
        outputs = torch.cat([self.model(part) for part in x.split(size)])
        self.model.train(training)
        return outputs

    def shipped(self) -> nn.Module:
        """The trained network as it is exported: less what only training needs, such as masks."""
        return self.model

    def accuracy(self, x: Tensor, y: Tensor) -> float:
        """The fraction of correct predictions."""
        return fraction(self.predict(x).argmax(1) == y)
