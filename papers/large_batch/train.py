"""Small and large batches (Keskar et al., 2017), and the answer to it (Hoffer et al., 2017).

    python papers/large_batch/train.py experiment=quick          # bundled digits, seconds, offline
    python papers/large_batch/train.py                           # F1 on MNIST, both batch sizes
    python papers/large_batch/train.py experiment=f1 seed=0-4    # small batches first
    python papers/large_batch/train.py experiment=tenth          # the answers, on 6,000 images
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from common.conditions import Not
from common.config import Config as BaseConfig
from common.config import key, start_of
from common.data import Split, generator
from common.errors import UserError, exit_with
from common.running.cli import main
from common.training.descent import sgd
from common.training.recipe import Supervised
from common.training.schedules import divided
from common.training.sums import fraction
from papers.large_batch.model import (
    Objective,
    c1,
    f1,
    flat,
    initialise,
    line,
    random_directions,
    ritz_values,
    sharpness,
)

MODES = {"batch": True, "moving": False}
"""Batch normalisation where a minimum is looked at: by the images' own statistics, or averages."""

SGD = {"optim.rule": "sgd"}
LOOKED_AT = {"measure.images": Not(0)}


@dataclass
class ModelConfig:
    network: Literal["f1", "c1"] = key("f1", "fully connected, or convolutional")
    hidden: list[int] = key([512] * 5, "widths of F1's hidden layers", least=1, some=True,
                            only={"model.network": "f1"})
    ghost: int = key(0, "examples whose statistics normalise them in training; 0: the batch's",
                     least=0)


@dataclass
class OptimConfig:
    rule: Literal["adam", "sgd"] = key("adam", "Adam at a constant rate, or SGD with momentum")
    lr: float = key(0.001, "learning rate", least=0)
    rate_batch: int = key(0, "0, or lr is the rate of batches of this size and grows with the "
                             "square root of the batch", least=0)
    milestones: list[int] = key([], "updates after which the rate is divided by 10", least=1,
                                only=SGD)
    momentum: float = key(0.9, "momentum of SGD", least=0, below=1, only=SGD)
    weight_decay: float = key(1e-4, "L2 penalty of SGD, on all weights", least=0, only=SGD)


@dataclass
class MeasureConfig:
    train_images: int = key(0, "training images to train on; 0: all", least=0)
    images: int = key(5000, "training images whose loss is f where a minimum is looked at; 0: it "
                            "is not", least=0)
    epsilons: list[float] = key([1e-3, 5e-4], "ε of metric (3)", above=0, some=True,
                                only=LOOKED_AT)
    iterations: int = key(10, "iterations of L-BFGS-B", least=1, only=LOOKED_AT)
    directions: int = key(100, "p, random directions of metric (3)", least=1, only=LOOKED_AT)
    products: int = key(15, "products with the Hessian for its largest eigenvalue", least=1,
                        only=LOOKED_AT)
    points: int = key(25, "of Fig. 3's line, where start_from names its other end", least=2,
                      only=LOOKED_AT | {"start_from": Not("")})


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


class LargeBatchRecipe(Supervised):
    """Training with one batch size, and a look around the minimum it ends in.

    Attributes:
        start: x_0, the initial weights.
        other: x of another experiment, at the other end of Fig. 3's line; None: no line is drawn.
    """

    kept = (*Supervised.kept, "start", "other")
    config: Config
    other: Tensor | None = None

    def select(self, train: Split) -> Split:
        """The first ``measure.train_images`` of the training images, or all."""
        n = self.config.measure.train_images
        if n > len(train):
            raise UserError(f"measure.train_images={n}: expected at most the {len(train)} "
                            f"training images of {self.config.data.name}")
        return Split(train.images[:n], train.labels[:n]) if n else train

    def build(self) -> None:
        c = self.config
        shape, classes = self.inputs.shape[1:], self.data.classes
        if c.measure.images > len(self.inputs):
            raise UserError(f"measure.images={c.measure.images}: expected at most the "
                            f"{len(self.inputs)} training images")
        if c.model.network == "f1":
            self.model = f1(math.prod(shape), classes, c.model.hidden, c.model.ghost)
        else:
            self.model = c1(shape[0], shape[-1], classes, c.model.ghost)
        initialise(self.model, generator(c.seed, "init"))
        self.model.to(self.device)
        self.start = flat(self.model)
        if start_of(c):
            self.other = torch.zeros_like(self.start)
        if c.optim.rule == "adam":
            self.optimizer = torch.optim.Adam(self.model.parameters(), lr=self.first_rate,
                                              fused=self.device.type in ("cpu", "cuda"),
                                              capturable=self.device.type == "cuda")
        else:
            self.optimizer = sgd(self.model.parameters(), self.device, lr=self.first_rate,
                                 momentum=c.optim.momentum, weight_decay=c.optim.weight_decay)

    def start_with(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Take another experiment's x as ``other``: training still begins at x_0.

        Raises:
            UserError: they are weights of another network.
        """
        taken = {}
        for name, here in self.model.named_parameters():
            there = weights.get(name)
            if there is None or there.shape != here.shape:
                size = "absent" if there is None else tuple(there.shape)
                raise UserError(f"{name} is {size} there, {tuple(here.shape)} here")
            taken[name] = there
        self.other = torch.cat([t.flatten() for t in taken.values()]).to(self.start)
        return taken

    @property
    def first_rate(self) -> float:
        """lr, or lr·√(batch/rate_batch) (Hoffer et al., section 4)."""
        c = self.config
        base = c.optim.rate_batch
        return c.optim.lr * (math.sqrt(c.train.batch_size / base) if base else 1.0)

    def rates(self, step: int) -> dict[str, float]:
        """SGD's rate, divided by 10 at the milestones; Adam's never changes."""
        if self.config.optim.rule == "adam":
            return {}
        return {"lr": divided(self.first_rate, self.config.optim.milestones, step)}

    # ---- what comes out ----------------------------------------------------------------------

    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """``accuracy`` by moving averages, ``distance`` ‖x − x_0‖; more in the final step.

        Then also ``accuracy_batch``, by statistics of the evaluated images, the same of the
        training images and their loss; and :meth:`around` and :meth:`along`.
        """
        x = flat(self.model)
        metrics = {"accuracy": self.accuracy(self.eval_inputs, self.eval_labels),
                   "distance": (x - self.start).norm().item()}
        if not final:
            return metrics
        for suffix, of_batch in (("", False), ("_batch", True)):
            for name, images, labels in (("", self.eval_inputs, self.eval_labels),
                                         ("train_", self.inputs, self.labels)):
                loss, accuracy = self.scores(x, images, labels, of_batch)
                metrics[f"{name}accuracy{suffix}"] = accuracy
                metrics[f"{name or 'test_'}loss{suffix}"] = loss
        if self.config.measure.images:
            metrics |= self.around(x)
            if self.other is not None:
                metrics |= self.along(self.other, x)
        return metrics

    @torch.no_grad()
    def scores(self, x: Tensor, images: Tensor, labels: Tensor, of_batch: bool,
               ) -> tuple[float, float]:
        """Loss and accuracy at weights x, in pieces of 5,000 images, as the authors' program.

        Or a little fewer, so that all pieces are of the same size.
        """
        objective = Objective(self.model, images, labels, of_batch)
        parts = images.tensor_split(math.ceil(len(images) / 5000))
        logits = torch.cat([objective.logits(x, part) for part in parts])
        return F.cross_entropy(logits, labels).item(), fraction(logits.argmax(1) == labels)

    def measured(self, of_batch: bool) -> Objective:
        """f of the first ``measure.images`` training images."""
        n = self.config.measure.images
        return Objective(self.model, self.inputs[:n], self.labels[:n], of_batch)

    def around(self, x: Tensor) -> dict[str, float]:
        """Metric (3) and the Hessian's largest eigenvalue at x, in both :data:`MODES`.

        ``sharpness_<full or random>_<ε>_<mode>`` and ``eigenvalue_<mode>``.
        """
        c, metrics = self.config.measure, {}
        A = random_directions(len(x), c.directions, self.generator("directions", 0)).to(x.device)
        for mode, of_batch in MODES.items():
            f = self.measured(of_batch)
            for ε in c.epsilons:
                for space, directions in (("full", None), ("random", A)):
                    metrics[f"sharpness_{space}_{ε:g}_{mode}"] = sharpness(
                        f, x, ε, directions, c.iterations)
            metrics[f"eigenvalue_{mode}"] = ritz_values(
                f, x, c.products, self.generator("lanczos", 0))[-1].item()
        return metrics

    def along(self, x_s: Tensor, x_l: Tensor) -> dict[str, float]:
        """Fig. 3: loss and accuracy on the line from x_s to x_ℓ, by statistics of the images.

        ``line_<train or test>_<loss or accuracy>_<k>``: of the measured training images and of
        the test images, at the k-th α of −1 … 2.
        """
        n, metrics = self.config.measure.images, dict[str, float]()
        for k, x in enumerate(line(x_s, x_l, self.config.measure.points)):
            for name, images, labels in (("train", self.inputs[:n], self.labels[:n]),
                                         ("test", self.eval_inputs, self.eval_labels)):
                loss, accuracy = self.scores(x, images, labels, of_batch=True)
                metrics |= {f"line_{name}_loss_{k}": loss, f"line_{name}_accuracy_{k}": accuracy}
        return metrics


recipe = LargeBatchRecipe

if __name__ == "__main__":
    exit_with(lambda: main(recipe, Config, __file__))
