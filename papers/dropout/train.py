"""Dropout (Srivastava et al., 2014): the MNIST experiments and the regularisers compared.

    python papers/dropout/train.py experiment=quick            # bundled digits, offline
    python papers/dropout/train.py                             # Fig. 4: with and without dropout
    python papers/dropout/train.py experiment=dropout seed=0-2
"""

from __future__ import annotations

import math
from pathlib import Path
from common.entry import exit_with

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from common.data import Split, generator
from common.errors import UserError
from common.running.cli import main
from common.training.descent import sgd
from common.training.max_norm import project_max_norm
from common.training.recipe import Batch, Row, Supervised
from common.training.weight_files import RecordedRun
from papers.dropout import weights
from papers.dropout.measures import activations, monte_carlo
from papers.dropout.model import (
    Autoencoder,
    Network,
    kl_sparsity,
    l1,
    l2,
    sampled_probabilities,
)
from papers.dropout.settings import POOL, Config

SHIPPED = "dropout"
"""The experiment whose network is published in ``weights/``."""


class DropoutRecipe(Supervised):
    """Feed-forward networks on MNIST with the paper's noise, constraints and penalties."""

    config: Config
    model: Network

    def select(self, train: Split) -> Split:
        """The first ``train_size`` images of a permutation that the seed chooses."""
        n = self.config.measure.train_size
        if not n:
            return train
        if n > len(train):
            raise UserError(f"measure.train_size={n}: expected at most the {len(train)} images")
        order = torch.randperm(len(train), generator=generator(self.config.seed, "subset"))
        return train[order[:n]]

    def prepare(self, images: Tensor) -> Tensor:
        """Pixels in 0 … 1, shape (n, pixels)."""
        return rearrange(images, "n c h w -> n (c h w)").float() / 255

    def build(self) -> None:
        optim = self.config.optim
        self.model = self.network().to(self.device)
        self.weights = [l.weight for l in self.model.layers]
        self.optimizer = sgd(self.model.parameters(), self.device, lr=optim.lr,
                             momentum=self.momentum(0), fused=True)

    def network(self) -> Network:
        """The network the configuration describes."""
        model = self.config.model
        hidden = ([round(pn / model.p_hidden) for pn in model.hidden] if model.constant_pn
                  else model.hidden)
        return Network(self.inputs.shape[1], hidden, self.data.classes, model.activation,
                       model.noise, model.p_input, model.p_hidden,
                       generator(self.config.seed, "init"), model.gain)

    def decay(self, step: int) -> float:
        """ε_t/ε0 = 1/(1 + t/T), appendix B and the author's code."""
        half_life = self.config.optim.half_life
        return 1 / (1 + step / half_life) if half_life else 1.0

    def momentum(self, step: int) -> float:
        """The author's code: a ramp from the initial to the final momentum."""
        o = self.config.optim
        return o.momentum_final - (o.momentum_final - o.momentum_initial) * math.exp(
            -step / o.momentum_time)

    def rates(self, step: int) -> dict[str, float]:
        """ε_t and the momentum of an update."""
        return {"lr": self.config.optim.lr * self.decay(step), "momentum": self.momentum(step)}

    def row(self, step: int) -> Row:
        """Adds the factor of the absolute weights, zero until step ``l1_from``."""
        r = self.config.regulariser
        row = super().row(step)
        return row | {"l1": torch.tensor(r.l1 * (step >= r.l1_from))} if r.l1 else row

    def loss(self, batch: Batch, row: Row) -> Tensor:
        """Mean cross-entropy plus the penalties of Table 9."""
        x, y = batch
        r = self.config.regulariser
        hidden = self.model.hidden_outputs(x)
        loss = F.cross_entropy(self.model.logits(hidden), y)
        if r.l2:
            loss = loss + r.l2 * l2(self.weights)
        if r.l1:
            loss = loss + row["l1"] * l1(self.weights)
        if r.kl:
            loss = loss + r.kl * kl_sparsity(hidden, r.kl_target)
        return loss

    def update(self, row: Row) -> Tensor:
        loss = super().update(row)
        if self.config.regulariser.max_norm:
            project_max_norm(self.weights, self.config.regulariser.max_norm)
        return loss

    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """``error`` in % by weight scaling.

        In the final step also ``train_error``, and where asked for :func:`monte_carlo`.
        """
        metrics = {"error": 100 * (1 - self.accuracy(self.eval_inputs, self.eval_labels))}
        if final:
            metrics["train_error"] = 100 * (1 - self.accuracy(self.inputs, self.labels))
            m = self.config.measure
            if m.samples:
                pool = sampled_probabilities(self.model, self.eval_inputs, POOL)
                metrics |= monte_carlo(pool, self.eval_labels, m.samples, m.repeats,
                                       self.generator("fig11", 0))
        return metrics

    def probabilities(self, x: Tensor, samples: int) -> Tensor:
        """Class probabilities (samples, n, classes); 0 samples: one set, by weight scaling."""
        if samples:
            return sampled_probabilities(self.model, x, samples)
        return torch.softmax(self.predict(x), 1)[None]

    def publish(self, paper_folder: Path, run: RecordedRun) -> None:
        """Publish the network of :data:`SHIPPED` in ``weights/``, that of seed 0."""
        if self.config.experiment != SHIPPED or self.config.seed:
            return
        trained, self.model = self.model, weights.rounded(self.model)
        error = 100 * (1 - self.accuracy(self.eval_inputs, self.eval_labels))
        shipped, self.model = self.model, trained
        weights.save(paper_folder / "weights" / f"{SHIPPED}.safetensors", shipped,
                     weights.Sidecar(**run.by, error=error, error_float32=run.metrics["error"]))


class AutoencoderRecipe(DropoutRecipe):
    """Section 7.1's autoencoder, trained by squared error, and section 7.2's activations."""

    model: Autoencoder  # type: ignore[assignment]  # in place of a classifier

    def network(self) -> Autoencoder:  # type: ignore[override]  # likewise
        model = self.config.model
        if len(model.hidden) != 1:
            raise UserError(f"model.hidden={model.hidden}: expected the one hidden layer of an "
                            "autoencoder")
        return Autoencoder(self.inputs.shape[1], model.hidden[0], model.noise, model.p_hidden,
                           generator(self.config.seed, "init"))

    def loss(self, batch: Batch, row: Row) -> Tensor:
        """Half the squared reconstruction error of an image, mean over the batch."""
        x, _ = batch
        return (self.model(x) - x).square().sum(1).mean() / 2

    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """``reconstruction``: squared error of an image, mean over the test set.

        In the final step also the :func:`activations` of the hidden units.
        """
        x = self.eval_inputs
        metrics = {"reconstruction": (self.predict(x) - x).square().sum(1).mean().item()}
        if final:
            metrics |= activations(self.model, x)
        return metrics

    def publish(self, paper_folder: Path, run: RecordedRun) -> None:
        """Write the features of seed 0 beside its result."""
        if self.config.data.evaluate_on != "test" or self.config.seed:
            return
        folder = paper_folder / "results" / self.config.experiment
        weights.save_features(folder / "features0.safetensors", self.model)


def recipe(config: Config) -> DropoutRecipe:
    """The recipe a configuration asks for."""
    kinds = {"classifier": DropoutRecipe, "autoencoder": AutoencoderRecipe}
    return kinds[config.model.kind](config)


if __name__ == "__main__":
    exit_with(lambda: main(recipe, Config, __file__))
