"""The keys of every experiment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from common.conditions import NEVER, Not
from common.config import Config as BaseConfig
from common.config import key

DIGITS = {"task.name": "digits"}
LAYERED = {"task.name": Not("family_trees")}


@dataclass
class TaskConfig:
    name: Literal["symmetry", "family_trees", "xor", "parity", "encoder", "digits"] = key(
        "symmetry", "what is learned")
    held_out: int = key(0, "cases held out of training, chosen anew for every network", least=0)


@dataclass
class ModelConfig:
    networks: int = key(100, "networks trained side by side, each from other initial weights",
                        least=1, most=10**6)
    hidden: int = key(2, "hidden units; family trees have groups of fixed sizes",
                      least=1, most=100_000, only=LAYERED)
    skip: bool = key(False, "connect every group to all later ones, which XOR with one hidden unit "
                            "needs", only=LAYERED)
    activation: Literal["logistic", "tanh", "relu", "softsign"] = key("logistic", "y = f(x)")
    loss: Literal["squared", "cross_entropy"] = key("squared", "E of eq. (3), or cross-entropy")
    tolerance: float = key(
        0.0, "outputs this close to their target count as having no error", least=0,
        only={"model.loss": "squared"})
    init: float = key(0.3, "weights start uniformly in [−init, init]", least=0)


@dataclass
class OptimConfig:
    lr: float = key(0.1, "ε", least=0)
    momentum: float = key(0.9, "α", least=0, below=1)
    decay: float = key(0.0, "fraction taken off every weight after each change", least=0, most=1)
    gentle: int = key(0, "how many first sweeps have gentle_lr and gentle_momentum", least=0)
    gentle_lr: float = key(0.005, "ε of those sweeps", least=0, only={"optim.gentle": Not(0)})
    gentle_momentum: float = key(0.5, "α of those sweeps", least=0, below=1,
                                 only={"optim.gentle": Not(0)})
    online: bool = key(False, "change weights after every case instead of after every sweep")


@dataclass
class Config(BaseConfig):
    honoured: ClassVar = {
        "data.name": DIGITS, "data.evaluate_on": DIGITS, "train.batch_size": NEVER,
        "train.compile": NEVER}
    precisions: ClassVar = ("float32", "tf32")
    task: TaskConfig = field(default_factory=TaskConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
