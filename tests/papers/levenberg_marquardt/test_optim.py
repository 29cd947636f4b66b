"""Steps of networks against dense float64 references."""

import copy

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import nn
from torch.autograd.functional import jacobian as dense

from papers.levenberg_marquardt.optim import (
    LevenbergMarquardt,
    Weights,
    by_cholesky,
    by_conjugate_gradients,
    by_qr,
    damp,
    iterate,
    jacobian,
    needed_bytes,
    residuals,
)

SHAPES = {"one output": (2, 5, 1, 12), "three outputs": (3, 4, 3, 20), "few examples": (2, 6, 1, 7)}


def made(inputs=2, hidden=5, outputs=1, examples=12, seed=0):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, outputs)).double()
    x = torch.randn(examples, inputs, dtype=torch.float64)
    return net, x, torch.randn(examples, outputs, dtype=torch.float64)


def reference(net, x, t):
    """r (m k) and J (m k, n) by autograd on the whole batch, weights in their order."""
    names, values = zip(*net.named_parameters(), strict=True)

    def r(*parts):
        return (torch.func.functional_call(net, dict(zip(names, parts, strict=True)), (x,))
                - t).flatten()
    blocks = dense(r, tuple(v.detach() for v in values))
    return r(*values).detach(), torch.cat([b.flatten(1) for b in blocks], 1)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_residuals_jacobian_and_steps(shape):
    net, x, t = made(*shape)
    f = Weights(net)
    θ, μ = f.flat()[None], torch.tensor([0.3], dtype=torch.float64)
    r, J = reference(net, x, t)
    torch.testing.assert_close(residuals(f, θ, x, t)[0], r)
    torch.testing.assert_close(jacobian(f, θ, x, t)[0], J)
    p = -torch.linalg.solve(J.T @ J + 0.3 * torch.eye(f.n, dtype=torch.float64), J.T @ r)
    torch.testing.assert_close(by_cholesky(J[None], r[None], μ)[0], p)
    torch.testing.assert_close(by_qr(J[None], r[None], μ)[0], p)
    by_cg, g = by_conjugate_gradients(f, θ, x, t, r[None], μ, 200, 1e-12)
    torch.testing.assert_close(by_cg[0], p)
    torch.testing.assert_close(g[0], J.T @ r)


def test_networks_side_by_side_are_the_same_as_alone():
    nets = [made(seed=k)[0] for k in range(3)]
    _, x, t = made()
    θ = torch.stack([Weights(n).flat() for n in nets])
    μ, ν = torch.tensor([1e-3, 1.0, 1e-9]).double(), torch.full((3,), 2.0).double()
    f = Weights(nets[0])
    together = (θ, μ, ν)
    alone = [(θ[k:k + 1], μ[k:k + 1], ν[k:k + 1]) for k in range(3)]
    for _ in range(5):
        *together, _ = iterate(f, *together, x, t)
        alone = [iterate(f, *a, x, t)[:3] for a in alone]
    for k in range(3):
        torch.testing.assert_close(together[0][k], alone[k][0][0], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(("solver", "rule"), [
    ("cholesky", "gain"), ("cholesky", "plain"), ("qr", "gain"), ("cg", "gain")])
def test_it_ends_where_minpack_ends(solver, rule):
    net, x, _ = made(1, 3, 1, 15)
    t = torch.sin(2 * x)
    start = Weights(net).flat()
    optimizer = LevenbergMarquardt(net, solver=solver, rule=rule, cg_steps=20)
    losses = [optimizer.step(x, t).item() for _ in range(60 if solver == "cg" else 300)]
    assert sorted(losses, reverse=True) == losses, "a step that raises the loss is not kept"
    f = Weights(net)

    def F(θ):
        return residuals(f, torch.from_numpy(θ)[None], x, t)[0].detach().numpy()
    best = min(scipy.optimize.least_squares(F, start.numpy(), method="lm", max_nfev=5000).cost * 2
               / 15, 1e-6)
    assert losses[-1] <= max(2 * best, 1e-5)


def test_a_failed_factor_is_a_step_that_is_not_kept():
    J = torch.zeros(1, 4, 3, dtype=torch.float64)
    assert by_cholesky(J, torch.ones(1, 4).double(), torch.zeros(1).double()).isnan().all()
    net, x, t = made()
    before = Weights(net).flat()
    optimizer = LevenbergMarquardt(net, damping=0.0)
    optimizer.state[next(net.parameters())]["μ"].fill_(-1e6)
    optimizer.step(x, t)
    torch.testing.assert_close(Weights(net).flat(), before)


def test_damping_follows_the_gain():
    μ, ν = torch.tensor([1.0, 1.0, 1.0]), torch.tensor([2.0, 2.0, 4.0])
    new, factor = damp(μ, ν, torch.tensor([1.0, 0.5, -1.0]), torch.tensor([True, True, False]),
                       "gain", 10.0)
    torch.testing.assert_close(new, torch.tensor([1 / 3, 1.0, 4.0]))
    torch.testing.assert_close(factor, torch.tensor([2.0, 2.0, 8.0]))
    new, _ = damp(μ, ν, torch.zeros(3), torch.tensor([True, False, True]), "plain", 10.0)
    torch.testing.assert_close(new, torch.tensor([0.1, 10.0, 0.1]))


def test_a_network_too_large_is_refused_with_its_size():
    net, x, t = made()
    need = needed_bytes(21, 12, torch.float64)
    assert need == 8 * (21 * 12 + 2 * 21 * 21)
    LevenbergMarquardt(net, max_bytes=need).step(x, t)
    with pytest.raises(MemoryError, match=r"12 residuals by 21 weights .* need 0.00 GiB"):
        LevenbergMarquardt(net, max_bytes=need - 1).step(x, t)
    LevenbergMarquardt(net, max_bytes=1, solver="cg").step(x, t)


def test_residuals_of_ones_own():
    net, x, t = made()
    optimizer = LevenbergMarquardt(net, residuals=lambda y, target: 3 * (y - target))
    loss = optimizer.step(x, t)
    again = made()[0]
    torch.testing.assert_close(loss, 9 * nn.functional.mse_loss(again(x), t).detach())


def test_state_is_saved_and_restored():
    net, x, t = made()
    optimizer = LevenbergMarquardt(net)
    for _ in range(3):
        optimizer.step(x, t)
    weights, state = Weights(net).flat(), copy.deepcopy(optimizer.state_dict())
    expected = [optimizer.step(x, t).item() for _ in range(3)]
    other = made(seed=5)[0]
    Weights(other).put(weights)
    resumed = LevenbergMarquardt(other)
    resumed.load_state_dict(state)
    assert [resumed.step(x, t).item() for _ in range(3)] == expected
    np.testing.assert_array_equal(Weights(other).flat(), Weights(net).flat())
