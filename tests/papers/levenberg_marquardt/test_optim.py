"""Steps of networks against dense float64 references."""

import copy
import os
import subprocess
import sys

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import nn
from torch.autograd.functional import jacobian as dense

from common.errors import UserError
from common.files import ROOT
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
from papers.levenberg_marquardt.rivals import VariableRate

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
    together = (θ, μ, ν, None)
    alone = [(θ[k:k + 1], μ[k:k + 1], ν[k:k + 1], None) for k in range(3)]
    for _ in range(5):
        *together, _ = iterate(f, *together, x, t)
        alone = [iterate(f, *a, x, t)[:4] for a in alone]
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
    optimizer = LevenbergMarquardt(net)
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
    LevenbergMarquardt(net, max_bytes=need).step(x, t)
    with pytest.raises(MemoryError, match=r"12 residuals by 21 weights .* need 0.00 GiB"):
        LevenbergMarquardt(net, max_bytes=need - 1).step(x, t)
    LevenbergMarquardt(net, max_bytes=1, solver="cg").step(x, t)


PEAK = """
import re, torch
from pathlib import Path
from torch import nn
from papers.levenberg_marquardt.optim import LevenbergMarquardt, needed_bytes
def memory(kind):
    return 1024 * int(re.search(kind + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
def step(hidden, m):
    net = nn.Sequential(nn.Linear(10, hidden), nn.Tanh(), nn.Linear(hidden, 1)).double()
    optimizer = LevenbergMarquardt(net, solver="{solver}")
    x, t = torch.randn(m, 10).double(), torch.randn(m, 1).double()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = memory("VmRSS")
    optimizer.step(x, t)
    n = sum(p.numel() for p in net.parameters())
    return memory("VmHWM") - before, needed_bytes(n, m, torch.float64, "{solver}")
step(3, 20)
print(*step({hidden}, {m}))
"""


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="Linux's peak memory")
@pytest.mark.parametrize(("solver", "hidden", "m"), [
    ("cholesky", 30, 20000),
    *(pytest.param(*case, marks=pytest.mark.slow)
      for case in (("cholesky", 250, 100), ("qr", 250, 100), ("qr", 30, 20000)))])
def test_a_step_takes_the_memory_that_is_counted(solver, hidden, m):
    out = subprocess.run([sys.executable, "-c", PEAK.format(solver=solver, hidden=hidden, m=m)],
                         cwd=ROOT, check=True, capture_output=True, text=True).stdout
    taken, counted = map(float, out.split())
    assert 0.7 * counted < taken < 1.1 * counted


def test_only_what_requires_a_gradient_is_trained():
    net, x, t = made()
    net[0].weight.requires_grad_(False)
    kept = net[0].weight.clone()
    _, J = reference(net, x, t)
    r = (net(x) - t).detach().flatten()
    optimizer = LevenbergMarquardt(net, damping=0.3)
    before = optimizer.weights.flat()
    optimizer.step(x, t)
    assert torch.equal(net[0].weight, kept)
    J = J[:, net[0].weight.numel():]  # the columns of all other weights
    p = -torch.linalg.solve(J.T @ J + 0.3 * torch.eye(J.shape[1]).double(), J.T @ r)
    torch.testing.assert_close(optimizer.weights.flat(), before + p)
    for q in net.parameters():
        q.requires_grad_(False)
    with pytest.raises(UserError, match="no parameter with requires_grad"):
        LevenbergMarquardt(net)


@pytest.mark.parametrize("solver", ["cholesky", "qr"])
def test_a_scaled_step_is_damped_by_the_norms_of_columns(solver):
    net, x, t = made(examples=60)
    r, J = reference(net, x, t)
    D = J.norm(dim=0)
    optimizer = LevenbergMarquardt(net, damping=0.3, solver=solver, scaled=True)
    before = optimizer.weights.flat()
    optimizer.step(x, t)
    p = -torch.linalg.solve(J.T @ J + 0.3 * torch.diag(D**2), J.T @ r)
    torch.testing.assert_close(optimizer.weights.flat(), before + p)
    torch.testing.assert_close(optimizer.state[next(net.parameters())]["D"][0], D)


@pytest.mark.parametrize("rule", ["gain", pytest.param("plain", marks=pytest.mark.slow)])
@pytest.mark.parametrize("fits", [True, False], ids=["no error left", "error left"])
def test_other_examples_are_learned_after_a_minimum(rule, fits):
    net, x, t = made(examples=12 if fits else 60)
    optimizer = LevenbergMarquardt(net, rule=rule)
    for _ in range(400):
        optimizer.step(x, t)
    assert optimizer.state[next(net.parameters())]["μ"].item() < 1e3
    again = copy.deepcopy(net)
    new = t.roll(1, 0) + 1
    fresh = LevenbergMarquardt(again, rule=rule)
    ours, expected = ([o.step(x, new).item() for _ in range(60)][-1] for o in (optimizer, fresh))
    first = nn.functional.mse_loss(net(x), t).item()
    assert ours <= 1.5 * expected + 1e-9 or ours < first


@pytest.mark.parametrize(("given", "message"), [
    ({"rule": "gian"}, "rule='gian'; did you mean 'gain'"),
    ({"solver": "choleski"}, "solver='choleski'; did you mean 'cholesky'"),
    ({"damping": -1.0}, "damping=-1.0: expected a finite number above 0"),
    ({"damping": float("nan")}, "damping=nan"), ({"β": 1.0}, "β=1.0: expected .* above 1"),
    ({"cg_steps": 0}, "cg_steps=0"), ({"cg_tolerance": -1e-9}, "cg_tolerance"),
    ({"damping": None}, "damping=None: expected a finite number above 0"),
    ({"max_bytes": 0}, "max_bytes=0"), ({"solver": "cg", "scaled": True}, "scaled=True"),
    ({"scaled": "no"}, "scaled='no': expected True or False")])
def test_settings_that_cannot_be_used_are_one_line(given, message):
    with pytest.raises(UserError, match=message) as e:
        LevenbergMarquardt(made()[0], **given)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(("given", "message"), [
    ({"rule": "gian"}, "rule='gian'; did you mean 'gain'"), ({"solver": "cg"}, "scaled=True: expe"),
    ({"β": "ten"}, "β='ten': expected a finite number above 1"), ({"cg_steps": 0}, "cg_steps=0"),
    ({"damping": None}, "damping=None: expected a finite number above 0")])
def test_settings_of_a_saved_state_are_held_to_the_same(given, message):
    net, x, t = made()
    optimizer = LevenbergMarquardt(net, scaled=True)
    optimizer.step(x, t)
    state = copy.deepcopy(optimizer.state_dict())
    state["param_groups"][0] |= given
    with pytest.raises(UserError, match=message) as e:
        optimizer.load_state_dict(state)
    assert "\n" not in str(e.value) and optimizer.param_groups[0]["rule"] == "gain"


def test_a_further_group_of_parameters_is_refused_and_not_ignored():
    optimizer = LevenbergMarquardt(made()[0])
    with pytest.raises(UserError, match="a further parameter group: expected one group with all"):
        optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))]})
    rival = VariableRate([torch.ones(1)], 0.1)
    with pytest.raises(UserError, match="a further parameter group: expected one group with one"):
        rival.add_param_group({"params": [torch.ones(1)]})
    assert len(optimizer.param_groups) == len(rival.param_groups) == 1


class Mixing(nn.Module):
    """Takes the batch's mean away by hand."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(2, 1).double()

    def forward(self, x):
        return self.inner(x - x.mean(0)) + x.mean(0, keepdim=True)[:, :1]


class Dropping(Mixing):
    def forward(self, x):
        return nn.functional.dropout(self.inner(x), 0.5, training=True)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.LSTM(2, 3, batch_first=True).double()

    def forward(self, x):
        return self.inner(x[:, None])[0][:, 0, :1]


def layers(*middle):
    return nn.Sequential(nn.Linear(2, 4), *middle, nn.Linear(4, 1)).double()


@pytest.mark.parametrize(("net", "message"), [
    (layers(nn.BatchNorm1d(4)), r"1 \(BatchNorm1d\) takes the statistics of a batch"),
    (layers(nn.BatchNorm1d(4, track_running_stats=False)).eval(), "statistics of a batch"),
    (layers(nn.Dropout(0.5)), r"1 \(Dropout\) draws random numbers"),
    (Dropping(), "Dropping on one example of shape"), (Mixing(), "another output beside other"),
    (Recurrent(), "Recurrent on one example of shape"),
    (nn.LSTM(2, 1, batch_first=True).double(), "of an example: expected the same shape"),
    (made(outputs=4)[0], r"output \(4,\) and target \(1,\) of an example: expected the same"),
    (made()[0].float(), "dtype")], ids=lambda v: v[:20] if isinstance(v, str) else "")
def test_modules_that_do_not_fit_are_one_line(net, message):
    _, x, t = made()
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(UserError, match=message) as e:
        LevenbergMarquardt(net).step(x, t)
    assert "\n" not in str(e.value)
    assert all(torch.equal(v, net.state_dict()[k]) for k, v in before.items())


@pytest.mark.parametrize("net", [layers(nn.BatchNorm1d(4)), layers(nn.Dropout(0.5)),
                                 layers(nn.LayerNorm(4))])
def test_in_evaluation_mode_each_example_counts_by_itself(net):
    _, x, t = made()
    optimizer = LevenbergMarquardt(net.eval())
    losses = [optimizer.step(x, t).item() for _ in range(30)]
    assert losses[-1] < losses[0]


def test_examples_that_do_not_fit_are_one_line():
    net, x, t = made()
    for inputs, targets in ((x, t[:3]), (x[:0], t[:0])):
        with pytest.raises(UserError, match=r"inputs and .* targets: expected as many"):
            LevenbergMarquardt(net).step(inputs, targets)


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
