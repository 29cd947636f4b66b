"""Deep networks trained on images from different initialisations, and their layers' statistics."""

from __future__ import annotations

import math

import torch
from einops import rearrange
from torch import Tensor

from common.data import generator
from common.training.descent import sgd
from common.training.recipe import Supervised
from papers.initialisation.model import Network
from papers.initialisation.settings import Config

BINS = 40
"""Number of bins in the histograms of activations, from −1 to 1."""

LEARNED = 0.5
"""Test accuracy above which a network counts as learning; guessing gives about 0.1."""


class LearningRecipe(Supervised):
    """Plain SGD on the mean of −log P(y|x), section 2.3 of Glorot & Bengio.

    Attributes:
        learned: number of updates at the first evaluation with an accuracy above one half;
            infinite until then.
    """

    state_names = (*Supervised.state_names, "learned")
    config: Config
    model: Network

    def prepare(self, images: Tensor) -> Tensor:
        return rearrange(images, "n c h w -> n (c h w)").float() / 255

    def build(self) -> None:
        c = self.config
        sizes = [self.inputs.shape[1], *[c.model.width] * c.model.depth, self.data.classes]
        self.model = Network(sizes, c.model.activation, c.model.init,
                             generator(c.seed, "init"))
        self.optimizer = sgd(self.model.parameters(), self.device, lr=c.optim.lr, fused=True)
        self.learned = math.inf

    @torch.no_grad()
    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """``error`` in %, and statistics of every hidden layer k.

        Over the first ``measure.examples`` images: ``mean_k``, ``std_k`` and ``p98_k`` (the 98th
        percentile) of its activations; ``back_k``: the variance of ∂Cost/∂s. ``learns``: whether
        the accuracy is above one half; ``learned``: updates until it first was. After the last step
        also ``hist_k_b``: the fraction of activations in bin b of 40 from −1 to 1.
        """
        accuracy = self.accuracy(self.eval_inputs, self.eval_labels)
        if accuracy > LEARNED:
            self.learned = min(self.learned, float(step))
        metrics = {"error": 100 * (1 - accuracy), "learns": float(accuracy > LEARNED),
                   "learned": self.learned}
        n = self.config.measure.examples
        s, z = self.model.activities(self.eval_inputs[:n])
        back = self.model.gradients(s, self.eval_labels[:n])
        for k, (layer, δ) in enumerate(zip(z[1:], back[:-1], strict=True), 1):
            sorted_ = layer.flatten().sort().values
            metrics |= {f"mean_{k}": layer.mean().item(), f"std_{k}": layer.std().item(),
                        f"p98_{k}": sorted_[int(0.98 * (len(sorted_) - 1))].item(),
                        f"back_{k}": δ.square().mean().item()}
            if final:
                counts = torch.histc(layer.cpu(), BINS, -1, 1) / layer.numel()
                metrics |= {f"hist_{k}_{b}": v for b, v in enumerate(counts.tolist())}
        return metrics
