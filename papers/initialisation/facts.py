"""Exact facts about initial weights and SELU's map, and measures over runs."""

from __future__ import annotations

import itertools
import math

import numpy as np
from scipy.integrate import quad
from scipy.optimize import fsolve

from common.data import generator
from common.evidence.results import Result
from papers.initialisation.learning import BINS
from papers.initialisation.model import ALPHA, LAMBDA, draw, moments, variance

# ---- initial weights -----------------------------------------------------------------------------

def n_variance(init: str, n: int) -> float:
    """n Var[W] of a square layer, estimated from its largest weight.

    A uniform distribution's variance is a third of its squared bound; the largest of a million
    draws equals the bound to about one part in a million.
    """
    W = draw(init, n, n, generator(0, "bound"))
    return n * W.abs().max().item() ** 2 / 3


def quarter_circle(n_var: float) -> float:
    """Mean singular value of a large square matrix of independent entries, for a given n Var[W].

    Of the quarter-circle law √(4 − x²)/π on [0, 2], times √(n Var[W]); 8/3π at n Var[W] = 1.
    """
    return math.sqrt(n_var) * quad(lambda x: x * math.sqrt(4 - x * x) / math.pi, 0, 2)[0]


def derived_std(filters: int) -> float:
    """√(2/n̂) of a layer of 3×3 filters, He et al.'s eq. (14)."""
    return math.sqrt(variance("he", 9 * filters, 9 * filters))


def gradient_lost(std: float) -> float:
    """The factor by which a gradient from conv10 is smaller in conv2 of model B than derived."""
    return math.prod(derived_std(d) / std for d in (64, 128, 128, 256, 256, *[512] * 4))


# ---- SELU ----------------------------------------------------------------------------------------

def constants() -> tuple[float, float]:
    """λ and α that make (0, 1) a fixed point, solved from the integrals (3) by quadrature."""
    def bell(z: float) -> float:
        return math.exp(-z * z / 2) / math.sqrt(2 * math.pi)

    def below(power: int) -> float:
        return quad(lambda z: math.expm1(z) ** power * bell(z), -40, 0)[0]
    above = [quad(lambda z, p=p: z**p * bell(z), 0, 40)[0] for p in (1, 2)]
    first, second = below(1), below(2)
    λ, α = fsolve(lambda v: [v[0] * (v[1] * first + above[0]),
                             v[0] ** 2 * (v[1] ** 2 * second + above[1]) - 1], [1.0, 1.5],
                  xtol=1e-14)
    return float(λ), float(α)


def selu_lambda() -> float:
    """λ_01 by quadrature."""
    return constants()[0]


def selu_alpha() -> float:
    """α_01 by quadrature."""
    return constants()[1]


def closed_form_error() -> float:
    """The larger of the differences between eq. (14) and quadrature for λ_01 and α_01."""
    λ, α = constants()
    return round(max(abs(λ - LAMBDA), abs(α - ALPHA)), 9)


def fixed_point_error() -> float:
    """The distance by which eqs. (4) and (5) move the fixed point (0, 1)."""
    μ, ν = moments(0.0, 1.0)
    return round(max(abs(μ), abs(ν - 1)), 12)


def selu_jacobian(μ: float = 0.0, ν: float = 1.0, ω: float = 0.0, τ: float = 1.0) -> np.ndarray:
    """∂(μ̃, ν̃)/∂(μ, ν) of eq. (6), by central differences of the closed form."""
    h = 1e-5
    columns = [(np.array(moments(μ + h * a, ν + h * b, ω, τ))
                - moments(μ - h * a, ν - h * b, ω, τ)) / (2 * h) for a, b in ((1, 0), (0, 1))]
    return np.stack(columns, 1)


def jacobian_entry(row: int, column: int) -> float:
    """An entry of the Jacobian at (0, 1)."""
    return round(float(selu_jacobian()[row, column]), 8)


def spectral_norm() -> float:
    """The Jacobian's largest singular value at (0, 1)."""
    return float(np.linalg.norm(selu_jacobian(), 2))


DOMAIN = {"μ": (-0.1, 0.1), "ν": (0.8, 1.5), "ω": (-0.1, 0.1), "τ": (0.95, 1.1)}
"""Ω of theorem 1."""


def grid(points: int, **domain: tuple[float, float]) -> list[dict[str, float]]:
    """A regular grid of points on a domain, including its corners."""
    axes = [np.linspace(*ends, points) for ends in domain.values()]
    return [dict(zip(domain, map(float, at), strict=True)) for at in itertools.product(*axes)]


def largest_norm() -> float:
    """Largest spectral norm of the map's Jacobian over a grid on Ω with 9 points per axis."""
    return max(float(np.linalg.norm(selu_jacobian(**at), 2)) for at in grid(9, **DOMAIN))


def mapped(which: str, highest: bool) -> float:
    """Highest or lowest mean or variance after a layer, over a grid on Ω with 9 points per axis."""
    values = [moments(**at)["mean variance".split().index(which)] for at in grid(9, **DOMAIN)]
    return max(values) if highest else min(values)


def variance_above() -> float:
    """Largest ν̃ − ν over theorem 2's domain, where it must be negative."""
    return max(moments(**at)[1] - at["ν"] for at in grid(
        9, μ=(-1.0, 1.0), ν=(3.0, 16.0), ω=(-0.1, 0.1), τ=(0.8, 1.25)))


def variance_below() -> float:
    """Smallest ν̃ − ν over theorem 3's two domains, where it must be positive."""
    return min(moments(**at)[1] - at["ν"] for ν, τ in ((0.16, 0.8), (0.24, 0.9)) for at in grid(
        9, μ=(-0.1, 0.1), ν=(0.02, ν), ω=(-0.1, 0.1), τ=(τ, 1.25)))


# ---- measures over runs: before learning ---------------------------------------------------------

def std_factor(runs: dict[str, Result]) -> float:
    """The factor of s's standard deviation per layer, geometric mean over layers."""
    (run,) = runs.values()
    return math.sqrt(run.metrics["forward"])


def lost(runs: dict[str, Result]) -> float:
    """Standard deviation of s in the last layer over the first, Xavier's weights over He's."""
    xavier, he = (runs[f"start_relu_{k}"] for k in ("xavier", "he"))
    last = f"s_{he.config['model.depth']}"
    return math.sqrt(xavier.metrics[last] / xavier.metrics["s_1"]
                     / (he.metrics[last] / he.metrics["s_1"]))


def gradient_ratio(runs: dict[str, Result]) -> float:
    """Gradient in conv2 from conv10 with the derived weights over that with fixed ones."""
    derived, fixed = (runs[k].metrics["log_gradient"]
                      for k in ("convolutions_0.0", "convolutions_0.01"))
    return math.exp(derived - fixed)


def more_plateau(runs: dict[str, Result]) -> float:
    """Plateau fraction of the quadratic cost's surface minus that of the cross-entropy's."""
    (run,) = runs.values()
    return run.metrics["quadratic"] - run.metrics["entropy"]


# ---- measures over runs: learning ----------------------------------------------------------------

def learns(runs: dict[str, Result]) -> float:
    """1 if more than half of the test images were right at any evaluation, else 0."""
    (run,) = runs.values()
    return float(math.isfinite(run.metrics["learned"]))


def saturation(run: Result) -> tuple[float, list[float]]:
    """Lowest mean activation of the top hidden layer, and those of lower layers at that time."""
    depth = run.config["model.depth"]
    means = np.array([run.curves[f"mean_{k}"][1] for k in range(1, depth + 1)])
    at = int(means[-1].argmin())
    return float(means[-1, at]), means[:-1, at].tolist()


def lowest_top(runs: dict[str, Result]) -> float:
    """Lowest mean activation of the top hidden layer at any evaluation."""
    (run,) = runs.values()
    return saturation(run)[0]


def lowest_other(runs: dict[str, Result]) -> float:
    """The smallest mean among the other layers at that time."""
    (run,) = runs.values()
    return min(saturation(run)[1])


def falls_to_input(runs: dict[str, Result]) -> float:
    """The smallest difference at that time between the means of a layer and the one below it."""
    (run,) = runs.values()
    return float(np.diff(saturation(run)[1]).min())


def sensitivity(runs: dict[str, Result]) -> float:
    """The effect of the initialisation on tanh's error minus its effect on softsign's."""
    e = {k: r.metrics["error"] for k, r in runs.items()}
    return abs(e["tanh"] - e["tanh_n"]) - abs(e["softsign"] - e["softsign_n"])


def histogram(run: Result) -> np.ndarray:
    """The fraction of a trained network's activations in each bin of |z|, for all hidden layers."""
    depth = run.config["model.depth"]
    bins = np.array([[run.metrics[f"hist_{k}_{b}"] for b in range(BINS)]
                     for k in range(1, depth + 1)]).mean(0)
    return bins[BINS // 2:] + bins[BINS // 2 - 1::-1]


def within(runs: dict[str, Result], low: float, high: float) -> float:
    """The fraction of activations with low ≤ |z| < high; both must be multiples of 0.05."""
    (run,) = runs.values()
    first, last = (round(v * BINS / 2) for v in (low, high))
    return float(histogram(run)[first:last].sum())


def more_within(runs: dict[str, Result], one: str, other: str, low: float, high: float) -> float:
    """That fraction for one experiment's network minus that for another's."""
    return within({one: runs[one]}, low, high) - within({other: runs[other]}, low, high)


def mode(runs: dict[str, Result]) -> float:
    """The most frequent |z|: the middle of the bin with the most activations."""
    (run,) = runs.values()
    found = histogram(run)
    return (float(found.argmax()) + 0.5) / len(found)


def first_before_last(runs: dict[str, Result], step: int) -> float:
    """Standard deviation of the first hidden layer's activations minus the last one's."""
    (run,) = runs.values()
    return run.at("std_1", step) - run.at(f"std_{run.config['model.depth']}", step)


def apart(run: Result) -> float:
    """Largest minus smallest standard deviation of the layers' activations at the end."""
    stds = [run.metrics[f"std_{k}"] for k in range(1, run.config["model.depth"] + 1)]
    return max(stds) - min(stds)


def more_apart(runs: dict[str, Result], one: str, other: str) -> float:
    """:func:`apart` of one experiment minus another's."""
    return apart(runs[one]) - apart(runs[other])


def gradient_trend(runs: dict[str, Result], step: int) -> float:
    """log10 of the variance of ∂Cost/∂s in the first hidden layer over that in the last."""
    (run,) = runs.values()
    top = f"back_{run.config['model.depth']}"
    return math.log10(run.at("back_1", step) / run.at(top, step))
