"""Retraining what is left, and one layer at a time."""

import copy
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from common.errors import UserError
from common.experiments import Experiments
from common.files import ROOT
from papers.filter_pruning.facts import (
    RESNET20,
    loss_by_pruning,
    loss_in_the_end,
    regained,
    rise,
    rise_between,
    rise_more,
)
from papers.filter_pruning.model import cut, kept, prunable, prune
from papers.filter_pruning.train import Config, SensitivityRecipe, TrainRecipe
from papers.filter_pruning.train import recipe as make

EXPERIMENTS = Experiments(Config, ROOT / "papers/filter_pruning/config.yaml")


def recipe(name="quick_smallest", seed=0, **overrides):
    return make(EXPERIMENTS.resolve(
        name, seed, {k.replace("__", "."): v for k, v in overrides.items()}))


def donor(steps=5):
    made = recipe("quick_whole", 7)
    made.train_mode()
    for k in range(steps):
        made.step(k)
    return made


@pytest.mark.parametrize("arm", ["quick_whole", "quick_smallest", "vgg"])
def test_golden_curve_of_20_steps(arm, num_regression):
    made = recipe("quick_whole", model__kind="vgg16", model__width=2, train__batch_size=16,
                  plan__shares=[0.5, 0, 0, 0.5, 0.5]) if arm == "vgg" else recipe(arm)
    if arm == "quick_smallest":
        made.start_with(donor().model.state_dict())
    made.train_mode()
    losses = [made.step(k).item() for k in range(20)]
    num_regression.check({"loss": losses}, default_tolerance=dict(rtol=1e-4, atol=0))


# ---- the paper's plans ------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "depth", "shares", "skip"), [
    ("resnet56_a", 56, [0.1] * 3, [16, 20, 38, 54]),
    ("resnet56_b", 56, [0.6, 0.3, 0.1], [16, 18, 20, 34, 38, 54]),
    ("resnet110_a", 110, [0.5, 0, 0], [36]),
    ("resnet110_b", 110, [0.5, 0.4, 0.3], [36, 38, 74])])
def test_section_4_2(name, depth, shares, skip):
    c = EXPERIMENTS.resolve(name)
    assert (c.model.depth, c.plan.shares, c.plan.skip) == (depth, shares, skip)
    assert c.train.steps * c.train.batch_size / 50_000 == pytest.approx(40, abs=0.01), "epochs"
    assert (c.optim.lr, c.optim.milestones, c.plan.which) == (0.001, [], "smallest")
    if name.endswith("b"):
        s = EXPERIMENTS.resolve(f"{name}_scratch")
        assert (s.model.depth, s.plan.shares, s.plan.skip) == (depth, shares, skip)
        assert (s.start_from, s.train.steps, s.optim.lr) == ("", 64_000, 0.1)


def test_vgg_a_is_half_of_layers_1_and_8_to_13():
    made = EXPERIMENTS.resolve("vgg16_a")
    assert (made.plan.shares, made.plan.skip) == ([0.5, 0, 0, 0.5, 0.5], [2])


def test_rates_are_constant_in_retraining_and_fall_in_training():
    assert {recipe().rates(k)["lr"] for k in (0, 30, 59)} == {0.005}
    whole = recipe("quick_whole")
    assert [whole.rates(k)["lr"] for k in (0, 199, 200)] == pytest.approx([0.05, 0.05, 0.005])


# ---- training what is left --------------------------------------------------------------------


@pytest.mark.parametrize("which", ["smallest", "largest", "random"])
def test_a_run_starts_with_what_is_left_of_the_weights(which):
    whole, made = donor(), recipe(plan__which=which)
    made.start_with(whole.model.state_dict())
    expected = copy.deepcopy(whole.model)
    prune(expected, made.left, which, generator=made.generator("filters", 0))
    for name, p in made.model.state_dict().items():
        assert torch.equal(p, expected.state_dict()[name]), name
    assert made.model.layer1[0].conv1.weight.shape[0] == 8
    assert made.before == [whole.error(), made.error()]
    metrics = made.evaluate(0, True)
    assert (metrics["whole"], metrics["pruned"]) == tuple(made.before)
    before = copy.deepcopy(made.model.state_dict())
    made.train_mode()
    made.step(0)
    assert not torch.equal(made.model.fc.weight, before["fc.weight"])


def test_from_random_weights_nothing_is_known_of_a_whole_network():
    made = recipe("quick_whole", plan__shares=[0.5] * 3)
    assert set(made.evaluate(0, True)) == {"error"}
    assert made.model.layer3[0].conv2.weight.shape == (64, 32, 3, 3)


def test_a_checkpoint_of_a_pruned_network_is_its_state():
    made, again = recipe(), recipe()
    made.start_with(donor().model.state_dict())
    again.load_state(made.state())
    assert again.before == made.before
    assert torch.equal(again.model.layer1[0].conv1.weight, made.model.layer1[0].conv1.weight)


def test_a_step_is_torchs_sgd():
    ours, theirs = recipe(augment__pad=0), recipe(augment__pad=0)
    decayed = [p for p in theirs.model.parameters() if p.dim() > 1]
    rest = [p for p in theirs.model.parameters() if p.dim() == 1]
    optimizer = torch.optim.SGD([{"params": decayed, "weight_decay": 1e-4}, {"params": rest}],
                                0.005, momentum=0.9)
    for made in (ours, theirs):
        made.train_mode()
    for k in range(3):
        x, y = theirs.batch_of(k)
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(theirs.model(x), y)
        loss.backward()
        optimizer.step()
        assert ours.step(k).item() == pytest.approx(loss.item(), rel=1e-4)


def test_weights_of_other_images_are_refused():
    weights = donor(0).model.state_dict()
    with pytest.raises(UserError, match=r"input.mean there is not the mean of these training"):
        recipe().start_with(weights | {"input.mean": torch.zeros(1, 8, 8)})
    with pytest.raises(UserError, match=r"conv1.weight is absent there"):
        recipe().start_with({})


def test_published_weights_fit():
    tensors = load_file(RESNET20)
    made = recipe("quick_sensitivity", model__depth=20, view__shares=[0.5], train__steps=9)
    with pytest.raises(UserError, match=r"conv1.weight is \(16, 3, 3, 3\) there"):
        made.start_with(tensors)


# ---- one layer at a time ----------------------------------------------------------------------


def test_a_step_prunes_one_layer_of_the_whole_network():
    weights = donor(40).model.state_dict()
    made = recipe("quick_sensitivity", view__images=200)
    assert isinstance(made, SensitivityRecipe)
    made.start_with(weights)
    before = copy.deepcopy(made.model.state_dict())
    for number in (1, 8, 13):
        layer = prunable(made.model)[number // 5]
        share = (0.25, 0.5, 0.6, 0.75, 0.9)[number % 5]
        network = copy.deepcopy(made.model)
        weight = network.get_submodule(layer.conv).weight
        cut(network, layer, kept(weight, int(len(weight) * (1 - share) + 1e-9)))
        found = network.eval()(made.pixels.float() / 255 - made.mean).argmax(1)
        wrong = 100 * (found != made.labels).double().mean().item()
        assert made.step(number).item() == pytest.approx(wrong)
        assert made.evaluate(15, True)[f"error_{layer.number}_{share:g}"] == pytest.approx(wrong)
    assert all(torch.equal(v, before[k]) for k, v in made.model.state_dict().items())


@pytest.mark.parametrize(("name", "changed", "said"), [
    ("quick_smallest", {"plan__shares": [0.5]}, "1 shares: expected one for each of 3 stages"),
    ("quick_smallest", {"plan__skip": [3]}, "layer 3: expected one of 2, 4, 6"),
    ("quick_smallest", {"model__depth": 9}, "model.depth=9: depth 9: expected 6n"),
    ("quick_smallest", {"train__batch_size": 1}, "train.batch_size=1: expected at least 2"),
    ("quick_sensitivity", {"train__steps": 14}, "train.steps=14: expected 15, a step for each"),
    ("quick_sensitivity", {"view__images": 361}, "view.images=361: expected at most the 360"),
])
def test_bad_values_are_one_line(name, changed, said):
    with pytest.raises(UserError, match=said):
        recipe(name, **changed)


def test_the_recipe_follows_the_task():
    assert isinstance(recipe(), TrainRecipe)


def run(**metrics):
    return SimpleNamespace(at=lambda name, step: metrics[name], metrics=metrics)


def test_measures_over_runs():
    one = run(**{"error": 8.0, "error_2_0.5": 9.0, "error_4_0.5": 11.0, "error_4_0.9": 30.0})
    two = run(**{"error": 8.0, "error_2_0.5": 12.0, "error_4_0.5": 20.0})
    assert rise({"a": one}, 0.5) == 2 and rise({"a": one}, 0.9) == 22
    assert rise_between({"a": one}, 0.5, [4], [2]) == 2
    assert rise_more({"a": one, "b": two}, 0.5, "a") == 6
    trained = run(whole=8.0, pruned=48.0, error=12.0)
    assert loss_by_pruning({"a": trained}) == 40 and loss_in_the_end({"a": trained}) == 4
    assert regained({"a": trained}) == pytest.approx(90)
