"""Priors over single weights: P(w) of the paper, sections 3.3 and 3.4."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

LOG_2PI = math.log(2 * math.pi)


def gaussian_log_density(w: Tensor, mean: Tensor | float, std: Tensor) -> Tensor:
    """log N(w | mean, std²), elementwise."""
    return -0.5 * LOG_2PI - torch.log(std) - (w - mean) ** 2 / (2 * std**2)


class Prior(Protocol):
    """A density over single weights."""

    def log_density(self, w: Tensor) -> Tensor:
        """log P(w_j) of every weight, elementwise."""

    def slope(self, w: Tensor) -> Tensor:
        """∂ log P(w_j)/∂w_j, elementwise."""

    def mean_slopes(self, μ: Tensor, σ: Tensor) -> tuple[Tensor, Tensor]:
        """E[∂ log P/∂w] and E[ε ∂ log P/∂w] over w = μ + σ ε, ε ~ N(0, 1), elementwise."""


@dataclass(frozen=True)
class GaussianPrior:
    """N(0, σ²) for every weight."""

    std: float = 1.0

    def log_density(self, w: Tensor) -> Tensor:
        return gaussian_log_density(w, 0.0, w.new_full((), self.std))

    def slope(self, w: Tensor) -> Tensor:
        return -w / self.std**2

    def mean_slopes(self, μ: Tensor, σ: Tensor) -> tuple[Tensor, Tensor]:
        return -μ / self.std**2, -σ / self.std**2

    def kl(self, μ: Tensor, σ: Tensor) -> Tensor:
        """KL(q ‖ P) in closed form, summed over weights."""
        ratio = (σ / self.std) ** 2
        return 0.5 * (ratio + (μ / self.std) ** 2 - 1 - torch.log(ratio)).sum()


@dataclass(frozen=True)
class ScaleMixturePrior:
    """Eq. (7): π N(w|0, σ1²) + (1 − π) N(w|0, σ2²) for every weight, a product over weights.

    It is computed in log space, log P = log N1 + log π + softplus(−t) with the log-odds t of the
    components, so that components as narrow as e⁻⁸ neither overflow nor vanish.

    Args:
        π: weight of the wide component.
        σ1, σ2: standard deviations, σ1 > σ2.
        clamped: whether to clamp the density to 1e-10 … 1, outside which log P has slope 0. A
            public implementation does so; it is not in the paper.

    Attributes:
        added: quadrature nodes w near zero, each with the slope that the narrow component adds
            there, times the node's weight, see :meth:`mean_slopes`.
    """

    π: float = 0.5
    σ1: float = 1.0
    σ2: float = math.exp(-6)
    clamped: bool = False
    added: tuple[tuple[float, float], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        nodes, weights = np.polynomial.legendre.leggauss(NODES)
        w = torch.as_tensor(nodes * SUPPORT * self.σ2)
        slope = torch.as_tensor(weights * SUPPORT * self.σ2) * (self.slope(w) + w / self.σ1**2)
        object.__setattr__(self, "added", tuple(zip(w.tolist(), slope.tolist(), strict=True)))

    def log_odds(self, w: Tensor) -> Tensor:
        """log [π N(w|0, σ1²)] − log [(1 − π) N(w|0, σ2²)], elementwise."""
        constant = math.log(self.π / (1 - self.π)) + math.log(self.σ2 / self.σ1)
        return constant + w**2 * (0.5 / self.σ2**2 - 0.5 / self.σ1**2)

    def log_density(self, w: Tensor) -> Tensor:
        wide = math.log(self.π) - 0.5 * LOG_2PI - math.log(self.σ1) - w**2 / (2 * self.σ1**2)
        return wide + F.softplus(-self.log_odds(w))

    def slope(self, w: Tensor) -> Tensor:
        odds = self.log_odds(w).clamp(max=80)  # above, exp gives denormal numbers, which are slow
        r = torch.sigmoid(odds)  # probability that w belongs to the wide component
        slope = -w * (r / self.σ1**2 + (1 - r) / self.σ2**2)
        if not self.clamped:
            return slope
        log_p = self.log_density(w)
        return torch.where((log_p < 0) & (log_p > math.log(1e-10)), slope, 0.0)

    def mean_slopes(self, μ: Tensor, σ: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`Prior`; valid for posteriors that are no narrower than σ2.

        The slope is that of the wide component, −w/σ1², plus what the narrow one adds near zero.
        The mean of the first has a closed form. The second is integrated by Gauss-Legendre
        quadrature over |w| < SUPPORT·σ2, where the posterior's density hardly changes between
        nodes.
        """
        mean, turned = -μ / self.σ1**2, -σ / self.σ1**2
        for node, c in self.added:
            ε = (node - μ) / σ
            q = c * torch.exp(-0.5 * ε**2) / (math.sqrt(2 * math.pi) * σ)
            mean, turned = mean + q, turned + ε * q
        return mean, turned


NODES, SUPPORT = 40, 6.0
"""Quadrature nodes, and range in units of σ2, see :meth:`ScaleMixturePrior.mean_slopes`."""
