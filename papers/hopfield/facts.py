"""The theory of the load, exact facts of the dynamics, and measures over runs."""

from __future__ import annotations

import math

import torch
from scipy.optimize import brentq, minimize_scalar
from scipy.special import erf, erfc

from common.evidence.results import Result
from papers.hopfield.model import (
    asynchronous,
    energy,
    modern_update,
    whole_hebb,
    zero_one_bias,
)


def crosstalk(load: float) -> float:
    """% of a pattern's bits that the other patterns turn in one step: 50 [1 − erf √(1/2α)]."""
    return 50 * (1 - float(erf(math.sqrt(1 / (2 * load)))))


def bit_error(neurons: int, patterns: int) -> float:
    """P of Hopfield's eq. (10): one bit of a pattern is wrong after a step, for neurons 0 and 1.

    The field of N/2 meets Gaussian noise of σ = √((n − 1) N/2).
    """
    σ = math.sqrt((patterns - 1) * neurons / 2)
    return 0.5 * float(erfc(neurons / 2 / σ / math.sqrt(2)))


def no_error(neurons: int, patterns: int) -> float:
    """e^(−N P): Hopfield's estimate of the probability that a pattern has no wrong bit."""
    return math.exp(-neurons * bit_error(neurons, patterns))


def load_of(y: float) -> float:
    """The load α whose mean-field equations have the solution y, with overlap m = erf y.

    Amit, Gutfreund & Sompolinsky at T = 0: √(2α) = erf(y)/y − (2/√π) exp(−y²).
    """
    root = float(erf(y)) / y - 2 / math.sqrt(math.pi) * math.exp(-y * y)
    return 0.5 * root * root


def critical() -> float:
    """y at which the load is highest: beyond it there is no retrieval."""
    return float(minimize_scalar(lambda y: -load_of(y), bounds=(0.5, 5), method="bounded",
                                 options={"xatol": 1e-12}).x)


def critical_load() -> float:
    """α_c."""
    return load_of(critical())


def critical_overlap() -> float:
    """m at α_c."""
    return float(erf(critical()))


def critical_wrong_bits() -> float:
    """% of wrong bits at α_c."""
    return 50 * (1 - critical_overlap())


def mean_field_overlap(load: float) -> float:
    """m(α) below α_c; 0 above."""
    if load >= critical_load():
        return 0.0
    return float(erf(brentq(lambda y: load_of(y) - load, critical(), 20)))


def from_theory(runs: dict[str, Result]) -> float:
    """Measured overlap less the mean-field overlap of the same load."""
    (run,) = runs.values()
    return run.metrics["overlap"] - mean_field_overlap(run.config["model.load"])


def highest_rise_of_energy() -> float:
    """Largest rise of N·E in any single asynchronous update of 40 random networks.

    Networks of neurons ±1, and of Hopfield's 0 and 1.
    """
    worst = -math.inf
    for seed in range(40):
        g = torch.Generator().manual_seed(seed)
        n = 20 + 5 * seed
        ξ = torch.randint(0, 2, (2 + seed, n), generator=g).double() * 2 - 1
        S = torch.randint(0, 2, (8, n), generator=g).double() * 2 - 1
        J = whole_hebb(ξ)
        order = torch.randperm(n, generator=g)
        for bias in (None, zero_one_bias(J)):
            old = S
            for i in order:
                new = asynchronous(J, old, i[None], bias)
                rise = energy(J, new) - energy(J, old) if bias is None else (
                    energy(J, (new + 1) / 2) - energy(J, (old + 1) / 2))
                worst, old = max(worst, rise.max().item()), new
    return worst


def attention_error() -> float:
    """Largest difference of the modern update to scaled dot-product attention, in float64."""
    g = torch.Generator().manual_seed(0)
    X, ξ = (torch.randn(k, 16, generator=g, dtype=torch.float64) for k in (30, 5))
    β = 1 / math.sqrt(16)
    attention = torch.nn.functional.scaled_dot_product_attention(ξ[None], X[None], X[None])[0]
    return round((modern_update(X, ξ, β) - attention).abs().max().item(), 12)


def modern_retrieval(d: int, patterns: int) -> float:
    """% of patterns that one modern update restores in full when a tenth of the bits is turned.

    ``patterns`` random ±1 patterns of d bits at β = 1.
    """
    g = torch.Generator().manual_seed(0)
    X = torch.randint(0, 2, (patterns, d), generator=g).float() * 2 - 1
    start = X[:200].clone()
    start[torch.rand(start.shape, generator=g).argsort(1) < d // 10] *= -1
    return 100 * (modern_update(X, start, 1.0).sign() == X[:200]).all(1).double().mean().item()
