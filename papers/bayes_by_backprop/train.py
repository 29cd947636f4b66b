"""Weight Uncertainty in Neural Networks (Blundell et al., 2015): Bayes by Backprop.

    python papers/bayes_by_backprop/train.py experiment=quick        # bundled digits, offline
    python papers/bayes_by_backprop/train.py                         # four arms, 400 units
    python papers/bayes_by_backprop/train.py experiment=mixture_1200 seed=0
    python papers/bayes_by_backprop/train.py experiment=regression   # Fig. 5
    python papers/bayes_by_backprop/train.py experiment=bandit       # Fig. 6
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from common import data
from common.conditions import NEVER, Not, both
from common.config import Config as BaseConfig
from common.config import DataConfig, key
from common.data import DataSet, Split, generator
from common.decoded import of_tensors
from common.errors import UserError, exit_with
from common.running.cli import main
from common.training.descent import sgd
from common.training.devices import widest_float
from common.training.layers import Dropout
from common.training.linear import Linear
from common.training.noise import normal_
from common.training.recipe import Batch, Planned, Recipe, Row, Supervised, scalar
from common.training.schedules import divided
from common.training.sums import fraction, wide
from papers.bayes_by_backprop import bandit
from papers.bayes_by_backprop.model import (
    GaussianPrior,
    Network,
    Prior,
    ScaleMixturePrior,
    affine,
    calibration_error,
    kl_weights,
    make_update,
    predict,
    prune,
    uncertainty,
)

PRUNED = (0.5, 0.75, 0.95, 0.98)
"""Fractions of weights removed in Table 2."""

GRID = torch.linspace(-0.25, 1.25, 61)[:, None]
"""Where the regression of Fig. 5 is looked at: the figure's range of x."""


BANDIT = {"task.name": "bandit"}
REGRESSION = {"task.name": "regression"}
CLASSIFICATION = {"task.name": "classification"}
FIXED_DATA = {"task.name": Not("bandit")}
POSTERIOR = {"model.arm": "bbb"}
MIXTURE = {"prior.kind": "mixture"}


@dataclass
class TaskConfig:
    name: Literal["classification", "regression", "bandit"] = key(
        "classification", "section 5.1, 5.2 or 5.3")
    noise: float = key(1.0, "σ of the Gaussian likelihood", above=0,
                       only={"task.name": ("regression", "bandit")})
    agents: int = key(5, "bandits that play side by side", least=1, only=BANDIT)
    epsilon: float = key(0.0, "probability of a random action", least=0, most=1, only=BANDIT)
    memory: int = key(4096, "interactions an agent remembers", least=1, only=BANDIT)
    updates: int = key(64, "updates after each interaction", least=1, only=BANDIT)
    thompson: int = key(2, "weight samples averaged to choose an action", least=1,
                        only=both(BANDIT, POSTERIOR))


@dataclass
class ModelConfig:
    arm: Literal["sgd", "dropout", "bbb"] = key("bbb", "plain weights, dropout, or posteriors")
    units: int = key(400, "units in each of the two hidden layers", least=1)
    mu_std: float = key(0.0, "standard deviation of the initial μ; 0: 1/√inputs", least=0,
                        only=both(FIXED_DATA, POSTERIOR))
    rho: float = key(-3.0, "initial ρ; σ = log(1 + exp ρ)", only=POSTERIOR)


@dataclass
class PriorConfig:
    kind: Literal["gaussian", "mixture"] = key(
        "mixture", "one Gaussian, or eq. (7)", only=POSTERIOR)
    std: float = key(1.0, "σ of the Gaussian prior", above=0, only={"prior.kind": "gaussian"})
    pi: float = key(0.25, "π, weight of the wide component", above=0, below=1, only=MIXTURE)
    minus_log_sigma1: float = key(1.0, "−ln σ1", only=MIXTURE)
    minus_log_sigma2: float = key(7.0, "−ln σ2", only=MIXTURE)


@dataclass
class OptimConfig:
    lr: float = key(
        1e-3, "learning rate of plain SGD on the loss summed over the minibatch", least=0)
    milestones: list[int] = key([], "steps after which it is divided by 10", least=1,
                                only=FIXED_DATA)
    rule: Literal["sgd", "adam"] = key("sgd", "eqs. (5), (6), or Adam", only=REGRESSION)
    samples: int = key(1, "weight samples averaged in a step", least=1,
                       only=both(CLASSIFICATION, POSTERIOR))
    kl: Literal["uniform", "decreasing"] = key(
        "uniform", "π_i = 1/M, or 2^(M−i)/(2^M − 1)", only=both(CLASSIFICATION, POSTERIOR))
    fast: bool = key(True, "update by eqs. (3) and (4) in one pass instead of through autograd",
                     only=both(CLASSIFICATION, POSTERIOR))


@dataclass
class MeasureConfig:
    samples: int = key(
        20, "sampled networks behind predictive probabilities in the final step", least=1,
        only=(both(CLASSIFICATION, POSTERIOR), REGRESSION))


@dataclass
class Config(BaseConfig):
    honoured: ClassVar = {
        "data.name": {"task.name": Not("regression")}, "data.evaluate_on": NEVER,
        "data.validation": CLASSIFICATION,
        "train.compile": (REGRESSION, BANDIT, {"model.arm": ("sgd", "dropout")},
                          {"optim.fast": True})}
    precisions: ClassVar = ("float32", "tf32")
    task: TaskConfig = field(default_factory=TaskConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    prior: PriorConfig = field(default_factory=PriorConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    measure: MeasureConfig = field(default_factory=MeasureConfig)

    def check(self) -> None:
        if self.task.name == "bandit" and self.model.arm == "dropout":
            raise UserError("model.arm=dropout: expected sgd or bbb where task.name=bandit")


def make_prior(p: PriorConfig) -> Prior:
    """The prior the configuration asks for.

    Raises:
        UserError: the mixture's wide component is the narrower one.
    """
    if p.kind == "gaussian":
        return GaussianPrior(p.std)
    if p.minus_log_sigma1 >= p.minus_log_sigma2:
        raise UserError(f"prior.minus_log_sigma1={p.minus_log_sigma1}, prior.minus_log_sigma2="
                        f"{p.minus_log_sigma2}: expected σ1 > σ2")
    return ScaleMixturePrior(p.pi, math.exp(-p.minus_log_sigma1), math.exp(-p.minus_log_sigma2))


class BayesRecipe(Supervised):
    """Section 5.1: 50,000 images to train on, 10,000 to select by, 10,000 to test."""

    kept = (*Supervised.kept, "lowest", "selected")
    config: Config

    def splits(self) -> tuple[DataSet, Split, Split]:
        """Train and validation splits; the test split is kept beside them."""
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
        self.test_inputs = self.prepare(self.test.images).to(self.device)
        self.test_labels = self.test.labels.to(self.device)
        if c.model.arm == "bbb" and c.optim.fast:
            self.descend = make_update(self.model.bayesian[0].prior, c.train.compile)

    def rates(self, step: int) -> dict[str, float]:
        """α, divided by 10 at the milestones."""
        return {"lr": divided(self.config.optim.lr, self.config.optim.milestones, step)}

    def row(self, step: int) -> Row:
        """Also π_i of the minibatch whose turn it is."""
        return super().row(step) | {"π": self.π[step % len(self.π)]}

    def loss(self, batch: Batch, row: Row) -> Tensor:
        """F_i of eq. (9), mean over weight samples; without posteriors −log P(D_i|w) alone."""
        x, y = batch
        if self.config.model.arm != "bbb":
            return F.cross_entropy(self.net(x), y, reduction="sum")
        total = x.new_zeros(())
        for _ in range(self.config.optim.samples):
            nll = F.cross_entropy(self.model(x), y, reduction="sum")
            total = total + scalar(row["π"]) * self.model.kl() + nll
        return total / self.config.optim.samples

    def update(self, row: Row) -> Tensor:
        """One update; returns the loss per example, so that arms compare."""
        if self.config.model.arm == "bbb" and self.config.optim.fast:
            loss = self.fast_update(row)
        else:
            loss = super().update(row)
        return loss / len(row["index"])

    def fast_update(self, row: Row) -> Tensor:
        """The same update by the paper's own gradients, eqs. (3) and (4).

        Automatic differentiation goes only down to the sampled w; one pass over the weights then
        turns (μ, ρ, ε, w, ∂NLL/∂w) into the new μ and ρ. The loss returned is the likelihood's
        part alone, for log q − log P is not needed to descend it.
        """
        self.set_rates(row)
        x, y = self.batch(row)
        layers, k = self.model.bayesian, self.config.optim.samples
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
            for known, *now in zip(samples, ε, w, g, strict=True):
                known.append(tuple(now))
        lr, π = self.optimizer.param_groups[0]["lr"], scalar(row["π"])
        with torch.no_grad():
            for l, s, drawn in zip(layers, σ, samples, strict=True):
                self.descend(l.μ, l.ρ, s, drawn, lr, π)
        return loss / k

    def noise(self, index: int) -> list[Tensor]:
        """ε ~ N(0, 1) for the weights of every layer.

        Args:
            index: different for every draw of a run; on other devices than a CPU, where the run's
                own generator draws, it does not count.
        """
        shapes = [l.μ.shape for l in self.model.bayesian]
        sizes = [s.numel() for s in shapes]
        every = self.model.bayesian[0].μ.new_empty(sum(sizes))
        normal_(every, self.config.seed, "noise", index, self.chance)
        return [e.view(s) for e, s in zip(every.split(sizes), shapes, strict=True)]

    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """Errors in % with the mean weights, and the validation cost that selects.

        ``error`` on the test split now; ``validation_error`` and ``validation_nll`` (nats an
        image); ``selected_error``: test error at the lowest validation cost so far, the paper's
        rule for Table 1. Finally what :meth:`final_metrics` adds.
        """
        test = self.probabilities(self.test_inputs, 0).mean(0)
        held = self.probabilities(self.eval_inputs, 0).mean(0)
        metrics = {"error": wrong(test, self.test_labels),
                   "validation_error": wrong(held, self.eval_labels),
                   "validation_nll": nll(held, self.eval_labels)}
        if metrics["validation_nll"] < self.lowest:
            self.lowest, self.selected = metrics["validation_nll"], metrics["error"]
        metrics["selected_error"] = self.selected
        return metrics | self.final_metrics() if final else metrics

    def probabilities(self, x: Tensor, samples: int) -> Tensor:
        """Class probabilities (samples or 1, n, classes); 0 samples: the mean weights."""
        if self.config.model.arm == "bbb":
            return predict(self.model, x, samples)
        return torch.softmax(self.predict(x), 1)[None]

    def final_metrics(self) -> dict[str, float]:
        """Uncertainty of all arms; the posterior's statistics and Table 2 of those that have one.

        ``nll``, ``ece``, ``entropy``, ``aleatoric``, ``epistemic`` on the test images, the last
        three also on the test images turned by 90° (``turned_…``); ``ensemble_error`` by the
        average of sampled networks; ``weight_sd`` of sampled weights (Fig. 3), ``log_snr_<q>``:
        quantiles of log10 |μ|/σ (Fig. 4), ``median_sigma``, and ``pruned_<q>``: error with q % of
        the weights of lowest |μ|/σ removed.
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
        """Fig. 3, Fig. 4 and Table 2."""
        layers = self.model.bayesian
        μ = torch.cat([l.μ[:, :-1].flatten() for l in layers])
        σ = torch.cat([l.σ[:, :-1].flatten() for l in layers])
        metrics = {"weight_sd": (σ**2 + μ**2).mean().sub(μ.mean() ** 2).sqrt().item(),
                   "median_sigma": σ.median().item()}
        ratio = torch.log10(μ.abs() / σ).sort().values
        for q in (5, 25, 50, 75, 95, 98):
            metrics[f"log_snr_{q}"] = ratio[int(q / 100 * (len(ratio) - 1))].item()
        keep = {k: v.clone() for k, v in self.model.state_dict().items()}
        for part in PRUNED:
            prune(self.model, part)
            pruned = self.probabilities(self.test_inputs, 0).mean(0)
            metrics[f"pruned_{round(100 * part)}"] = wrong(pruned, self.test_labels)
            self.model.load_state_dict(keep)
        return metrics


class RegressionRecipe(Supervised):
    """Section 5.2: a curve through the 598 points of Fig. 5, and how sure of it the network is."""

    config: Config

    def splits(self) -> tuple[DataSet, Split, Split]:
        """The points of the figure, to train on; there is nothing to test."""
        with open(Path(__file__).with_name("published") / "fig5_points.csv", newline="") as f:
            rows = torch.tensor([[float(r["x"]), float(r["y"])] for r in csv.DictReader(f)])
        made = of_tensors("fig5", rows[:, :1], rows[:, 1:])
        return made, made.train, made.test

    def prepare(self, images: Tensor) -> Tensor:
        return images

    def build(self) -> None:
        c = self.config
        widths, start = [1, c.model.units, c.model.units, 1], generator(c.seed, "init")
        if c.model.arm == "bbb":
            self.model = Network(widths, make_prior(c.prior), μ_std=c.model.mu_std or None,
                                 ρ=c.model.rho, generator=start)
        else:
            self.model = plain_network(widths, c.model.arm == "dropout", start)
        if c.optim.rule == "adam":
            self.optimizer = torch.optim.Adam(self.model.parameters(), lr=c.optim.lr,
                                              capturable=self.device.type == "cuda")
        else:
            self.optimizer = sgd(self.model.parameters(), self.device, lr=c.optim.lr)

    def rates(self, step: int) -> dict[str, float]:
        """α, divided by 10 at the milestones."""
        return {"lr": divided(self.config.optim.lr, self.config.optim.milestones, step)}

    def loss(self, batch: Batch, row: Row) -> Tensor:
        """KL/M + −log N(y | f(x), noise²) summed over the minibatch, per example."""
        x, y = batch
        fit = gaussian_nll(self.net(x), y, self.config.task.noise)
        if self.config.model.arm == "bbb":
            fit = fit + self.model.kl() * len(x) / len(self.inputs)
        return fit / len(x)

    @torch.no_grad()
    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """``free_energy``: the objective per point, nats, over ``measure.samples`` draws.

        In the final step also the quartiles of y on GRID, noise included: ``q25_<i>``, ``q50_<i>``,
        ``q75_<i>``, i from 0.
        """
        k = self.config.measure.samples
        whole = self.inputs, self.labels
        metrics = {"free_energy": sum(self.loss(whole, {}).item() for _ in range(k)) / k}
        if final:
            draw = self.generator("fig5", step)
            y = torch.stack([self.model(GRID.to(self.device)) for _ in range(k)]).cpu()
            noise = torch.randn(50 * k, *GRID.shape, generator=draw) * self.config.task.noise
            y = y.repeat(50, 1, 1) + noise
            for q in (25, 50, 75):
                found = torch.quantile(y, q / 100, 0)
                metrics |= {f"q{q}_{i}": v.item() for i, v in enumerate(found)}
        return metrics


class BanditRecipe(Planned):
    """Section 5.3: agents that eat or leave mushrooms; a step is one interaction of each."""

    kept = (*Planned.kept, "memory", "regret")
    block = 50
    config: Config
    model: bandit.Agents

    def load_data(self) -> None:
        """All mushrooms: their features, (m, f), and whether they are poisonous, (m)."""
        self.data = data.load(self.config.data.name)
        self.features = self.data.train.images.flatten(1).float().to(self.device)
        self.poisonous = self.data.train.labels.to(self.device)

    def build(self) -> None:
        c = self.config
        self.contexts = bandit.contexts(self.features)
        prior = make_prior(c.prior) if c.model.arm == "bbb" else None
        widths = [self.contexts.shape[1], c.model.units, c.model.units, 1]
        self.model = bandit.Agents(c.task.agents, widths, prior, c.model.rho, c.task.noise,
                                   generator(c.seed, "init"), c.train.compile)
        self.memory = bandit.Memory(c.task.agents, c.task.memory)
        self.regret = torch.zeros(c.task.agents, dtype=widest_float(self.device),
                                  device=self.device)

    def row(self, step: int) -> Row:
        """The mushroom each agent meets, ``met`` (s,), and what ``chance`` brings, (3, s) in 0 … 1.

        They are the same for every arm of a seed. Also the ``slot`` of the memory they go to, which
        of what is remembered then makes up the minibatches, ``recalled`` (s, updates · b), and π.
        """
        task, size = self.config.task, self.config.train.batch_size
        s, draw = task.agents, self.generator("bandit", step)
        remembered = min(step + 1, task.memory)
        return super().row(step) | {
            "met": torch.randint(len(self.features), (s,), generator=draw),
            "chance": torch.rand(3, s, generator=draw),
            "slot": torch.tensor([step % task.memory]),
            "recalled": torch.randint(remembered, (s, task.updates * size),
                                      generator=self.generator("memory", step + 1)),
            "π": torch.tensor(bandit.kl_weight(remembered, size))}

    def update(self, row: Row) -> Tensor:
        """Act, remember, learn; returns the last minibatch's negative log-likelihood."""
        met, (luck, explores, chosen) = row["met"], row["chance"]
        task = self.config.task
        action = self.act(met)
        action = torch.where(explores < task.epsilon, (chosen * 2).long(), action)
        poisonous = self.poisonous[met]
        received = bandit.reward(poisonous, action, luck)
        self.regret += bandit.oracle(poisonous) - received
        self.memory.add(row["slot"], action * len(self.features) + met, received)
        rows, rewards = self.memory.minibatches(row["recalled"], task.updates)
        for r, y in zip(rows, rewards, strict=True):
            loss = self.model.learn(self.contexts[r], y, self.config.optim.lr, row["π"])
        return loss

    def act(self, met: Tensor) -> Tensor:
        """The action of the higher expected reward, (s,)."""
        both = torch.stack([self.contexts[met], self.contexts[met + len(self.features)]], 1)
        return self.model.expected(both, self.config.task.thompson).argmax(1)

    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """``regret``: cumulative, mean over agents.

        Finally ``regret_<k>`` of each agent, and ``median_sigma`` of those with a posterior.
        """
        metrics = {"regret": self.regret.mean().item()}
        if final:
            metrics |= {f"regret_{k}": r.item() for k, r in enumerate(self.regret)}
            if len(self.model.ρ):
                ρ = torch.cat([p.detach().flatten() for p in self.model.ρ])
                metrics["median_sigma"] = F.softplus(ρ).median().item()
        return metrics


def gaussian_nll(prediction: Tensor, y: Tensor, noise: float) -> Tensor:
    """−log N(y | prediction, noise²), summed, in nats."""
    constant = y.numel() * math.log(noise * math.sqrt(2 * math.pi))
    return (prediction - y).square().sum() / (2 * noise**2) + constant


def wrong(p: Tensor, labels: Tensor) -> float:
    """Error of probabilities (n, classes), in %."""
    return 100 * fraction(p.argmax(1) != labels)


def nll(p: Tensor, labels: Tensor) -> float:
    """−log p of the right class, mean over examples, in nats."""
    return -wide(p).clamp(min=1e-12).log().gather(1, labels[:, None]).mean().item()


def plain_network(widths: list[int], dropout: bool, start: torch.Generator) -> nn.Sequential:
    """The same layers without posteriors; dropout of 20 % of inputs and half of hidden units."""
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(pairwise(widths)):
        layers += [nn.ReLU()] if i else []
        layers += [Dropout(0.5 if i else 0.2)] if dropout else []
        layers.append(Linear(a, b))
        nn.init.normal_(layers[-1].weight, 0.0, a**-0.5, generator=start)
        nn.init.zeros_(layers[-1].bias)
    return nn.Sequential(*layers)


def recipe(config: Config) -> Recipe:
    """The recipe a configuration asks for."""
    recipes = {"classification": BayesRecipe, "regression": RegressionRecipe,
               "bandit": BanditRecipe}
    return recipes[config.task.name](config)


if __name__ == "__main__":
    exit_with(lambda: main(recipe, Config, __file__))
