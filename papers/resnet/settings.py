"""The keys of every experiment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from common.conditions import Not
from common.config import Config as BaseConfig
from common.config import key


@dataclass
class ModelConfig:
    family: Literal["cifar", "imagenet"] = key("cifar", "section 4.2's networks or Table 1's")
    depth: int = key(
        20, "weighted layers: 6n+2 for cifar; 18, 34, 50, 101 or 152 for imagenet", most=10_000)
    shortcut: Literal["A", "B", "C", "none"] = key(
        "A", "A zero-padding, B projection where the size changes, C everywhere, none: plain")
    magnify: int = key(1, "every pixel becomes magnify × magnify pixels", least=1, most=1000)


@dataclass
class OptimConfig:
    lr: float = key(0.1, "initial learning rate", least=0)
    milestones: list[int] = key([32000, 48000], "steps after which the rate is divided by 10",
                                least=1)
    momentum: float = key(0.9, "momentum of SGD, without Nesterov", least=0, below=1)
    weight_decay: float = key(1e-4, "L2 penalty", least=0)
    decay: Literal["weights", "all"] = key(
        "weights", "what decays: weights of convolutions and fc, or every parameter",
        only={"optim.weight_decay": Not(0.0)})
    warm_up_lr: float = key(0.0, "rate until the training error is below 80 %; 0: none", least=0)


@dataclass
class AugmentConfig:
    pad: int = key(4, "zeros on each side before the random crop; 0: no crop, no flip",
                   least=0, most=1000)
    flip: bool = key(True, "mirror half the images", only={"augment.pad": Not(0)})


@dataclass
class Config(BaseConfig):
    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
