"""The configuration of all experiments of the paper."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from common.conditions import Not
from common.config import Config as BaseConfig
from common.config import key
from common.errors import UserError

TRAIN, SENSITIVITY = {"task.name": "train"}, {"task.name": "sensitivity"}
FROM_WEIGHTS = {"task.name": "train", "start_from": Not("")}


@dataclass
class TaskConfig:
    name: Literal["train", "sensitivity"] = key(
        "train", "train a pruned network, from the unpruned one's weights if start_from names "
                 "some; or prune one layer at a time and measure the error")


@dataclass
class ModelConfig:
    kind: Literal["resnet", "vgg16"] = key("resnet", "networks of papers/resnet, or VGG-16")
    depth: int = key(20, "weighted layers, 6n+2", most=10_000, only={"model.kind": "resnet"})
    width: int = key(64, "filters of VGG-16's first convolution", least=1, most=100_000,
                     only={"model.kind": "vgg16"})


@dataclass
class PlanConfig:
    shares: list[float] = key([0.5, 0.5, 0.5], "p_i, the fraction of filters to remove in each "
                                               "stage: three for a ResNet, five for VGG-16",
                              least=0, below=1, some=True, only=TRAIN)
    skip: list[int] = key([], "numbers of layers that are not pruned", least=1, only=TRAIN)
    which: Literal["smallest", "random", "largest"] = key(
        "smallest", "the filters to remove, by the sum of their absolute weights",
        only=(FROM_WEIGHTS, SENSITIVITY))
    greedy: bool = key(True, "norms do not count kernels of feature maps already removed",
                       only=FROM_WEIGHTS | {"model.kind": "vgg16", "plan.which": Not("random")})


@dataclass
class OptimConfig:
    lr: float = key(0.001, "learning rate of SGD", least=0, only=TRAIN)
    milestones: list[int] = key([], "steps after which it is divided by 10", least=1, only=TRAIN)
    momentum: float = key(0.9, "momentum of SGD, not Nesterov's", least=0, below=1, only=TRAIN)
    weight_decay: float = key(1e-4, "L2 penalty of weights, not of biases and BN", least=0,
                              only=TRAIN)


@dataclass
class AugmentConfig:
    pad: int = key(4, "zeros on each side before the random crop; 0: no crop, no flip",
                   least=0, most=1000, only=TRAIN)
    flip: bool = key(True, "mirror half the images", only={"augment.pad": Not(0)})


@dataclass
class ViewConfig:
    images: int = key(1000, "how many images, from the first on, the error is measured on",
                      least=1, most=10**6, only=SENSITIVITY)
    shares: list[float] = key([0.1, 0.3, 0.5, 0.7, 0.9],
                              "fractions of filters to remove, one layer at a time", above=0,
                              below=1, some=True, only=SENSITIVITY)


@dataclass
class Config(BaseConfig):
    honoured: ClassVar = {"train.batch_size": TRAIN, "train.compile": TRAIN}
    precisions: ClassVar = ("float32", "tf32")
    task: TaskConfig = field(default_factory=TaskConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    plan: PlanConfig = field(default_factory=PlanConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    view: ViewConfig = field(default_factory=ViewConfig)

    def check(self) -> None:
        """Refuse values that are incompatible.

        Raises:
            UserError: batches of one image are trained, for which batch normalisation has no
                variance where maps are 1×1.
        """
        if self.task.name == "train" and self.train.batch_size == 1:
            raise UserError("train.batch_size=1: expected at least 2 images to normalise over")
