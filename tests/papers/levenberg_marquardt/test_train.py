"""The recipes: golden curves, resuming, every method, the search's choices."""

import copy

import numpy as np
import pytest
import scipy.optimize
import torch
from torch.nn import functional as F

from common.errors import UserError
from common.evidence.paper import papers
from common.experiments import Experiments
from common.files import ROOT
from papers.levenberg_marquardt.facts import advantage_lost, cost, decades_ahead
from papers.levenberg_marquardt.tasks import TASKS
from papers.levenberg_marquardt.train import Config, recipe

EXPERIMENTS = Experiments(Config, ROOT / "papers/levenberg_marquardt/config.yaml")


def made(name="sine_lm", seed=0, **overrides):
    plain = {} if name == "minpack" else {"train.compile": False}
    return recipe(EXPERIMENTS.resolve(name, seed, plain | {
        k.replace("__", "."): v for k, v in overrides.items()}))


@pytest.mark.parametrize(("name", "steps"), [
    ("quick", 4), ("sine_lm", 20), ("sine_bfgs", 20), ("sine_lbfgs", 20), ("sine_adam", 20),
    ("sine_cg", 20), ("sine_gdx", 20)])
def test_golden_curves(name, steps, num_regression):
    r = made(name)
    num_regression.check({"loss": [r.step(k).item() for k in range(steps)]},
                         default_tolerance={"rtol": 1e-6})


METHODS = ("lm", "cg", "gdx", "bfgs", "lbfgs", "adam", "sgd")


@pytest.mark.parametrize("method", [
    pytest.param(m, marks=[pytest.mark.slow] * (m in ("cg", "bfgs", "lbfgs"))) for m in METHODS])
def test_the_loss_is_the_mean_square_error_and_falls(method):
    r = made("sine_" + method, task__goal=0.0)
    expected = F.mse_loss(r.model(r.inputs), r.labels).item()
    assert r.step(0).item() == pytest.approx(expected)
    for k in range(1, 60):
        r.step(k)
    metrics = r.evaluate(60, True)
    assert metrics["mse"] < expected / 3
    assert metrics["weights"] == 46 and metrics["evaluations"] >= 60


def test_every_method_starts_from_the_same_weights():
    starts = [torch.cat([p.flatten() for p in made("sinc_" + m, seed=3).model.parameters()])
              for m in METHODS]
    assert all(torch.equal(s, starts[0]) for s in starts)
    assert not torch.equal(starts[0], torch.cat(
        [p.flatten() for p in made("sinc_lm", seed=4).model.parameters()]))


@pytest.mark.parametrize("method", METHODS)
def test_a_run_goes_on_from_its_state(method):
    r = made("sine_" + method)
    for k in range(5):
        r.step(k)
    state = copy.deepcopy(r.state())
    expected = [r.step(k).item() for k in range(5, 9)]
    again = made("sine_" + method)
    again.load_state(state)
    assert [again.step(k).item() for k in range(5, 9)] == expected
    assert again.evaluate(9, True)["evaluations"] == r.evaluate(9, True)["evaluations"]


def error_of(r):
    """The error as a function of one vector and its gradient, by ordinary backward passes."""
    net, sizes = copy.deepcopy(r.model), [p.numel() for p in r.model.parameters()]

    def f(x):
        for p, part in zip(net.parameters(), torch.tensor(x).split(sizes), strict=True):
            p.data = part.reshape(p.shape)
            p.grad = None
        loss = F.mse_loss(net(r.inputs), r.labels)
        loss.backward()
        return loss.item(), torch.cat([p.grad.flatten() for p in net.parameters()]).numpy()
    return f, torch.cat([p.detach().flatten() for p in net.parameters()]).numpy()


@pytest.mark.parametrize(("method", "name"), [("bfgs", "BFGS"), ("cg", "CG"),
                                              ("lbfgs", "L-BFGS-B")])
def test_scipys_methods_are_one_call_of_a_user(method, name):
    r = made("sine_" + method, task__goal=0.0, train__steps=30)
    (f, x), losses = error_of(r), [r.step(k).item() for k in range(30)]
    errors = [f(x)[0]]
    found = scipy.optimize.minimize(f, x, jac=True, method=name, options={"maxiter": 30, "gtol": 0},
                                    callback=lambda intermediate_result: errors.append(
                                        intermediate_result.fun))
    np.testing.assert_allclose(losses, errors[:30], rtol=1e-5)
    metrics = r.evaluate(30, True)
    assert metrics["evaluations"] <= found.nfev + 1 and metrics["iterations"] == 30
    assert metrics["mse"] == pytest.approx(found.fun, rel=1e-5)
    assert F.mse_loss(r.model(r.inputs), r.labels).item() == pytest.approx(found.fun, rel=1e-5)
    assert r.evaluate(10, False)["mse"] == pytest.approx(errors[10], rel=1e-5)


def test_scipys_methods_end_at_the_goal():
    r = made("sine_bfgs", task__goal=0.02)
    r.step(0)
    metrics = r.evaluate(0, True)
    assert metrics["reached"] == 1 and r.errors[-1] <= 0.02 < r.errors[-2]
    assert metrics["iterations"] == len(r.errors) - 1 < 4000
    assert metrics["evaluations"] < 2 * metrics["iterations"], "no restarts"


def test_a_variable_rate_follows_its_rule():
    r = made("sine_gdx", optim__lr=3.0, optim__momentum=0.8)
    f, x = error_of(r)
    losses, rate, (error, slope), v, taken_back = [], 3.0, f(x), 0.0, 0
    for k in range(40):
        losses.append(error)
        if k == 0:
            v = -0.2 * rate * slope
        trial, trial_slope = f(x + v)
        if trial > 1.04 * error:
            rate, v, taken_back = 0.7 * rate, -0.7 * rate * slope, taken_back + 1
        else:
            rate *= 1.05 if trial < error else 1.0
            x, error, slope = x + v, trial, trial_slope
            v = 0.8 * v - 0.2 * rate * slope
    np.testing.assert_allclose([r.step(k).item() for k in range(40)], losses, rtol=1e-8)
    assert taken_back > 1, "both branches of the rule"


def test_nothing_is_done_beyond_the_goal():
    r = made(task__goal=0.02)
    while r.reached < 0:
        r.step(0)
    metrics = r.evaluate(0, True)
    for k in range(5):
        assert r.step(k).item() <= 0.02
    after = r.evaluate(0, True)
    assert after == metrics and metrics["reached"] == 1


@pytest.mark.parametrize(("name", "inputs", "points"), [
    ("sine", 1, 40), ("period", 1, 41), ("sinc", 2, 289), ("product", 4, 400),
    ("diabetes", 10, 442)])
def test_tasks(name, inputs, points):
    x, t = TASKS[name](0)
    assert x.shape == (points, inputs) and t.shape == (points, 1)
    assert x.dtype == t.dtype == torch.float64 and t.isfinite().all()
    if name == "sinc":
        assert t.max() == 1 and x.abs().max() == 1
        far = 8 * x[0].norm()
        torch.testing.assert_close(t[0, 0], torch.sin(far) / far)


def test_minpacks_runs_as_a_recipe():
    r = made("minpack")
    assert r.step(7).item() == 0  # Rosenbrock from ten times its start
    metrics = r.evaluate(53, True)
    assert (metrics["nfev_7"], metrics["njev_7"], metrics["info_7"]) == (8, 5, 2)
    assert len(metrics) == 1 + 4 * 53 and metrics["evaluations"] == 8


def test_committed_rates_are_what_the_search_says():
    (paper,) = papers(["levenberg_marquardt"])
    for task in TASKS:
        for method in ("adam", "sgd"):
            names = EXPERIMENTS.expand(f"search_{task}_{method}")
            runs = [paper.results[n][0] for n in names]
            best = min(runs, key=lambda r: (not r.metrics["reached"], r.metrics["iterations"],
                                            r.metrics["mse"]))
            assert runs[0].seed == 100, "a seed that is judged nowhere"
            assert EXPERIMENTS.resolve(f"{task}_{method}").optim.lr == best.config["optim.lr"]


def test_decades_ahead():
    class Run:
        def __init__(self, seconds, reached):
            self.metrics = {"seconds": seconds, "reached": reached}
    assert cost(Run(2.0, 0.0), "seconds") == 20
    runs = {"lm": Run(1.0, 1.0), "a": Run(10.0, 0.0), "b": Run(50.0, 1.0)}
    assert decades_ahead(runs, "seconds") == pytest.approx(1.69897)


def test_advantage_lost():
    class Run:
        def __init__(self, seconds):
            self.metrics = {"seconds": seconds, "reached": 1.0}
    seconds = {"lm": 1, "a": 100, "b": 1000, "wide lm": 10, "wide a": 5, "wide b": 1}
    assert advantage_lost({k: Run(v) for k, v in seconds.items()}, "seconds") == pytest.approx(3)


@pytest.mark.parametrize(("name", "overrides", "message"), [
    ("sine_lm", {"model__hidden": 0}, "model.hidden=0: expected a whole number of at least 1"),
    ("sine_lm", {"optim__method": "more"}, "expected lm, cg, gdx, bfgs, lbfgs, adam "),
    ("minpack", {"optim__method": "lm"}, "expected more, plain or marquardt"),
    ("minpack", {"train__steps": 10}, "expected 53, a step for each")])
def test_bad_values_are_one_line(name, overrides, message):
    with pytest.raises(UserError, match=message):
        made(name, **overrides)


def test_a_network_too_large_is_one_line():
    r = made("sine_lm", model__hidden=20000)
    with pytest.raises(UserError, match=r"need 93\..* GiB"):
        r.step(0)
