"""Exact facts of the theory, and measures over runs."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from torch import Tensor
from torch.autograd.functional import hessian

from common.evidence.results import Result
from papers.deep_linear.model import (
    Weights,
    curvature,
    deep_learning_time,
    error,
    fixed_point,
    gradients,
    infinite_learning_time,
    learning_time,
    strength,
    variance_at,
)

# ---- learning times ------------------------------------------------------------------------------

def inverse_error(s: float, u0: float) -> float:
    """Largest |u(t(u_f)) − u_f| over u_f; 0, since eqs. (11) and (12) are inverse functions."""
    ufs = np.linspace(2 * u0, s - u0, 50)
    back = [float(strength(np.array(learning_time(s, u0, uf)), s, u0)) for uf in ufs]
    return round(float(np.abs(np.array(back) - ufs).max()), 12)


def quadrature_error(s: float, ε: float) -> float:
    """The integral of eq. (15) at three layers over the closed form (11), minus one."""
    return round(deep_learning_time(3, s, ε, s - ε) / learning_time(s, ε, s - ε) - 1, 12)


def short_form(s: float, ε: float) -> float:
    """Eq. (11) over its short form (τ/s) ln(s/ε)."""
    return learning_time(s, ε, s - ε) / (math.log(s / ε) / s)


def infinite_limit(layers: int, s: float, ε: float) -> float:
    """N_l times the learning time of eq. (15) over eq. (17)'s."""
    return layers * deep_learning_time(layers, s, ε, s - ε) / infinite_learning_time(
        s, ε, s - ε)


def delay(layers: int, s: float, ε: float) -> float:
    """Extra learning time compared with three layers, in units of s/ε; both at 1/curvature."""
    deep, three = (curvature(n, s) * deep_learning_time(n, s, ε, s - ε) for n in (layers, 3))
    return (deep - three) / (s / ε)


# ---- curvature -----------------------------------------------------------------------------------

def chain_error(a: Tensor, s: float) -> Tensor:
    """½ (s − Π_i a_i)² for one mode's shares a, (N_l − 1,): eq. (14) without 1/τ."""
    return 0.5 * (s - a.prod()) ** 2


def measured_curvature(layers: int, s: float) -> float:
    """Largest eigenvalue of autograd's Hessian at the optimum with equal shares."""
    a = torch.full((layers - 1,), s ** (1 / (layers - 1)), dtype=torch.float64)
    return torch.linalg.eigvalsh(hessian(lambda v: chain_error(v, s), a))[-1].item()


def stays(layers: int, s: float, rate: float) -> bool:
    """Whether gradient descent that starts near the optimum ends nearer to it."""
    n = layers - 1
    a = torch.full((n,), s ** (1 / n), dtype=torch.float64) * (1 + 1e-6)
    begun = abs(s - a.prod().item())
    for _ in range(3000):
        a = a - rate * -(s - a.prod()) * a.prod() / a
        now = abs(s - a.prod().item())
        if not now < 1e3 * begun:
            return False
    return now < begun


def largest_stable_rate(layers: int, s: float) -> float:
    """The rate above which descent does not converge, by bisection, in units of 1/curvature."""
    low, high = 1.0, 4.0
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (middle, high) if stays(layers, s, middle / curvature(layers, s)) else (
            low, middle)
    return (low + high) / 2


# ---- fixed points --------------------------------------------------------------------------------

STRENGTHS = (4.0, 3.0, 2.0, 1.0)
"""The strengths of the task whose fixed points are counted, with N_2 = 2 hidden units."""


def negative_directions(weights: Weights, s: Tensor) -> int:
    """Number of negative eigenvalues of the error's Hessian, with one hidden layer."""
    shapes = [W.shape for W in weights]
    sizes = [W.numel() for W in weights]
    flat = torch.cat([W.flatten() for W in weights])

    def of(v: Tensor) -> Tensor:
        return error([p.reshape(shape) for p, shape in zip(v.split(sizes), shapes, strict=True)],
                     s.diag())
    return int((torch.linalg.eigvalsh(hessian(of, flat)) < -1e-9).sum())


def directions_of(kept: list[int]) -> int:
    """Number of negative directions at the fixed point that represents these of the four modes."""
    s = torch.tensor(STRENGTHS, dtype=torch.float64)
    return negative_directions(fixed_point(s, kept), s)


def directions_at_zero() -> int:
    """Number of negative directions where all weights are zero."""
    s = torch.tensor(STRENGTHS, dtype=torch.float64)
    return negative_directions([s.new_zeros(2, 4), s.new_zeros(4, 2)], s)


def saddles() -> int:
    """How many of the six fixed points with two modes have a negative direction."""
    return sum(directions_of(list(kept)) > 0 for kept in itertools.combinations(range(4), 2))


def largest_gradient() -> float:
    """The largest entry of any gradient at those six points."""
    s = torch.tensor(STRENGTHS, dtype=torch.float64)
    found = (gradients(fixed_point(s, kept), s.diag())[0]
             for kept in itertools.combinations(range(4), 2))
    return round(max(g.abs().max().item() for pair in found for g in pair), 12)


# ---- the edge of chaos ---------------------------------------------------------------------------

def critical_gain() -> float:
    """The smallest gain at which q is above 1e-4 after 20,000 layers from q_0 = 1, by bisection."""
    low, high = 0.5, 2.0
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (low, middle) if variance_at(20000, 1.0, middle) > 1e-4 else (middle, high)
    return high


def final_variance(gain: float) -> float:
    """q after 3,000 layers from q_0 = 1."""
    return variance_at(3000, 1.0, gain)


def other_start(gain: float) -> float:
    """q after 3,000 layers from q_0 = 0.01 minus the same from q_0 = 4."""
    return round(variance_at(3000, 0.01, gain) - variance_at(3000, 4.0, gain), 12)


# ---- measures over runs --------------------------------------------------------------------------

def variance_error(runs: dict[str, Result], step: int) -> float:
    """Simulated q over the recursion's, minus one, after ``step`` layers."""
    (run,) = runs.values()
    return run.at("q", step) / run.at("theory", step) - 1


def of_bound(runs: dict[str, Result]) -> float:
    """Largest singular value of the Jacobian after l layers over its upper bound g^l."""
    (run,) = runs.values()
    return run.metrics["largest"] / run.config["model.gain"] ** run.config["train.steps"]


def directions(runs: dict[str, Result]) -> float:
    """The participation ratio of the squares of a map's singular values, (Σσ²)²/(N Σσ⁴).

    It is 1 if all are equal, 1/N if only one is not zero; small ones, lost in rounding, hardly
    matter.
    """
    (run,) = runs.values()
    return run.metrics["square"] ** 2 / run.metrics["fourth"]


def units_of_c(run: Result) -> float:
    """A run's learning time in units of c: times its rate, times the curvature for its N_l."""
    return run.metrics["time_0"] * run.config["optim.lr"]


def extra_time(runs: dict[str, Result], shallow: str, deep: str) -> float:
    """Learning time of a deep network minus that of a shallow one, in units of c."""
    return units_of_c(runs[deep]) - units_of_c(runs[shallow])


def ratio_of_times(runs: dict[str, Result], numerator: str, denominator: str) -> float:
    """Learning time of one experiment over another's."""
    return runs[numerator].metrics["time_0"] / runs[denominator].metrics["time_0"]


def growth(runs: dict[str, Result], deep: int, shallow: int) -> float:
    """Learning time at one depth over that at another, of one sweep."""
    (run,) = runs.values()
    return run.metrics[f"time_{deep}"] / run.metrics[f"time_{shallow}"]


def rate_exponent(runs: dict[str, Result], deep: int, shallow: int) -> float:
    """The exponent p in best rate ∝ N_l^p, between two depths of one sweep."""
    (run,) = runs.values()
    return math.log(run.metrics[f"rate_{deep}"] / run.metrics[f"rate_{shallow}"]) / math.log(
        deep / shallow)
