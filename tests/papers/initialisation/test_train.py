"""The recipes: golden curves, what they measure, what they refuse, and measures over runs."""

import math
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from common.errors import UserError
from common.evidence.paper import papers
from common.evidence.results import Result
from common.experiments import Experiments
from common.files import ROOT
from papers.initialisation import facts, signals, train
from papers.initialisation.learning import BINS
from papers.initialisation.model import convolutions, rectified
from papers.initialisation.plots import choices
from papers.initialisation.settings import Config

EXPERIMENTS = Experiments(Config, ROOT / "papers/initialisation/config.yaml")
ROWS = ["sigmoid", "tanh", "softsign", "tanh_n", "softsign_n"]


def recipe(name="quick_train", seed=0, **overrides):
    return train.recipe(EXPERIMENTS.resolve(name, seed, {
        k.replace("__", "."): v for k, v in overrides.items()}))


SMALL = {"quick_train": {}, "quick_layers": {},
         "start_selu_high": {"model__width": 20, "model__depth": 5},
         "convolutions_0.0": {"model__width": 4}}


@pytest.mark.parametrize("name", SMALL)
def test_golden_curve_of_20_steps(name, num_regression):
    r = recipe(name, **SMALL[name], **({} if name == "quick_train" else {"train__steps": 20}))
    num_regression.check({"loss": [r.step(k).item() for k in range(20)]},
                         default_tolerance={"rtol": 1e-5, "atol": 0})


def test_an_update_is_torchs_sgd():
    r = recipe()
    weights = [p.detach().clone().requires_grad_() for p in r.model.parameters()]
    W, b = weights[:6], weights[6:]
    x, y = r.batch_of(0)
    h = x
    for i in range(6):
        h = h @ W[i] + b[i]
        h = h.tanh() if i < 5 else h
    loss = F.cross_entropy(h, y)
    assert r.step(0).item() == pytest.approx(loss.item(), rel=1e-6)
    for p, q, g in zip(r.model.parameters(), weights, torch.autograd.grad(loss, weights),
                       strict=True):
        torch.testing.assert_close(p.detach(), q.detach() - 0.1 * g)


def test_metrics_of_a_learning_network():
    r = recipe(measure__examples=50)
    r.step(0)
    metrics = r.evaluate(1, True)
    s, z = r.model.activities(r.eval_inputs[:50])
    expected = z[3].detach().numpy()
    assert metrics["mean_3"] == pytest.approx(expected.mean(), abs=1e-6)
    assert metrics["std_3"] == pytest.approx(expected.std(ddof=1), rel=1e-5)
    assert metrics["p98_3"] == pytest.approx(
        np.quantile(expected, 0.98, method="lower"), rel=1e-5)
    counts = np.histogram(expected, BINS, (-1, 1))[0] / expected.size
    assert [metrics[f"hist_3_{b}"] for b in range(BINS)] == pytest.approx(counts.tolist(), abs=1e-3)
    cost = F.cross_entropy(s[-1], r.eval_labels[:50], reduction="sum")
    (δ,) = torch.autograd.grad(cost, s[1])
    assert metrics["back_2"] == pytest.approx(δ.square().mean().item(), rel=1e-4)
    right = r.predict(r.eval_inputs).argmax(1) == r.eval_labels
    assert metrics["error"] == pytest.approx(100 * (1 - right.double().mean().item()))


def test_when_a_network_learned_is_the_first_time_it_did():
    r = recipe()
    assert r.evaluate(0, False)["learned"] == math.inf
    for k in range(1000):
        r.step(k)
    assert r.evaluate(1000, False)["learned"] == 1000
    state = r.state()
    again = recipe()
    again.load_state(state)
    assert again.evaluate(2000, True)["learned"] == 1000
    assert again.evaluate(2000, True)["learns"] == 1


@pytest.mark.parametrize("activation", ["tanh", "selu"])
def test_signals_are_those_of_autograd_and_numpys_singular_values(activation):
    r = recipe("quick_layers", model__width=12, model__depth=3, model__activation=activation,
               measure__examples=9, measure__jacobians=2)
    for k in range(2):
        r.step(k)
    sums = {}
    for number in range(2):
        net = r.network(number)
        s, z = net.activities(r.x)
        cost = F.cross_entropy(s[-1], r.labels, reduction="sum")
        δ = torch.autograd.grad(cost, s)
        for i in range(3):
            per_example = torch.einsum("el,ek->elk", z[i], δ[i])  # every weight of every example
            rows = {"s": s[i].square().mean(), "mean": z[i + 1].mean(),
                    "square": z[i + 1].square().mean(), "back": δ[i].square().mean(),
                    "weight": per_example.square().mean()}
            if i:
                def layer(v, net=net, i=i):
                    return net.activation.f(v @ net.weights[i] + net.biases[i])
                rows["singular"] = torch.tensor(np.mean([
                    np.linalg.svd(torch.autograd.functional.jacobian(layer, z[i][e].detach()),
                                  compute_uv=False).mean() for e in range(2)]))
            for name, v in rows.items():
                sums.setdefault(f"{name}_{i + 1}", []).append(v.item())
    means = {k: np.mean(v) for k, v in sums.items()}
    metrics = r.evaluate(2, True)
    for k, v in means.items():
        if not k.startswith("square"):
            assert metrics[k] == pytest.approx(v, rel=1e-4, abs=1e-7), k
    assert metrics["var_3"] == pytest.approx(means["square_3"] - means["mean_3"] ** 2, rel=1e-4)
    assert (metrics["mean"], metrics["var"]) == (metrics["mean_3"], metrics["var_3"])
    assert metrics["forward"] == pytest.approx((means["s_3"] / means["s_1"]) ** 0.5, rel=1e-4)
    assert metrics["backward"] == pytest.approx(
        (means["back_1"] / means["back_3"]) ** 0.5, rel=1e-4)
    hidden = [means["weight_2"], means["weight_3"]]
    assert metrics["weights"] == pytest.approx(max(hidden) / min(hidden), rel=1e-4)
    assert metrics["singular"] == pytest.approx(
        (means["singular_2"] + means["singular_3"]) / 2, rel=1e-4)


def test_gaussian_inputs_have_the_mean_and_variance_asked_for():
    r = recipe("start_selu_high")
    assert r.x.shape == (50, 256)
    assert r.x.mean().item() == pytest.approx(0.1, abs=0.05)
    assert r.x.var().item() == pytest.approx(1.5, rel=0.05)


def test_either_start_and_every_activation_has_draws_of_its_own():
    drawn = [recipe("quick_layers", model__init=init, model__activation=activation)
             .network(0).weights[1].flatten().double() for init, activation in (
                 ("xavier", "relu"), ("he", "relu"), ("standard", "tanh"), ("normalised", "tanh"),
                 ("standard", "softsign"))]
    alike = torch.corrcoef(torch.stack([w.detach() for w in drawn]))
    assert (alike - torch.eye(5)).abs().max() < 0.05


def test_convolutions_measure_the_gradient_of_random_tops():
    r = recipe("convolutions_0.01", model__width=8)
    chance = r.generator("network of 0.01", 0)
    x2, y = rectified(r.x, convolutions(8, 0.01, chance))
    top = torch.randn(y.shape, generator=chance)
    (expected,) = torch.autograd.grad((y * top).sum(), x2)
    log = math.log(expected.std() / top.std())
    assert r.step(0).item() == pytest.approx(log, rel=1e-5)
    assert r.evaluate(1, True)["log_gradient"] == pytest.approx(log, rel=1e-5)
    other = recipe("convolutions_0.0", model__width=8).step(0).item()
    ratio = math.prod(math.sqrt(2 / (9 * 8 * k)) / 0.01 for k in (1, 2, 2, 4, 4, 8, 8, 8, 8))
    assert math.exp(other - log) == pytest.approx(ratio, rel=0.3)
    assert math.exp(other - log) != pytest.approx(ratio, rel=1e-3), "draws of its own"


def test_surfaces_of_a_step_and_their_flat_parts():
    r = recipe("surface", train__steps=3)
    more = [r.step(k).item() for k in range(3)]
    metrics = r.evaluate(3, True)
    assert metrics["quadratic"] - metrics["entropy"] == pytest.approx(np.mean(more), abs=1e-6)
    assert metrics["more"] == pytest.approx(np.mean(np.array(more) > 0))
    entropy, quadratic, at = r.drawn(1)
    parts = []
    for cost in (entropy.numpy(), quadratic.numpy()):
        steep = np.hypot(*np.gradient(cost, float(at[1] - at[0])))
        parts.append(((steep < 0.1 * steep.max()) & (cost > (cost.min() + cost.max()) / 2)).mean())
    assert more[1] == pytest.approx(parts[1] - parts[0], abs=2 / 41**2)


def test_how_often_the_quadratic_cost_has_more_plateau(monkeypatch):
    found = iter([0.1, 0.3, 0.4, 0.2, 0.2, 0.2])  # of both costs of three networks
    monkeypatch.setattr(signals, "plateau", lambda *a: torch.arange(10) < 10 * next(found))
    r = recipe("surface", train__steps=3, measure__points=5)
    assert [r.step(k).item() for k in range(3)] == pytest.approx([0.2, -0.2, 0])
    assert r.evaluate(3, True) == pytest.approx(
        {"entropy": 0.7 / 3, "quadratic": 0.7 / 3, "more": 1 / 3})


def run(metrics=(), curves=(), **config):
    return Result("initialisation", "e", 0, dict(metrics), dict(curves), {
        "model.depth": 2} | config, {})


def test_measures_over_signals():
    assert facts.std_factor({"a": run({"forward": 0.25})}) == 0.5
    assert facts.gradient_ratio({"convolutions_0.0": run({"log_gradient": 2.0}),
                                 "convolutions_0.01": run({"log_gradient": 1.0})}
                                ) == pytest.approx(math.e)
    lost = {"start_relu_xavier": run({"s_1": 1.0, "s_2": 0.02}),
            "start_relu_he": run({"s_1": 2.0, "s_2": 1.0})}
    assert facts.lost(lost) == pytest.approx(0.2)
    assert facts.more_plateau({"a": run({"quadratic": 0.5, "entropy": 0.2})}) == pytest.approx(0.3)


def test_a_network_learns_if_it_ever_did():
    assert facts.learns({"a": run({"learned": 300.0, "learns": 0.0})}) == 1
    assert facts.learns({"a": run({"learned": math.inf})}) == 0


def test_measures_of_saturation():
    steps = np.array([0, 10, 20])
    means = {1: [0.5, 0.51, 0.2], 2: [0.5, 0.55, 0.4], 3: [0.5, 0.7, 0.6], 4: [0.5, 0.03, 0.2]}
    runs = {"a": run(curves={f"mean_{k}": (steps, np.array(v)) for k, v in means.items()},
                     **{"model.depth": 4})}
    assert facts.lowest_top(runs) == 0.03
    assert facts.lowest_other(runs) == 0.51
    assert facts.falls_to_input(runs) == pytest.approx(0.04)


def test_measures_of_learning():
    bins = np.zeros((2, BINS))
    bins[0, [0, BINS - 1]] = 0.5          # |z| above 0.95
    bins[1, [BINS // 2 + 13, 5]] = 0.6, 0.4  # |z| from 0.65 to 0.7, and from 0.7 to 0.75
    metrics = {f"hist_{k}_{b}": v for k, row in enumerate(bins, 1) for b, v in enumerate(row)}
    one = run(metrics | {"error": 3.0, "std_1": 0.5, "std_2": 0.2},
              {"std_1": ([10], [0.5]), "std_2": ([10], [0.2]), "back_1": ([10], [0.1]),
               "back_2": ([10], [10.0])})
    one.curves.update({k: tuple(map(np.array, v)) for k, v in one.curves.items()})
    flat = run({k: 0.0 for k in metrics} | {"error": 5.0, "std_1": 0.3, "std_2": 0.3})
    assert facts.within({"a": one}, 0.95, 1.0) == pytest.approx(0.5)
    assert facts.within({"a": one}, 0.6, 0.8) == pytest.approx(0.5)
    assert facts.more_within({"a": one, "b": flat}, "b", "a", 0.6, 0.8) == pytest.approx(-0.5)
    assert facts.mode({"a": one}) == pytest.approx(0.975)
    assert facts.first_before_last({"a": one}, 10) == pytest.approx(0.3)
    assert facts.more_apart({"a": one, "b": flat}, "a", "b") == pytest.approx(0.3)
    assert facts.gradient_trend({"a": one}, 10) == pytest.approx(-2)
    errors = {"tanh": 4.0, "tanh_n": 3.0, "softsign": 3.5, "softsign_n": 3.75}
    assert facts.sensitivity({k: run({"error": v}) for k, v in errors.items()}
                             ) == pytest.approx(0.75)


def test_the_papers_values():
    for row in ROWS:
        config = EXPERIMENTS.resolve(row)
        assert (config.train.batch_size, config.model.depth) == (10, 4 if row == "sigmoid" else 5)
        assert (config.data.name, config.data.evaluate_on) == ("mnist", "test")
        assert config.model.init == ("normalised" if row.endswith("_n") else "standard")
        assert config.model.activation == row.removesuffix("_n")
    for kind in ("tanh", "softsign"):
        for init in ("standard", "normalised"):
            model = EXPERIMENTS.resolve(f"start_{kind}_{init}").model
            assert (model.width, model.activation) == (1000, kind)
    assert [EXPERIMENTS.resolve(f"deep_{n}_he").model.depth + 1 for n in (22, 30)] == [22, 30]
    selu = EXPERIMENTS.resolve("start_selu_low")
    assert (selu.model.depth, selu.input.mean, selu.input.variance) == (32, -0.1, 0.8)


def test_committed_choices_are_what_the_search_says():
    (paper,) = papers(["initialisation"])
    found = choices(paper)
    assert set(found) == {*ROWS, "relu", "selu", "deep_22_xavier", "deep_22_he",
                          "deep_30_xavier", "deep_30_he"}
    for name, chosen in found.items():
        config = EXPERIMENTS.resolve(name)
        assert (config.optim.lr, config.model.depth) == chosen, name


def test_the_readmes_numbers_are_the_reports():
    (paper,) = papers(["initialisation"])
    known = {j.claim.id: format(j.middle, j.claim.show) for j in paper.judgements()}
    text = (ROOT / "papers/initialisation/README.md").read_text()
    answer = text[text.index("## Which"):text.index("## From")]
    said = re.findall(r"(\S+) \(`([\w.-]+)`\)", answer)
    assert len(said) > 15
    assert {name: value for value, name in said} == {name: known[name] for _, name in said}


def test_the_search_never_sees_the_test_set():
    swept = [n for n in EXPERIMENTS.experiments if n.startswith("sweep")]
    assert len(swept) == 50
    assert all(EXPERIMENTS.resolve(n).data.evaluate_on == "validation" for n in swept)


@pytest.mark.parametrize(("overrides", "message"), [
    (dict(name="quick_layers", measure__jacobians=301), r"measure.jacobians=301: expected at most"),
    (dict(name="quick_layers", model__depth=1), r"model.depth=1: expected at least 2 hidden"),
    (dict(model__std=0.1), r"model.std=0.1: not used where task.name=train"),
    (dict(name="surface", measure__reach=1e300), r"measure.reach=1e\+300: expected a number"),
    (dict(optim__lr=0.0), r"optim.lr=0.0: expected a number above 0")])
def test_bad_values_are_one_line(overrides, message):
    with pytest.raises(UserError, match=message) as e:
        recipe(**overrides)
    assert "\n" not in str(e.value)
