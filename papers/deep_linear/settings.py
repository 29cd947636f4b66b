"""The configuration of all experiments of the paper."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from common.conditions import NEVER, Not
from common.config import Config as BaseConfig
from common.config import key
from common.errors import UserError

MODES, SWEEP = {"task.name": "modes"}, {"task.name": "sweep"}
PRODUCT, CHAOS = {"task.name": "product"}, {"task.name": "chaos"}
ROUNDING = 1e-12
"""The smallest relative difference of strengths that float64 resolves after a few operations."""
DECOUPLED = MODES | {"model.start": "decoupled"}


@dataclass
class TaskConfig:
    name: Literal["modes", "product", "chaos", "sweep"] = key(
        "modes", "modes of a task learned by gradient descent, a product of random matrices, a "
                 "random tanh network, or learning times on images against depth")


@dataclass
class ModelConfig:
    width: int = key(8, "units of each hidden layer; N of the matrices of products",
                     least=1, most=100_000)
    layers: int = key(3, "N_l, layers of neurons: one more than matrices",
                      least=3, most=10_000, only=MODES)
    strengths: list[float] = key([4.0, 3.0, 2.0, 1.0], "s of the task's modes", above=0, some=True,
                                 only=MODES)
    start: Literal["decoupled", "random"] = key(
        "decoupled", "on the invariant set of section 2, or small Gaussian weights", only=MODES)
    u0: float = key(0.001, "every mode's strength at the start", above=0, only=DECOUPLED)
    unbalance: float = key(1.0, "factor by which the first layer's share is larger and the last "
                                "one's smaller", above=0, only=DECOUPLED)
    std: float = key(0.01, "standard deviation of random weights", above=0,
                     only=MODES | {"model.start": "random"})
    matrices: Literal["orthogonal", "gaussian"] = key(
        "orthogonal", "random orthogonal, or Gaussian of variance 2/(inputs + outputs)",
        only=[PRODUCT, SWEEP])
    gain: float = key(1.0, "g, the factor of the orthogonal matrices", above=0, only=CHAOS)
    q0: float = key(1.0, "variance of the first layer's inputs", above=0, only=CHAOS)


@dataclass
class OptimConfig:
    lr: float = key(0.001, "λ = 1/τ of full-batch gradient descent", above=0, only=MODES)
    scaled: bool = key(False, "λ is in units of 1/the largest curvature at the optimum",
                       only=MODES)
    updates: int = key(100, "updates in a step", least=1, most=10**6, only=MODES)
    ε: float = key(0.001, "a mode is learned when its strength is above s − ε", above=0,
                   only=MODES)


@dataclass
class SweepConfig:
    depths: list[int] = key([3, 10, 30, 100], "N_l of each network, 3 or more; a step trains one",
                            least=1, most=10_000, some=True, only=SWEEP)
    rates: int = key(20, "number of learning rates for each depth", least=2, most=10**6, only=SWEEP)
    fastest: float = key(1.0, "the largest rate; the others follow by equal factors", above=0,
                         only=SWEEP)
    slowest: float = key(0.001, "the smallest rate", above=0, only=SWEEP)
    threshold: float = key(0.1, "fraction of the explainable error at which a network counts as "
                                "trained", above=0, below=1, only=SWEEP)
    budget: int = key(3000, "the largest number of updates", least=1, only=SWEEP)


@dataclass
class Config(BaseConfig):
    honoured: ClassVar = {
        "data.name": SWEEP, "train.eval_every": {"task.name": Not("sweep")},
        "data.evaluate_on": NEVER, "train.batch_size": NEVER, "train.compile": NEVER,
        "train.precision": NEVER, "start_from": NEVER}
    task: TaskConfig = field(default_factory=TaskConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    sweep: SweepConfig = field(default_factory=SweepConfig)

    def check(self) -> None:
        c, m = self.sweep, self.model
        if c.slowest >= c.fastest:
            raise UserError(f"sweep.slowest={c.slowest}: expected less than "
                            f"sweep.fastest={c.fastest}")
        if self.task.name == "sweep" and min(c.depths, default=3) < 3:
            raise UserError(f"sweep.depths={c.depths}: expected 3 layers or more")
        if self.task.name == "sweep" and len(set(c.depths)) < len(c.depths):
            raise UserError(f"sweep.depths={c.depths}: expected each depth once")
        if self.task.name == "modes" and m.width < len(m.strengths):
            raise UserError(f"model.width={m.width}: expected at least {len(m.strengths)}, a unit "
                            "for each of model.strengths")
        if self.task.name == "modes" and m.layers != 3 and m.start == "random":
            raise UserError(f"model.layers={m.layers}: expected 3, or model.start=decoupled: "
                            "theory's times from random weights are known for one hidden layer")
        low = min(m.strengths, default=math.inf)
        for name, value in (("model.u0", m.u0), ("optim.ε", self.optim.ε)):
            least = ROUNDING * max(m.strengths, default=1.0)
            if self.task.name == "modes" and value < least:
                raise UserError(f"{name}={value}: expected at least {least:g}, since less is lost "
                                "in rounding next to the largest of model.strengths")
            if self.task.name == "modes" and value >= low:
                raise UserError(f"{name}={value}: expected less than {low}, the smallest of "
                                "model.strengths")
