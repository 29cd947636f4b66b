"""The recipe: the published values, the schedules, the penalties, and golden curves on digits."""

import math

import pytest
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf

from common.errors import UserError
from common.evidence.paper import papers
from common.experiments import Experiments
from common.files import ROOT
from papers.dropout.measures import BINS, monte_carlo
from papers.dropout.settings import POOL, Config
from papers.dropout.train import recipe

EXPERIMENTS = Experiments(Config, ROOT / "papers/dropout/config.yaml")


def made(name="quick_dropout", seed=0, **overrides):
    return recipe(EXPERIMENTS.resolve(name, seed, {
        k.replace("__", "."): v for k, v in overrides.items()}))


def small(name, **overrides):
    """An experiment on digits with few units."""
    return made(name, data__name="digits", train__batch_size=50,
                **({"model__hidden": [32, 32]} | overrides))


@pytest.mark.parametrize("arm", ["quick_dropout", "quick_standard"])
def test_golden_curve_of_20_steps(arm, num_regression):
    r = made(arm)
    losses = [r.step(k).item() for k in range(20)]
    num_regression.check({"loss": losses}, default_tolerance=dict(rtol=1e-5, atol=0))


@pytest.mark.parametrize("name", [n for n in EXPERIMENTS.experiments
                                  if n.startswith(("dropout", "table2", "table9_dropout_max"))])
def test_the_papers_values(name):
    c = EXPERIMENTS.resolve(name)
    assert (c.model.p_input, c.model.p_hidden, c.optim.momentum_final) == (0.8, 0.5, 0.95)
    assert c.regulariser.max_norm == (0.0 if name in ("table2_logistic_1024", "table2_relu_1024")
                                      else 2.0)
    assert c.data.evaluate_on == "test"
    assert c.train.steps == (1_000_000 if name.startswith("table2") else
                             200_000 if name == "dropout" else 100_000)


def test_the_search_never_sees_the_test_set():
    searched = [n for n in EXPERIMENTS.experiments if n.startswith("search")]
    assert searched
    assert all(EXPERIMENTS.resolve(n).data.evaluate_on == "validation" for n in searched)


def test_the_schedules_at_their_corners():
    r = small("dropout", optim__half_life=4, optim__momentum_time=10)
    seen = []
    for k in range(9):
        r.step(k)
        seen.append(r.optimizer.param_groups[0]["lr"])
        assert r.optimizer.param_groups[0]["momentum"] == pytest.approx(
            0.95 - 0.45 * math.exp(-k / 10))
    lr0 = r.config.optim.lr
    assert seen[0] == lr0 and seen[4] == pytest.approx(lr0 / 2) and seen[8] == pytest.approx(
        lr0 / 3)


def test_max_norm_holds_after_every_step_and_leaves_biases_alone():
    r = small("dropout", regulariser__max_norm=1.2)
    for k in range(5):
        r.step(k)
        norms = torch.cat([w.norm(dim=1) for w in r.weights])
        assert norms.max() <= 1.2 + 1e-5
    assert norms.max() > 1.199, "the constraint was felt"
    assert len(r.weights) == 3, "on every matrix, the output's too"


def test_penalties_enter_the_loss_with_their_factors():
    plain = small("standard")
    batch = plain.batch_of(0)
    base = plain.loss(batch, plain.row(0)).item()

    def loss(step=0, **overrides):
        r = small("standard", **overrides)
        return r.loss(batch, r.row(step)).item()
    w = torch.cat([p.flatten() for p in plain.weights])
    assert loss(regulariser__l2=0.3) == pytest.approx(
        base + 0.15 * w.square().sum().item(), rel=1e-5)
    assert loss(regulariser__l1=0.3) == pytest.approx(
        base + 0.3 * w.abs().sum().item(), rel=1e-5)
    assert loss(regulariser__kl=0.1) > base
    late = [loss(k, regulariser__l1=0.3, regulariser__l1_from=2) for k in (0, 1, 2)]
    assert late == pytest.approx([base, base, loss(regulariser__l1=0.3)])


def test_a_subset_is_the_seeds_own_and_grows():
    few, more = (small("standard", measure__train_size=n) for n in (60, 100))
    assert len(few.inputs) == 60 and torch.equal(few.inputs, more.inputs[:60])
    assert not torch.equal(few.inputs, small("standard", seed=1, measure__train_size=60).inputs)
    with pytest.raises(UserError, match=r"measure.train_size=9999: expected at most the 1437"):
        small("standard", measure__train_size=9999)


def test_final_metrics_of_fig_11():
    r = small("dropout", measure__samples=[1, POOL], measure__repeats=5)
    for k in range(60):
        r.step(k)
    metrics = r.evaluate(60, final=True)
    assert metrics[f"monte_carlo_{POOL}_sd"] == pytest.approx(0, abs=1e-9), "the pool itself"
    assert metrics["monte_carlo_1"] > metrics[f"monte_carlo_{POOL}"]
    assert "train_error" in metrics and "train_error" not in r.evaluate(60, final=False)


def test_fig_11_draws_other_networks_every_time():
    n, draw = 360, torch.Generator().manual_seed(0)
    labels = torch.arange(n) % 10
    wrong = torch.arange(n) < torch.arange(POOL)[:, None] * n // POOL  # network i on i/POOL of all
    right = F.one_hot(labels, 10).double().expand(POOL, n, 10)
    pool = torch.where(wrong[:, :, None], right.roll(1, -1), right)
    metrics = monte_carlo(pool * 0.9 + 0.01 * right, labels, [1, 2], 2000, draw)
    errors = 100 * wrong.double().mean(1)
    assert metrics["monte_carlo_1"] == pytest.approx(errors.mean().item(), abs=2)
    assert metrics["monte_carlo_1_sd"] == pytest.approx(errors.std().item(), rel=0.05)
    # Where one of two networks is wrong both classes are near 0.45, the right one 0.01 higher:
    # the lower of the two errors counts, whose mean over pairs is a third of the range.
    assert metrics["monte_carlo_2"] == pytest.approx(100 / 3, abs=2)
    assert metrics["monte_carlo_2_sd"] == pytest.approx(100 / math.sqrt(18), rel=0.06)


def test_the_autoencoder_reports_its_activations(tmp_path):
    r = small("autoencoder_dropout", model__hidden=[24])
    for k in range(30):
        r.step(k)
    metrics = r.evaluate(30, final=True)
    x = r.eval_inputs
    y = torch.relu(x @ r.model.encoder.weight.T + r.model.encoder.bias).detach()
    assert metrics["mean_activation"] == pytest.approx(y.mean().item(), rel=1e-5)
    assert metrics["mean_activation_scaled"] == pytest.approx(0.5 * y.mean().item(), rel=1e-5)
    for name in ("means", "activations"):
        assert sum(metrics[f"{name}_{b}"] for b in range(BINS)) == pytest.approx(1)
    rebuilt = 0.5 * y @ r.model.decoder.weight.T + r.model.decoder.bias
    assert metrics["reconstruction"] == pytest.approx(
        (rebuilt - x).square().sum(1).mean().item(), rel=1e-4)
    r.publish(tmp_path, None)
    assert list(tmp_path.rglob("features0.safetensors"))


@pytest.mark.parametrize(("overrides", "message"), [
    ({"model__p_hidden": 0.0}, r"model.p_hidden=0.0: expected a number above 0 and at most 1"),
    ({"model__hidden": []}, r"model.hidden=\[\]: expected at least one number"),
    ({"measure__samples": [POOL + 1]}, r"each at least 1 and at most 200"),
    ({"model__p_input": 1.5}, r"model.p_input=1.5: expected a number above 0 and at most 1"),
])
def test_impossible_values_are_one_line(overrides, message):
    with pytest.raises(UserError, match=message):
        small("dropout", **overrides)
    with pytest.raises(UserError, match="one hidden layer of an autoencoder"):
        small("autoencoder_dropout")


def test_the_autoencoders_rates_are_what_the_search_says():
    results = papers(["dropout"])[0].results
    for arm in ("dropout", "standard"):
        searched = [r for e, rs in results.items() if e.startswith(f"search_autoencoder_{arm}")
                    for r in rs]
        assert len(searched) == 3
        best = min(searched, key=lambda r: r.at("reconstruction", None))
        assert EXPERIMENTS.resolve(f"autoencoder_{arm}").optim.lr == best.config["optim.lr"]


@pytest.mark.parametrize(("search", "key", "names"), [
    ("search_dropout", "optim.lr",
     ["dropout", "table2_relu_maxnorm_1024", "table9_dropout_l2", "table9_dropout_maxnorm",
      "table10_bernoulli", "fig9a_0.4", "fig9b_0.4", "fig10_dropout_500"]),
    ("search_standard", "optim.lr",
     ["standard", "table9_l2", "table9_l1", "table9_kl", "table9_maxnorm", "fig10_standard_500"]),
    ("search_gaussian", "optim.lr", ["table10_gaussian"]),
    ("search_table10_radius", "regulariser.max_norm", ["table10_gaussian"]),
    ("search_table9_l2", "regulariser.l2", ["table9_l2", "table9_l1", "table9_kl"]),
    ("search_table9_l1", "regulariser.l1", ["table9_l1"]),
    ("search_table9_kl", "regulariser.kl", ["table9_kl"]),
    ("search_table9_maxnorm", "regulariser.max_norm", ["table9_maxnorm"]),
    ("search_table9_dropout_l2", "regulariser.l2", ["table9_dropout_l2"])])
def test_the_classifiers_settings_are_what_the_search_says(search, key, names):
    results = papers(["dropout"])[0].results
    searched = [results[n][0] for n in EXPERIMENTS.expand(search)]
    best = min(searched, key=lambda r: r.at("error", None)).config[key]
    for name in names:
        assert OmegaConf.select(OmegaConf.structured(EXPERIMENTS.resolve(name)), key) == best, name


@pytest.mark.parametrize("p", [0.1, 0.2, 0.3])
def test_the_rates_of_small_p_are_what_the_search_says(p):
    results = papers(["dropout"])[0].results
    searched = [results[n][0] for n in EXPERIMENTS.expand("search_fig9")]
    best = min((r for r in searched if r.config["model.p_hidden"] == p),
               key=lambda r: r.at("error", None)).config["optim.lr"]
    for part in "ab":
        assert EXPERIMENTS.resolve(f"fig9{part}_{p}").optim.lr == best


@pytest.mark.parametrize("p", [0.1, 0.5, 0.7, 1.0])
def test_a_constant_pn_widens_layers_as_p_falls(p):
    model = small(f"fig9b_{p}").model
    assert [l.out_features for l in model.layers[:-1]] == [round(32 / p)] * 2
    assert EXPERIMENTS.resolve(f"fig9b_{p}").model.hidden == [128, 128, 256]
