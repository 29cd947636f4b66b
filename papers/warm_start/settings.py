"""The keys of every experiment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from common.conditions import NEVER, Not
from common.config import Config as BaseConfig
from common.config import key

PERCEPTRON = {"model.kind": "mlp"}
STARTED = {"start_from": Not("")}


@dataclass
class ModelConfig:
    kind: Literal["mlp", "resnet18"] = key("mlp", "fully connected, or ResNet-18 for 32×32 pixels")
    hidden: list[int] = key([100, 100], "units of hidden layers; []: logistic regression", least=1,
                            only=PERCEPTRON)
    activation: Literal["tanh", "relu"] = key("tanh", "of hidden units", only=PERCEPTRON | {
        "model.hidden": Not([])})


@dataclass
class OptimConfig:
    rule: Literal["adam", "sgd"] = key("adam", "Adam, or SGD without momentum")
    lr: float = key(0.001, "constant learning rate", least=0)
    until: float = key(0.99, "training accuracy of an epoch that ends training; 0: all epochs",
                       least=0, most=1)


@dataclass
class PhaseConfig:
    share: float = key(1.0, "the part of the images to fit that is there, the first ones", above=0,
                       most=1)
    seen: float = key(0.5, "the part that the phase before had; gradients of its images and of "
                           "the others are compared before the first epoch", above=0, most=1)


@dataclass
class StartConfig:
    shrink: float = key(1.0, "λ, what remains of the weights started from", least=0, most=1,
                        only=STARTED)
    perturb: float = key(0.0, "σ, how much of random initial weights is added", least=0,
                         only=STARTED)


@dataclass
class Config(BaseConfig):
    honoured: ClassVar = {"data.evaluate_on": NEVER}
    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    phase: PhaseConfig = field(default_factory=PhaseConfig)
    start: StartConfig = field(default_factory=StartConfig)
