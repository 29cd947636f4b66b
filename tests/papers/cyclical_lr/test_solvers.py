"""Caffe's solvers: torch's where both mean the same, Caffe's own formulas elsewhere."""

import math

import pytest
import torch

from papers.cyclical_lr.solvers import SOLVERS

OPTIONS = {"sgd": {"momentum": 0.9}, "nesterov": {"momentum": 0.9},
           "adam": {"momentum": 0.9, "momentum2": 0.99, "delta": 1e-14},
           "rmsprop": {"rms_decay": 0.95, "delta": 1e-4}, "adagrad": {"delta": 1e-4},
           "adadelta": {"momentum": 0.9, "delta": 1e-6}}
TORCHS = {
    "sgd": lambda g, lr: torch.optim.SGD(g, lr, momentum=0.9),
    "nesterov": lambda g, lr: torch.optim.SGD(g, lr, momentum=0.9, nesterov=True),
    "adam": lambda g, lr: torch.optim.Adam(g, lr, betas=(0.9, 0.99), eps=1e-14),
    "rmsprop": lambda g, lr: torch.optim.RMSprop(g, lr, alpha=0.95, eps=1e-4),
    "adagrad": lambda g, lr: torch.optim.Adagrad(g, lr, eps=1e-4),
    "adadelta": lambda g, lr: torch.optim.Adadelta(g, lr, rho=0.9, eps=1e-6),
}
RATES = [0.01, 0.02, 0.03, 0.01, 0.001, 0.05]


def parameters(dtype=torch.float64):
    g = torch.Generator().manual_seed(0)
    return [torch.randn(*shape, generator=g, dtype=dtype).requires_grad_()
            for shape in ((5, 3), (4,), (2, 2))]


def run(params, optimizer, rates):
    for lr in rates:
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.zero_grad()
        sum((p**3 + p).sum() for p in params).backward()
        optimizer.step()


def groups(params, ours):
    made = [{"params": params[:1], "weight_decay": 0.1}, {"params": params[1:]}]
    return [g | {"multiplier": 1.0} for g in made] if ours else made


@pytest.mark.parametrize("name", SOLVERS)
def test_at_a_constant_rate_they_are_torchs(name):
    ours, theirs = parameters(), parameters()
    run(ours, SOLVERS[name](groups(ours, True), lr=0.01, **OPTIONS[name]), [0.01] * 8)
    run(theirs, TORCHS[name](groups(theirs, False), 0.01), [0.01] * 8)
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ["adam", "rmsprop", "adagrad", "adadelta"])
def test_those_without_a_memory_of_steps_are_torchs_at_every_rate(name):
    ours, theirs = parameters(), parameters()
    run(ours, SOLVERS[name](groups(ours, True), lr=0.01, **OPTIONS[name]), RATES)
    run(theirs, TORCHS[name](groups(theirs, False), 0.01), RATES)
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_remembers_steps_with_the_rates_they_had(nesterov):
    (p,) = ours = parameters()[:1]
    w, v, μ = p.detach().clone(), torch.zeros_like(p), 0.9
    solver = SOLVERS["nesterov" if nesterov else "sgd"]
    run(ours, solver([{"params": ours, "weight_decay": 0.1, "multiplier": 2.0}], momentum=μ), RATES)
    for lr in RATES:
        before = v
        v = μ * v + 2 * lr * (3 * w**2 + 1 + 0.1 * w)
        w = w - ((1 + μ) * v - μ * before if nesterov else v)
    torch.testing.assert_close(p.detach(), w)
    theirs = parameters()[:1]
    run(theirs, torch.optim.SGD(theirs, 0.01, 0.9, weight_decay=0.1, nesterov=nesterov),
        [2 * lr for lr in RATES])
    assert not torch.allclose(p, theirs[0]), "torch's remembers gradients"


def test_adams_delta_stands_beside_the_uncorrected_root():
    """Where torch's ε stands beside the corrected one."""
    (p,) = ours = parameters()[:1]
    run(ours, SOLVERS["adam"](ours, momentum=0.9, momentum2=0.99, delta=0.3), RATES)
    w = parameters()[0].detach()
    m, s = torch.zeros_like(w), torch.zeros_like(w)
    for t, lr in enumerate(RATES, 1):
        g = 3 * w**2 + 1
        m, s = 0.9 * m + 0.1 * g, 0.99 * s + 0.01 * g**2
        w = w - lr * math.sqrt(1 - 0.99**t) / (1 - 0.9**t) * m / (s.sqrt() + 0.3)
    torch.testing.assert_close(p.detach(), w)


@pytest.mark.parametrize("name", SOLVERS)
def test_a_multiplier_is_a_factor_of_the_rate(name):
    ours, theirs = parameters(), parameters()
    run(ours, SOLVERS[name]([{"params": ours, "multiplier": 2.0}], **OPTIONS[name]), RATES)
    run(theirs, SOLVERS[name](theirs, **OPTIONS[name]), [2 * lr for lr in RATES])
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p, q)


@pytest.mark.parametrize("name", SOLVERS)
def test_rates_in_tensors_make_the_same_updates(name):
    ours, theirs = parameters(torch.float32), parameters(torch.float32)
    run(ours, SOLVERS[name](groups(ours, True), **OPTIONS[name]), [torch.tensor(r) for r in RATES])
    run(theirs, SOLVERS[name](groups(theirs, True), **OPTIONS[name]), RATES)
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p, q)


@pytest.mark.parametrize("name", SOLVERS)
def test_a_run_goes_on_from_its_state(name):
    whole, parts = parameters(), parameters()
    run(whole, SOLVERS[name](groups(whole, True), **OPTIONS[name]), RATES)
    first = SOLVERS[name](groups(parts, True), **OPTIONS[name])
    run(parts, first, RATES[:3])
    second = SOLVERS[name](groups(parts, True), **OPTIONS[name])
    second.load_state_dict(first.state_dict())
    run(parts, second, RATES[3:])
    for p, q in zip(whole, parts, strict=True):
        assert torch.equal(p, q)


def test_adams_correction_keeps_its_digits_in_float32():
    (p,) = parameters(torch.float32)[:1]
    solver = SOLVERS["adam"]([p])
    for t in range(1, 2001):
        expected = math.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        assert solver.correction(p, 0.9, 0.999).item() == pytest.approx(expected, rel=1e-6)
