"""Exact facts against torch, numpy and quadrature."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from papers.initialisation import facts
from papers.initialisation.model import LAMBDA


def test_exact_facts_that_others_know():
    λ, α = facts.constants()
    s = torch.tensor([1.0, -100.0], dtype=torch.float64)
    np.testing.assert_allclose([λ, -λ * α], F.selu(s), rtol=1e-9)
    σ = np.linalg.svd(np.random.default_rng(0).normal(size=(800, 800)) / math.sqrt(800),
                      compute_uv=False)
    assert facts.quarter_circle(0.25) == pytest.approx(σ.mean() / 2, rel=5e-3)
    z = np.random.default_rng(1).normal(size=400_000)
    slope = LAMBDA * np.where(z > 0, 1.0, 1.6732632423543772 * np.exp(z))
    assert slope.mean() * 0.1 == pytest.approx(  # ∂μ̃/∂μ = ω E[selu'] at μ = 0
        facts.selu_jacobian(ω=0.1)[0, 0], rel=5e-3)
    assert facts.n_variance("he", 50) > 2, "a Gaussian has no bound"
    assert facts.n_variance("standard", 400) == pytest.approx(1 / 3, rel=1e-3)
    assert facts.n_variance("normalised", 400) == pytest.approx(1, rel=1e-3)
    fan_outs = [9 * c for c in (64, 128, 128, 256, 256, 512, 512, 512, 512)]  # conv2 … conv10 of B
    assert facts.gradient_lost(0.01) == pytest.approx(
        np.prod([100 * math.sqrt(2 / n) for n in fan_outs]))
    h = 1e-4  # a variance moves the next mean by less than the next variance, eq. (6)
    moved = (moments_by_quadrature(*np.array([[0.0], [1 + h], [0.0], [1.0]]))
             - moments_by_quadrature(*np.array([[0.0], [1 - h], [0.0], [1.0]]))).ravel() / (2 * h)
    assert [facts.jacobian_entry(k, 1) for k in (0, 1)] == pytest.approx(moved, abs=1e-6)


def moments_by_quadrature(μ, ν, ω, τ):
    """Mean and variance of SELU(N(μω, ντ)), Gauss and Legendre's nodes on either side of 0."""
    m, r = μ * ω, np.sqrt(ν * τ)
    nodes, weights = np.polynomial.legendre.leggauss(200)
    z = np.concatenate([0.5 * (nodes + 1), 0.5 * (nodes - 1)])  # of the reach, above and below 0
    w = 0.5 * np.concatenate([weights, weights])
    reach = 10 * r + abs(m)
    s = z * reach[:, None]
    bell = np.exp(-0.5 * ((s - m[:, None]) / r[:, None]) ** 2) / (
        r[:, None] * math.sqrt(2 * math.pi)) * reach[:, None]
    f = F.selu(torch.from_numpy(s)).numpy()
    mean, square = ((f**k * bell) @ w for k in (1, 2))
    return np.stack([mean, square - mean**2])


def on_grid(μ, ν, ω, τ):
    return [v.ravel() for v in np.meshgrid(*(np.linspace(*ends, 9) for ends in (μ, ν, ω, τ)))]


def test_selus_theorems_by_quadrature():
    h, Ω = 1e-4, on_grid((-0.1, 0.1), (0.8, 1.5), (-0.1, 0.1), (0.95, 1.1))
    by_μ, by_ν = ((moments_by_quadrature(Ω[0] + h * a, Ω[1] + h * b, *Ω[2:])
                   - moments_by_quadrature(Ω[0] - h * a, Ω[1] - h * b, *Ω[2:])) / (2 * h)
                  for a, b in ((1, 0), (0, 1)))
    norms = np.linalg.norm(np.stack([by_μ, by_ν], 1).T, 2, (1, 2))
    assert facts.largest_norm() == pytest.approx(norms.max(), abs=1e-6)
    mean, var = moments_by_quadrature(*Ω)
    for which, values in (("mean", mean), ("variance", var)):
        assert facts.mapped(which, True) == pytest.approx(values.max(), abs=1e-8)
        assert facts.mapped(which, False) == pytest.approx(values.min(), abs=1e-8)
    at = on_grid((-1, 1), (3, 16), (-0.1, 0.1), (0.8, 1.25))  # theorem 2
    assert facts.variance_above() == pytest.approx(
        (moments_by_quadrature(*at)[1] - at[1]).max(), abs=1e-7)
    grown = []
    for ν, τ in ((0.16, 0.8), (0.24, 0.9)):  # theorem 3
        at = on_grid((-0.1, 0.1), (0.02, ν), (-0.1, 0.1), (τ, 1.25))
        grown.append((moments_by_quadrature(*at)[1] - at[1]).min())
    assert facts.variance_below() == pytest.approx(min(grown), abs=1e-8)
