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
    hidden: list[int] = key([100, 100], "units of hidden layers; []: logistic regression",
                            least=1, most=100_000, only=PERCEPTRON)
    activation: Literal["tanh", "relu"] = key("tanh", "of the hidden units", only=PERCEPTRON | {
        "model.hidden": Not([])})


@dataclass
class OptimConfig:
    rule: Literal["adam", "sgd"] = key("adam", "Adam, or SGD without momentum")
    lr: float = key(0.001, "constant learning rate", least=0)
    until: float = key(0.99, "training accuracy of an epoch that ends training; 0: all epochs",
                       least=0, most=1)


@dataclass
class PhaseConfig:
    share: float = key(1.0, "fraction of the images to fit that this phase has, the first ones",
                       above=0, most=1)
    seen: float = key(0.5, "fraction that the phase before had; before the first epoch the "
                           "gradients of these and of the new images are compared", above=0, most=1)


@dataclass
class StartConfig:
    shrink: float = key(1.0, "λ, the factor of the weights that training starts from", least=0,
                        most=1, only=STARTED)
    perturb: float = key(0.0, "σ, the factor of the random weights that are added", least=0,
                         only=STARTED)


@dataclass
class Config(BaseConfig):
    honoured: ClassVar = {"data.evaluate_on": NEVER}
    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    phase: PhaseConfig = field(default_factory=PhaseConfig)
    start: StartConfig = field(default_factory=StartConfig)
