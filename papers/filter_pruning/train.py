"""Pruning filters for efficient ConvNets (Li et al., 2017): prune once, retrain, measure.

    python papers/filter_pruning/train.py experiment=quick        # digits, under a minute, offline
    python papers/filter_pruning/train.py                         # ResNet-20, half of its filters
    python papers/filter_pruning/train.py experiment=sensitivity  # one layer at a time

A step of the sensitivity experiments prunes one layer by one fraction.
"""

from __future__ import annotations

import copy
from common.entry import exit_with

import torch
from einops import reduce
from torch import Tensor

from common.data import Split, evaluation_splits, generator
from common.errors import UserError
from common.running.cli import main
from common.training import start
from common.training.augment import Cropped, PadCropFlip
from common.training.descent import sgd
from common.training.recipe import Recipe
from common.training.schedules import divided
from common.training.sums import fraction
from papers.filter_pruning.model import convolution, cut, filters_left, kept, prunable, prune
from papers.filter_pruning.networks import build, initialise, left
from papers.filter_pruning.settings import Config

CHUNK, DEVICE_CHUNK = 250, 5000
"""Images evaluated at a time, on a CPU and on other devices."""


def mean_image(train: Split) -> Tensor:
    """The per-pixel mean of the training images in 0 … 1, (c, h, w)."""
    return reduce(train.images.float(), "n c h w -> c h w", "mean") / 255


class TrainRecipe(Cropped):
    """Training of a pruned network, as papers/resnet trains the unpruned one.

    Attributes:
        mean: the mean image, subtracted from inputs.
        before: test error in % of the unpruned network, and of the pruned one before the first
            step; empty if training starts from random weights.
    """

    state_names = (*Cropped.state_names, "mean", "before")
    chunk, device_chunk = CHUNK, DEVICE_CHUNK
    config: Config

    def measure(self, train: Split) -> None:
        """Compute the per-pixel mean of the training images."""
        self.mean = mean_image(train)

    def prepare(self, images: Tensor) -> Tensor:
        """Pixels in 0 … 1 minus the mean."""
        return (images.float() / 255).sub_(self.mean)

    def build(self) -> None:
        """Make the pruned network and its optimiser."""
        c = self.config
        self.whole = build(c.model, self.inputs.shape[1], self.data.classes)
        self.left = left(self.whole, c.plan)
        self.model = copy.deepcopy(self.whole)
        prune(self.model, self.left)  # sets the shapes; start_with chooses the filters
        initialise(self.model, generator(c.seed, "init"))
        self.model.to(self.device)
        self.mean = self.mean.to(self.device)
        decayed = [p for p in self.model.parameters() if p.dim() > 1]
        others = [p for p in self.model.parameters() if p.dim() == 1]
        self.optimizer = sgd(
            [{"params": decayed}, {"params": others, "weight_decay": 0.0}], self.device,
            lr=c.optim.lr, momentum=c.optim.momentum, weight_decay=c.optim.weight_decay, fused=True)
        self.augmented = (PadCropFlip(self.inputs, c.augment.pad, c.augment.flip)
                          if c.augment.pad else None)
        self.before: list[float] = []

    def start_with(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Load an unpruned network's weights, and prune it."""
        whole = self.whole.to(self.device)
        taken = start.fit(whole, weights)
        there = weights.get(start.MEAN, self.mean)
        if there.shape != self.mean.shape or (there.to(self.mean) - self.mean).abs().max() > 1e-4:
            raise UserError(f"{start.MEAN} there is not the mean of these training images")
        pruned = copy.deepcopy(whole)
        plan = self.config.plan
        prune(pruned, self.left, plan.which, plan.greedy, self.generator("filters", 0))
        self.model.load_state_dict(pruned.state_dict())
        mine = self.model
        for self.model in (whole, mine):
            self.before.append(self.error())
        return taken

    def rates(self, step: int) -> dict[str, float]:
        """The rate, divided by 10 at the milestones; constant in retraining."""
        return {"lr": divided(self.config.optim.lr, self.config.optim.milestones, step)}

    def error(self) -> float:
        """The model's error on the evaluation split, in %."""
        return 100 * (1 - self.accuracy(self.eval_inputs, self.eval_labels))

    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """``error`` in %; with start_from also ``whole`` and ``pruned``, before retraining."""
        return {"error": self.error()} | dict(zip(("whole", "pruned"), self.before, strict=False))


class SensitivityRecipe(Recipe):
    """Section 3.2: each layer is pruned by itself, without retraining.

    ``table`` holds the error in % for every layer and fraction, layer by layer.
    """

    state_names, loss_name = ("model", "mean", "table"), "error, %"
    config: Config

    def load_data(self) -> None:
        """Load the first images of the evaluation split."""
        self.data, train, evaluation = evaluation_splits(self.config.data)
        n = self.config.view.images
        if n > len(evaluation):
            raise UserError(f"view.images={n}: expected at most the {len(evaluation)} images that "
                            "are evaluated on")
        self.mean = mean_image(train).to(self.device)
        self.pixels = evaluation.images[:n].to(self.device)
        self.labels = evaluation.labels[:n].to(self.device)

    def build(self) -> None:
        c = self.config
        self.model = build(c.model, self.pixels.shape[1], self.data.classes)
        initialise(self.model, generator(c.seed, "init"))
        self.layers = prunable(self.model)
        points = len(self.layers) * len(c.view.shares)
        if c.train.steps != points:
            raise UserError(f"train.steps={c.train.steps}: expected {points}, a step for each of "
                            f"{len(self.layers)} layers and {len(c.view.shares)} shares")
        self.table = torch.zeros(points, dtype=torch.float64)

    def start_with(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Load the network's weights, and its mean image if the file contains one."""
        taken, self.mean = start.fit_with_mean(self.model, self.mean, weights)
        return taken

    @torch.no_grad()
    def error(self, network: torch.nn.Module) -> float:
        """A network's error on the images, in %."""
        size = CHUNK if self.device.type == "cpu" else DEVICE_CHUNK
        network.eval()
        found = torch.cat([network(part.float() / 255 - self.mean).argmax(1)
                           for part in self.pixels.split(size)])
        return 100 * (1 - fraction(found == self.labels))

    def step(self, number: int) -> Tensor:
        """Prune one layer of the network by one fraction; returns the error."""
        c = self.config
        layer = self.layers[number // len(c.view.shares)]
        share = c.view.shares[number % len(c.view.shares)]
        network = copy.deepcopy(self.model)
        weight = convolution(network, layer.conv).weight
        cut(network, layer, kept(weight, filters_left(len(weight), share), c.plan.which,
                                 self.generator("filters", layer.number)))
        self.table[number] = self.error(network)
        return self.table[number].float()

    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """``error`` of the unpruned network in %; at the end also all ``error_<layer>_<share>``."""
        metrics = {"error": self.error(self.model)}
        if final:
            names = [f"error_{layer.number}_{share:g}" for layer in self.layers
                     for share in self.config.view.shares]
            metrics |= dict(zip(names, self.table.tolist(), strict=True))
        return metrics


RECIPES = {"train": TrainRecipe, "sensitivity": SensitivityRecipe}


def recipe(config: Config) -> Recipe:
    """The recipe for a configuration's task."""
    return RECIPES[config.task.name](config)


if __name__ == "__main__":
    exit_with(lambda: main(recipe, Config, __file__))
