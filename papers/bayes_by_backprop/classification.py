"""Section 5.1: classification of MNIST with posteriors, plain weights or dropout."""

from __future__ import annotations

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from common import data
from common.config import DataConfig
from common.data import DataSet, Split, generator
from common.training.certainty import calibration_error, nll, uncertainty
from common.training.descent import sgd
from common.training.noise import normal_
from common.training.recipe import Batch, Row, Supervised
from common.training.rows import scalar
from common.training.schedules import divided
from common.training.sums import fraction
from common.training.weight_files import RecordedRun
from papers.bayes_by_backprop import weights
from papers.bayes_by_backprop.model import (
    BayesianLayer,
    Network,
    affine,
    kl_weights,
    make_update,
    predict,
    prune,
)
from papers.bayes_by_backprop.settings import Config, make_prior, plain_network

OTHER_RULES = {"selected_by_samples": "sampled_nll", "selected_by_error": "validation_error"}
"""Other readings of the selection rule for Table 1: the name of the test error that each selects,
and the metric it minimises."""

SHIPPED = "gaussian_400"
"""The experiment whose posterior of seed 0 is kept in ``weights/``."""

DRAWN = 5
"""Number of sampled networks whose cost ``sampled_nll`` averages."""

PRUNED = (0.5, 0.75, 0.95, 0.98)
"""Fractions of weights removed in Table 2."""


class BayesRecipe(Supervised):
    """Section 5.1: 50,000 images for training, 10,000 for selection, 10,000 for testing."""

    state_names = (*Supervised.state_names, "lowest", "selected", "others")
    config: Config

    def splits(self) -> tuple[DataSet, Split, Split]:
        """The training and validation splits; the test split becomes the attribute ``test``."""
        c = self.config.data
        made, train, held = data.evaluation_splits(DataConfig(c.name, "validation", c.validation))
        self.test = made.test
        return made, train, held

    def prepare(self, images: Tensor) -> Tensor:
        """Pixels divided by 126 (section 5.1), shape (n, pixels)."""
        return rearrange(images, "n c h w -> n (c h w)").float() / 126

    def build(self) -> None:
        c = self.config
        widths = [self.inputs.shape[1], c.model.units, c.model.units, self.data.classes]
        start = generator(c.seed, "init")
        if c.model.arm == "bbb":
            self.model = Network(widths, make_prior(c.prior), μ_std=c.model.mu_std or None,
                                 ρ=c.model.rho, generator=start)
        else:
            self.model = plain_network(widths, c.model.arm == "dropout", start)
        self.model.to(self.device)
        self.optimizer = sgd(self.model.parameters(), self.device, lr=c.optim.lr, fused=True)
        self.minibatches = len(self.inputs) / c.train.batch_size
        self.π = kl_weights(math.ceil(self.minibatches), c.optim.kl)
        if c.optim.kl == "uniform":
            self.π = torch.full_like(self.π, 1 / self.minibatches)
        self.lowest, self.selected = math.inf, math.nan
        self.others: list[float] | None = (
            [math.inf, math.nan] * len(OTHER_RULES)
            if c.measure.rules and c.model.arm == "bbb" else None)
        self.test_inputs = self.prepare(self.test.images).to(self.device)
        self.test_labels = self.test.labels.to(self.device)
        if c.model.arm == "bbb" and c.optim.fast:
            self.descend = make_update(self.posterior.bayesian[0].prior, c.train.compile,
                                       c.optim.slope == "mean")

    @property
    def posterior(self) -> Network:
        """The model, whose weights have a posterior.

        Raises:
            TypeError: they do not, in this arm.
        """
        if not isinstance(self.model, Network):
            raise TypeError(f"model.arm={self.config.model.arm}: its weights have no posterior")
        return self.model

    def rates(self, step: int) -> dict[str, float]:
        """The learning rate α, divided by 10 at the milestones."""
        return {"lr": divided(self.config.optim.lr, self.config.optim.milestones, step)}

    def row(self, step: int) -> Row:
        """The base class's row, and π_i of the minibatch."""
        return super().row(step) | {"π": self.π[step % len(self.π)]}

    def loss(self, batch: Batch, row: Row) -> Tensor:
        """F_i of eq. (9), mean over weight samples; without posteriors only −log P(D_i|w)."""
        x, y = batch
        if self.config.model.arm != "bbb":
            return F.cross_entropy(self.net(x), y, reduction="sum")
        total = x.new_zeros(())
        for _ in range(self.config.optim.samples):
            nll = F.cross_entropy(self.model(x), y, reduction="sum")
            total = total + scalar(row["π"]) * self.posterior.kl() + nll
        return total / self.config.optim.samples

    def update(self, row: Row) -> Tensor:
        """Make one update; returns the loss per example, so that arms can be compared."""
        if self.config.model.arm == "bbb" and self.config.optim.fast:
            loss = self.fast_update(row)
        else:
            loss = super().update(row)
        return loss / len(row["index"])

    def fast_update(self, row: Row) -> Tensor:
        """The same update with the paper's own gradients, eqs. (3) and (4).

        Automatic differentiation gives only ∂NLL/∂w of the sampled w; one pass over the weights
        then computes the new μ and ρ from (μ, ρ, ε, w, ∂NLL/∂w). The loss returned is the
        likelihood's part alone, because the gradients do not need the value of log q − log P.
        """
        self.set_rates(row)
        x, y = self.batch(row)
        layers, k = self.posterior.bayesian, self.config.optim.samples
        number = row["number"] if x.device.type == "cpu" else 0
        with torch.no_grad():
            σ = [l.σ for l in layers]
        samples: list[list[tuple[Tensor, Tensor, Tensor]]] = [[] for _ in layers]
        loss = x.new_zeros(())
        for sample in range(k):
            with torch.no_grad():
                ε = self.noise(number * k + sample)
                w = [torch.addcmul(l.μ, s, e).requires_grad_() for l, s, e in
                     zip(layers, σ, ε, strict=True)]
            h = x
            for i, wi in enumerate(w):
                h = affine(torch.relu(h) if i else h, wi)
            nll = F.cross_entropy(h, y, reduction="sum")
            g = torch.autograd.grad(nll, w)
            loss += nll.detach()
            for known, e, wi, gi in zip(samples, ε, w, g, strict=True):
                known.append((e, wi, gi))
        lr, π = self.optimizer.param_groups[0]["lr"], scalar(row["π"])
        with torch.no_grad():
            for l, s, drawn in zip(layers, σ, samples, strict=True):
                self.descend(l.μ, l.ρ, s, drawn, lr, π)
        return loss / k

    def noise(self, index: int) -> list[Tensor]:
        """ε ~ N(0, 1) for the weights of every layer.

        Args:
            index: different for every draw of a run; ignored on devices other than a CPU, where
                the numbers come from the run's generator.
        """
        shapes = [l.μ.shape for l in self.posterior.bayesian]
        sizes = [s.numel() for s in shapes]
        every = self.posterior.bayesian[0].μ.new_empty(sum(sizes))
        normal_(every, self.config.seed, "noise", index, self.chance)
        return [e.view(s) for e, s in zip(every.split(sizes), shapes, strict=True)]

    def headlines(self, names: list[str]) -> tuple[list[str], list[str]]:
        """Errors, negative log-likelihood and entropy; the curve of the test error."""
        return ["error", "selected_error", "nll", "entropy"], ["error"]

    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """Errors in % with the mean weights, and the validation cost used for selection.

        ``error``: on the test split; ``validation_error`` and ``validation_nll`` (nats per image);
        ``selected_error``: the test error at the lowest validation cost so far, the paper's rule
        for Table 1. With ``measure.rules`` also ``sampled_nll``, the mean validation cost of
        networks sampled from the posterior, and ``selected_by_…``, the test errors where it, or
        the validation error, was lowest. After the last step also :meth:`final_metrics`.
        """
        test = self.probabilities(self.test_inputs, 0).mean(0)
        held = self.probabilities(self.eval_inputs, 0).mean(0)
        metrics = {"error": wrong(test, self.test_labels),
                   "validation_error": wrong(held, self.eval_labels),
                   "validation_nll": nll(held, self.eval_labels)}
        if metrics["validation_nll"] < self.lowest:
            self.lowest, self.selected = metrics["validation_nll"], metrics["error"]
        metrics["selected_error"] = self.selected
        if self.others is not None:
            drawn = self.probabilities(self.eval_inputs, DRAWN)
            metrics["sampled_nll"] = sum(nll(p, self.eval_labels) for p in drawn) / DRAWN
            for k, (name, by) in enumerate(OTHER_RULES.items()):
                if metrics[by] < self.others[2 * k]:
                    self.others[2 * k:2 * k + 2] = [metrics[by], metrics["error"]]
                metrics[name] = self.others[2 * k + 1]
        return metrics | self.final_metrics() if final else metrics

    def probabilities(self, x: Tensor, samples: int) -> Tensor:
        """Class probabilities, (samples, n, classes); (1, n, classes) of the mean weights for 0."""
        if self.config.model.arm == "bbb":
            return predict(self.posterior, x, samples)
        return torch.softmax(self.predict(x), 1)[None]

    def final_metrics(self) -> dict[str, float]:
        """Uncertainty of any arm; statistics and Table 2 for arms with a posterior.

        ``nll``, ``ece``, ``entropy``, ``aleatoric``, ``epistemic`` on the test images, the last
        three also on the test images rotated by 90° (``turned_…``); ``ensemble_error``: error of
        the average of sampled networks; ``weight_sd``: sd of sampled weights (Fig. 3);
        ``log_snr_<q>``: quantiles of log10 |μ|/σ (Fig. 4); ``median_sigma``; ``pruned_<q>``: error
        after removing the q % of weights with the lowest |μ|/σ.
        """
        k = self.config.measure.samples
        p = self.probabilities(self.test_inputs, k)
        turned = self.prepare(torch.rot90(self.test.images, 1, (2, 3))).to(self.device)
        found, far = uncertainty(p), uncertainty(self.probabilities(turned, k))
        metrics = {"nll": nll(p.mean(0), self.test_labels),
                   "ece": calibration_error(p.mean(0), self.test_labels),
                   "ensemble_error": wrong(p.mean(0), self.test_labels)}
        metrics |= {name if name != "total" else "entropy": v.mean().item()
                    for name, v in found.items()}
        metrics |= {f"turned_{name if name != 'total' else 'entropy'}": v.mean().item()
                    for name, v in far.items()}
        if self.config.model.arm != "bbb":
            w = torch.cat([p.detach().flatten() for p in self.model.parameters() if p.dim() > 1])
            return metrics | {"weight_sd": w.std().item()}
        return metrics | self.posterior_metrics()

    @torch.no_grad()
    def posterior_metrics(self) -> dict[str, float]:
        """The metrics of Fig. 3, Fig. 4 and Table 2, see :meth:`final_metrics`."""
        layers = self.posterior.bayesian
        μ = torch.cat([l.μ[:, :-1].flatten() for l in layers])
        σ = torch.cat([l.σ[:, :-1].flatten() for l in layers])
        metrics = {"weight_sd": (σ**2 + μ**2).mean().sub(μ.mean() ** 2).sqrt().item(),
                   "median_sigma": σ.median().item()}
        ratio = torch.log10(μ.abs() / σ).sort().values
        for q in (5, 25, 50, 75, 95, 98):
            metrics[f"log_snr_{q}"] = ratio[int(q / 100 * (len(ratio) - 1))].item()
        keep = {k: v.clone() for k, v in self.model.state_dict().items()}
        for part in PRUNED:
            prune(self.posterior, part)
            pruned = self.probabilities(self.test_inputs, 0).mean(0)
            metrics[f"pruned_{round(100 * part)}"] = wrong(pruned, self.test_labels)
            self.model.load_state_dict(keep)
        return metrics

    def shipped(self) -> nn.Module:
        """The network; for a posterior that of the mean weights, made of torch's own layers."""
        if not isinstance(self.model, Network):
            return super().shipped()
        layers: list[nn.Module] = []
        for part in self.model:
            if isinstance(part, BayesianLayer):
                mean = part.μ.detach()
                layer = nn.Linear(mean.shape[1] - 1, mean.shape[0])
                layer.load_state_dict({"weight": mean[:, :-1], "bias": mean[:, -1]})
                part = layer
            layers.append(part)
        return nn.Sequential(*layers)

    def publish(self, paper_folder: Path, run: RecordedRun) -> None:
        """Write the posterior of one experiment's seed 0 to ``weights/``, with a card."""
        if self.config.experiment != SHIPPED or self.config.seed or not isinstance(
                self.model, Network):
            return
        m = run.metrics
        weights.save(paper_folder / "weights" / f"{SHIPPED}.safetensors", self.model,
                     self.config.prior, weights.Sidecar(
                         **run.by, samples=self.config.measure.samples, error=m["error"],
                         ensemble_error=m["ensemble_error"], nll=m["nll"], ece=m["ece"]))


def wrong(p: Tensor, labels: Tensor) -> float:
    """The error in % of predictions by class probabilities (n, classes)."""
    return 100 * fraction(p.argmax(1) != labels)
