"""The configuration keys of all experiments."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from common.config import Config as BaseConfig
from common.config import key
from common.errors import UserError

VIEWS = (1, 2, 6)
"""The possible numbers of views of a test image."""

SGD, MUON = {"optim.rule": "sgd"}, {"optim.rule": "muon"}


@dataclass
class ModelConfig:
    widths: list[int] = key([64, 256, 256], "channels of the three groups",
                            least=1, most=100_000, some=True)
    first: Literal["learned", "whitening"] = key(
        "whitening", "first layer: frozen whitening filters and a bias, or random ones and BN")
    dirac: bool = key(True, "start 3×3 convolutions as the identity on their input channels")
    head: Literal["ninth", "unit"] = key(
        "ninth", "torch's initialisation and logits / 9, or weights of std 1 and logits / inputs")
    keep: float = key(0.6, "fraction of BN's running statistics kept in a step", least=0, below=1)
    magnify: int = key(1, "every pixel becomes magnify × magnify pixels", least=1, most=1000)


@dataclass
class OptimConfig:
    rule: Literal["sgd", "muon"] = key(
        "sgd", "sgd: Nesterov SGD for all weights; muon: Muon for 3×3 filters, SGD for the rest")
    lr: float = key(11.5, "rate per 1,024 images, divided by the step length that momentum gives",
                    least=0, only=SGD)
    weight_decay: float = key(0.0153, "decay per 1,024 images, independent of the rate", least=0,
                              only=SGD)
    bias_scale: float = key(64.0, "factor of the learning rate for BN's shifts", above=0, only=SGD)
    muon_lr: float = key(0.24, "Muon's learning rate", least=0, only=MUON)
    muon_momentum: float = key(0.6, "Muon's Nesterov momentum", above=0, below=1, only=MUON)
    shift_lr: float = key(0.053, "rate of BN's shifts and the first bias, for a summed loss",
                          above=0, only=MUON)
    head_lr: float = key(0.67, "rate of the head, for a summed loss", above=0, only=MUON)
    decay: float = key(2e-6, "weight decay of shifts and head per image, independent of the rate",
                       least=0, only=MUON)
    momentum: float = key(0.85, "momentum of Nesterov SGD", above=0, below=1)
    start: float = key(0.2, "the first rate, as a fraction of the highest", least=0)
    peak: float = key(0.23, "fraction of the run at which the rate is highest; 0: at the start",
                      least=0, below=1)
    end: float = key(0.07, "the last rate, as a fraction of the highest", least=0)
    frozen_after: float = key(3.0, "epochs after which the first layer's bias is frozen; 0: never",
                              least=0, only={"model.first": "whitening"})
    smoothing: float = key(0.2, "label smoothing", least=0, below=1)
    lookahead: Literal["none", "late", "always"] = key(
        "always", "slow weights: from the start, or from the fourth epoch and at the end of each")


@dataclass
class AugmentConfig:
    translate: int = key(2, "pixels of reflection padding before the random crop",
                         least=0, most=1000)
    flip: Literal["none", "random", "alternating"] = key(
        "alternating", "mirror at random in every epoch, or each image in every second epoch")


@dataclass
class MeasureConfig:
    views: int = key(6, "views of a test image: 1, 2 (mirrored) or 6 (also shifted)", least=1,
                     most=6)


@dataclass
class Config(BaseConfig):
    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    measure: MeasureConfig = field(default_factory=MeasureConfig)

    def check(self) -> None:
        if self.measure.views not in VIEWS:
            raise UserError(f"measure.views={self.measure.views}: expected 1, 2 or 6")
        if len(self.model.widths) != 3:
            raise UserError(f"model.widths={self.model.widths}: expected three numbers")
