"""Cyclical learning rates (Smith, 2017): Caffe's CIFAR-10 network under every policy and solver.

    python papers/cyclical_lr/train.py experiment=quick          # bundled digits, seconds, offline
    python papers/cyclical_lr/train.py                           # triangular2, 25,000 iterations
    python papers/cyclical_lr/train.py experiment=range_test     # which rates? minutes
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal
from common.entry import exit_with

import torch
from einops import reduce, repeat
from torch import Tensor

from common.conditions import NEVER
from common.config import Config as BaseConfig
from common.config import key
from common.data import Split, generator
from common.errors import UserError
from common.running.cli import main
from common.training.devices import place
from common.training.recipe import Supervised
from papers.cyclical_lr.model import Cifar10Full, parameter_groups
from papers.cyclical_lr.policies import ScheduleConfig, rate
from papers.cyclical_lr.range_test import edges
from papers.cyclical_lr.solvers import SOLVERS

NUMBERS = {"sgd": ("momentum",), "nesterov": ("momentum",),
           "adam": ("momentum", "momentum2", "delta"), "rmsprop": ("rms_decay", "delta"),
           "adagrad": ("delta",), "adadelta": ("momentum", "delta")}
"""The options of each solver besides its rate."""


def with_number(name: str) -> dict[str, tuple[str, ...]]:
    """The condition that the solver has this option."""
    return {"optim.solver": tuple(s for s, names in NUMBERS.items() if name in names)}


@dataclass
class ModelConfig:
    lrn: bool = key(True, "normalise the responses of the first two poolings, as in Caffe's file")
    magnify: int = key(1, "every pixel becomes magnify × magnify pixels", least=1, most=1000)


@dataclass
class OptimConfig:
    solver: Literal["sgd", "nesterov", "adam", "rmsprop", "adagrad", "adadelta"] = key(
        "sgd", "Caffe's solver")
    momentum: float = key(0.9, "μ; Adam's β₁, AdaDelta's ρ", least=0, below=1,
                          only=with_number("momentum"))
    momentum2: float = key(0.999, "Adam's β₂", least=0, below=1, only=with_number("momentum2"))
    rms_decay: float = key(0.99, "RMSprop's ρ", least=0, below=1, only=with_number("rms_decay"))
    delta: float = key(1e-8, "δ, added to the root of squared gradients, in AdaDelta inside it",
                       above=0, only=with_number("delta"))
    weight_decay: float = key(0.004, "L2 penalty, times Caffe's multipliers", least=0)


@dataclass
class Config(BaseConfig):
    honoured: ClassVar = {"train.compile": NEVER}
    precisions: ClassVar = ("float32", "tf32")
    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)

    def check(self) -> None:
        self.schedule.check()


class CyclicalLrRecipe(Supervised):
    """Caffe's training of its CIFAR-10 network, with a learning-rate policy."""

    state_names = (*Supervised.state_names, "looked_at", "accuracies")
    chunk, device_chunk = 500, 5000
    config: Config
    model: Cifar10Full

    def measure(self, train: Split) -> None:
        """Compute the mean of the training images, (c, h, w)."""
        self.mean = reduce(self.magnified(train.images), "n c h w -> c h w", "mean")

    def magnified(self, images: Tensor) -> Tensor:
        """Pixels in 0 … 255, enlarged by ``model.magnify``."""
        k = self.config.model.magnify
        return repeat(images, "n c h w -> n c (h k1) (w k2)", k1=k, k2=k).float()

    def prepare(self, images: Tensor) -> Tensor:
        """Pixels in 0 … 255 minus the mean image, in the device's faster memory format."""
        x = self.magnified(images).sub_(self.mean)
        return x.contiguous(memory_format=self.order_of_memory)

    @property
    def order_of_memory(self) -> torch.memory_format:
        return torch.channels_last if self.device.type == "cpu" else torch.contiguous_format

    def build(self) -> None:
        c, size = self.inputs.shape[1:3]
        try:
            self.model = Cifar10Full(c, size, self.data.classes, self.config.model.lrn,
                                     generator(self.config.seed, "init"))
        except ValueError as e:
            raise UserError(f"model.magnify={self.config.model.magnify}: {e}") from e
        place(self.model, self.device, self.order_of_memory)
        optim = self.config.optim
        self.optimizer = SOLVERS[optim.solver](
            parameter_groups(self.model, optim.weight_decay), lr=rate(self.config.schedule, 0),
            **{name: getattr(optim, name) for name in NUMBERS[optim.solver]})
        self.looked_at: list[int] = []
        self.accuracies: list[float] = []

    def compiled(self) -> Any:
        """The model without compilation.

        In compiled code torch 2.13 computes wrong gradients of average pooling: where a window is
        cut off at the edge, it divides by the size of a whole window.
        """
        return self.model

    def batchable(self) -> None:
        raise UserError("train.vectorize=true: batched networks are compiled, which changes the "
                        "gradients of this paper's poolings; leave the key out")

    def rates(self, step: int) -> dict[str, float]:
        """The policy's learning rate."""
        return {"lr": rate(self.config.schedule, step)}

    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """``accuracy`` on the evaluation split, in %.

        In a range test also ``rate``, the rate of the last update, and after the last step
        ``base_lr`` and ``max_lr``, the edges, if there are any.
        """
        metrics = {"accuracy": 100 * self.accuracy(self.eval_inputs, self.eval_labels)}
        if self.config.schedule.policy != "range_test":
            return metrics
        metrics["rate"] = self.rates(max(step - 1, 0))["lr"]
        if step not in self.looked_at:
            self.looked_at.append(step)
            self.accuracies.append(metrics["accuracy"])
        if final:
            rates = [self.rates(max(k - 1, 0))["lr"] for k in self.looked_at]
            found = edges(rates, self.accuracies)
            metrics |= {} if found is None else dict(zip(("base_lr", "max_lr"), found, strict=True))
        return metrics


recipe = CyclicalLrRecipe

if __name__ == "__main__":
    exit_with(lambda: main(recipe, Config, __file__))
