"""The keys of every experiment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from common.config import Config as BaseConfig
from common.config import key
from common.errors import UserError

VIEWS = (1, 2, 6)
"""Of a test image."""

SGD, MUON = {"optim.rule": "sgd"}, {"optim.rule": "muon"}


@dataclass
class ModelConfig:
    widths: list[int] = key([64, 256, 256], "channels of the three groups", least=1, some=True)
    first: Literal["learned", "whitening"] = key(
        "whitening", "first layer: frozen whitening filters and a bias, or random ones and BN")
    dirac: bool = key(True, "start 3×3 convolutions as the identity, as far as channels go")
    head: Literal["ninth", "unit"] = key(
        "ninth", "torch's start and logits / 9, or weights of spread 1 and logits / inputs")
    keep: float = key(0.6, "what BN's running statistics keep at a step", least=0, below=1)
    magnify: int = key(1, "every pixel becomes magnify × magnify pixels", least=1)


@dataclass
class OptimConfig:
    rule: Literal["sgd", "muon"] = key(
        "sgd", "sgd: Nesterov's for all; muon: for 3×3 filters, SGD for the rest")
    lr: float = key(11.5, "rate per 1,024 images, of a step as long as momentum makes it", least=0,
                    only=SGD)
    weight_decay: float = key(0.0153, "decay per 1,024 images, whatever the rate", least=0,
                              only=SGD)
    bias_scale: float = key(64.0, "how many times as fast BN's shifts learn", above=0, only=SGD)
    muon_lr: float = key(0.24, "Muon's rate", least=0, only=MUON)
    muon_momentum: float = key(0.6, "Muon's momentum, Nesterov's", above=0, below=1, only=MUON)
    shift_lr: float = key(0.053, "rate of BN's shifts and the first bias, a summed loss", above=0,
                          only=MUON)
    head_lr: float = key(0.67, "rate of the head, a summed loss", above=0, only=MUON)
    decay: float = key(2e-6, "weight decay of shifts and head, an image, whatever the rate",
                       least=0, only=MUON)
    momentum: float = key(0.85, "of Nesterov's SGD", above=0, below=1)
    start: float = key(0.2, "the first rate, in parts of the highest", least=0)
    peak: float = key(0.23, "when the rate is highest, in parts of the run; 0: at once", least=0,
                      below=1)
    end: float = key(0.07, "the last rate, in parts of the highest", least=0)
    frozen_after: float = key(3.0, "epochs after which the first layer's bias rests; 0: never",
                              least=0, only={"model.first": "whitening"})
    smoothing: float = key(0.2, "label smoothing", least=0, below=1)
    lookahead: Literal["none", "late", "always"] = key(
        "always", "slow weights: from the start, or after three epochs and at each one's end")


@dataclass
class AugmentConfig:
    translate: int = key(2, "pixels of reflection on each side before the random crop", least=0)
    flip: Literal["none", "random", "alternating"] = key(
        "alternating", "mirror by a coin in every epoch, or every image in every second one")


@dataclass
class MeasureConfig:
    views: int = key(6, "views of a test image: 1, 2 (mirrored) or 6 (moved, too)", least=1, most=6)


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
