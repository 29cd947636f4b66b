"""The keys of every experiment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from common.conditions import Not
from common.config import Config as BaseConfig
from common.config import key
from common.errors import UserError

SGD = {"optim.rule": "sgd"}
LOOKED_AT = {"measure.images": Not(0)}


@dataclass
class ModelConfig:
    network: Literal["f1", "c1"] = key("f1", "fully connected, or convolutional")
    hidden: list[int] = key([512] * 5, "widths of F1's hidden layers",
                            least=1, most=100_000, some=True,
                            only={"model.network": "f1"})
    ghost: int = key(0, "examples that are normalised together in training; 0: the whole batch",
                     least=0)


@dataclass
class OptimConfig:
    rule: Literal["adam", "sgd"] = key("adam", "Adam at a constant rate, or SGD with momentum")
    lr: float = key(0.001, "learning rate", least=0)
    rate_batch: int = key(0, "size of the batches that lr is for; the rate grows with the square "
                             "root of the batch; 0: it is lr", least=0)
    milestones: list[int] = key([], "updates after which the rate is divided by 10", least=1,
                                only=SGD)
    momentum: float = key(0.9, "momentum of SGD", least=0, below=1, only=SGD)
    weight_decay: float = key(1e-4, "L2 penalty of SGD, on all weights", least=0, only=SGD)


@dataclass
class MeasureConfig:
    train_images: int = key(0, "training images to train on; 0: all", least=0)
    images: int = key(5000, "training images whose loss is f around the minimum; 0: nothing is "
                            "measured there", least=0, most=10**6)
    epsilons: list[float] = key([1e-3, 5e-4], "ε of metric (3)", above=0, some=True,
                                only=LOOKED_AT)
    iterations: int = key(10, "iterations of L-BFGS-B for each sharpness",
                          least=1, most=10**6, only=LOOKED_AT)
    directions: int = key(100, "p, random directions of metric (3)",
                          least=1, most=10**6, only=LOOKED_AT)
    products: int = key(15, "products with the Hessian for its largest eigenvalue",
                        least=1, most=10**6, only=LOOKED_AT)
    points: int = key(25, "points of Fig. 3's line, whose other end start_from names",
                      least=2, most=10**6, only=LOOKED_AT | {"start_from": Not("")})


@dataclass
class Config(BaseConfig):
    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    measure: MeasureConfig = field(default_factory=MeasureConfig)

    def check(self) -> None:
        held_out = self.data.evaluate_on == "validation"
        for name, images in (("train.batch_size", self.train.batch_size),
                             ("measure.images", self.measure.images),
                             ("data.validation", self.data.validation if held_out else 0)):
            if images == 1:
                raise UserError(f"{name}=1: expected at least 2 images to normalise over")
        if self.model.ghost and (self.model.ghost < 2 or self.train.batch_size % self.model.ghost):
            raise UserError(f"model.ghost={self.model.ghost}: expected 2 or more, a divisor of "
                            f"train.batch_size={self.train.batch_size}")
