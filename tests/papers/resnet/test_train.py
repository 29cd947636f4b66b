"""Section 4.2's recipe: its values, its schedule, and that the fast path is the plain path."""

import functools

import pytest
import torch
import torch.nn.functional as F

from common.errors import UserError
from common.experiments import Experiments
from common.files import ROOT
from common.training import checkpoint
from papers.resnet.train import WARM_UP_WINDOW, Config, ResNetRecipe

EXPERIMENTS = Experiments(Config, ROOT / "papers/resnet/config.yaml")
SMALL = {"train.batch_size": 16, "model.magnify": 1, "model.depth": 8, "train.compile": False,
         "data.name": "digits", "augment.pad": 1, "augment.flip": False}


def recipe(name="quick", seed=0, kind=ResNetRecipe, **overrides):
    return kind(EXPERIMENTS.resolve(
        name, seed, SMALL | {k.replace("__", "."): v for k, v in overrides.items()}))


def test_golden_curve_of_20_steps(num_regression):
    made = recipe()
    losses = [made.step(k).item() for k in range(20)]
    num_regression.check({"loss": losses}, default_tolerance=dict(rtol=1e-5, atol=0))


@pytest.mark.parametrize("name", [n for n in EXPERIMENTS.experiments if n != "quick"])
def test_the_papers_values(name):
    c = EXPERIMENTS.resolve(name)
    assert (c.train.steps, c.train.batch_size, c.data.evaluate_on) == (64_000, 128, "test")
    assert (c.optim.lr, c.optim.momentum, c.optim.weight_decay) == (0.1, 0.9, 1e-4)
    assert c.optim.milestones == [32_000, 48_000]
    assert (c.augment.pad, c.augment.flip) == (4, True)
    kind = "plain" if c.model.shortcut == "none" else "resnet"
    assert f"{kind}{c.model.depth}" == name
    assert c.train.precision == "float32"
    assert (c.optim.warm_up_lr == 0.01) == (name in ("resnet110", "resnet1202"))


def rates(made, steps):
    found = []
    for k in range(steps):
        made.step(k)
        found.append(made.optimizer.param_groups[0]["lr"])
    return found


def test_the_schedule_at_its_corners():
    found = rates(recipe(optim__milestones=[3, 6]), 8)
    assert found == pytest.approx([0.1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.001, 0.001])


def test_the_warm_up_ends_when_the_error_is_below_80_percent_and_only_then():
    class Scripted(ResNetRecipe):
        """Its training error falls below 80 % at update 60."""
        made = 0

        def end_warm_up(self, error):
            self.made += 1
            super().end_warm_up(0.9 if self.made <= 60 else 0.7)
    made = recipe(kind=Scripted, optim__warm_up_lr=0.01, optim__milestones=[100, 110])
    found = rates(made, 115)
    ends = 60 + WARM_UP_WINDOW // 2 + 1  # the mean over the window is then below 0.8
    assert found[:ends] == pytest.approx([0.01] * ends)
    assert found[ends:100] == pytest.approx([0.1] * (100 - ends))
    assert found[100:] == pytest.approx([0.01] * 10 + [0.001] * 5)
    assert not made.warming, "it does not start again"


def test_the_warm_up_survives_a_checkpoint():
    made, other = (recipe(optim__warm_up_lr=0.01) for _ in range(2))
    for k in range(5):
        made.step(k)
    other.load_state(made.state())
    assert other.warming and other.recent == made.recent
    assert other.rates(5) == {"lr": 0.01}


@pytest.mark.parametrize(("decay", "expected"), [("weights", 1), ("all", 2)])
def test_what_decays(decay, expected):
    made = recipe(optim__decay=decay)
    decayed = {id(p) for g in made.optimizer.param_groups for p in g["params"]
               if g["weight_decay"] > 0}
    names = {n for n, p in made.model.named_parameters() if id(p) in decayed}
    assert {"conv1.weight", "fc.weight"} <= names
    assert ("bn1.weight" in names) == ("fc.bias" in names) == (expected == 2)
    assert sum(len(g["params"]) for g in made.optimizer.param_groups) == len(
        list(made.model.parameters()))


def test_the_per_pixel_mean_is_of_the_training_images():
    made = recipe()
    assert made.inputs.mean(0).abs().max() < 1e-6
    assert made.eval_inputs.mean(0).abs().max() > 1e-3
    raw = made.data.test.images.float() / 255
    torch.testing.assert_close(made.eval_inputs, raw - made.mean)


def test_training_error_counts_the_batches_since_the_last_evaluation():
    made = recipe()
    wrong = 0
    for k in range(4):
        x, y = made.batch_of(k)
        with torch.no_grad():  # training mode: the same batch statistics as the update's
            wrong += (made.model(x).argmax(1) != y).sum().item()
        made.step(k)
    assert made.evaluate(4, False)["train_error"] == pytest.approx(100 * wrong / 64)
    assert made.evaluate(5, False)["train_error"] == 0, "the count starts again"


def test_final_metrics_hold_fig_7():
    metrics = recipe().evaluate(1, final=True)
    assert [k for k in metrics if k.startswith("response_")] == [
        f"response_{k}" for k in range(1, 8)]


def test_batches_are_a_function_of_seed_and_step():
    one, two = recipe(augment__flip=True), recipe(augment__flip=True)
    one.batch_of(0)
    assert torch.equal(one.batch_of(5)[0], two.batch_of(5)[0])
    assert not torch.equal(one.batch_of(5)[0], recipe(seed=1).batch_of(5)[0])


@pytest.mark.parametrize("flip", [True, False])
def test_batches_are_crops_of_the_images_and_half_of_them_are_mirrored(flip):
    made = recipe(augment__flip=flip)
    raw = made.data.train.images.float() / 255
    images = F.pad(raw - raw.mean(0), (1, 1, 1, 1))
    mirrored = known = 0
    for step in range(12):
        batch, labels = made.batch_of(step)
        for image, label, index in zip(batch, labels, made.row(step)["index"], strict=True):
            assert label == made.data.train.labels[index]
            crops = [images[index][:, dy:dy + 8, dx:dx + 8] for dy in range(3) for dx in range(3)]
            as_is = any(torch.allclose(image, crop, atol=1e-6) for crop in crops)
            turned = any(torch.allclose(image, crop.flip(-1), atol=1e-6) for crop in crops)
            assert as_is or turned
            known, mirrored = known + (as_is != turned), mirrored + (turned and not as_is)
    assert known > 150
    assert mirrored / known == pytest.approx(0.5 if flip else 0.0, abs=0.12 if flip else 0)


def test_the_compiled_path_equals_the_plain_path():
    plain, fast = recipe(), recipe(train__compile=True)
    for k in range(3):
        a, b = plain.step(k), fast.step(k)
        assert a.item() == pytest.approx(b.item(), rel=1e-4)
    for p, q in zip(plain.model.parameters(), fast.model.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("depth", "whole"), [(8, True), (110, True), (116, False)])
def test_the_deepest_networks_are_compiled_block_by_block(depth, whole):
    """As a whole the compiler fails at 1202 layers: its recursion is too deep."""
    made = recipe(train__compile=True, model__depth=depth)
    assert (made.net is made.model) != whole
    assert any(isinstance(m.forward, functools.partial) for m in made.model.modules()) != whole


def test_channels_last_weights_are_the_same_network_and_stay_so_when_resumed(tmp_path, monkeypatch):
    plain = recipe()
    assert plain.model.conv1.weight.is_contiguous(), "float32 is IEEE's, and as it was"
    monkeypatch.setattr(ResNetRecipe, "layout", torch.channels_last)
    made, other = recipe(), recipe(seed=1)
    for k in range(3):
        assert plain.step(k).item() == pytest.approx(made.step(k).item(), rel=1e-4)
    checkpoint.save(tmp_path, made.state())
    other.load_state(checkpoint.load(tmp_path))
    weight = other.model.layer2[0].conv1.weight
    for tensor in (weight, other.optimizer.state[weight]["momentum_buffer"]):
        assert not tensor.is_contiguous()
        assert tensor.is_contiguous(memory_format=torch.channels_last)
    x = plain.eval_inputs
    assert torch.equal(made.predict(x), other.predict(x))
    torch.testing.assert_close(plain.predict(x), made.predict(x), rtol=1e-3, atol=1e-3)


def test_a_depth_the_paper_does_not_have_is_one_line():
    with pytest.raises(UserError, match=r"model.depth=21: depth 21: expected 6n\+2"):
        recipe(model__depth=21)
