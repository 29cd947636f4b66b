"""Dropout (Srivastava et al., 2014): the MNIST experiments and the regularisers compared.

    python papers/dropout/train.py experiment=quick            # bundled digits, offline
    python papers/dropout/train.py                             # Fig. 4: with and without dropout
    python papers/dropout/train.py experiment=dropout seed=0-2
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from safetensors.torch import save_file
from torch import Tensor

from common.conditions import NEVER, Not, Unlike, both
from common.config import Config as BaseConfig
from common.config import key
from common.data import Split, generator
from common.errors import UserError, exit_with
from common.files import write_atomic
from common.running.cli import main
from common.training.descent import sgd
from common.training.max_norm import project_max_norm
from common.training.recipe import Batch, Row, Supervised
from common.training.sums import fraction
from common.training.weight_files import RecordedRun
from papers.dropout import weights
from papers.dropout.model import (
    Autoencoder,
    Network,
    kl_sparsity,
    l1,
    l2,
    sampled_probabilities,
)

POOL = 200
"""Sampled networks from which the averages of Fig. 11 are drawn."""

SHIPPED = "dropout"
"""The experiment whose first network is published in ``weights/``."""

BINS = 40
"""Bins of width 0.1 of the histograms of section 7.2, the last holding everything above."""


CLASSIFIER = {"model.kind": "classifier"}
NOISY = {"model.noise": Not("none")}


@dataclass
class ModelConfig:
    kind: Literal["classifier", "autoencoder"] = key(
        "classifier", "a classifier, or section 7.1's autoencoder with its one hidden layer")
    hidden: list[int] = key([1024, 1024, 1024], "widths of the hidden layers", least=1, some=True)
    constant_pn: bool = key(False, "hidden is pn, the units retained; a layer has hidden/p_hidden",
                            only=CLASSIFIER)
    activation: Literal["relu", "logistic"] = key("relu", "f, of every hidden layer",
                                                  only=CLASSIFIER)
    noise: Literal["none", "bernoulli", "inverted", "gaussian"] = key(
        "bernoulli", "what multiplies units: none, the paper's form, its inverse, section 10's")
    p_input: float = key(0.8, "probability of retaining an input unit", above=0, most=1,
                         only=both(CLASSIFIER, NOISY))
    p_hidden: float = key(0.5, "probability of retaining a hidden unit", above=0, most=1,
                          only=(NOISY, {"model.constant_pn": True}))


@dataclass
class RegulariserConfig:
    max_norm: float = key(
        0.0, "c, radius of the ball of incoming weights; 0: no constraint", least=0)
    l2: float = key(0.0, "factor of half the squared weights", least=0, only=CLASSIFIER)
    l1: float = key(0.0, "factor of the absolute weights", least=0, only=CLASSIFIER)
    l1_from: int = key(0, "step from which l1 applies", least=0, only={"regulariser.l1": Not(0.0)})
    kl: float = key(0.0, "factor of the KL-sparsity penalty", least=0, only=CLASSIFIER)
    kl_target: float = key(0.1, "mean activation that penalty asks for", above=0,
                           only={"regulariser.kl": Not(0.0)})


@dataclass
class OptimConfig:
    lr: float = key(0.1, "ε0, initial learning rate on the mean gradient", least=0)
    half_life: float = key(10_000.0, "T of ε_t = ε0 / (1 + t/T); 0: constant", least=0)
    momentum_initial: float = key(0.5, "momentum at the first step", least=0, below=1)
    momentum_final: float = key(0.95, "momentum it approaches", least=0, below=1)
    momentum_time: float = key(
        100_000.0, "τ: final − (final − initial)·exp(−t/τ)", above=0,
        only={"optim.momentum_initial": Unlike("optim.momentum_final")})


@dataclass
class MeasureConfig:
    train_size: int = key(0, "number of training images (Fig. 10); 0: all", least=0)
    samples: list[int] = key(
        [], "k of Fig. 11: numbers of sampled networks to average at the end", least=1, most=POOL,
        only=CLASSIFIER)
    repeats: int = key(100, "averages behind each point of Fig. 11", least=2,
                       only=both({"measure.samples": Not([])}, NOISY))


@dataclass
class Config(BaseConfig):
    honoured: ClassVar = {"train.compile": NEVER}
    model: ModelConfig = field(default_factory=ModelConfig)
    regulariser: RegulariserConfig = field(default_factory=RegulariserConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    measure: MeasureConfig = field(default_factory=MeasureConfig)


class DropoutRecipe(Supervised):
    """Feed-forward networks on MNIST with the paper's noise, constraints and penalties."""

    config: Config
    model: Network

    def select(self, train: Split) -> Split:
        """The first ``train_size`` images of a permutation of the seed's own."""
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
                       generator(self.config.seed, "init"))

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
        """Also the factor of the absolute weights, zero before its time."""
        r = self.config.regulariser
        row = super().row(step)
        return row | {"l1": torch.tensor(r.l1 * (step >= r.l1_from))} if r.l1 else row

    def loss(self, batch: Batch, row: Row) -> Tensor:
        """Mean cross-entropy plus the penalties of Table 9's arms."""
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

        In the final step also ``train_error``, and ``monte_carlo_<k>`` with its ``_sd`` over
        repeats (Fig. 11) where asked for.
        """
        metrics = {"error": 100 * (1 - self.accuracy(self.eval_inputs, self.eval_labels))}
        if final:
            metrics["train_error"] = 100 * (1 - self.accuracy(self.inputs, self.labels))
            if self.config.measure.samples:
                metrics |= self.fig11()
        return metrics

    def fig11(self) -> dict[str, float]:
        """Test error of the average of k sampled networks, drawn anew from a pool each time."""
        pool = sampled_probabilities(self.model, self.eval_inputs, POOL)
        draw = self.generator("fig11", 0)
        metrics = {}
        for k in self.config.measure.samples:
            errors = []
            for _ in range(self.config.measure.repeats):
                chosen = torch.randperm(POOL, generator=draw)[:k]
                wrong = pool[chosen].mean(0).argmax(1) != self.eval_labels
                errors.append(100 * fraction(wrong))
            found = torch.tensor(errors, dtype=torch.float64)
            metrics[f"monte_carlo_{k}"] = found.mean().item()
            metrics[f"monte_carlo_{k}_sd"] = found.std().item()
        return metrics

    def probabilities(self, x: Tensor, samples: int) -> Tensor:
        """Class probabilities (samples or 1, n, classes); 0 samples: by weight scaling."""
        if samples:
            return sampled_probabilities(self.model, x, samples)
        return torch.softmax(self.predict(x), 1)[None]

    def publish(self, paper_folder: Path, run: RecordedRun) -> None:
        """Leave the first network of one experiment in ``weights/``, with what it is."""
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
        """``reconstruction``: squared error of a test image, mean.

        In the final step also, of the hidden units over the test set: ``mean_activation`` (as
        they are) and ``mean_activation_scaled`` (times p, as the layer above sees them at test
        time), and both histograms of Fig. 8: ``activations_<b>``, the fraction of activations,
        and ``means_<b>``, the fraction of units whose mean activation falls into bin b.
        """
        x = self.eval_inputs
        metrics = {"reconstruction": (self.predict(x) - x).square().sum(1).mean().item()}
        if final:
            self.model.eval()
            with torch.no_grad():
                y = self.model.hidden_outputs(x)[0]
                metrics["mean_activation"] = y.mean().item()
                metrics["mean_activation_scaled"] = self.model.drop(y).mean().item()
            for name, values in (("activations", y.flatten()), ("means", y.mean(0))):
                bins = (values * 10).long().clamp(max=BINS - 1).bincount(minlength=BINS)
                metrics |= {f"{name}_{b}": n.item() / len(values) for b, n in enumerate(bins)}
        return metrics

    def publish(self, paper_folder: Path, run: RecordedRun) -> None:
        """Leave the first seed's incoming weights, the features of Fig. 7, as float16."""
        if self.config.data.evaluate_on != "test" or self.config.seed:
            return
        path = paper_folder / "results" / self.config.experiment / (
            "features0.safetensors")
        features = {"features": self.model.encoder.weight.detach().cpu().half().contiguous()}
        write_atomic(path, lambda p: save_file(features, p))


def recipe(config: Config) -> DropoutRecipe:
    """The recipe a configuration asks for."""
    kinds = {"classifier": DropoutRecipe, "autoencoder": AutoencoderRecipe}
    return kinds[config.model.kind](config)


if __name__ == "__main__":
    exit_with(lambda: main(recipe, Config, __file__))
