"""The keys of every experiment."""

from __future__ import annotations

from dataclasses import dataclass, field

from common.conditions import Not
from common.config import Config as BaseConfig
from common.config import key

STUDENT = {"start_from": Not("")}
SHIFTED = {"measure.classes": Not([])}


@dataclass
class ModelConfig:
    hidden: list[int] = key([800, 800], "widths of the hidden layers",
                            least=1, most=100_000, some=True)
    p_input: float = key(1.0, "probability of retaining a pixel in training", above=0, most=1)
    p_hidden: float = key(1.0, "probability of retaining a hidden unit", above=0, most=1)
    max_norm: float = key(0.0, "radius of the incoming weights, in the scale of those that see "
                               "unscaled units; 0: no constraint", least=0)


@dataclass
class TransferConfig:
    digits: list[int] = key([], "labels of the images that are trained on; none: all", least=0)
    jitter: int = key(0, "pixels by which images are shifted at most, in either direction",
                      least=0, most=1000)
    temperature: float = key(20.0, "T of the soft targets", above=0, only=STUDENT)
    hard: float = key(0.1, "weight of the labels; that of the soft targets is the rest", least=0,
                      most=1, only=STUDENT)


@dataclass
class OptimConfig:
    lr: float = key(0.1, "first learning rate; it falls in a straight line to 0", least=0)
    momentum: float = key(0.9, "momentum of SGD", least=0, below=1)


@dataclass
class MeasureConfig:
    classes: list[int] = key([], "classes whose biases are shifted after training", least=0)
    shift: float = key(3.5, "by how much the paper shifts them", least=-1000, only=SHIFTED)
    points: int = key(29, "shifts of the figure, from 0 to twice the paper's", least=2, most=10**6,
                      only=SHIFTED)


@dataclass
class Config(BaseConfig):
    model: ModelConfig = field(default_factory=ModelConfig)
    transfer: TransferConfig = field(default_factory=TransferConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    measure: MeasureConfig = field(default_factory=MeasureConfig)
