"""The configuration of all experiments of the papers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from common.conditions import NEVER
from common.config import Config as BaseConfig
from common.config import key

TRAIN, PRUNE, QUANTISE, TICKET = (
    {"task.name": name} for name in ("train", "prune", "quantise", "ticket"))
HAN = [TRAIN, PRUNE, QUANTISE]


@dataclass
class TaskConfig:
    name: Literal["train", "prune", "quantise", "ticket"] = key(
        "train", "train a network; prune and retrain; share weights and fine-tune; or train a "
                 "lottery ticket")


@dataclass
class ModelConfig:
    network: Literal["lenet_300_100", "lenet_5"] = key("lenet_300_100", "the network")
    hidden: list[int] = key([300, 100], "widths of LeNet-300-100's hidden layers",
                            least=1, most=100_000,
                            some=True, only={"model.network": "lenet_300_100"})


@dataclass
class OptimConfig:
    lr: float = key(0.01, "first learning rate: of SGD, of Adam for tickets", least=0)
    gamma: float = key(0.0, "γ of Caffe's policy inv, lr·(1 + γ·step)^−power", least=0, only=HAN)
    power: float = key(0.75, "its power", least=0, only=HAN)
    momentum: float = key(0.9, "momentum of SGD", least=0, below=1, only=HAN)
    weight_decay: float = key(5e-4, "L2 penalty, on weights and biases", least=0, only=HAN)


@dataclass
class PruneConfig:
    quality: list[float] = key([1.0], "of each layer: weights below quality times their standard "
                                      "deviation go", least=0, some=True, only=PRUNE)
    rate: float = key(0.0, "part of each layer's weights that goes before a ticket is trained",
                      least=0, below=1, only=TICKET)
    output_rate: float = key(0.0, "part of the last layer's", least=0, below=1, only=TICKET)
    reinitialise: bool = key(False, "new initial weights under the ticket's mask", only=TICKET)


@dataclass
class QuantiseConfig:
    weight_bits: list[int] = key([6], "of each layer: bits of a shared weight; one of the 2^bits "
                                      "is zero", least=1, most=12, some=True, only=QUANTISE)
    index_bits: int = key(5, "bits of a relative index", least=1, most=8, only=QUANTISE)


@dataclass
class Config(BaseConfig):
    honoured: ClassVar = {
        "data.evaluate_on": HAN,
        "data.validation": [TICKET, {"data.evaluate_on": "validation"}],
        "train.compile": NEVER}
    precisions: ClassVar = ("float32", "tf32")
    task: TaskConfig = field(default_factory=TaskConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    prune: PruneConfig = field(default_factory=PruneConfig)
    quantise: QuantiseConfig = field(default_factory=QuantiseConfig)
