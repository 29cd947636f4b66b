"""The keys of every experiment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from common.conditions import NEVER, Not, Unlike, both
from common.config import Config as BaseConfig
from common.config import key

POOL = 200
"""How many networks are sampled for Fig. 11; every average is over some of these."""

CLASSIFIER = {"model.kind": "classifier"}
NOISY = {"model.noise": Not("none")}


@dataclass
class ModelConfig:
    kind: Literal["classifier", "autoencoder"] = key(
        "classifier", "a classifier, or section 7.1's autoencoder, which has one hidden layer")
    hidden: list[int] = key([1024, 1024, 1024], "widths of the hidden layers",
                            least=1, most=100_000, some=True)
    constant_pn: bool = key(False, "hidden gives pn, the units retained on average; layers have "
                                   "hidden/p_hidden units", only=CLASSIFIER)
    activation: Literal["relu", "logistic"] = key("relu", "f of every hidden layer",
                                                  only=CLASSIFIER)
    noise: Literal["none", "bernoulli", "inverted", "gaussian"] = key(
        "bernoulli", "what units are multiplied by: nothing, 0 or 1, the same over p, or section "
                     "10's Gaussian noise")
    p_input: float = key(0.8, "probability of retaining an input unit", above=0, most=1,
                         only=both(CLASSIFIER, NOISY))
    p_hidden: float = key(0.5, "probability of retaining a hidden unit", above=0, most=1,
                          only=(NOISY, {"model.constant_pn": True}))
    gain: float = key(1.0, "initial weights are N(0, gain²/fan_in)", above=0, only=CLASSIFIER)


@dataclass
class RegulariserConfig:
    max_norm: float = key(
        0.0, "c, the largest norm of a unit's incoming weights; 0: no constraint", least=0)
    l2: float = key(0.0, "factor of half the sum of squared weights", least=0, only=CLASSIFIER)
    l1: float = key(0.0, "factor of the sum of absolute weights", least=0, only=CLASSIFIER)
    l1_from: int = key(0, "step from which l1 applies", least=0, only={"regulariser.l1": Not(0.0)})
    kl: float = key(0.0, "factor of the KL-sparsity penalty", least=0, only=CLASSIFIER)
    kl_target: float = key(0.1, "the mean activation that this penalty asks for", above=0,
                           only={"regulariser.kl": Not(0.0)})


@dataclass
class OptimConfig:
    lr: float = key(0.1, "ε0, initial learning rate, for the mean gradient of a batch", least=0)
    half_life: float = key(10_000.0, "T of ε_t = ε0 / (1 + t/T); 0: constant", least=0)
    momentum_initial: float = key(0.5, "momentum at the first step", least=0, below=1)
    momentum_final: float = key(0.95, "momentum that later steps approach", least=0, below=1)
    momentum_time: float = key(
        100_000.0, "τ: momentum is final − (final − initial)·exp(−t/τ)", above=0,
        only={"optim.momentum_initial": Unlike("optim.momentum_final")})


@dataclass
class MeasureConfig:
    train_size: int = key(0, "number of training images (Fig. 10); 0: all", least=0)
    samples: list[int] = key(
        [], "values of k in Fig. 11: how many sampled networks are averaged at the end", least=1,
        most=POOL, only=CLASSIFIER)
    repeats: int = key(100, "averages behind each point of Fig. 11", least=2,
                       only=both({"measure.samples": Not([])}, NOISY))


@dataclass
class Config(BaseConfig):
    honoured: ClassVar = {"train.compile": NEVER}
    model: ModelConfig = field(default_factory=ModelConfig)
    regulariser: RegulariserConfig = field(default_factory=RegulariserConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    measure: MeasureConfig = field(default_factory=MeasureConfig)
