"""Functions behind the claims: exact facts computed from the code, and measures over curves."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from common.evidence.claims import read_table
from common.evidence.results import Result
from papers.batchnorm.model import BatchNorm, BatchNormByHand, batch_norm, population_statistics

DIGITS = 12
"""Decimals to which exact facts are rounded; further digits differ between processors."""


def _batch(m: int = 60, c: int = 7, seed: int = 0) -> Tensor:
    """A float64 mini-batch (m, c) far from zero mean and unit variance."""
    g = torch.Generator().manual_seed(seed)
    return 3 + 5 * torch.randn(m, c, generator=g, dtype=torch.float64)


def training_mean() -> float:
    """Largest |mean| over the mini-batch of x̂ (γ = 1, β = 0)."""
    return round(BatchNorm(7).double()(_batch()).mean(0).abs().max().item(), DIGITS)


def training_variance() -> float:
    """Biased variance of x̂ over the mini-batch, for the activation where it is least like one."""
    variance = BatchNorm(7).double()(_batch()).var(0, correction=0)
    return round(variance[(variance - 1).abs().argmax()].item(), DIGITS)


def gradient_error() -> float:
    """Largest relative difference between section 3's six equations and autograd, in float64."""
    x, γ, β = _batch(), torch.linspace(0.5, 2, 7).double(), torch.linspace(-1, 1, 7).double()
    weight = _batch(seed=1)
    gradients = []
    forms: tuple[Callable[..., Tensor], ...] = (
        batch_norm, lambda *a: BatchNormByHand.apply(*a)[0])
    for f in forms:
        leaves = [t.clone().requires_grad_() for t in (x, γ, β)]
        (torch.tanh(f(*leaves, 1e-5)) * weight).sum().backward()
        gradients.append([t.grad for t in leaves])
    return round(max(((a - b).norm() / a.norm()).item()
                     for a, b in zip(*gradients, strict=True)), DIGITS)


def unbiased_factor() -> float:
    """The ratio Var[x]/E_B[σ²_B] for mini-batches of m = 60, as computed by Algorithm 2."""
    layer = BatchNorm(7).double()
    batches = [_batch(60, seed=k) for k in range(5)]
    population_statistics(layer, batches)
    mean_variance = torch.stack([x.var(0, correction=0) for x in batches]).mean(0)
    return round((layer.population_var / mean_variance).mean().item(), DIGITS)


def inference_linear() -> float:
    """How far a trained layer's inference is from an affine map of each activation.

    An affine map keeps midpoints: the largest |f(x) + f(z) − 2f((x+z)/2)|.
    """
    layer = BatchNorm(7).double()
    layer(_batch())
    layer.eval()
    x, z = _batch(seed=1), _batch(seed=2)
    return round((layer(x) + layer(z) - 2 * layer((x + z) / 2)).abs().max().item(), DIGITS)


def drift_at_points(runs: dict[str, Result]) -> float:
    """Highest minus lowest median of the run's unit, at the points read off Fig. 1(b, c).

    Values between evaluations are interpolated linearly, as the figure's lines are drawn.
    """
    (run,) = runs.values()
    rows = read_table(Path(__file__).with_name("published") / "fig1bc.csv")
    steps, median = run.curves["p50"]
    at = np.interp([float(row["fraction"]) * steps[-1] for row in rows], steps, median)
    return float(np.ptp(at))


def drift_apart(runs: dict[str, Result]) -> float:
    """:func:`drift_at_points` without BN minus that with BN."""
    return drift_at_points({"plain": runs["plain"]}) - drift_at_points({"bn": runs["bn"]})


def steps_to_plain_accuracy(runs: dict[str, Result]) -> float:
    """Steps that the network with BN needs to reach the plain network's final accuracy, same seed.

    That is the first evaluation at or above it; infinite if there is none.
    """
    with_bn, plain = (runs[k] for k in sorted(runs, key=lambda k: not k.startswith("bn")))
    steps, accuracy = with_bn.curves["accuracy"]
    reached = np.flatnonzero(accuracy >= plain.at("accuracy", None))
    return float(steps[reached[0]]) if len(reached) else math.inf
