"""Functions behind the claims: exact facts computed from the code, and measures over runs."""

from __future__ import annotations

import math

import numpy as np
import torch

from common.evidence.results import Result
from common.training.schedules import divided
from papers.bayes_by_backprop.bandit import minibatches_held
from papers.bayes_by_backprop.model import gradients, kl_weights
from papers.bayes_by_backprop.prior import ScaleMixturePrior
from papers.bayes_by_backprop.train import GRID

UPDATES = 50_000 / 128
"""Number of updates in an epoch."""


def weights(units: int) -> float:
    """Number of weights, without biases, of the 784-units-units-10 network, in thousands."""
    return (784 * units + units * units + units * 10) / 1000


def kl_weight_sum(scheme: str) -> float:
    """Sum of π_i over an epoch of 391 minibatches."""
    return round(kl_weights(391, scheme).sum().item(), 12)


def gradient_error() -> float:
    """Largest relative difference between eqs. (3), (4) and autograd, in float64."""
    g = torch.Generator().manual_seed(0)
    μ, ρ, ε, a = (torch.randn(6, 5, generator=g, dtype=torch.float64) for _ in range(4))
    prior, π = ScaleMixturePrior(0.25, math.exp(-1), math.exp(-3)), 0.3
    leaves = [μ.clone().requires_grad_(), ρ.clone().requires_grad_()]
    σ = torch.nn.functional.softplus(leaves[1])
    w = leaves[0] + σ * ε
    log_q = torch.distributions.Normal(leaves[0], σ).log_prob(w)
    f = π * (log_q - prior.log_density(w)).sum() + torch.sin(a * w).sum()
    automatic = torch.autograd.grad(f, leaves)
    w = w.detach()
    by_hand = gradients(prior, σ.detach(), ε, w, a * torch.cos(a * w), π)
    return round(max(((x - y).norm() / y.norm()).item()
                     for x, y in zip(by_hand, automatic, strict=True)), 12)


SPREAD = 0.05
"""Posteriors whose sampled weights have a smaller sd, half of that in Fig. 3, are not selected."""


def lowest_cost(run: Result) -> float:
    """The lowest validation cost of a run in nats per image; it selects Table 1's network."""
    return float(run.curves["validation_nll"][1].min())


def by_validation_error(run: Result) -> float:
    """Test error in % where the validation error was lowest: the other reading of "cost"."""
    return float(run.curves["error"][1][run.curves["validation_error"][1].argmin()])


def chosen(searched: list[Result]) -> Result:
    """The setting that a search selects: the lowest cost among posteriors with enough spread.

    Args:
        searched: the runs of one arm's search.
    """
    return min((r for r in searched if r.config["model.arm"] != "bbb"
                or r.metrics["weight_sd"] >= SPREAD), key=lowest_cost)


def overtakes(runs: dict[str, Result]) -> float:
    """Fig. 2: the epoch after which BBB's test error stays below dropout's, smoothed over 50.

    Infinite if it never does. Only the epochs that both runs have are compared.
    """
    bbb, dropout = (runs[k] for k in sorted(runs, reverse=True))  # mixture_…, dropout_…
    steps, at, of = np.intersect1d(bbb.curves["error"][0], dropout.curves["error"][0],
                                   return_indices=True)
    a, b = bbb.curves["error"][1][at], dropout.curves["error"][1][of]
    width = max(1, round(50 * UPDATES / steps[0]))
    kernel = np.ones(width) / width
    ahead = np.convolve(a, kernel, "valid") < np.convolve(b, kernel, "valid")
    behind = np.flatnonzero(~ahead)
    first = 0 if not len(behind) else behind[-1] + 1
    if first >= len(ahead):
        return math.inf
    return float(steps[first + width - 1]) / UPDATES


def regret_between(runs: dict[str, Result], first: int, last: int) -> float:
    """Fig. 6: the regret added from mushroom ``first`` to ``last``, mean over a run's agents."""
    (run,) = runs.values()
    return run.at("regret", last) - run.at("regret", first)


def width_by_entropy(run: Result) -> float:
    """The bandit's σ at the end of a run if nothing but the entropy of q(w|θ) moved it.

    Of eq. (2)'s π log q(w|θ) the term −π log σ lowers the cost as σ grows. Eqs. (4) and (6) then
    give Δρ = α π (1 − e^−σ)/σ an update, for 1/(1 + e^−ρ) = 1 − e^−σ.

    Args:
        run: a run with posteriors.
    """
    c, ρ = run.config, run.config["model.rho"]
    for step in range(c["train.steps"]):
        σ = math.log1p(math.exp(ρ))
        α = divided(c["optim.lr"], c["optim.milestones"], step)
        m = minibatches_held(min(step + 1, c["task.memory"]), c["train.batch_size"])
        ρ += c["task.updates"] * α / m * -math.expm1(-σ) / σ
    return math.log1p(math.exp(ρ))


def quartiles(run: Result) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fig. 5: lower quartile, median and upper quartile of the predictions on GRID."""
    low, median, high = (np.array([run.metrics[f"q{q}_{i}"] for i in range(len(GRID))])
                         for q in (25, 50, 75))
    return low, median, high


def widening(runs: dict[str, Result], side: str) -> float:
    """Interquartile range far from the data, relative to that among the data.

    Far means x ≤ −0.1 on the left and x ≥ 0.75 on the right; the data are in 0 … 0.5.
    """
    (run,) = runs.values()
    low, _, high = quartiles(run)
    x = GRID.squeeze().numpy()
    outside = x <= -0.1 if side == "left" else x >= 0.75
    inside = (x >= 0) & (x <= 0.5)
    return float((high - low)[outside].mean() / (high - low)[inside].mean())


def misfit(runs: dict[str, Result]) -> float:
    """Root mean square distance of the median from the noise-free curve, among the data."""
    (run,) = runs.values()
    _, median, _ = quartiles(run)
    x = GRID.squeeze().numpy()
    curve = x + 0.3 * np.sin(2 * np.pi * x) + 0.3 * np.sin(4 * np.pi * x)
    inside = (x >= 0) & (x <= 0.5)
    return float(np.sqrt(((median - curve)[inside] ** 2).mean()))
