"""Muon against an SVD in float64, Nesterov's SGD against torch's, schedules and Lookahead."""

import copy
import math
import re
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from common.files import ROOT
from papers.airbench.optim import (
    COEFFICIENTS,
    Muon,
    NesterovByTensors,
    height,
    interpolate,
    lookahead,
    nesterov_sgd,
    newton_schulz,
    step_length,
)


def gaussian(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def by_svd(g, steps):
    """U S' Vᵀ with the quintic of the singular values over the root of their squares' sum."""
    u, s, vt = torch.linalg.svd(g.double(), full_matrices=False)
    s = s / s.square().sum().sqrt()
    for _ in range(steps):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return u @ torch.diag(s) @ vt


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (6, 6), (1, 7), (7, 1)])
@pytest.mark.parametrize("steps", [1, 3, 5])
def test_the_iteration_is_the_quintic_of_the_singular_values(shape, steps):
    g = 30 * gaussian(*shape)
    torch.testing.assert_close(newton_schulz(g, steps, eps=0.0), by_svd(g, steps),
                               rtol=1e-9, atol=1e-12)


def test_scale_has_no_effect_and_a_zero_matrix_stays_zero():
    g = gaussian(4, 6)
    torch.testing.assert_close(newton_schulz(g, eps=0), newton_schulz(1e6 * g, eps=0))
    assert torch.equal(newton_schulz(torch.zeros(4, 6)), torch.zeros(4, 6))


def test_many_steps_of_a_convergent_quintic_give_the_polar_factor():
    g = gaussian(5, 8)
    u, _, vt = torch.linalg.svd(g, full_matrices=False)
    found = newton_schulz(g, steps=40, coefficients=(15 / 8, -10 / 8, 3 / 8))
    torch.testing.assert_close(found, u @ vt)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_iteration_computes_in_the_precision_it_is_given(dtype):
    g = gaussian(16, 40)
    found = newton_schulz(g.to(dtype))
    assert found.dtype == dtype
    off = (found.double() - by_svd(g, 3)).norm() / by_svd(g, 3).norm()
    assert off < (1e-5 if dtype == torch.float32 else 0.03)


def test_no_matrix_is_refused():
    with pytest.raises(ValueError, match=r"shape \(2, 3, 4\): expected a matrix"):
        newton_schulz(torch.zeros(2, 3, 4))


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("normalise", [True, False])
def test_muon_is_its_formula_by_svd(nesterov, normalise):
    w = nn.Parameter(gaussian(4, 3, 2, 2))
    expected, v = w.detach().clone(), torch.zeros(4, 3, 2, 2, dtype=torch.float64)
    optimizer = Muon([w], lr=0.1, momentum=0.6, nesterov=nesterov, normalise=normalise)
    for k in range(4):
        w.grad = gaussian(4, 3, 2, 2, seed=k + 1)
        optimizer.step()
        v = 0.6 * v + w.grad
        along = w.grad + 0.6 * v if nesterov else v
        if normalise:
            expected = expected * 2 / expected.norm()  # √4 rows
        expected = expected - 0.1 * by_svd(along.reshape(4, 12), 3).reshape(4, 3, 2, 2)
        torch.testing.assert_close(w.detach(), expected, rtol=1e-6, atol=1e-8)


def test_muon_serves_any_network_and_takes_up_where_it_stopped():
    torch.manual_seed(0)
    network, x = nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 3)), gaussian(
        30, 6, dtype=torch.float32)
    y = (x[:, 0] > 0).long() + (x[:, 1] > 1).long()

    def train(net, muon, other, steps):
        losses = []
        for _ in range(steps):
            for o in (muon, other):
                o.zero_grad()
            loss = nn.functional.cross_entropy(net(x), y)
            loss.backward()
            for o in (muon, other):
                o.step()
            losses.append(loss.item())
        return losses

    def optimizers(net):
        matrices = [p for p in net.parameters() if p.dim() > 1]
        return (Muon(matrices, lr=0.05, normalise=False),
                torch.optim.SGD([p for p in net.parameters() if p.dim() == 1], lr=0.1))

    first = optimizers(network)
    losses = train(network, *first, 30)
    assert losses[-1] < 0.3 * losses[0]
    again = copy.deepcopy(network)
    second = optimizers(again)
    for one, other in zip(first, second, strict=True):
        other.load_state_dict(copy.deepcopy(one.state_dict()))
    assert train(network, *first, 5) == train(again, *second, 5)


def test_the_readmes_example_runs_and_gives_every_weight_to_one_optimiser():
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "papers/airbench/README.md").read_text(),
                         re.DOTALL)
    network = nn.Sequential(OrderedDict(a=nn.Linear(3, 4), head=nn.Linear(4, 2)))
    network(torch.ones(2, 3)).sum().backward()
    names = {"network": network, "torch": torch}
    exec(code, names)
    held = [p for o in names["optimizers"] for g in o.param_groups for p in g["params"]]
    assert sorted(map(id, held)) == sorted(map(id, network.parameters()))
    assert [p.shape for p in names["optimizers"][0].param_groups[0]["params"]] == [(4, 3)]


def test_muon_takes_a_closure_and_leaves_weights_without_gradient_alone():
    w, idle = nn.Parameter(gaussian(3, 3)), nn.Parameter(gaussian(3, 3))
    before = idle.detach().clone()
    optimizer = Muon([w, idle])

    def closure():
        optimizer.zero_grad()
        loss = w.square().sum()
        loss.backward()
        return loss
    assert optimizer.step(closure) == w.grad.square().sum() / 4
    assert torch.equal(idle, before)


def test_half_precision_is_a_percent_off():
    exact, half = (nn.Parameter(torch.zeros(16, 40)) for _ in range(2))
    for w in (exact, half):
        w.grad = gaussian(16, 40, dtype=torch.float32)
        Muon([w], lr=1.0, normalise=False, half=w is half).step()
    off = (half - exact).norm() / exact.norm()
    assert 1e-4 < off.item() < 0.03


def test_muons_rate_may_be_a_tensor():
    one, other = (nn.Parameter(gaussian(3, 5)) for _ in range(2))
    for w, lr in ((one, 0.2), (other, torch.tensor(0.2, dtype=torch.float64))):
        w.grad = gaussian(3, 5, seed=1)
        Muon([w], lr=lr).step()
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("wrong", "said"), [
    ({"lr": -1.0}, "lr=-1.0: expected one finite number of at least 0"),
    ({"lr": math.inf}, "lr=inf: expected one finite"), ({"lr": "a"}, "lr=a: expected one finite"),
    ({"lr": torch.ones(4)}, "expected one finite number"),
    ({"momentum": 1.0}, "momentum=1.0: expected at least 0 and below 1"),
    ({"momentum": 0.0}, "nesterov=True: expected a momentum above 0"),
    ({"steps": 0}, "steps=0: expected at least 1"), ({"lr": math.nan}, "lr=nan: expected"),
    ({"steps": 2.5}, "steps=2.5: expected at least 1, a whole number")])
def test_bad_numbers_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        Muon([nn.Parameter(torch.zeros(2, 2))], **wrong)
    more = Muon([nn.Parameter(torch.zeros(2, 2))])
    with pytest.raises(ValueError, match=said):
        more.add_param_group({"params": [nn.Parameter(torch.zeros(2, 2))], **wrong})
    state = more.state_dict()
    state["param_groups"][0] |= wrong
    with pytest.raises(ValueError, match=said):
        more.load_state_dict(state)


def test_weight_decay_is_refused_and_not_ignored():
    with pytest.raises(ValueError, match=r"weight_decay=0.1: Muon has none"):
        Muon([{"params": [nn.Parameter(torch.zeros(2, 2))], "weight_decay": 0.1}])


def test_a_matrix_of_zeros_takes_its_step():
    w = nn.Parameter(torch.zeros(3, 4))
    w.grad = gaussian(3, 4).to(w.dtype)
    Muon([w], lr=0.1, momentum=0.5).step()
    assert w.isfinite().all() and w.norm() > 0.1


@pytest.mark.parametrize("p", [torch.zeros(4), torch.zeros(0, 3),
                               torch.zeros(2, 2, dtype=torch.complex64)])
def test_what_has_no_matrix_of_real_numbers_is_refused_and_not_kept(p):
    with pytest.raises(ValueError, match=r"expected real numbers in two or more dimensions"):
        Muon([nn.Parameter(p)])
    made = Muon([nn.Parameter(torch.ones(2, 2))])
    for params in (nn.Parameter(p), [nn.Parameter(p)], iter([("name", nn.Parameter(p))])):
        with pytest.raises(ValueError, match=r"expected real numbers in two or more dimensions"):
            made.add_param_group({"params": params})
    assert len(made.param_groups) == 1


def test_what_only_a_step_can_see_is_refused_there():
    embedding = nn.Embedding(3, 2, sparse=True)
    made = Muon(embedding.parameters())
    embedding(torch.tensor([1])).sum().backward()
    with pytest.raises(ValueError, match=r"of shape \(3, 2\) is sparse: expected a dense one"):
        made.step()
    decayed = Muon([nn.Parameter(torch.ones(2, 2))])
    decayed.param_groups[0]["weight_decay"] = 0.1
    with pytest.raises(ValueError, match=r"weight_decay=0\.1: Muon has none"):
        decayed.step()


# ---- SGD, rates, averages ------------------------------------------------------------------------

def test_nesterov_by_tensors_is_torchs_nesterov():
    one, other = ([nn.Parameter(gaussian(3, 2)), nn.Parameter(gaussian(4))] for _ in range(2))
    torchs = nesterov_sgd([{"params": one, "lr": 0.1, "weight_decay": 0.01}], 0.85,
                          torch.device("cpu"))
    assert type(torchs) is torch.optim.SGD
    ours = NesterovByTensors([{"params": other, "lr": torch.tensor(0.1), "weight_decay": 0.01}],
                             momentum=0.85)
    for k in range(5):
        for p, q in zip(one, other, strict=True):
            p.grad = gaussian(*p.shape, seed=k)
            q.grad = p.grad.clone()
        torchs.step()
        ours.step()
    for p, q in zip(one, other, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-6, atol=1e-8)


def test_a_step_is_one_gradient_shorter_than_the_author_counts():
    w = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = torch.optim.SGD([w], lr=1.0, momentum=0.85, nesterov=True)
    for _ in range(300):
        before = w.item()
        w.grad = torch.ones_like(w)
        optimizer.step()
    assert before - w.item() == pytest.approx(step_length(0.85) - 1)


def test_the_triangle_at_its_corners():
    def at(*steps):
        return [height(k, 476, 0.2, 0.23, 0.07) for k in steps]
    assert at(0, 109, 476) == pytest.approx([0.2, 1.0, 0.07])  # int(0.23 · 476) = 109
    corners = np.interp(range(477), [0, 109, 476], [0.2, 1.0, 0.07])
    assert at(*range(477)) == pytest.approx(list(corners))
    assert [height(k, 200, 1.0, 0.0, 0.0) for k in (0, 50, 200)] == pytest.approx([1, 0.75, 0])


def followed(rule, steps, epoch):
    """Lookahead as the author's loops do it, with a number for the weights that grows by one."""
    fast, slow, found = 0.0, 0.0 if rule == "always" else None, []
    for step in range(steps):
        fast += 1
        k = step + 1
        started = rule == "always" or step // epoch >= 3
        if started and k % 5 == 0:
            if slow is None:
                slow = fast
            else:
                d = 0.95**5 * (k / steps) ** 3
                slow = d * slow + (1 - d) * fast
                fast = slow
        over = k == steps or (rule == "late" and k % epoch == 0)
        if over and slow is not None:
            fast = slow
        found.append(fast)
    return found


@pytest.mark.parametrize("rule", ["always", "late"])
@pytest.mark.parametrize(("steps", "epoch"), [(476, 48), (40, 10), (37, 7), (20, 4)])
def test_lookahead_is_the_authors_loop(rule, steps, epoch):
    slow, fast = (nn.Linear(1, 1, bias=False).double() for _ in range(2))
    nn.init.zeros_(slow.weight)
    nn.init.zeros_(fast.weight)
    found = []
    for step in range(steps):
        fast.weight.data += 1
        interpolate(slow, fast, *lookahead(rule, step, steps, epoch))
        found.append(fast.weight.item())
    assert found == pytest.approx(followed(rule, steps, epoch))


def test_without_lookahead_nothing_is_averaged():
    assert {lookahead("none", k, 20, 4) for k in range(20)} == {(0.0, 0.0)}


def test_running_statistics_are_averaged_and_counts_are_not():
    slow, fast = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    fast(torch.randn(5, 2) + 3)
    mean = fast.running_mean.clone()
    interpolate(slow, fast, 0.25, 1.0)
    torch.testing.assert_close(slow.running_mean, mean / 4)
    assert torch.equal(fast.running_mean, slow.running_mean)
    assert fast.num_batches_tracked == 1 and slow.num_batches_tracked == 0


def test_the_quintics_coefficients_are_printed():
    assert COEFFICIENTS == (3.4445, -4.7750, 2.0315)
