"""On warm-starting neural network training (Ash & Adams, 2020): first half of the data, then all.

    python papers/warm_start/train.py experiment=quick             # digits, seconds, offline
    python papers/warm_start/train.py experiment=mlp seed=0-4      # the MLP of Table 1, Adam
    python papers/warm_start/train.py experiment=logistic          # the convex case

A step is an epoch. Training stops after the epoch whose training accuracy reaches ``optim.until``;
the steps that remain leave the network as it is and cost nothing.
"""

from __future__ import annotations

import math
from common.entry import exit_with

import torch
import torch.nn.functional as F
from torch import Tensor

from common import data
from common.config import start_of
from common.data import DataSet, Split, generator
from common.errors import UserError
from common.running.cli import main
from common.training import distributed, start
from common.training.recipe import Batch, Row, Supervised
from papers.warm_start.model import MLP, gradient_norm, initialise, resnet18, shrink_perturb
from papers.warm_start.settings import Config


class WarmStartRecipe(Supervised):
    """One phase of training: a share of the images to fit, from random or from given weights.

    Attributes:
        epochs: how many were made so far.
        stopped: whether the training accuracy of an epoch has reached ``optim.until``.
        train_accuracy: of the last epoch, on its batches as they were trained on.
        last: the mean loss of the last epoch.
        gradients: ‖∇‖ of the images seen before and of the new ones, before the first epoch; empty
            where there are no new ones.
    """

    state_names = (*Supervised.state_names, "epochs", "stopped", "train_accuracy", "last",
                   "gradients")
    config: Config

    # ---- the data ----------------------------------------------------------------------------

    def splits(self) -> tuple[DataSet, Split, Split]:
        """A random two thirds of the training images to fit, the rest to test on (section 2.1)."""
        if distributed.processes() > 1:
            raise UserError("epochs are made by one process: start it without torchrun")
        whole = data.load(self.config.data.name)
        if whole.train.images.dim() != 4:
            raise UserError(f"data.name={self.config.data.name}: expected a data set of images")
        order = torch.randperm(len(whole.train), generator=generator(self.config.seed, "split"))
        fitted = int(len(order) * 2 / 3)
        return whole, whole.train[order[:fitted]], whole.train[order[fitted:]]

    def select(self, train: Split) -> Split:
        """The first ``phase.share`` of the images to fit."""
        share = int(self.config.phase.share * len(train))
        self.seen = min(share, int(self.config.phase.seen * len(train)))
        if share < 1 or self.seen < 1:
            raise UserError(f"phase.share={self.config.phase.share:g}, phase.seen="
                            f"{self.config.phase.seen:g}: expected at least one of {len(train)} "
                            "images in both")
        return train[:share]

    def prepare(self, images: Tensor) -> Tensor:
        """Pixels from −1 to 1, as in the authors' program: less a half, divided by a half."""
        return images.float() / 127.5 - 1

    # ---- training ----------------------------------------------------------------------------

    def build(self) -> None:
        c = self.config
        if c.model.kind == "mlp":
            self.model = MLP(self.inputs[0].numel(), c.model.hidden, self.data.classes,
                             c.model.activation)
        else:
            n, size, side = len(self.inputs), c.train.batch_size, self.inputs.shape[-1]
            if side <= 8 and (n % size or size) == 1:  # the last maps have one pixel
                raise UserError(f"train.batch_size={size}: leaves a batch of one of {n} images of "
                                f"{side}×{side} pixels, of which batch normalisation has no "
                                "statistics; expected another size")
            self.model = resnet18(self.inputs.shape[1], self.data.classes)
        # on top of given weights these are the noise: not the draw that the donor began with
        initialise(self.model, generator(c.seed, "noise" if start_of(c) else "init"))
        self.model.to(self.device)
        if c.optim.rule == "adam":
            self.optimizer = torch.optim.Adam(self.model.parameters(), lr=c.optim.lr,
                                              fused=self.device.type in ("cpu", "cuda"))
        else:
            self.optimizer = torch.optim.SGD(self.model.parameters(), lr=c.optim.lr)
        self.epochs, self.stopped, self.train_accuracy = 0, False, 0.0
        self.last = torch.zeros((), device=self.device)
        self.wrong = torch.zeros((), dtype=torch.long, device=self.device)
        self.gradients: list[float] = []

    def start_with(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Begin with λ times these weights and σ times random ones."""
        fresh = [p.detach().clone() for p in self.model.parameters()]
        taken = start.fit(self.model, weights)
        shrink_perturb(self.model, self.config.start.shrink, self.config.start.perturb, fresh)
        return taken

    def batch(self, row: Row) -> Batch:
        """Images and labels of a row, by ``index_select``: a third faster for long rows."""
        return (self.inputs.index_select(0, row["index"]),
                self.labels.index_select(0, row["index"]))

    def loss(self, batch: Batch, row: Row) -> Tensor:
        x, y = batch
        logits = self.net(x)
        with torch.no_grad():
            self.wrong += (logits.argmax(1) != y).sum()
        return F.cross_entropy(logits, y)

    def step(self, number: int) -> Tensor:
        """Make an epoch, unless training has stopped; returns its mean loss."""
        if self.stopped:
            return self.last
        if number == 0 and self.seen < len(self.inputs):
            self.gradients = [gradient_norm(self.model, self.inputs[part], self.labels[part])
                              for part in (slice(self.seen), slice(self.seen, None))]
        n = len(self.inputs)
        order = torch.randperm(n, generator=self.generator("batches", number)).to(self.device)
        self.wrong.zero_()
        self.last = torch.stack([self.update({"index": part}) for part in order.split(
            self.config.train.batch_size)]).mean()
        self.epochs, self.train_accuracy = self.epochs + 1, 1 - self.wrong.item() / n
        self.stopped = 0 < self.config.optim.until <= self.train_accuracy
        return self.last

    def shorten(self) -> float:
        """Two updates an epoch, where ResNet-18 would take minutes: see ``--pace``."""
        whole = len(self.inputs)
        if self.config.model.kind == "resnet18":
            some = slice(2 * self.config.train.batch_size)
            self.inputs, self.labels = self.inputs[some], self.labels[some]
            self.seen = min(self.seen, len(self.inputs))
        return len(self.inputs) / whole

    # ---- what comes out ----------------------------------------------------------------------

    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """``accuracy`` on the held-out third, ``train_accuracy`` of the last epoch, ``epochs``.

        ``epochs`` is infinite where ``optim.until`` was not reached. ``gradient_old`` and
        ``gradient_new`` are :attr:`gradients`, where there are new images.
        """
        unfinished = self.config.optim.until > 0 and not self.stopped
        metrics = {"accuracy": self.accuracy(self.eval_inputs, self.eval_labels),
                   "train_accuracy": self.train_accuracy,
                   "epochs": math.inf if final and unfinished else float(self.epochs)}
        return metrics | dict(zip(("gradient_old", "gradient_new"), self.gradients, strict=False))


recipe = WarmStartRecipe

if __name__ == "__main__":
    exit_with(lambda: main(recipe, Config, __file__))
