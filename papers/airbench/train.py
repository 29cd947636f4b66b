"""94 % on CIFAR-10 in 3.29 seconds (Jordan, 2024): all rows of the ablation table, and Muon.

    python papers/airbench/train.py experiment=quick           # bundled digits, seconds, offline
    python papers/airbench/train.py experiment=small seed=0-4  # the chain at a quarter of the width
    python papers/airbench/train.py                            # airbench94: 476 steps of 1,024
    python papers/airbench/train.py experiment=muon            # 200 steps of 2,000
"""

from __future__ import annotations

import copy
import functools
from common.entry import exit_with

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor

from common.data import Split
from common.errors import UserError
from common.running.cli import main
from common.training.augment import PadCropFlip
from common.training.devices import place
from common.training.recipe import Batch, Row, Supervised
from common.training.rows import scalar
from common.training.sums import fraction
from papers.airbench.augment import Epochs, Flips
from papers.airbench.model import AirNet, looked_at, whitening
from papers.airbench.optim import (
    Muon,
    filters,
    groups,
    height,
    interpolate,
    lookahead,
    nesterov_sgd,
)
from papers.airbench.settings import VIEWS, Config

WHITENED = 5000
"""How many of the first training images the whitening filters are computed from."""


class AirbenchRecipe(Supervised):
    """The author's training; a key switches each addition of his ablations."""

    state_names = (*Supervised.state_names, "muon", "slow")
    chunk, device_chunk = 500, 5000
    config: Config
    model: AirNet

    # ---- images ----------------------------------------------------------------------------------

    def measure(self, train: Split) -> None:
        """Compute mean and standard deviation of every channel over all pixels, (c, 1, 1)."""
        pixels = rearrange(train.images, "n c h w -> c (n h w)")
        found = [(p.double().mean(), p.double().std(unbiased=False)) for p in pixels]
        self.mean, self.std = (torch.stack(v).float()[:, None, None] for v in zip(*found,
                                                                                   strict=True))

    def prepare(self, images: Tensor) -> Tensor:
        """Images with channels of mean 0 and variance 1, enlarged by ``model.magnify``."""
        k = self.config.model.magnify
        images = repeat(images, "n c h w -> n c (h k1) (w k2)", k1=k, k2=k)
        return images.float().sub_(self.mean).div_(self.std)

    @functools.cached_property
    def order(self) -> Epochs:  # type: ignore[override]  # whole epochs
        return Epochs(len(self.inputs), self.config.train.batch_size, self.config.seed)

    @functools.cached_property
    def flips(self) -> Flips:
        """The choice of images that each epoch mirrors."""
        return Flips(len(self.inputs), self.config.augment.flip, self.config.seed)

    @property
    def layout(self) -> torch.memory_format:
        """The memory format of images and weights; channels first on a card in IEEE float32."""
        first = self.device.type != "cpu" and self.config.train.precision == "float32"
        return torch.contiguous_format if first else torch.channels_last

    def row(self, step: int) -> Row:
        """The base class's row, with crops, mirrored images and Lookahead's two weights."""
        row, train = super().row(step), self.config.train
        drawn = self.augmented.draw(len(row["index"]), self.generator("augment", step))
        forth, back = lookahead(self.config.optim.lookahead, step, train.steps, self.order.steps)
        flip = self.flips(step // self.order.steps)[row["index"], None]
        return row | {"offset": drawn["offset"], "flip": flip, "forth": forth, "back": back}

    def batch(self, row: Row) -> Batch:
        x = self.augmented(row["index"], row["offset"], row["flip"])
        return x.contiguous(memory_format=self.layout), self.labels[row["index"]]

    # ---- training --------------------------------------------------------------------------------

    def build(self) -> None:
        model, optim = self.config.model, self.config.optim
        c, size = self.inputs.shape[1:3]
        try:
            self.model = AirNet(model.widths, c, size, self.data.classes, model.first, model.dirac,
                                model.head, model.keep)
        except ValueError as e:
            raise UserError(f"model.magnify={model.magnify}: {e}") from e
        if model.first == "whitening":
            self.model.first.weight.data.copy_(whitening(self.inputs[:WHITENED]))
        place(self.model, self.device, self.layout)
        self.augmented = self.cropped()
        self.optimizer = nesterov_sgd(
            groups(self.model, optim, self.config.train.batch_size), optim.momentum, self.device)
        self.muon = None
        if optim.rule == "muon":
            own = {"params": filters(self.model), "top": optim.muon_lr, "rate": "height"}
            self.muon = Muon([own], lr=optim.muon_lr, momentum=optim.muon_momentum,
                             half=self.config.train.precision == "bfloat16")
        self.slow = None if optim.lookahead == "none" else copy.deepcopy(self.model)

    def cropped(self) -> PadCropFlip:
        """Random crops of the training images with reflected borders."""
        try:
            return PadCropFlip(self.inputs, self.config.augment.translate, border="reflect")
        except UserError as e:
            raise UserError(f"augment.translate={self.config.augment.translate}: {e}") from e

    def rates(self, step: int) -> dict[str, float]:
        """Rates as fractions of the highest: ``height`` for all, ``first`` for the first bias.

        That bias follows the triangle with SGD, or falls linearly to 0 with Muon, until frozen.
        """
        optim, epochs = self.config.optim, self.config.optim.frozen_after
        now = height(step, self.config.train.steps, optim.start, optim.peak, optim.end)
        if self.config.model.first == "learned" or not epochs:
            return {"height": now, "first": now}
        left = 1 - step / (epochs * self.order.steps)
        falling = max(left, 0.0) if optim.rule == "muon" else now
        return {"height": now, "first": falling if left > 0 else 0.0}

    def rate(self, step: int) -> float:
        """The learning rate of the 3×3 filters."""
        every = (self.muon or self.optimizer).param_groups
        mine = next(g for g in every if any(p is filters(self.model)[0] for p in g["params"]))
        return self.rates(step)["height"] * mine["top"]

    def set_rates(self, row: Row) -> None:
        """Set a row's rates in both optimisers."""
        for optimizer in filter(None, (self.optimizer, self.muon)):
            for group in optimizer.param_groups:
                group["lr"] = group["top"] * scalar(row[group["rate"]])

    def loss(self, batch: Batch, row: Row) -> Tensor:
        """The mean cross-entropy against smoothed labels."""
        x, y = batch
        return F.cross_entropy(self.net(x), y, label_smoothing=self.config.optim.smoothing)

    def update(self, row: Row) -> Tensor:
        if self.muon is not None:
            self.muon.zero_grad(set_to_none=True)
        loss = super().update(row)
        if self.muon is not None:
            self.muon.step()
        if self.slow is not None:
            interpolate(self.slow, self.model, scalar(row["forth"]), scalar(row["back"]))
        return loss

    # ---- evaluation ------------------------------------------------------------------------------

    @torch.no_grad()
    def predict(self, x: Tensor, views: int | None = None) -> Tensor:
        """Logits averaged over views of each image, in evaluation mode and the run's precision."""
        views = views or self.config.measure.views
        size = self.chunk if self.device.type == "cpu" else self.device_chunk
        training = self.model.training
        self.model.eval()
        with self._autocast:
            outputs = torch.cat([
                looked_at(self.model, part.contiguous(memory_format=self.layout), views).float()
                for part in x.split(size)])
        self.model.train(training)
        return outputs

    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """``accuracy_1``: accuracy on the evaluation split in %, with one view of each image.

        After the last step also ``accuracy_2`` and ``accuracy_6``; and ``accuracy`` and ``loss``,
        the mean cross-entropy without label smoothing, with the configured number of views.
        """
        x, y, own = self.eval_inputs, self.eval_labels, self.config.measure.views
        if not final:
            return {"accuracy_1": 100 * fraction(self.predict(x, 1).argmax(1) == y)}
        logits = {n: self.predict(x, n) for n in VIEWS}
        right = {n: 100 * fraction(z.argmax(1) == y) for n, z in logits.items()}
        return {"accuracy": right[own], "loss": F.cross_entropy(logits[own], y).item(),
                **{f"accuracy_{n}": v for n, v in right.items()}}


recipe = AirbenchRecipe

if __name__ == "__main__":
    exit_with(lambda: main(recipe, Config, __file__))
