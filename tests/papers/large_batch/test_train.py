"""The papers' regimes, a look around a minimum, and golden curves on digits."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from common.errors import UserError
from common.experiments import Experiments
from common.files import ROOT
from papers.large_batch.facts import distance_ratio, line_orders, orders
from papers.large_batch.model import flat
from papers.large_batch.train import Config, LargeBatchRecipe

EXPERIMENTS = Experiments(Config, ROOT / "papers/large_batch/config.yaml")


def recipe(name, seed=0, **overrides):
    return LargeBatchRecipe(EXPERIMENTS.resolve(
        name, seed, {k.replace("__", "."): v for k, v in overrides.items()}))


@pytest.mark.parametrize("arm", ["quick_sb", "quick_lb", "quick_ghosts"])
def test_golden_curve_of_20_steps(arm, num_regression):
    ghosts = dict(model__ghost=8, optim__rule="sgd", optim__lr=0.1, optim__milestones=[10])
    made = recipe("quick_sb", **ghosts) if arm == "quick_ghosts" else recipe(arm)
    losses = [made.step(k).item() for k in range(20)]
    num_regression.check({"loss": losses}, default_tolerance=dict(rtol=1e-6, atol=0))


@pytest.mark.parametrize(("arm", "steps", "batch"), [("f1_sb", 4688, 256), ("f1_lb", 200, 6000)])
def test_keskars_values(arm, steps, batch):
    c = EXPERIMENTS.resolve(arm)
    assert (c.data.name, c.data.evaluate_on, c.optim.rule) == ("mnist", "test", "adam")
    assert (c.train.steps, c.train.batch_size) == (steps, batch)
    assert c.train.steps * c.train.batch_size / 60_000 == pytest.approx(20, abs=0.01), "epochs"
    assert c.model.hidden == [512] * 5 and c.model.ghost == 0
    assert (c.measure.epsilons, c.measure.directions) == ([1e-3, 5e-4], 100)
    assert c.measure.iterations == 10


def test_c1_has_a_tenth_of_cifars_images():
    small, large = (EXPERIMENTS.resolve(f"c1_{arm}") for arm in ("sb", "lb"))
    assert (small.train.batch_size, large.train.batch_size) == (256, 5000)
    assert all(c.train.steps * c.train.batch_size / 50_000 == pytest.approx(100, abs=0.01)
               for c in (small, large))


@pytest.mark.parametrize(("name", "images", "epochs", "large"), [("hoffer", 60_000, 50, 4096),
                                                                 ("tenth", 6_000, 20, 1024)])
def test_hoffers_regime(name, images, epochs, large):
    """The rate falls at a fifth, two and three fifths; adapted, after as many updates."""
    arms = {a: EXPERIMENTS.resolve(f"{name}_{a}") for a in ("sb", "lb", "lr", "gbn", "ra")}
    for arm, c in arms.items():
        batch = 128 if arm == "sb" else large
        assert c.train.batch_size == batch and c.optim.rule == "sgd"
        regime = 128 if arm in ("sb", "ra") else large
        assert c.train.steps == pytest.approx(epochs * images / regime, abs=1)
        assert c.optim.milestones == pytest.approx(
            [k * epochs * images / 5 / regime for k in (1, 2, 3)], abs=1)
        assert (c.optim.lr, c.optim.momentum, c.optim.weight_decay) == (0.1, 0.9, 1e-4)
        assert c.optim.rate_batch == (0 if arm in ("sb", "lb") else 128)
        assert c.model.ghost == (128 if arm in ("gbn", "ra") else 0)
        assert c.measure.train_images == (images if name == "tenth" else 0)


def test_rates_are_divided_and_grow_with_the_root_of_the_batch():
    made = recipe("quick_sb", optim__rule="sgd", optim__lr=0.1, optim__rate_batch=8,
                  optim__milestones=[2, 4])
    assert [made.rates(k)["lr"] for k in range(5)] == pytest.approx([0.2, 0.2, 0.02, 0.02, 0.002])
    assert recipe("quick_sb").rates(3) == {}
    assert recipe("quick_sb").optimizer.param_groups[0]["lr"] == 0.001


def test_adam_is_torchs_on_the_mean_cross_entropy():
    """By losses: biases before batch normalisation follow rounding, and count for nothing."""
    ours, theirs = recipe("quick_sb"), recipe("quick_sb")
    optimizer = torch.optim.Adam(theirs.model.parameters(), 0.001)
    for k in range(10):
        x, y = theirs.batch_of(k)
        optimizer.zero_grad()
        loss = F.cross_entropy(theirs.model(x), y)
        loss.backward()
        optimizer.step()
        assert ours.step(k).item() == pytest.approx(loss.item(), rel=1e-4)


def test_the_first_training_images_are_trained_on():
    made = recipe("quick_sb", measure__train_images=100, measure__images=100)
    assert torch.equal(made.inputs, recipe("quick_sb").inputs[:100])


def test_the_other_end_of_the_line_is_no_start():
    """x_ℓ starts at x_0; the line's points are those of the networks themselves."""
    other = recipe("quick_sb")
    for k in range(30):
        other.step(k)
    made = recipe("quick_lb", measure__points=4, measure__directions=2, measure__products=2)
    made.start_with(other.model.state_dict())
    assert torch.equal(flat(made.model), recipe("quick_sb").start), "the same x_0"
    for k in range(5):
        made.step(k)
    metrics = made.evaluate(5, True)
    for k, network in ((1, other.model), (2, made.model)):  # α = 0 and 1
        with torch.no_grad():
            logits = network.train()(made.inputs)  # by statistics of the batch
        assert metrics[f"line_train_loss_{k}"] == pytest.approx(
            F.cross_entropy(logits, made.labels).item(), rel=1e-4)
        assert metrics[f"line_train_accuracy_{k}"] == pytest.approx(
            (logits.argmax(1) == made.labels).double().mean().item())
    assert "line_train_loss_0" not in other.evaluate(30, True)


def test_weights_of_another_network_are_no_other_end():
    with pytest.raises(UserError, match="is absent there"):
        recipe("quick_lb").start_with({})


def test_a_look_around_changes_nothing():
    made = recipe("quick_sb", measure__directions=2, measure__products=2)
    made.step(0)
    before = {k: v.clone() for k, v in made.model.state_dict().items()}
    metrics = made.evaluate(1, True)
    assert all(torch.equal(v, before[k]) for k, v in made.model.state_dict().items())
    names = {f"sharpness_{s}_{ε}_{m}" for s in ("full", "random") for ε in ("0.001", "0.0005")
             for m in ("batch", "moving")} | {"eigenvalue_batch", "eigenvalue_moving"}
    assert names <= metrics.keys()
    assert metrics["sharpness_full_0.001_batch"] > metrics["sharpness_full_0.0005_batch"] > 0
    assert metrics["distance"] == pytest.approx((flat(made.model) - made.start).norm().item())


@pytest.mark.parametrize(("changed", "said"), [
    ({"model__ghost": 7}, "model.ghost=7: expected 2 or more, a divisor of train.batch_size=32"),
    ({"train__batch_size": 1}, "expected at least 2 images"),
    ({"measure__images": 1}, "measure.images=1: expected at least 2 images"),
    ({"measure__images": 5000}, "measure.images=5000: expected at most the 1437"),
    ({"measure__train_images": 5000}, "measure.train_images=5000: expected at most the 1437"),
])
def test_bad_values_are_one_line(changed, said):
    with pytest.raises(UserError, match=said):
        recipe("quick_sb", **changed)


def run(**metrics):
    return SimpleNamespace(at=lambda name, step: metrics[name])


def test_measures_over_a_pair_of_runs():
    runs = {"f1_sb": run(distance=6.0, s=0.5), "f1_lb": run(distance=2.0, s=50.0)}
    assert distance_ratio(runs) == 3
    assert orders(runs, "s") == pytest.approx(2)
    α = np.linspace(-1, 2, 25)
    loss = np.minimum(α**2, 100 * (α - 1) ** 2)  # curvature 1 at α = 0, 100 at α = 1
    loss[14], loss[18] = 100 / 16, 100 / 16
    ends = {"f1_sb": run(), "f1_lb": run(**{f"line_test_loss_{k}": v for k, v in enumerate(loss)})}
    assert line_orders(ends, "test") == pytest.approx(2)


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_rise_is_taken_at_both_minima(split):
    """At α = −¼, 0, ¼ and ¾, 1, 1¼, found by α; every point has a loss of its own."""
    loss = dict(zip(np.linspace(-1, 2, 25), np.random.default_rng(0).uniform(5, 9, 25) ** 2,
                    strict=True))
    loss |= {0.0: 1.0, 1.0: 2.0}
    large = run(**{f"line_{split}_loss_{k}": v for k, v in enumerate(loss.values())})
    flat_rise = (loss[-0.25] + loss[0.25]) / 2 - loss[0.0]
    sharp_rise = (loss[0.75] + loss[1.25]) / 2 - loss[1.0]
    assert line_orders({"f1_sb": run(), "f1_lb": large}, split) == pytest.approx(
        np.log10(sharp_rise / flat_rise))
