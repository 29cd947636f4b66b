"""Deep Residual Learning (He, Zhang, Ren & Sun, 2015): the CIFAR-10 experiments of section 4.2.

    python papers/resnet/train.py experiment=quick        # ResNet-20 on bundled digits, offline
    python papers/resnet/train.py experiment=resnet20     # the paper's run: 64,000 steps, hours
    python papers/resnet/train.py experiment=plain20 seed=0-2
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from common.entry import exit_with

import torch
import torch.nn.functional as F
from einops import reduce, repeat
from torch import Tensor

from common.data import Split, generator
from common.errors import UserError
from common.running.cli import main
from common.training.augment import Cropped, PadCropFlip
from common.training.compiling import compile_parts
from common.training.descent import sgd
from common.training.devices import place
from common.training.recipe import Batch, Row
from common.training.schedules import divided
from common.training.weight_files import RecordedRun
from papers.resnet import weights
from papers.resnet.model import (
    Block,
    ResNet,
    cifar_resnet,
    imagenet_resnet,
    initialise,
    layer_responses,
)
from papers.resnet.settings import Config

WARM_UP_WINDOW = 50
"""Steps over which the training error that ends the warm-up is averaged."""


class ResNetRecipe(Cropped):
    """Section 4.2's training, and the measurements of Table 6, Fig. 6 and Fig. 7."""

    state_names = (*Cropped.state_names, "wrong", "seen", "recent", "warming")
    chunk, device_chunk = 250, 5000  # larger ones fall out of a processor's cache
    config: Config
    model: ResNet

    def measure(self, train: Split) -> None:
        """Take the per-pixel mean of the training images, (c, h, w)."""
        self.mean = reduce(self.magnified(train.images), "n c h w -> c h w", "mean")

    def magnified(self, images: Tensor) -> Tensor:
        """Pixels in 0 … 1, each repeated as the configuration says."""
        k = self.config.model.magnify
        return repeat(images, "n c h w -> n c (h k1) (w k2)", k1=k, k2=k).float() / 255

    def prepare(self, images: Tensor) -> Tensor:
        """Pixels divided by 255, less the per-pixel mean of the training images."""
        return self.magnified(images).sub_(self.mean)

    def build(self) -> None:
        model, optim, augment = self.config.model, self.config.optim, self.config.augment
        family = cifar_resnet if model.family == "cifar" else imagenet_resnet
        try:
            self.model = family(model.depth, model.shortcut, self.inputs.shape[1],
                                self.data.classes)
        except ValueError as e:
            raise UserError(f"model.depth={model.depth}: {e}") from e
        initialise(self.model, generator(self.config.seed, "init"))
        place(self.model, self.device, self.layout)
        decayed = [p for p in self.model.parameters() if p.dim() > 1 or optim.decay == "all"]
        others = [p for p in self.model.parameters() if not (p.dim() > 1 or optim.decay == "all")]
        self.optimizer = sgd(
            [{"params": decayed}, {"params": others, "weight_decay": 0.0}], self.device,
            lr=optim.lr, momentum=optim.momentum, weight_decay=optim.weight_decay, fused=True)
        self.warming = optim.warm_up_lr > 0
        self.augmented = (PadCropFlip(self.inputs, augment.pad, augment.flip) if augment.pad
                          else None)
        self.wrong = torch.zeros((), dtype=torch.long, device=self.device)
        self.seen = torch.zeros_like(self.wrong)
        self.recent: list[float] = []

    @property
    def layout(self) -> torch.memory_format:
        """How weights lie in memory: a card's tensor cores are faster with channels last.

        They are the same weights; only the order in which sums are taken differs.
        """
        cores = self.device.type == "cuda" and self.config.train.precision != "float32"
        return torch.channels_last if cores else torch.preserve_format

    def compiled(self) -> Any:
        """As a whole on a CPU, up to 110 layers; otherwise block by block, whatever the depth.

        With 1202 layers, compiling the whole network fails after minutes: the compiler recurses
        too deeply.
        """
        whole = self.device.type == "cpu" and self.config.model.depth <= 110
        if whole or not self.config.train.compile:
            return super().compiled()
        return compile_parts(self.model, Block)

    def rates(self, step: int) -> dict[str, float]:
        """The initial rate or that of the warm-up, divided by 10 at the milestones."""
        optim = self.config.optim
        first = optim.warm_up_lr if self.warming else optim.lr
        return {"lr": divided(first, optim.milestones, step)}

    def loss(self, batch: Batch, row: Row) -> Tensor:
        x, y = batch
        logits = self.net(x)
        with torch.no_grad():  # the training error of Fig. 6 (dashed)
            self.wrong += (logits.argmax(1) != y).sum()
            self.seen += len(y)
        return F.cross_entropy(logits, y)

    @property
    def steady(self) -> bool:
        """False during the warm-up, whose end the training error decides."""
        return not self.warming

    def update(self, row: Row) -> Tensor:
        if not self.warming:
            return super().update(row)
        wrong, seen = self.wrong.item(), self.seen.item()
        loss = super().update(row)
        self.end_warm_up((self.wrong.item() - wrong) / (self.seen.item() - seen))
        return loss

    def end_warm_up(self, error: float) -> None:
        """Section 4.2 on 110 layers: back to the initial rate once the error is below 80 %."""
        self.recent = [*self.recent, error][-WARM_UP_WINDOW:]
        if len(self.recent) == WARM_UP_WINDOW and sum(self.recent) / WARM_UP_WINDOW < 0.8:
            self.warming, self.recent = False, []

    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """``error`` on the evaluation split and ``train_error`` since the last evaluation, in %.

        ``train_error`` is that of the augmented mini-batches as they were trained on. In the
        final step also ``response_<k>``, the standard deviations of Fig. 7.
        """
        metrics = {"error": 100 * (1 - self.accuracy(self.eval_inputs, self.eval_labels)),
                   "train_error": 100 * self.wrong.item() / max(self.seen.item(), 1)}
        self.wrong.zero_()
        self.seen.zero_()
        if final and self.config.model.family == "cifar":
            stds = layer_responses(self.model, list(self.eval_inputs.split(self.chunk)))
            metrics |= {f"response_{k}": s for k, s in enumerate(stds, 1)}
        return metrics

    def publish(self, paper_folder: Path, run: RecordedRun) -> None:
        """Publish the trained network in ``weights/``, with its card."""
        config = self.config
        name = config.experiment + (f"-seed{config.seed}" if config.seed else "")
        said = weights.Sidecar(**run.by, depth=config.model.depth, shortcut=config.model.shortcut,
                               error=run.metrics["error"])
        weights.save(paper_folder / "weights" / f"{name}.safetensors", self.model, self.mean, said)


recipe = ResNetRecipe

if __name__ == "__main__":
    exit_with(lambda: main(recipe, Config, __file__))
