"""Winning tickets of Frankle & Carbin: prune a trained network, and go back to where it started."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from common.data import DataSet, Split, evaluation_splits, generator
from common.training import start
from common.training.sums import fraction
from papers.deep_compression.compression import LeNetRecipe
from papers.deep_compression.model import Pruned, largest


class TicketRecipe(LeNetRecipe):
    """f(x; m ⊙ θ_0) trained by Adam, and when its validation loss is least.

    What an experiment starts from gives a mask and trained weights: the smallest of these leave
    the mask, and the others go back to θ_0, or to new ones.

    Attributes:
        best: the least validation loss so far.
        stop: after how many iterations it was (early stopping, in retrospect).
        stop_accuracy: on the test images then.
    """

    state_names = (*LeNetRecipe.state_names, "best", "stop", "stop_accuracy")
    model: Pruned

    def splits(self) -> tuple[DataSet, Split, Split]:
        """Trained without ``data.validation`` images, evaluated on the test images."""
        data, train, self.held_out = evaluation_splits(
            replace(self.config.data, evaluate_on="validation"))
        return data, train, data.test

    def measure(self, train: Split) -> None:
        pixels = train.images.float()
        self.mean, self.std = pixels.mean(), pixels.std(correction=0)

    def prepare(self, images: Tensor) -> Tensor:
        return (images.float() - self.mean) / self.std

    def load_data(self) -> None:
        super().load_data()
        self.held_inputs = self.prepare(self.held_out.images).to(self.device)
        self.held_labels = self.held_out.labels.to(self.device)

    def build(self) -> None:
        self.model = self.fresh().to(self.device)
        self.take(self.model)
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), lr=self.config.optim.lr,
            fused=self.device.type in ("cpu", "cuda"), capturable=self.device.type == "cuda")
        self.best, self.stop, self.stop_accuracy = math.inf, 0.0, 0.0

    def fresh(self) -> Pruned:
        """f(x; θ_0), or with new initial weights; a function of the seed."""
        stream = "reinit" if self.config.prune.reinitialise else "init"
        return Pruned(self.shapes(), "glorot", generator(self.config.seed, stream))

    def start_with(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Take masks and magnitudes alone."""
        trained = Pruned(self.model.shapes, "glorot", torch.Generator())
        taken = start.fit(trained, weights)
        self.model.load_state_dict(self.fresh().state_dict())
        self.take(trained.to(self.device))
        return taken

    def take(self, trained: Pruned) -> None:
        """The masks of a trained network without its smallest weights."""
        c, last = self.config.prune, next(reversed(trained.shapes))
        self.model.take_masks({
            name: largest(w.detach(), trained.mask(name), c.output_rate if name == last else c.rate)
            for name, w in trained.W.items()})

    @torch.no_grad()
    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """``val_loss``, ``val_accuracy``; ``stop``, the iteration of the least validation loss so
        far, and ``stop_accuracy``, the test accuracy there. Finally also ``accuracy``, that of the
        last iteration, and ``kept_<layer>``.
        """
        logits = self.predict(self.held_inputs)
        loss = F.cross_entropy(logits, self.held_labels).item()
        if loss < self.best:
            self.best, self.stop = loss, float(step)
            self.stop_accuracy = self.accuracy(self.eval_inputs, self.eval_labels)
        metrics = {"val_loss": loss, "val_accuracy": fraction(logits.argmax(1) == self.held_labels),
                   "stop": self.stop, "stop_accuracy": self.stop_accuracy}
        if final:
            metrics["accuracy"] = self.accuracy(self.eval_inputs, self.eval_labels)
            metrics |= {f"kept_{name}": v for name, v in self.model.kept().items()}
        return metrics
