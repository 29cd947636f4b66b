"""The recipes: golden curves, what they measure, what they refuse."""

import math
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from common.errors import UserError
from common.evidence import tables
from common.evidence.paper import papers
from common.evidence.results import Result
from common.experiments import Experiments
from common.files import ROOT
from papers.deep_linear import facts, train
from papers.deep_linear.model import learning_time
from papers.deep_linear.random_networks import ProductRecipe
from papers.deep_linear.settings import Config

EXPERIMENTS = Experiments(Config, ROOT / "papers/deep_linear/config.yaml")


def recipe(name="quick_modes", seed=0, **overrides):
    return train.recipe(EXPERIMENTS.resolve(name, seed, {
        k.replace("__", "."): v for k, v in overrides.items()}))


@pytest.mark.parametrize("name", ["quick_modes", "random", "chaos_1.5"])
def test_golden_curve_of_20_steps(name, num_regression):
    r = recipe(name, **({"model__width": 30} if name == "chaos_1.5" else {}))
    num_regression.check({"loss": [r.step(k).item() for k in range(20)]},
                         default_tolerance={"rtol": 1e-6, "atol": 0})


def test_golden_times_of_the_sweep(num_regression):
    r = recipe("quick_sweep")
    for k in range(2):
        r.step(k)
    num_regression.check(r.evaluate(2, True), default_tolerance={"rtol": 1e-3})


@pytest.mark.parametrize("layers", [3, 5])
def test_times_are_those_of_torchs_sgd(layers):
    r = recipe(model__layers=layers, optim__lr=0.05, optim__updates=50, train__steps=40,
               model__u0=0.05, optim__ε=0.01)
    net = nn.Sequential(*(nn.Linear(*W.shape[::-1], False, dtype=torch.float64)
                          for W in r.first))
    for layer, W in zip(net, r.first, strict=True):
        layer.weight.data.copy_(W)
    x = math.sqrt(2) * torch.eye(2, dtype=torch.float64)  # two white inputs
    y, optimizer = x @ r.Σ31.T, torch.optim.SGD(net.parameters(), 0.05)
    expected, halves = np.zeros(2), np.zeros(2)
    for _ in range(2000):
        with torch.no_grad():
            u = (r.U * net(r.V.T).T).sum(0).numpy()
        expected += u < np.array([2, 1]) - 0.01
        halves += u < np.array([1, 0.5])
        optimizer.zero_grad()
        (0.5 * (net(x) - y).square().sum() / 2).backward()
        optimizer.step()
    for k in range(40):
        r.step(k)
    metrics = r.evaluate(40, True)
    assert [metrics["time_0"], metrics["time_1"]] == expected.tolist()
    assert [metrics["half_0"], metrics["half_1"]] == halves.tolist()
    assert metrics["ordered"] == 1 and metrics["mixed"] < 1e-9
    for mine, layer in zip(r.model.weights, net, strict=True):
        torch.testing.assert_close(mine.data, layer.weight.data)


def test_theory_of_balanced_unbalanced_and_scaled_runs():
    r = recipe(optim__lr=0.01)
    assert r.theory()[1] == pytest.approx(learning_time(1.0, 0.001, 0.999, 100.0))
    assert r.theory(0.5)[0] == pytest.approx(learning_time(2.0, 0.001, 1.0, 100.0))
    scaled = recipe(optim__scaled=True, optim__lr=0.1, model__layers=6)
    assert scaled.lr == pytest.approx(0.1 / (5 * 2 ** (8 / 5)))
    unbalanced = recipe(model__unbalance=10.0, optim__lr=0.001, optim__updates=100)
    for k in range(100):
        unbalanced.step(k)
    metrics = unbalanced.evaluate(100, True)
    assert metrics["ratio_0"] == pytest.approx(1, abs=0.005)
    assert metrics["ratio_1"] == pytest.approx(1, abs=0.005)
    below, above = (W.data for W in unbalanced.model.weights)
    first = (above.T @ above - below @ below.T)
    then = unbalanced.first[1].T @ unbalanced.first[1] - unbalanced.first[0] @ unbalanced.first[0].T
    assert metrics["conserved"] == pytest.approx((first - then).abs().max().item())
    assert 0 < metrics["conserved"] < 0.01


def test_modes_that_are_not_learned_have_no_time_and_order_is_measured():
    r = recipe()
    r.step(0)
    assert r.evaluate(1, True)["time_0"] == math.inf
    r.halves.copy_(torch.tensor([5.0, 3.0]))
    assert r.evaluate(1, True)["ordered"] == 0, "mode 0 is the stronger one"


def test_the_part_of_random_weights_that_grows():
    """Small weights evolve by a linear equation: (a + b)/2 grows with e^(st), the rest decays."""
    r = recipe("random", model__std=1e-6)
    b, a = r.first[0] @ r.V, r.first[1].T @ r.U
    s, t = r.s, 2.0
    grown_b = b * torch.cosh(s * t) + a * torch.sinh(s * t)
    grown_a = a * torch.cosh(s * t) + b * torch.sinh(s * t)
    t_late = torch.exp(2 * s * t)
    expected = (grown_a * grown_b).sum(0) / t_late
    np.testing.assert_allclose(r.growing(), expected, rtol=0.05)
    assert all(math.isnan(v) for v in recipe("random", model__std=100.0).theory())


@pytest.mark.parametrize("matrices", ["orthogonal", "gaussian"])
def test_singular_values_of_a_product_by_numpy(matrices):
    r = recipe(f"product_{matrices}", model__width=40)
    layers = [r.matrix(k).numpy() for k in range(3)]
    P = layers[2] @ layers[1] @ layers[0]
    losses = [r.step(k).item() for k in range(3)]
    σ = np.linalg.svd(P, compute_uv=False)
    metrics = r.evaluate(3, True)
    assert metrics == pytest.approx({
        "median": np.median(σ), "above": (σ > 0.1).mean(), "smallest": σ.min(), "largest": σ.max(),
        "square": (σ**2).mean(), "fourth": (σ**4).mean()})
    assert losses[-1] == pytest.approx(np.linalg.norm(P @ r.data.train.images.numpy()) ** 2)
    assert not np.allclose(layers[0], layers[1])
    if matrices == "orthogonal":
        assert metrics["smallest"] == pytest.approx(1)


def test_the_jacobian_of_a_tanh_network_is_autograds():
    r = recipe("chaos_1.5", model__width=12)
    start, layers = r.data.train.images, [r.matrix(k) for k in range(4)]
    assert start.square().mean().item() == pytest.approx(1.0)

    def network(x):
        for W in layers:
            x = 1.5 * W @ x.tanh()
        return x
    for k in range(4):
        r.step(k)
    torch.testing.assert_close(r.model.x, network(start))
    torch.testing.assert_close(r.model.map, torch.autograd.functional.jacobian(network, start))
    metrics = r.evaluate(4, True)
    assert metrics["q"] == pytest.approx(network(start).square().mean().item())
    q, z = 1.0, np.random.default_rng(0).normal(size=400_000)  # eq. (47), g² E[tanh²(√q z)]
    for _ in range(4):
        q = 1.5**2 * (np.tanh(math.sqrt(q) * z) ** 2).mean()
    assert metrics["theory"] == pytest.approx(q, rel=5e-3)
    assert metrics.keys() > ProductRecipe.evaluate(r, 4, True).keys()


def test_a_sweep_trains_as_sgd_on_all_images_would():
    r = recipe("quick_sweep")
    images = r.data.train.images.flatten(1).double() / 255
    x, y = images - images.mean(0), F.one_hot(r.data.train.labels, 10).double()
    y = y - y.mean(0)
    start = r.start(4)
    net = nn.Sequential(*(nn.Linear(*W.shape[::-1], False, dtype=torch.float64) for W in start))
    for layer, W in zip(net, start, strict=True):
        layer.weight.data.copy_(W)
    optimizer = torch.optim.SGD(net.parameters(), 0.2)
    best = np.linalg.lstsq(x.numpy(), y.numpy(), rcond=None)[0]
    least = ((y - x @ torch.from_numpy(best)) ** 2).sum().item()

    def left():
        return ((y - net(x)).square().sum().item() - least) / (y.square().sum().item() - least)
    first, time = left(), 0
    while left() > 0.1:
        optimizer.zero_grad()
        (0.5 * (y - net(x)).square().sum() / len(x)).backward()
        optimizer.step()
        time += 1
    mine = r.train(start, 0.2, 1000)
    assert time > 5 and mine == (time, pytest.approx(first, rel=1e-4),
                                 pytest.approx(left(), rel=1e-3))


def test_a_rate_that_diverges_is_given_up():
    r = recipe("quick_sweep")
    time, first, left = r.train(r.start(3), 1000.0, 50)
    assert (time, left) == (math.inf, math.inf) and math.isfinite(first)


def test_of_a_sweep_the_fastest_rate_counts(monkeypatch):
    r = recipe("quick_sweep", sweep__rates=4, sweep__fastest=1.0, sweep__slowest=0.125)
    assert r.grid() == pytest.approx([1, 0.5, 0.25, 0.125])
    asked = []

    def train(start, rate, most):
        asked.append(most)
        return {1.0: (math.inf, 2.0, math.inf), 0.5: (40, 2.0, 0.09), 0.25: (30, 2.0, 0.095),
                0.125: (math.inf, 2.0, 0.3)}[round(rate, 3)]
    monkeypatch.setattr(r, "train", train)
    assert r.do(5) == (30, pytest.approx(0.25), 2.0, 0.095, pytest.approx(0.5))
    assert asked == [300, 300, 40, 30], "no longer than the best so far"


def test_measures_over_runs():
    def run(**metrics):
        return Result("deep_linear", "e", 0, metrics, {
            "q": (np.array([0, 30]), np.array([1.0, 1.1])),
            "theory": (np.array([0, 30]), np.array([1.0, 1.0]))}, {"optim.lr": 0.05}, {})
    runs = {"a": run(time_0=100.0), "b": run(time_0=300.0)}
    assert facts.extra_time(runs, "a", "b") == pytest.approx(10)
    assert facts.ratio_of_times(runs, "b", "a") == 3
    assert facts.variance_error({"a": run()}, 30) == pytest.approx(0.1)
    jacobian = Result("deep_linear", "a", 0, {"largest": 0.02}, {},
                      {"model.gain": 0.5, "train.steps": 5}, {})
    assert facts.of_bound({"a": jacobian}) == pytest.approx(0.02 * 32)
    σ = np.array([3.0, 3.0, 0.0, 0.0])  # two of four directions
    assert facts.directions({"a": run(square=(σ**2).mean(), fourth=(σ**4).mean())}) == 0.5
    swept = {"a": run(time_100=60.0, time_30=40.0, rate_100=0.01, rate_10=0.1)}
    assert facts.growth(swept, 100, 30) == 1.5
    assert facts.rate_exponent(swept, 100, 10) == pytest.approx(-1)


@pytest.mark.parametrize(("overrides", "message"), [
    (dict(model__width=1), "model.width=1: expected at least 2"),
    (dict(model__u0=1.0), "model.u0=1.0: expected less than 1.0"),
    (dict(optim__ε=3.0), "optim.ε=3.0: expected less than 1.0"),
    (dict(model__start="random", model__layers=4), "expected 3, or model.start=decoupled"),
    (dict(optim__ε=1e-17), "optim.ε=1e-17: expected at least 2e-12"),
    (dict(model__u0=1e-32), "model.u0=1e-32: expected at least 2e-12"),
    (dict(name="quick_sweep", sweep__fastest=math.inf), "sweep.fastest=inf: expected a finite"),
    (dict(name="quick_sweep", sweep__depths=[10, 3, 10]), "expected each depth once"),
    (dict(name="quick_sweep", sweep__slowest=2.0), "sweep.slowest=2.0: expected less than"),
    (dict(name="quick_sweep", train__steps=3), "train.steps=3: expected 2"),
    (dict(name="quick_sweep", sweep__depths=[2, 5]), "expected 3 layers or more"),
    (dict(model__layers=2), "of at least 3")])
def test_bad_values_are_one_line(overrides, message):
    with pytest.raises(UserError, match=message) as e:
        recipe(**overrides)
    assert "\n" not in str(e.value)


def test_the_readmes_numbers_are_the_reports():
    (paper,) = papers(["deep_linear"])
    known = {j.claim.id: tables.number(j.middle, j.claim.show) for j in paper.judgements()}
    text = (ROOT / "papers/deep_linear/README.md").read_text(encoding="utf-8")
    said = re.findall(r"(\S+)\s+\(`(mnist-[\w.-]+)`\)", text)
    assert len(said) == 4
    assert {name: value for value, name in said} == {name: known[name] for _, name in said}
