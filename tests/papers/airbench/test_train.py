"""The author's recipes: their values, rates and decays, and what every addition does."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from common.data import load
from common.errors import UserError
from common.experiments import Experiments
from common.files import ROOT
from papers.airbench.facts import chain
from papers.airbench.train import AirbenchRecipe, Config

EXPERIMENTS = Experiments(Config, ROOT / "papers/airbench/config.yaml")
ROWS = [r["row"] for r in chain()]
SMALL = {"train.batch_size": 16, "train.steps": 20, "train.eval_every": 5,
         "model.widths": [4, 6, 6]}


def recipe(name="quick_sgd", seed=0, **overrides):
    return AirbenchRecipe(EXPERIMENTS.resolve(
        name, seed, SMALL | {k.replace("__", "."): v for k, v in overrides.items()}))


@pytest.mark.parametrize("arm", ["sgd", "muon"])
def test_golden_curve_of_20_steps(arm, num_regression):
    made = recipe(f"quick_{arm}", augment__flip="alternating")
    losses = [made.step(k).item() for k in range(20)]
    num_regression.check({"loss": losses}, default_tolerance=dict(rtol=1e-4, atol=0))


# ---- what the scripts say ------------------------------------------------------------------------

def test_the_chain_adds_one_thing_at_a_time():
    configs = {name: EXPERIMENTS.resolve(name) for name in ROWS}
    said = {n: (c.model.first, c.model.dirac, c.optim.bias_scale, c.optim.frozen_after,
                c.optim.lookahead, c.measure.views, c.augment.flip) for n, c in configs.items()}
    assert said == {
        "baseline": ("learned", False, 1, 3, "none", 2, "random"),  # no bias that could rest
        "whiten": ("whitening", False, 1, 0, "none", 2, "random"),
        "dirac": ("whitening", True, 1, 0, "none", 2, "random"),
        "scalebias": ("whitening", True, 64, 0, "none", 2, "random"),
        "freeze": ("whitening", True, 64, 3, "none", 2, "random"),
        "lookahead": ("whitening", True, 64, 3, "late", 2, "random"),
        "tta": ("whitening", True, 64, 3, "late", 6, "random"),
        "mirror": ("whitening", True, 64, 3, "late", 6, "alternating")}


@pytest.mark.parametrize("name", [*ROWS, "airbench94", "airbench95"])
def test_the_scripts_values(name):
    c, late = EXPERIMENTS.resolve(name), name in ("lookahead", "tta", "mirror", "airbench94")
    assert (c.data.name, c.train.batch_size, c.data.evaluate_on) == ("cifar10", 1024, "test")
    assert (c.optim.momentum, c.optim.weight_decay, c.optim.smoothing) == (0.85, 0.0153, 0.2)
    assert c.optim.lr == (11.5 if late else 10.0)
    assert (c.optim.start, c.optim.peak, c.optim.end, c.model.keep) == (
        (0.2, 0.23, 0.07, 0.6) if late or name == "airbench95" else (0.2, 0.2, 0.0, 0.9))
    assert c.model.widths == ([128, 384, 384] if name == "airbench95" else [64, 256, 256])
    assert (c.model.head, c.augment.translate, c.train.precision) == ("ninth", 2, "bfloat16")


def test_muons_values():
    c = EXPERIMENTS.resolve("muon")
    assert (c.train.batch_size, c.train.steps, c.model.head) == (2000, 200, "unit")
    assert (c.optim.muon_lr, c.optim.muon_momentum, c.optim.shift_lr, c.optim.head_lr) == (
        0.24, 0.6, 0.053, 0.67)
    assert (c.optim.momentum, c.optim.decay, c.optim.smoothing, c.optim.lookahead) == (
        0.85, 2e-6, 0.2, "none")
    assert (c.optim.start, c.optim.peak, c.optim.end, c.optim.frozen_after) == (1, 0, 0, 3)
    assert (c.measure.views, c.augment.flip, c.augment.translate) == (6, "alternating", 2)


@pytest.mark.parametrize(("name", "row"), [("small_" + n, n) for n in (
    "baseline", "whiten", "dirac", "scalebias")] + [("small_mirror", "airbench94")])
def test_the_small_chain_is_the_chain_in_another_size(name, row):
    small, large = EXPERIMENTS.resolve(name), EXPERIMENTS.resolve(row)
    assert small.model.widths == [n // 4 for n in large.model.widths]
    assert small.train.steps == 144
    small.model.widths, small.train.steps = large.model.widths, large.train.steps
    small.optim.frozen_after, small.measure.views = large.optim.frozen_after, large.measure.views
    small.experiment = large.experiment
    assert small == large


# ---- rates and decays ----------------------------------------------------------------------------

def test_rates_and_decays_are_the_scripts_sums():
    """A plain transcription: a summed loss, rates by momentum, and torch's SGD."""
    made = recipe(augment__translate=0, optim__lookahead="none", train__batch_size=16)
    other = copy.deepcopy(made.model)
    kilostep = 1024 * (1 + 1 / (1 - 0.85))
    lr, wd = 11.5 / kilostep, 0.0153 * 16 / kilostep
    biases = [p for n, p in other.named_parameters() if "norm" in n and p.requires_grad]
    rest = [p for n, p in other.named_parameters() if "norm" not in n and p.requires_grad]
    sgd = torch.optim.SGD([
        {"params": biases, "lr": 64 * lr, "weight_decay": wd / (64 * lr)},
        {"params": rest, "lr": lr, "weight_decay": wd / lr}], momentum=0.85, nesterov=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        sgd, lambda k: 0.2 + 0.8 * k / 4 if k < 4 else 1 - 0.93 * (k - 4) / 16)
    for k in range(20):  # the warm-up is of int(0.23 · 20) = 4 steps
        x, y = made.batch_of(k)
        sgd.zero_grad()
        F.cross_entropy(other(x), y, label_smoothing=0.2, reduction="sum").backward()
        sgd.step()
        schedule.step()
        made.step(k)
    for (name, p), q in zip(made.model.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=2e-3, atol=2e-4, msg=name)


def test_muons_half_and_sgds_half_are_the_scripts():
    made = recipe("quick_muon", augment__translate=0)
    found = {id(p): g for o in (made.optimizer, made.muon) for g in o.param_groups
             for p in g["params"]}
    learned = [p for p in made.model.parameters() if p.requires_grad]
    assert found.keys() == {id(p) for p in learned}
    assert sum(len(g["params"]) for o in (made.optimizer, made.muon)
               for g in o.param_groups) == len(learned), "each by one of them"
    assert {id(p) for g in made.muon.param_groups for p in g["params"]} == {
        id(p) for p in learned if p.dim() == 4}
    head, shift = found[id(made.model.head.weight)], found[id(made.model.groups[0].norm1.bias)]
    assert (head["top"], shift["top"]) == pytest.approx((0.67 * 16, 0.053 * 16))
    for group in (head, shift):  # a step decays by rate · decay = 2e-6 an image
        assert group["top"] * group["weight_decay"] == pytest.approx(2e-6 * 16)
    made.step(0)
    made.step(5)
    assert made.muon.param_groups[0]["lr"] == pytest.approx(0.24 * 15 / 20)
    assert made.rate(5) == pytest.approx(0.24 * 15 / 20)


@pytest.mark.parametrize("rule", ["sgd", "muon"])
@pytest.mark.parametrize("first", ["whitening", "learned"])
def test_every_weight_that_is_learned_has_one_optimiser(rule, first):
    made = recipe(f"quick_{rule}", model__first=first)
    held = [id(p) for o in (made.optimizer, made.muon) if o is not None
            for g in o.param_groups for p in g["params"]]
    assert sorted(held) == sorted(id(p) for p in made.model.parameters() if p.requires_grad)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_run_in_bfloat16_iterates_and_predicts_in_it(precision):
    made = recipe("quick_muon", train__precision=precision)
    assert [g["half"] for g in made.muon.param_groups] == [precision == "bfloat16"]
    x = torch.rand(4, 1, 32, 32)
    wanted = torch.bfloat16 if precision == "bfloat16" else torch.float32
    seen = []
    handle = made.model.head.register_forward_hook(lambda m, i, y: seen.append(y.dtype))
    made.predict(x)
    handle.remove()
    assert seen and {*seen} == {wanted}


@pytest.mark.parametrize(("name", "epochs"), [
    ("airbench94", 9.9), ("airbench95", 15), ("airbench95_random", 15),
    ("airbench95_random_16", 16), ("airbench95_random_17", 17)])
def test_the_scripts_train_for_their_published_epochs(name, epochs):
    config = EXPERIMENTS.resolve(name)
    assert config.train.steps == math.ceil(round(48 * epochs, 9))  # 48 whole batches an epoch
    assert (config.augment.flip == "random") == ("random" in name)


def test_unscaled_differs_in_the_shifts_rate_alone():
    scaled, unscaled = (EXPERIMENTS.resolve(n) for n in ("small_mirror", "small_unscaled"))
    assert (scaled.optim.bias_scale, unscaled.optim.bias_scale) == (64.0, 1.0)
    unscaled.optim.bias_scale = 64.0
    assert unscaled.optim == scaled.optim and unscaled.train == scaled.train


def test_what_decays_and_how_fast_under_sgd():
    made = recipe()
    scale = 16 / 1024 / (1 + 1 / 0.15)
    for group in made.optimizer.param_groups:
        assert group["top"] * group["weight_decay"] == pytest.approx(0.0153 * scale)
    learned = [p for p in made.model.parameters() if p.requires_grad]
    assert sum(len(g["params"]) for g in made.optimizer.param_groups) == len(learned)
    assert made.rate(4) == pytest.approx(11.5 * scale)


@pytest.mark.parametrize(("name", "expected"), [
    ("quick_sgd", [0.2, 1.0, 0.0]), ("quick_muon", [1.0, 1 - 33 / 267, 0.0])])
def test_the_first_layers_bias_rests_after_three_epochs(name, expected):
    made = recipe(name, train__steps=400)  # an epoch is 89 batches, the rate highest at 92
    assert [made.rates(k)["first"] for k in (0, 33 if "muon" in name else 92, 267)] == (
        pytest.approx(expected))
    assert made.rates(266)["first"] > 0 and made.rates(267)["height"] > 0
    made.step(0)
    before = made.model.first.bias.detach().clone()
    made.step(267)
    assert torch.equal(made.model.first.bias, before)
    assert recipe(name, optim__frozen_after=0.0, train__steps=400).rates(300)["first"] > 0


def test_filters_of_the_first_layer_stay_and_the_baselines_learn():
    for first in ("whitening", "learned"):
        made = recipe(model__first=first)
        before = made.model.first.weight.detach().clone()
        for k in range(3):
            made.step(k)
        assert torch.equal(made.model.first.weight, before) == (first == "whitening")
        assert all((m.weight == 1).all() for m in made.model.modules()
                   if isinstance(m, nn.BatchNorm2d))


def test_the_first_layer_whitens_the_training_images():
    made = recipe()
    filters = made.model.first.weight[:4].double()
    outputs = F.conv2d(made.inputs[:5000].double(), filters).movedim(1, -1).flatten(0, 2)
    found = outputs.T @ outputs / len(outputs)
    assert (found - torch.diag(found.diagonal())).abs().max() < 1e-4
    assert 0.9 < found.diagonal()[0] <= 1.0001


# ---- images --------------------------------------------------------------------------------------

def test_channels_have_mean_0_and_variance_1():
    made = recipe()
    assert made.inputs.double().mean().item() == pytest.approx(0, abs=1e-5)
    assert made.inputs.double().std().item() == pytest.approx(1, abs=1e-4)
    assert made.inputs.shape[1:] == (1, 32, 32)


@pytest.mark.slow
def test_on_cifar10_the_channels_are_the_scripts_constants(real_data):
    real_data("uoft-cs/cifar10")
    made = AirbenchRecipe.__new__(AirbenchRecipe)
    made.measure(load("cifar10").train)
    for found, printed in ((made.mean, (0.4914, 0.4822, 0.4465)),
                           (made.std, (0.2470, 0.2435, 0.2616))):
        torch.testing.assert_close(found.flatten() / 255, torch.tensor(printed),
                                   rtol=0, atol=5e-5)


def test_batches_are_crops_of_reflected_images_mirrored_by_epoch():
    made = recipe(augment__flip="alternating")
    steps = made.order.steps
    for step in (0, steps):
        row = made.row(step)
        x, y = made.batch(row)
        mirrored = made.flips(step // steps)[row["index"]]
        padded = F.pad(made.inputs[row["index"]], (2, 2, 2, 2), mode="reflect")
        for k in range(4):
            dy, dx = row["offset"][:, k, 0].tolist()
            piece = padded[k, :, dy:dy + 32, dx:dx + 32]
            assert torch.equal(x[k], piece.flip(-1) if mirrored[k] else piece)
        assert torch.equal(y, made.labels[row["index"]])


def test_a_step_is_a_function_of_seed_and_number():
    one, two, other = recipe(), recipe(), recipe(seed=1)
    for k in (3, 0):
        a, b = one.row(k), two.row(k)
        assert all(torch.equal(torch.as_tensor(a[n]), torch.as_tensor(b[n])) for n in a)
    assert not torch.equal(one.row(0)["index"], other.row(0)["index"])


# ---- what comes out ------------------------------------------------------------------------------

def test_the_final_evaluation_looks_once_twice_and_six_times():
    made = recipe(measure__views=6)
    made.step(0)
    assert made.evaluate(5, False).keys() == {"accuracy_1"}
    final = made.evaluate(20, True)
    assert final["accuracy"] == final["accuracy_6"]
    made.model.eval()
    with torch.no_grad():
        z = made.model(made.eval_inputs)
        both = (z + made.model(made.eval_inputs.flip(-1))) / 2
    for n, logits in ((1, z), (2, both)):
        right = (logits.argmax(1) == made.eval_labels).double().mean().item()
        assert final[f"accuracy_{n}"] == pytest.approx(100 * right)


def test_half_precision_leaves_batch_normalisation_in_float32():
    made = recipe("airbench94", **{"data__name": "digits", "model__magnify": 4})
    seen = {}

    def watch(name):
        def hook(_module, _inputs, y):
            seen[name] = y.detach()
        return hook
    for name in ("conv2", "norm2"):
        getattr(made.model.groups[0], name).register_forward_hook(watch(name))
    made.step(0)
    norm, x = made.model.groups[0].norm2, seen["conv2"]
    assert x.dtype == torch.bfloat16 and norm.running_mean.dtype == torch.float32
    exact = F.batch_norm(x.double(), None, None, norm.weight.double(),
                         torch.zeros_like(norm.bias).double(), training=True, eps=1e-12)
    off = (seen["norm2"].double() - exact).norm() / exact.norm()
    assert off < 2**-8, "statistics are exact, only what comes out is rounded"
    torch.testing.assert_close(norm.running_mean.double(), 0.4 * x.double().mean((0, 2, 3)),
                               rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["quick_sgd", "quick_muon"])
def test_a_run_continues_from_its_state(name):
    whole, resumed = recipe(name), recipe(name)
    for k in range(7):
        whole.step(k)
    resumed.load_state(copy.deepcopy(whole.state()))
    for k in range(7, 12):
        assert whole.step(k).item() == resumed.step(k).item()
    assert whole.evaluate(20, True) == resumed.evaluate(20, True)


@pytest.mark.parametrize("name", [pytest.param("quick_sgd", marks=pytest.mark.slow), "quick_muon"])
def test_training_learns(name):
    made = recipe(name, train__steps=120, train__batch_size=48, model__widths=[8, 16, 16])
    losses = [made.step(k).item() for k in range(120)]
    assert sum(losses[-10:]) < 0.85 * sum(losses[:10])
    assert made.evaluate(120, True)["accuracy_1"] > 60


@pytest.mark.parametrize(("wrong", "said"), [
    ({"measure__views": 3}, "measure.views=3: expected 1, 2 or 6"),
    ({"model__widths": [4, 4]}, "model.widths=[4, 4]: expected three numbers"),
    ({"model__magnify": 3}, "model.magnify=3: images of 24×24 pixels: expected at least 25×25"),
    ({"augment__translate": 32}, "augment.translate=32: a reflection 32 pixels wide"),
    ({"train__batch_size": 2000}, "train.batch_size=2000: expected at most the 1437 examples"),
    ({"optim__muon_lr": 0.1}, "optim.muon_lr"),
])
def test_bad_values_are_one_line(wrong, said):
    with pytest.raises(UserError) as e:
        recipe(**wrong).step(0)
    assert said in str(e.value) and "\n" not in str(e.value)
