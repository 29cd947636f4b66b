"""Functions behind the claims: exact facts computed from the code, and measures over runs."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from common.evidence.results import Result
from papers.large_batch.model import GhostBatchNorm, f1, sharpness

DIGITS = 9
"""Decimals of an exact fact: the next ones are rounding, which differs by processor."""

LEAST = 1e-6
"""In ratios, a sharpness (in %) or curvature below this counts as this."""


def parameters() -> int:
    """Weights, biases, γ and β of F1."""
    return sum(p.numel() for p in f1().parameters())


def quadratic(n: int = 30, seed: int = 0) -> tuple[Tensor, Tensor]:
    """h > 0 and x, (n,) float64, of f(x) = ½ Σ h_i x_i²."""
    g = torch.Generator().manual_seed(seed)
    h, x = (torch.randn(n, generator=g, dtype=torch.float64) for _ in range(2))
    return h.abs() + 0.1, x


def quadratic_sharpness(ε: float = 0.01) -> float:
    """Metric (3) of ½ Σ h_i x_i² as :func:`sharpness` finds it, divided by its closed form.

    The maximum lies in the corner z_i = sign(x_i) ε(|x_i| + 1).
    """
    h, x = quadratic()
    f = lambda y: 0.5 * (h * y * y).sum()  # noqa: E731
    corner = f(x + x.sign() * ε * (x.abs() + 1))
    closed = 100 * (corner - f(x)) / (1 + f(x))
    return round(sharpness(f, x, ε) / closed.item(), DIGITS)


def ghost_difference(m: int = 60, ghost: int = 20, c: int = 7) -> float:
    """Largest difference of ghost batch normalisation to one layer fed ghost by ghost, in float64.

    Of outputs and of moving averages.
    """
    g = torch.Generator().manual_seed(0)
    x = 3 + 5 * torch.randn(m, c, generator=g, dtype=torch.float64)
    ours, other = GhostBatchNorm(c, ghost).double(), nn.BatchNorm1d(c).double()
    pairs = [(ours(x), torch.cat([other(part) for part in x.split(ghost)])),
             (ours.running_mean, other.running_mean), (ours.running_var, other.running_var)]
    return round(max((a - b).abs().max().item() for a, b in pairs), DIGITS)


def pair(runs: dict[str, Result]) -> tuple[Result, Result]:
    """The runs of one seed with small and with large batches, ``…_sb`` and ``…_lb``."""
    small, large = sorted(runs, reverse=True)
    return runs[small], runs[large]


def orders(runs: dict[str, Result], metric: str) -> float:
    """log₁₀ of a metric with large batches over that with small ones."""
    small, large = (max(r.at(metric, None), LEAST) for r in pair(runs))
    return math.log10(large / small)


def distance_ratio(runs: dict[str, Result]) -> float:
    """‖x_s − x_0‖ / ‖x_ℓ − x_0‖ (section 3)."""
    small, large = pair(runs)
    return small.at("distance", None) / large.at("distance", None)


def line_orders(runs: dict[str, Result], split: str = "train") -> float:
    """log₁₀ of how much steeper Fig. 3's line rises from x_ℓ than from x_s.

    The mean loss at α ± ¼ less that at α, for α = 1 over α = 0; the line has 25 points.
    """
    _, large = pair(runs)
    loss = [large.at(f"line_{split}_loss_{k}", None) for k in range(25)]
    small_rise, large_rise = (
        max((loss[k - 2] + loss[k + 2]) / 2 - loss[k], LEAST) for k in (8, 16))
    return math.log10(large_rise / small_rise)
