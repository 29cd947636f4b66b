"""The keys of every experiment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from common.conditions import NEVER, Not
from common.config import Config as BaseConfig
from common.config import key

DIGITS = {"task.name": "digits"}
PROBLEMS = {"task.name": Not("digits")}


@dataclass
class TaskConfig:
    name: Literal["published", "large", "digits"] = key(
        "published", "which problems, or softmax regression on digits")
    budget: int = key(2000, "most evaluations of f and its derivatives on one problem", least=1,
                      only=PROBLEMS)
    tolerance: float = key(1e-9, "a problem ends when ‖g‖ ≤ tolerance · max(1, ‖x‖)", least=0,
                           only=PROBLEMS)


@dataclass
class OptimConfig:
    method: Literal["lbfgs", "bfgs", "modified", "damped", "saddle_free", "descent", "momentum",
                    "nesterov", "adam"] = key("lbfgs", "Newton's: modified, damped, saddle_free")
    m: int = key(5, "pairs that L-BFGS keeps", least=1, most=10**6, only={"optim.method": "lbfgs"})
    momentum: float = key(0.9, "momentum, with or without Nesterov's form", least=0, below=1,
                          only={"optim.method": ("momentum", "nesterov")})


@dataclass
class Config(BaseConfig):
    honoured: ClassVar = {  # everything is float64
        "data.name": DIGITS, "data.evaluate_on": DIGITS, "train.batch_size": NEVER,
        "train.compile": DIGITS, "train.precision": NEVER, "start_from": DIGITS}
    task: TaskConfig = field(default_factory=TaskConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
