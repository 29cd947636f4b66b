"""Batch Normalization (Ioffe & Szegedy, 2015): the MNIST experiment of section 4.1.

    python papers/batchnorm/train.py experiment=quick      # bundled digits, seconds, offline
    python papers/batchnorm/train.py                       # the paper's two networks on MNIST
    python papers/batchnorm/train.py experiment=bn seed=0-9
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar
from common.entry import exit_with

import torch
from einops import rearrange
from torch import Tensor

from common.config import Config as BaseConfig
from common.config import key
from common.data import generator
from common.errors import UserError
from common.running.cli import main
from common.training.descent import sgd
from common.training.recipe import Supervised
from papers.batchnorm.model import BatchNorm, Network, population_statistics

PROBE = 1000
"""How many images of the evaluation split the percentiles of Fig. 1(b, c) are computed over."""


@dataclass
class ModelConfig:
    bn: bool = key(True, "batch-normalise the hidden layers")
    hidden: list[int] = key([100, 100, 100], "widths of the hidden layers",
                            least=1, most=100_000, some=True)
    init_std: float = key(0.05, "standard deviation of the initial weights", least=0)
    momentum: float = key(
        0.1, "weight of the newest batch in BN's moving averages", above=0, most=1,
        only={"model.bn": True})
    population_batches: int = key(
        1000, "training batches that the population statistics average over", least=1, most=10**6,
        only={"model.bn": True})
    unit: int = key(0, "the activation of the last hidden layer that Fig. 1(b, c) follows", least=0)


@dataclass
class OptimConfig:
    lr: float = key(0.12, "learning rate of plain SGD, on the mean cross-entropy", least=0)


@dataclass
class Config(BaseConfig):
    precisions: ClassVar = ("float32", "tf32")
    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)

    def check(self) -> None:
        if self.model.bn and self.train.batch_size < 2:
            raise UserError("train.batch_size=1: expected at least 2 images to normalise over, "
                            "or model.bn=false")


class BatchNormRecipe(Supervised):
    """Section 4.1's network and its measurements."""

    state_names = (*Supervised.state_names, "lowest", "highest")
    config: Config
    model: Network

    def prepare(self, images: Tensor) -> Tensor:
        """The "28x28 binary image": pixels above 127 are one; shape (n, pixels)."""
        return (rearrange(images, "n c h w -> n (c h w)") > 127).float()

    def build(self) -> None:
        model, optim = self.config.model, self.config.optim
        if model.unit >= model.hidden[-1]:
            raise UserError(f"model.unit={model.unit}: expected a unit of the last hidden layer of "
                            f"model.hidden={model.hidden}")
        self.model = Network(self.inputs.shape[1], model.hidden, self.data.classes, model.bn,
                             model.init_std, model.momentum, generator(self.config.seed, "init"))
        self.optimizer = sgd(self.model.parameters(), self.device, lr=optim.lr, fused=True)
        self.lowest = torch.full((model.hidden[-1],), torch.inf)
        self.highest = -self.lowest

    def batchable(self) -> None:
        for layer in self.model.modules():
            if isinstance(layer, BatchNorm):
                layer.by_hand = False

    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """Accuracy with BN's moving averages, and the percentiles of the last sigmoids' inputs.

        ``p15``, ``p50``, ``p85`` are of ``model.unit``; ``spread`` (p85 − p15) and ``drift`` (the
        range of p50, highest minus lowest, over all evaluations so far) are medians over all units.
        After the last step also ``accuracy_population``, with Algorithm 2's statistics.
        """
        metrics = {"accuracy": self.accuracy(self.eval_inputs, self.eval_labels)}
        self.model.eval()
        with torch.no_grad():
            x = self.model.last_sigmoid_input(self.eval_inputs[:PROBE])
        p15, p50, p85 = torch.quantile(x, torch.tensor([0.15, 0.5, 0.85], device=x.device), dim=0)
        self.lowest = torch.minimum(self.lowest, p50.cpu())
        self.highest = torch.maximum(self.highest, p50.cpu())
        unit = self.config.model.unit
        metrics |= {"p15": p15[unit].item(), "p50": p50[unit].item(), "p85": p85[unit].item(),
                    "spread": (p85 - p15).median().item(),
                    "drift": (self.highest - self.lowest).median().item()}
        if final:
            metrics["accuracy_population"] = self.population_accuracy()
        return metrics

    def population_accuracy(self) -> float:
        """Accuracy with Algorithm 2's statistics, from training batches with frozen weights."""
        layers = [l for l in self.model.modules() if isinstance(l, BatchNorm)]
        if layers:
            population_statistics(self.model, (
                self.batch_of(k)[0] for k in range(self.config.model.population_batches)))
        for layer in layers:
            layer.use_population = True
        accuracy = self.accuracy(self.eval_inputs, self.eval_labels)
        for layer in layers:
            layer.use_population = False
        return accuracy


recipe = BatchNormRecipe

if __name__ == "__main__":
    exit_with(lambda: main(recipe, Config, __file__))
