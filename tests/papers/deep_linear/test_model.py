"""The closed forms against an integrator, the networks against autograd and numpy."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import nn

from papers.deep_linear import facts
from papers.deep_linear.model import (
    curvature,
    decoupled,
    deep_learning_time,
    descend,
    error,
    fixed_point,
    gaussian,
    gradients,
    infinite_learning_time,
    learning_time,
    product,
    random_orthogonal,
    strength,
    time_of,
    unbalanced_velocity,
    variance_at,
    variance_map,
    velocity,
)


def draw(seed=0):
    return torch.Generator().manual_seed(seed)


def integrated(rate, u0, t):
    """u at the times t by scipy's integrator, in ln u."""
    found = integrate.solve_ivp(lambda _, x: [rate(math.exp(x[0])) / math.exp(x[0])], (0, t[-1]),
                                [math.log(u0)], "DOP853", t, rtol=1e-11, atol=1e-12)
    return np.exp(found.y[0])


def test_the_sigmoid_solves_its_equation():
    t = np.linspace(0, 6, 30)
    expected = integrated(lambda u: 2 * u * (2 - u), 0.01, t)
    np.testing.assert_allclose(strength(t, 2.0, 0.01), expected, rtol=1e-8)
    np.testing.assert_allclose(strength(7 * t, 2.0, 0.01, τ=7.0), expected, rtol=1e-8)


@pytest.mark.parametrize("layers", [3, 4, 6, 11])
def test_learning_times_at_any_depth_by_the_shares_themselves(layers):
    s, u0, n = 1.5, 0.02, layers - 1
    T = deep_learning_time(layers, s, u0, 1.4)

    def shares(_, a):  # eq. (14): τ ȧ_i = (s − Π a) Π_{j≠i} a_j
        return [(s - np.prod(a)) * np.prod(np.delete(a, i)) for i in range(n)]
    end = integrate.solve_ivp(shares, (0, T), np.full(n, u0 ** (1 / n)), "DOP853", rtol=1e-11,
                              atol=1e-13).y[:, -1]
    assert np.prod(end) == pytest.approx(1.4, rel=1e-8)
    assert deep_learning_time(layers, s, u0, 1.4, τ=10.0) == pytest.approx(10 * T)
    if layers == 3:
        assert learning_time(s, u0, 1.4) == pytest.approx(T, rel=1e-10)


def test_infinite_depth_by_quadrature():
    direct = integrate.quad(lambda u: 1 / (u * u * (2 - u)), 0.1, 1.9, epsabs=0, epsrel=1e-12)[0]
    assert infinite_learning_time(2.0, 0.1, 1.9) == pytest.approx(direct, rel=1e-10)
    assert infinite_learning_time(2.0, 0.1, 1.9, 3.0) == pytest.approx(3 * direct, rel=1e-10)
    u = 0.3
    assert 10**7 * u**2 * (2 - u) == pytest.approx(velocity(u, 2.0, 10**7), rel=1e-5)


@pytest.mark.parametrize("start", [[0.5, 0.004], [0.3, 0.1, 0.02, 0.4, 0.1]])
def test_unbalanced_shares_conserve_their_differences(start):
    s, a = 2.0, np.array(start)
    T = time_of(lambda u: unbalanced_velocity(u, s, a**2), s, a.prod(), 1.9)
    found = integrate.solve_ivp(lambda _, v: (s - v.prod()) * v.prod() / v, (0, T), a, "DOP853",
                                rtol=1e-11, atol=1e-13).y[:, -1]
    assert found.prod() == pytest.approx(1.9, rel=1e-7)
    np.testing.assert_allclose(np.diff(found**2), np.diff(a**2), rtol=1e-8)


@pytest.mark.parametrize("layers", [3, 5])
def test_equal_shares_are_a_case_of_unbalanced_ones(layers):
    equal = [0.01 ** (2 / (layers - 1))] * (layers - 1)
    assert time_of(lambda u: unbalanced_velocity(u, 2.0, equal), 2.0, 0.01, 1.9) == pytest.approx(
        deep_learning_time(layers, 2.0, 0.01, 1.9), rel=1e-9)


@pytest.mark.parametrize("white", [True, False])
def test_gradients_are_autograds(white):
    sizes, g = [7, 5, 4, 6, 3], draw()
    net = nn.Sequential(*(nn.Linear(a, b, False, dtype=torch.float64)
                          for a, b in itertools.pairwise(sizes)))
    x = torch.randn(50, 7, generator=g, dtype=torch.float64)
    if white:
        x = torch.linalg.qr(x)[0] * 50**0.5
    y = torch.randn(50, 3, generator=g, dtype=torch.float64)
    loss = 0.5 * (net(x) - y).square().sum() / 50
    loss.backward()
    weights = [layer.weight.detach().clone() for layer in net]
    Σ31, Σ11 = y.T @ x / 50, None if white else x.T @ x / 50
    found, whole = gradients(weights, Σ31, Σ11)
    for g, layer in zip(found, net, strict=True):
        assert layer.weight.grad.abs().sum() > 0
        torch.testing.assert_close(g, layer.weight.grad)
    torch.testing.assert_close(whole, torch.linalg.multi_dot(weights[::-1]))
    torch.testing.assert_close(product(weights), whole)
    torch.testing.assert_close(error(weights, Σ31, Σ11) + 0.5 * y.square().sum() / 50,
                               loss.detach())
    torch.optim.SGD(net.parameters(), 0.01).step()
    torch.testing.assert_close(descend(weights, 0.01, Σ31, Σ11), whole)
    for W, layer in zip(weights, net, strict=True):
        torch.testing.assert_close(W, layer.weight.detach())


def test_decoupled_weights_have_the_modes_they_should_and_keep_them():
    U, V = random_orthogonal(5, 3, draw(1)), random_orthogonal(4, 3, draw(2))
    shares = torch.rand(4, 3, generator=draw(3), dtype=torch.float64) + 0.5
    weights = decoupled(U, V, shares, 6, draw())
    assert [tuple(W.shape) for W in weights] == [(6, 4), (6, 6), (6, 6), (5, 6)]
    Σ31 = U * torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64) @ V.T
    for k in range(50):
        W = product(weights)
        np.testing.assert_allclose(U.T @ W @ V, np.diag((U.T @ W @ V).diagonal()), atol=1e-12)
        if k == 0:
            np.testing.assert_allclose((U.T @ W @ V).diagonal(), shares.prod(0), rtol=1e-12)
        descend(weights, 0.01, Σ31)


@pytest.mark.parametrize(("n", "m"), [(5, 5), (7, 4), (4, 7)])
def test_orthogonal_and_gaussian_matrices(n, m):
    Q = random_orthogonal(n, m, draw()).numpy()
    small = Q @ Q.T if n <= m else Q.T @ Q
    np.testing.assert_allclose(small, np.eye(min(n, m)), atol=1e-12)
    G = gaussian(100 * n, 100 * m, draw()).numpy()
    assert G.var() * 100 * (n + m) / 2 == pytest.approx(1, abs=0.02) and abs(G.mean()) < 0.001


def test_orthogonal_matrices_are_haars():
    corners = [random_orthogonal(3, 3, draw(k))[2, 2].item() for k in range(600)]
    assert stats.kstest(corners, "uniform", (-1, 2)).pvalue > 0.01, "a coordinate on the sphere"


@pytest.mark.parametrize(("layers", "s"), [(3, 2.0), (5, 0.7), (8, 3.0)])
def test_the_curvature_at_the_optimum_by_differences(layers, s):
    n, h = layers - 1, 1e-4
    a, E = np.full(n, s ** (1 / n)), np.eye(n) * h

    def f(a):
        return 0.5 * (s - np.prod(a)) ** 2
    H = [[(f(a + E[i] + E[j]) - f(a + E[i] - E[j]) - f(a - E[i] + E[j]) + f(a - E[i] - E[j]))
          / (4 * h * h) for j in range(n)] for i in range(n)]
    assert curvature(layers, s) == pytest.approx(np.linalg.eigvalsh(H)[-1], rel=1e-5)
    assert facts.measured_curvature(layers, s) == pytest.approx(curvature(layers, s), rel=1e-10)
    assert facts.stays(layers, s, 1.9 / curvature(layers, s))
    assert not facts.stays(layers, s, 2.1 / curvature(layers, s))


@pytest.mark.parametrize("kept", list(itertools.combinations(range(4), 2)))
def test_directions_of_descent_at_fixed_points_by_counting(kept):
    """One for every held mode and each stronger one that is missing."""
    missing = set(range(4)) - set(kept)
    expected = sum(m < k for k in kept for m in missing)  # strengths fall with the index
    assert facts.directions_of(list(kept)) == expected
    s = torch.tensor(facts.STRENGTHS, dtype=torch.float64)
    W = product(fixed_point(s, kept))
    held = torch.tensor([float(k in kept) for k in range(4)])
    torch.testing.assert_close(W, torch.diag(s * held))


def test_counts_and_gradients_of_all_six_points():
    assert facts.saddles() == 5 and facts.directions_at_zero() == 8
    assert facts.largest_gradient() == 0


@pytest.mark.parametrize(("q", "gain"), [(0.01, 1.0), (1.0, 1.5), (4.0, 0.7)])
def test_the_variance_map_by_adaptive_quadrature(q, gain):
    mean = integrate.quad(lambda z: math.tanh(math.sqrt(q) * z) ** 2 * stats.norm.pdf(z), -12, 12,
                          epsabs=1e-13)[0]
    assert variance_map(q, gain) == pytest.approx(gain**2 * mean, rel=1e-7)
    assert variance_at(2, q, gain) == pytest.approx(variance_map(variance_map(q, gain), gain))
    assert variance_at(0, q, gain) == q


def test_variance_just_above_the_edge():
    g = 1.001  # q = g² (q − 2 q² + …), since E tanh²(√q z) = q − ⅔ · 3 q² + …
    assert variance_at(30_000, 1.0, g) == pytest.approx((g * g - 1) / (2 * g * g), rel=0.02)
    assert facts.critical_gain() == pytest.approx(1, abs=2e-4)
    assert facts.final_variance(0.9) < 1e-100 and abs(facts.other_start(1.1)) < 1e-9


def test_facts_of_learning_times():
    assert facts.inverse_error(2.0, 0.001) < 1e-9 and abs(facts.quadrature_error(2.0, 1e-3)) < 1e-9
    assert facts.short_form(1.0, 0.001) == pytest.approx(
        math.log(0.999 * 0.999 / 1e-6) / 2 / math.log(1000), rel=1e-12)
    exact = integrate.quad(lambda u: 1 / (u ** (2 - 2 / 1000) * (1 - u)), 0.01, 0.99,
                           epsabs=0, epsrel=1e-12)[0] / 1000
    expected = 1001 * exact / infinite_learning_time(1.0, 0.01, 0.99)
    assert facts.infinite_limit(1001, 1.0, 0.01) == pytest.approx(expected, rel=1e-9)
    ε = 0.01
    assert facts.delay(10**6 + 1, 1.0, ε) == pytest.approx(1 - ε / (1 - ε), abs=1e-3)
