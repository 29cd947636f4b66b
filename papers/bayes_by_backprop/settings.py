"""The configuration keys of all experiments, and the priors and networks they describe."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from torch import nn

from common.conditions import NEVER, Not, both
from common.config import Config as BaseConfig
from common.config import DataConfig as BaseDataConfig
from common.config import key
from common.errors import UserError
from common.training.layers import Dropout
from common.training.linear import Linear
from papers.bayes_by_backprop.prior import GaussianPrior, Prior, ScaleMixturePrior

BANDIT = {"task.name": "bandit"}
REGRESSION = {"task.name": "regression"}
CLASSIFICATION = {"task.name": "classification"}
FIXED_DATA = {"task.name": Not("bandit")}
POSTERIOR = {"model.arm": "bbb"}
MIXTURE = {"prior.kind": "mixture"}


@dataclass
class TaskConfig:
    name: Literal["classification", "regression", "bandit"] = key(
        "classification", "section 5.1, 5.2 or 5.3")
    noise: float = key(1.0, "σ of the Gaussian likelihood", above=0,
                       only={"task.name": ("regression", "bandit")})
    agents: int = key(5, "bandits that play side by side", least=1, most=10**6, only=BANDIT)
    epsilon: float = key(0.0, "probability of a random action", least=0, most=1, only=BANDIT)
    memory: int = key(4096, "interactions an agent remembers", least=1, most=10**6, only=BANDIT)
    updates: int = key(64, "updates after each interaction", least=1, most=10**6, only=BANDIT)
    recall: Literal["drawn", "passes"] = key(
        "drawn", "minibatches drawn from the memory, or passes through it in a new order each time",
        only=BANDIT)
    thompson: int = key(2, "weight samples averaged to choose an action", least=1, most=10**6,
                        only=both(BANDIT, POSTERIOR))


@dataclass
class ModelConfig:
    arm: Literal["sgd", "dropout", "bbb"] = key("bbb", "plain weights, dropout, or posteriors")
    units: int = key(400, "units in each of the two hidden layers", least=1, most=100_000)
    mu_std: float = key(0.0, "standard deviation of the initial μ; 0: 1/√inputs", least=0,
                        only=both(FIXED_DATA, POSTERIOR))
    rho: float = key(-3.0, "initial ρ; σ = log(1 + exp ρ)", only=POSTERIOR)


@dataclass
class PriorConfig:
    kind: Literal["gaussian", "mixture"] = key(
        "mixture", "one Gaussian, or eq. (7)", only=POSTERIOR)
    std: float = key(1.0, "σ of the Gaussian prior", above=0, only={"prior.kind": "gaussian"})
    pi: float = key(0.25, "π, weight of the wide component", above=0, below=1, only=MIXTURE)
    minus_log_sigma1: float = key(1.0, "−ln σ1", only=MIXTURE)
    minus_log_sigma2: float = key(7.0, "−ln σ2", only=MIXTURE)
    clamped: bool = key(False, "hold the mixture's density to 1e-10 … 1, as a public code does",
                        only=({**CLASSIFICATION, **MIXTURE, "optim.fast": True},
                              {**BANDIT, **MIXTURE}))


@dataclass
class OptimConfig:
    lr: float = key(
        1e-3, "learning rate of plain SGD on the loss summed over the minibatch", least=0)
    milestones: list[int] = key([], "steps after which it is divided by 10", least=1)
    rule: Literal["sgd", "adam"] = key("sgd", "eqs. (5), (6), or Adam", only=REGRESSION)
    samples: int = key(1, "weight samples averaged in a step", least=1, most=10**6,
                       only=both(CLASSIFICATION, POSTERIOR))
    kl: Literal["uniform", "decreasing"] = key(
        "uniform", "π_i = 1/M, or 2^(M−i)/(2^M − 1)",
        only=(both(CLASSIFICATION, POSTERIOR), {**BANDIT, **POSTERIOR, "task.recall": "passes"}))
    slope: Literal["drawn", "mean"] = key(
        "drawn", "∂log P/∂w at the sampled weights, or its mean over q(w|θ)",
        only={**CLASSIFICATION, "optim.fast": True})
    fast: bool = key(True, "update by eqs. (3) and (4) in one pass instead of through autograd",
                     only=both(CLASSIFICATION, POSTERIOR))


@dataclass
class MeasureConfig:
    rules: bool = key(False, "select by the cost of sampled networks and by validation error too",
                      only=both(CLASSIFICATION, POSTERIOR))
    samples: int = key(
        20, "sampled networks behind predictive probabilities in the final step", least=1,
        only=(both(CLASSIFICATION, POSTERIOR), REGRESSION))


@dataclass
class DataConfig(BaseDataConfig):
    name: str = key("mnist", "data set: mnist, fashion_mnist, cifar10 or digits; the bandit's is "
                             "mushroom")


@dataclass
class Config(BaseConfig):
    honoured: ClassVar = {
        "data.name": {"task.name": Not("regression")}, "data.evaluate_on": NEVER,
        "data.validation": CLASSIFICATION,
        "train.compile": (REGRESSION, BANDIT, {"model.arm": ("sgd", "dropout")},
                          {"optim.fast": True})}
    precisions: ClassVar = ("float32", "tf32")
    data: DataConfig = field(default_factory=DataConfig)
    task: TaskConfig = field(default_factory=TaskConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    prior: PriorConfig = field(default_factory=PriorConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    measure: MeasureConfig = field(default_factory=MeasureConfig)

    def check(self) -> None:
        if self.task.name == "bandit" and self.model.arm == "dropout":
            raise UserError("model.arm=dropout: expected sgd or bbb where task.name=bandit")
        if self.prior.clamped and self.optim.slope == "mean":
            raise UserError("prior.clamped=true: expected optim.slope=drawn beside it")


def make_prior(p: PriorConfig) -> Prior:
    """The prior that a configuration describes.

    Raises:
        UserError: σ1 of the mixture is not larger than σ2.
    """
    if p.kind == "gaussian":
        return GaussianPrior(p.std)
    if p.minus_log_sigma1 >= p.minus_log_sigma2:
        raise UserError(f"prior.minus_log_sigma1={p.minus_log_sigma1}, prior.minus_log_sigma2="
                        f"{p.minus_log_sigma2}: expected σ1 > σ2")
    return ScaleMixturePrior(p.pi, math.exp(-p.minus_log_sigma1), math.exp(-p.minus_log_sigma2),
                             p.clamped)


def plain_network(widths: list[int], dropout: bool, start: torch.Generator) -> nn.Sequential:
    """The same layers with plain weights; dropout of 20 % of inputs and half of hidden units."""
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(pairwise(widths)):
        layers += [nn.ReLU()] if i else []
        layers += [Dropout(0.5 if i else 0.2)] if dropout else []
        layer = Linear(a, b)
        nn.init.normal_(layer.weight, 0.0, a**-0.5, generator=start)
        nn.init.zeros_(layer.bias)
        layers.append(layer)
    return nn.Sequential(*layers)
