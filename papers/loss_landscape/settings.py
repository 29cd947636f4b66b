"""The configuration of all experiments of the paper."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from common.config import Config as BaseConfig
from common.config import key
from common.errors import UserError

TRAIN, SURFACE, CURVATURE = ({"task.name": name} for name in ("train", "surface", "curvature"))
VIEW = {"task.name": ("surface", "curvature")}
MLP, RESNET = {"model.kind": "mlp"}, {"model.kind": "resnet"}
FARTHEST = 1e6
"""The largest reach of lines and planes; further out, weights overflow in single precision."""


@dataclass
class TaskConfig:
    name: Literal["train", "surface", "curvature"] = key(
        "surface", "train a small network and record its path; the loss on a line or plane through "
                   "given weights; or the Hessian's extreme eigenvalues on a plane")


@dataclass
class ModelConfig:
    kind: Literal["mlp", "resnet", "paper", "own"] = key(
        "mlp", "this folder's small networks, those of papers/resnet on CIFAR, the network of any "
               "experiment in this repository, or your own")
    hidden: list[int] = key([128, 128], "units of each hidden layer",
                            least=1, most=100_000, some=True, only=MLP)
    activation: Literal["relu", "sigmoid", "maxout"] = key(
        "relu", "activation of hidden units", only=MLP)
    bn: bool = key(True, "batch normalisation in every hidden layer", only=MLP)
    depth: int = key(20, "weighted layers, 6n+2", most=10_000, only=RESNET)
    shortcut: Literal["A", "B", "C", "none"] = key("A", "as in papers/resnet; none: plain",
                                                   only=RESNET)
    of: str = key("", "paper/experiment whose network and preparation of images are used",
                  only={"model.kind": "paper"})
    own: str = key("", "your module:function that makes the network from the shape of an image and "
                       "the number of classes", only={"model.kind": "own"})


@dataclass
class OptimConfig:
    lr: float = key(0.1, "initial rate of SGD", least=0, only=TRAIN)
    milestones: list[int] = key([], "steps after which it is divided by 10", least=1, only=TRAIN)
    momentum: float = key(0.9, "momentum of SGD, not Nesterov's", least=0, below=1, only=TRAIN)
    weight_decay: float = key(0.0, "L2 penalty of all parameters", least=0, only=TRAIN)


@dataclass
class ViewConfig:
    images: int = key(500, "training images, a fixed choice, on which the loss is evaluated",
                      least=1, most=10**6)
    points: int = key(21, "points per axis, an odd number", least=3, most=10**6)
    reach: float = key(1.0, "coordinates go from −reach to reach; a distance if normalise=none",
                       above=0, most=FARTHEST, only=VIEW)
    dimensions: int = key(2, "1: a line, 2: a plane", least=1, most=2, only=SURFACE)
    normalise: Literal["filter", "layer", "none"] = key(
        "filter", "scale directions by filter, by layer, or to length 1", only=VIEW)
    iterations: int = key(12, "Hessian products of the Lanczos method at a point",
                          least=2, most=10**6, only=CURVATURE)
    distance: float = key(10.0, "half length of the lines without normalisation", above=0,
                          most=FARTHEST, only=TRAIN)
    directions: int = key(10, "number of random directions, each taken both ways",
                          least=2, most=10**6, only=TRAIN)


@dataclass
class Config(BaseConfig):
    honoured: ClassVar = {
        "data.evaluate_on": TRAIN, "train.batch_size": TRAIN, "train.compile": TRAIN,
        "start_from": VIEW}
    precisions: ClassVar = ("float32", "tf32")
    task: TaskConfig = field(default_factory=TaskConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    view: ViewConfig = field(default_factory=ViewConfig)

    def check(self) -> None:
        """Refuse values that are incompatible.

        Raises:
            UserError: the number of points is even, the number of steps is not the number of
                points, a path would have fewer than three points, or a network to train is not an
                MLP or has BN and batches of one image.
        """
        v, steps, task = self.view, self.train.steps, self.task.name
        if v.points % 2 == 0:
            raise UserError(f"view.points={v.points}: expected an odd number, so that the middle "
                            "one is at the weights")
        if task == "train":
            if self.model.kind != "mlp":
                raise UserError(f"model.kind={self.model.kind}: expected mlp with task.name=train; "
                                "the paper's folder trains its own, and start_from takes the file")
            if steps <= 2 * self.train.eval_every:
                raise UserError(f"train.eval_every={self.train.eval_every}: expected less than half"
                                f" of the {steps} steps, for a path of more than two points")
            if self.model.bn and self.train.batch_size == 1:
                raise UserError("train.batch_size=1: expected at least 2 with model.bn=true")
        elif steps != v.points ** (v.dimensions if task == "surface" else 2):
            number = v.points ** (v.dimensions if task == "surface" else 2)
            raise UserError(f"train.steps={steps}: expected {number}, a step for each point")
