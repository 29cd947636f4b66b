"""The configuration of all experiments of the papers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from common.conditions import NEVER, Not
from common.config import Config as BaseConfig
from common.config import key
from common.errors import UserError

TRAIN, LAYERS = {"task.name": "train"}, {"task.name": "layers"}
CONV, SURFACE = {"task.name": "convolutions"}, {"task.name": "surface"}
TRAINED = SURFACE | {"measure.trained": Not(0)}
IMAGES, GAUSSIAN = LAYERS | {"input.kind": "images"}, LAYERS | {"input.kind": "gaussian"}


@dataclass
class TaskConfig:
    name: Literal["train", "layers", "convolutions", "surface"] = key(
        "train", "train on images; signals in random networks, or in model B's convolutions; the "
                 "loss over two weights")


@dataclass
class ModelConfig:
    depth: int = key(5, "hidden layers", least=1, most=10_000, only=[TRAIN, LAYERS])
    width: int = key(100, "units of each hidden layer; filters of model B's first layer",
                     least=1, most=100_000)
    activation: Literal["linear", "sigmoid", "tanh", "softsign", "relu", "selu"] = key(
        "tanh", "f, of the hidden layers", only=[TRAIN, LAYERS])
    init: Literal["standard", "normalised", "xavier", "he"] = key(
        "standard", "U[±1/√n] (1), U[±√6/√(n + n')] (16), N(0, 1/n) or N(0, 2/n)",
        only=[TRAIN, LAYERS])
    std: float = key(0.0, "standard deviation of all convolutions; 0: √(2/n̂), as derived", least=0,
                     only=CONV)


@dataclass
class InputConfig:
    kind: Literal["images", "gaussian"] = key(
        "images", "the first test images, or as many Gaussian numbers as units", only=LAYERS)
    mean: float = key(0.0, "mean of Gaussian inputs", least=-10, only=GAUSSIAN)
    variance: float = key(1.0, "variance of Gaussian inputs", above=0, only=GAUSSIAN)


@dataclass
class OptimConfig:
    lr: float = key(0.1, "ε of plain SGD, on the mean of −log P(y|x)", above=0,
                    only=[TRAIN, TRAINED])


@dataclass
class MeasureConfig:
    examples: int = key(300, "test images, or inputs, over which activations are measured",
                        least=1, most=10**6)
    jacobians: int = key(1, "examples at which the Jacobian of every hidden layer is decomposed",
                         least=0, most=10**6, only=LAYERS)
    points: int = key(41, "values of each of the two weights", least=3, most=10**6, only=SURFACE)
    reach: float = key(10.0, "the weights go from −reach to reach", above=0, most=1000,
                       only=SURFACE)
    trained: int = key(0, "updates of descent on the cross-entropy before the surface is drawn",
                       least=0, most=10**6, only=SURFACE)
    flat: float = key(0.1, "flat means a slope below this fraction of the steepest", above=0,
                      below=1, only=SURFACE)


@dataclass
class Config(BaseConfig):
    honoured: ClassVar = {
        "data.name": [TRAIN, IMAGES], "data.evaluate_on": TRAIN, "train.batch_size": TRAIN,
        "train.compile": TRAIN, "train.precision": TRAIN, "start_from": NEVER}
    task: TaskConfig = field(default_factory=TaskConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    input: InputConfig = field(default_factory=InputConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    measure: MeasureConfig = field(default_factory=MeasureConfig)

    def check(self) -> None:
        m = self.measure
        if self.task.name == "layers" and m.jacobians > m.examples:
            raise UserError(f"measure.jacobians={m.jacobians}: expected at most the "
                            f"{m.examples} of measure.examples")
        if self.task.name == "layers" and self.model.depth < 2:
            raise UserError(f"model.depth={self.model.depth}: expected at least 2 hidden layers, "
                            "whose signals are compared")
