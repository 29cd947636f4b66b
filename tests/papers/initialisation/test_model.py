"""Activations, starting weights, signals and SELU's map, against torch, scipy and autograd."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import integrate, stats
from torch import nn

from common.data import generator
from common.errors import UserError
from papers.initialisation.model import (
    ACTIVATIONS,
    ALPHA,
    LAMBDA,
    Network,
    convolutions,
    descended,
    draw,
    moments,
    plateau,
    rectified,
    surfaces,
    variance,
)

TORCHS = {"linear": nn.Identity(), "sigmoid": nn.Sigmoid(), "tanh": nn.Tanh(),
          "softsign": nn.Softsign(), "relu": nn.ReLU(), "selu": nn.SELU()}


def network(activation="tanh", init="standard", sizes=(6, 5, 4, 3)):
    return Network(sizes, activation, init, generator(0, "test")).double()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_and_slopes_are_torchs(name):
    s = torch.linspace(-4, 4, 40, dtype=torch.float64, requires_grad=True)  # without 0
    expected = TORCHS[name](s)
    torch.testing.assert_close(ACTIVATIONS[name].f(s), expected)
    (slope,) = torch.autograd.grad(expected.sum(), s)
    torch.testing.assert_close(ACTIVATIONS[name].slope(s.detach()), slope)


@pytest.mark.parametrize(("init", "make"), [
    ("normalised", nn.init.xavier_uniform_),
    ("he", lambda W: nn.init.kaiming_normal_(W, nonlinearity="relu")),
    ("xavier", lambda W: nn.init.kaiming_normal_(W, nonlinearity="linear"))])
def test_starting_weights_are_distributed_as_torchs(init, make):
    n, m = 400, 300
    theirs = torch.empty(m, n)
    torch.manual_seed(0)
    make(theirs)
    mine = draw(init, n, m, generator(0, "draw"))
    assert mine.shape == (n, m)
    assert stats.ks_2samp(mine.flatten(), theirs.flatten()).pvalue > 0.001
    assert mine.var().item() == pytest.approx(variance(init, n, m), rel=0.02)


def test_the_standard_start_is_that_of_a_linear_layer():
    """torch draws the weights of nn.Linear from U[−1/√n, 1/√n], eq. (1)."""
    torch.manual_seed(0)
    theirs = nn.Linear(400, 300).weight
    mine = draw("standard", 400, 300, generator(0, "draw"))
    assert mine.abs().max().item() == pytest.approx(1 / 20, rel=1e-3)
    assert stats.ks_2samp(mine.flatten(), theirs.detach().flatten()).pvalue > 0.001


def test_an_unknown_start_is_one_line():
    with pytest.raises(UserError, match=r"model\.init=glorot: expected one of standard, "):
        variance("glorot", 3, 3)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_of_each_layer_are_autograds(activation):
    net = network(activation)
    for b in net.biases:
        nn.init.normal_(b)
    x, labels = torch.randn(7, 6, dtype=torch.float64), torch.arange(7) % 3
    s, z = net.activities(x)
    cost = F.cross_entropy(s[-1], labels, reduction="sum")
    expected = torch.autograd.grad(cost, [*s, *net.weights, *net.biases])
    mine = net.gradients(s, labels)
    assert len(mine) == len(s) == len(z) == 3
    for δ, g in zip(mine, expected[:3], strict=True):
        torch.testing.assert_close(δ, g)
    for below, δ, g in zip(z, mine, expected[3:6], strict=True):  # eq. (3), summed over examples
        torch.testing.assert_close(below.T @ δ, g)
    assert all(g.abs().sum() > 0 for g in expected[3:])


def test_the_jacobian_is_autograds():
    net = network("softsign")
    z = torch.randn(5, dtype=torch.float64)
    expected = torch.autograd.functional.jacobian(
        lambda v: F.softsign(v @ net.weights[1] + net.biases[1]), z)
    torch.testing.assert_close(
        net.jacobian(1, z @ net.weights[1] + net.biases[1]).T, expected)


def test_parameters_of_table_1s_networks():
    net = Network([784, *[1000] * 5, 10], "tanh", "normalised", generator(0, "test"))
    assert sum(p.numel() for p in net.parameters()) == 4_799_010
    assert all((b == 0).all() for b in net.biases)


def test_model_b_is_ten_convolutions_and_fixed_weights_scale_its_gradient():
    chance = generator(0, "conv")
    weights = convolutions(64, None, chance)
    assert [tuple(W.shape[:2]) for W in weights] == [
        (64, 3), (64, 64), (128, 64), (128, 128), (256, 128), (256, 256), (512, 256), (512, 512),
        (512, 512), (512, 512)]
    for W in weights[1:]:
        assert W.std().item() == pytest.approx(math.sqrt(2 / (9 * len(W))), rel=0.01)
    small = convolutions(3, 0.01, chance)
    assert torch.cat([W.flatten() for W in small]).std().item() == pytest.approx(0.01, rel=0.05)
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    weights = [W.double() for W in convolutions(4, None, chance)]
    (x2, y), (x2_, y_) = rectified(x, weights), rectified(x, [0.5 * W for W in weights])
    top = torch.randn_like(y)
    assert y.shape == (2, 32, 2, 2)
    (g,), (h,) = (torch.autograd.grad(b, a, top) for a, b in ((x2, y), (x2_, y_)))
    torch.testing.assert_close(h, g * 0.5**9)  # conv10 … conv2; the same units are on


def test_model_b_is_torchs_layers_in_vggs_order():
    """conv-conv-pool four times, conv-conv; cut after conv1 and before the last rectifier."""
    weights = [W.double() for W in convolutions(4, None, generator(0, "conv"))]
    layers = []
    for k, W in enumerate(weights):
        conv = nn.Conv2d(W.shape[1], W.shape[0], 3, padding=1, bias=False).double()
        conv.weight.data.copy_(W)
        layers += [conv, nn.ReLU(), *([nn.MaxPool2d(2)] if k in (1, 3, 5, 7) else [])]
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    first, rest = nn.Sequential(*layers[:2]), nn.Sequential(*layers[2:-1])
    x2, y = rectified(x, weights)
    below = first(x).detach().requires_grad_()
    torch.testing.assert_close(x2, below)
    torch.testing.assert_close(y, rest(below))
    top = torch.randn_like(y)
    torch.testing.assert_close(torch.autograd.grad(y, x2, top),
                               torch.autograd.grad(rest(below), below, top))


def test_surfaces_are_the_costs_of_whole_networks():
    g = generator(0, "surface")
    W1, W2 = (torch.randn(*shape, generator=g, dtype=torch.float64) for shape in ((4, 3), (3, 5)))
    x, labels = torch.randn(6, 4, generator=g, dtype=torch.float64), torch.arange(6) % 5
    at = torch.tensor([-2.0, 0.3, 1.5], dtype=torch.float64)
    entropy, quadratic = surfaces(W1, W2, x, labels, at)
    for i, a in enumerate(at):
        for j, b in enumerate(at):
            A, B = W1.clone(), W2.clone()
            A[0, 0], B[0, 0] = a, b
            logits = torch.tanh(x @ A) @ B
            assert entropy[i, j].item() == pytest.approx(F.cross_entropy(logits, labels).item())
            assert quadratic[i, j].item() == pytest.approx(5 * F.mse_loss(
                logits.softmax(1), F.one_hot(labels, 5).double()).item())


def test_a_plateau_is_flat_and_high():
    at = torch.linspace(-1, 1, 201, dtype=torch.float64)
    valley = at[:, None] ** 2 + 0 * at  # slope 2|w|, at most 2: less than half of it inside ±0.5
    there = plateau(-valley, 0.01, 0.5)  # a ridge; its upper half is |w| < √½
    assert there.double().mean().item() == pytest.approx(0.5, abs=0.01)
    assert there[100].all() and not there[:45].any()
    assert not plateau(valley, 0.01, 0.5).any(), "flat where it is low"
    assert not plateau(3 * at[:, None] + at, 0.01, 0.5).any()


@pytest.mark.parametrize(("μ", "ν", "ω", "τ"), [
    (0.0, 1.0, 0.0, 1.0), (0.1, 1.5, 0.1, 1.1), (-0.1, 0.8, 0.1, 0.95), (1.0, 16.0, -0.1, 1.25)])
def test_selus_moments_are_the_integrals(μ, ν, ω, τ):
    normal = stats.norm(μ * ω, math.sqrt(ν * τ))

    def expected(power):
        parts = ((-80, 0), (0, 80))
        return sum(integrate.quad(lambda z: F.selu(torch.tensor(z, dtype=torch.float64)).item()
                                  ** power * normal.pdf(z), *ends, epsabs=1e-12, limit=300)[0]
                   for ends in parts)
    mean, var = moments(μ, ν, ω, τ)
    assert mean == pytest.approx(expected(1), abs=1e-7)
    assert var == pytest.approx(expected(2) - expected(1) ** 2, abs=1e-7)


def test_selus_constants_are_torchs():
    s = torch.tensor([1.0, -100.0], dtype=torch.float64)
    np.testing.assert_allclose([LAMBDA, -LAMBDA * ALPHA], F.selu(s), rtol=1e-12)


def test_trained_surfaces_have_torchs_descent_behind_them():
    g = generator(0, "descent")
    x, labels = torch.randn(20, 6, generator=g), torch.randint(0, 4, (20,), generator=g)
    W1, W2 = torch.randn(6, 5, generator=g), torch.randn(5, 4, generator=g)
    net = nn.Sequential(nn.Linear(6, 5, False), nn.Tanh(), nn.Linear(5, 4, False))
    with torch.no_grad():
        net[0].weight.copy_(W1.T)
        net[2].weight.copy_(W2.T)
    optimizer = torch.optim.SGD(net.parameters(), 0.5)
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), labels).backward()
        optimizer.step()
    found = descended(W1, W2, x, labels, 0.5, 30)
    torch.testing.assert_close(found[0], net[0].weight.detach().T)
    torch.testing.assert_close(found[1], net[2].weight.detach().T)
    assert (found[0] - W1).abs().max() > 0.1
    assert descended(W1, W2, x, labels, 0.5, 0) == (W1, W2)
