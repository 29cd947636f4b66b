"""Small and large batches (Keskar et al., 2017), and the answer to it (Hoffer et al., 2017).

    python papers/large_batch/train.py experiment=quick          # bundled digits, seconds, offline
    python papers/large_batch/train.py                           # F1 on MNIST, both batch sizes
    python papers/large_batch/train.py experiment=f1 seed=0-4    # small batches first
    python papers/large_batch/train.py experiment=tenth          # the answers, on 6,000 images
"""

from __future__ import annotations

import math
from common.entry import exit_with

import torch
from torch import Tensor

from common.config import start_of
from common.data import Split, generator
from common.errors import UserError
from common.running.cli import main
from common.training.descent import sgd
from common.training.recipe import Supervised
from common.training.schedules import divided
from papers.large_batch.measures import along, around, scores
from papers.large_batch.model import c1, f1, flat, initialise
from papers.large_batch.settings import Config


class LargeBatchRecipe(Supervised):
    """Train with one batch size, and measure the minimum that training ends in.

    Attributes:
        start: x_0, the initial weights.
        other: x of another experiment, at the other end of Fig. 3's line; None: no line is drawn.
    """

    state_names = (*Supervised.state_names, "start", "other")
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

        Then also ``accuracy_batch``, by the statistics of the images instead, both accuracies on
        the training images, and all losses; and what :func:`around` and :func:`along` measure.
        """
        x, m = flat(self.model), self.config.measure
        metrics = {"accuracy": self.accuracy(self.eval_inputs, self.eval_labels),
                   "distance": (x - self.start).norm().item()}
        if not final:
            return metrics
        for suffix, of_batch in (("", False), ("_batch", True)):
            for name, images, labels in (("", self.eval_inputs, self.eval_labels),
                                         ("train_", self.inputs, self.labels)):
                loss, accuracy = scores(self.model, x, images, labels, of_batch)
                metrics[f"{name}accuracy{suffix}"] = accuracy
                metrics[f"{name or 'test_'}loss{suffix}"] = loss
        if m.images:
            images, labels = self.inputs[:m.images], self.labels[:m.images]
            metrics |= around(self.model, x, images, labels, m, self.generator)
            if self.other is not None:
                metrics |= along(self.model, self.other, x, {
                    "train": (images, labels), "test": (self.eval_inputs, self.eval_labels)},
                    m.points)
        return metrics


recipe = LargeBatchRecipe

if __name__ == "__main__":
    exit_with(lambda: main(recipe, Config, __file__))
