"""The keys of every experiment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from common.conditions import NEVER, Not
from common.config import Config as BaseConfig
from common.config import key

DIGITS = {"task.name": "digits"}
NETWORKS = {"task.name": Not("minpack")}


@dataclass
class TaskConfig:
    name: Literal["minpack", "sine", "period", "sinc", "product", "diabetes", "digits"] = key(
        "minpack", "MINPACK's 53 runs, or what a network learns")
    goal: float = key(0.0, "training ends once the mean square error is at most this", least=0,
                      only=NETWORKS)


@dataclass
class ModelConfig:
    hidden: int = key(15, "tanh units of the one hidden layer",
                      least=1, most=100_000, only=NETWORKS)


@dataclass
class OptimConfig:
    method: Literal["more", "plain", "marquardt", "lm", "cg", "gdx", "bfgs", "lbfgs", "adam",
                    "sgd"] = key(
        "more", "more, plain (μI) or marquardt (μ diag JᵀJ) for minpack; the others for networks")
    lr: float = key(0.01, "learning rate; gdx starts from it and adapts it", least=0,
                    only={"optim.method": ("adam", "sgd", "gdx")})
    momentum: float = key(0.9, "momentum", least=0, below=1,
                          only={"optim.method": ("sgd", "gdx")})
    damping: float = key(0.01, "the first μ", above=0,
                         only={"optim.method": ("plain", "marquardt", "lm")})
    rule: Literal["gain", "plain"] = key("gain", "how μ changes: Nielsen's or Hagan & Menhaj's",
                                         only={"optim.method": "lm"})
    factor: float = key(10.0, "β of the plain rule", above=1,
                        only=({"optim.method": ("plain", "marquardt")}, {"optim.rule": "plain"}))
    solver: Literal["cholesky", "qr", "cg"] = key("cholesky", "how a step's equations are solved",
                                                  only={"optim.method": "lm"})


@dataclass
class Config(BaseConfig):
    honoured: ClassVar = {  # everything is float64
        "data.name": DIGITS, "data.evaluate_on": DIGITS, "train.batch_size": NEVER,
        "train.compile": NETWORKS, "train.precision": NEVER, "start_from": NETWORKS}
    task: TaskConfig = field(default_factory=TaskConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
