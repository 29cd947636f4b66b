"""Functions behind the claims: exact facts computed from the code, and measures over runs."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from common.evidence.results import Result
from papers.distillation.model import (
    Network,
    distillation_loss,
    gradient,
    matching,
    shifted,
    soft_cross_entropy,
    softened,
)

DIGITS = 9
"""Decimals to which an exact fact is given: below lies rounding, which differs by processor."""


def logits(n: int = 50, classes: int = 10) -> tuple[Tensor, Tensor]:
    """z and v of a made-up case, (n, classes) float64, each row of zero mean, values up to ±15."""
    draw = torch.Generator().manual_seed(0)
    z, v = (5 * torch.randn(n, classes, generator=draw, dtype=torch.float64) for _ in range(2))
    return z - z.mean(1, keepdim=True), v - v.mean(1, keepdim=True)


def by_autograd(z: Tensor, v: Tensor, T: float) -> Tensor:
    """∂C/∂z of every case by automatic differentiation, (n, N)."""
    z = z.clone().requires_grad_()
    (of_mean,) = torch.autograd.grad(soft_cross_entropy(z, v, T), z)
    return len(z) * of_mean


def parameters(hidden: int) -> int:
    """Weights and biases of a network of two hidden layers."""
    with torch.device("meta"):
        return sum(p.numel() for p in Network(784, [hidden, hidden], 10).parameters())


def gradient_error(T: float = 20.0) -> float:
    """Largest difference of eq. (2) to automatic differentiation of C."""
    z, v = logits()
    return round((gradient(z, v, T) - by_autograd(z, v, T)).abs().max().item(), DIGITS)


def slope(T: float) -> float:
    """How much of eq. (4)'s gradient automatic differentiation gives: the slope of a line."""
    z, v = logits()
    found, limit = by_autograd(z, v, T), matching(z, v, T)
    return round(((found * limit).sum() / limit.square().sum()).item(), DIGITS)


def order_of_the_limit(T: float = 1000.0) -> float:
    """With which power of 1/T eq. (2) approaches eq. (4), relative to it: between T and 2T."""
    z, v = logits()
    errors = [((by_autograd(z, v, t) - matching(z, v, t)).norm() / matching(z, v, t).norm()).item()
              for t in (T, 2 * T)]
    return round(math.log2(errors[0] / errors[1]), DIGITS)


def without_zero_mean(T: float = 1e5) -> float:
    """What zero means are for: the distance of eq. (2) to eq. (4) when z is raised by 3, over it.

    Relative to the length of 3 (in all N logits) after eq. (4): 1 where eq. (2) does not see it.
    """
    z, v = logits()
    raised = z + 3
    missed = matching(raised, v, T) - by_autograd(raised, v, T)
    return round((missed.norm() / matching(torch.full_like(z, 3.0), 0 * v, T).norm()).item(), 4)


def squares_difference(T: float = 1e4) -> float:
    """T²(C(z, v) − C(v, v)) over (1/2N) Σ (z_i − v_i)², mean over cases: 1 at high T."""
    z, v = logits()
    excess = T**2 * (soft_cross_entropy(z, v, T) - soft_cross_entropy(v, v, T))
    squares = (z - v).square().sum(1).mean() / (2 * z.shape[1])
    return round((excess / squares).item(), 6)


def gradient_ratio(T: float, factor: float) -> float:
    """How many times smaller soft gradients are at ``factor``·T than at T."""
    z, v = logits()
    return round((by_autograd(z, v, T).norm() / by_autograd(z, v, factor * T).norm()).item(),
                 DIGITS)


def scaled_ratio(T: float, factor: float) -> float:
    """The same of the loss that trains, which multiplies C by T²; without labels."""
    z, v = logits()
    labels, sizes = torch.zeros(len(z), dtype=torch.long), []
    for t in (T, factor * T):
        x = z.clone().requires_grad_()
        (slope_of_loss,) = torch.autograd.grad(distillation_loss(x, v, labels, t, hard=0.0), x)
        sizes.append(slope_of_loss.norm())
    return round((sizes[0] / sizes[1]).item(), DIGITS)


def softmax_difference() -> float:
    """Largest difference of eq. (1) at T = 1 to exp(z_i)/Σ exp(z_j)."""
    z, _ = logits()
    ordinary = z.exp() / z.exp().sum(1, keepdim=True)
    return round((softened(z, 1.0) - ordinary).abs().max().item(), DIGITS)


def orders_changed(shift: float = 3.5, moved: int = 3) -> int:
    """Of how many cases a shift of one class's bias changes the order of the others."""
    z, _ = logits(1000)
    others = [k for k in range(z.shape[1]) if k != moved]
    before, after = z[:, others].argsort(1), shifted(z, [moved], shift)[:, others].argsort(1)
    return int((before != after).any(1).sum())


def kept_gap(runs: dict[str, Result]) -> float:
    """What part of the errors between hard targets and teacher soft targets take away."""
    hard, soft, teacher = (runs[name].at("errors", None) for name in ("hard", "soft", "teacher"))
    return (hard - soft) / (hard - teacher)


def vanished(runs: dict[str, Result]) -> float:
    """What part of the errors on images of the missing digit the best shift takes away."""
    (run,) = runs.values()
    return 1 - run.at("own_errors_best", None) / run.at("own_errors", None)


def share_on_own(runs: dict[str, Result]) -> float:
    """What part of all errors falls on images of the missing digit, before any shift."""
    (run,) = runs.values()
    return run.at("own_errors", None) / run.at("errors", None)


def regret(runs: dict[str, Result]) -> float:
    """Errors with the shift found on training images, less those with the best on test images."""
    (run,) = runs.values()
    return run.at("errors_train", None) - run.at("errors_best", None)


def recall(runs: dict[str, Result], images: int = 1010) -> float:
    """The fraction of the test set's images of the missing digit that are right, best shift."""
    (run,) = runs.values()
    return 1 - run.at("own_errors_best", None) / images


def spread(runs: dict[str, Result]) -> float:
    """The most errors of any of several temperatures less the fewest, of one seed."""
    errors = [run.at("errors", None) for run in runs.values()]
    return max(errors) - min(errors)


def ahead(runs: dict[str, Result], best: list[str]) -> float:
    """Errors of the other temperatures less those of ``best``, means, of one seed.

    Args:
        runs: of experiments that are all called by their temperature.
        best: the names of those said to be better.
    """
    inside = [r.at("errors", None) for name, r in runs.items() if name in best]
    outside = [r.at("errors", None) for name, r in runs.items() if name not in best]
    return sum(outside) / len(outside) - sum(inside) / len(inside)
