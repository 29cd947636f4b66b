"""Section 4.1.1's recipe: its values, its rates at every corner, what is measured."""

import copy
import functools
from itertools import pairwise

import pytest
import torch

from common.errors import UserError
from common.experiments import Experiments
from common.files import ROOT
from common.training.vectorised import BatchedSeeds
from papers.cyclical_lr.policies import rate
from papers.cyclical_lr.train import Config, CyclicalLrRecipe

EXPERIMENTS = Experiments(Config, ROOT / "papers/cyclical_lr/config.yaml")
TABLE2 = [(0, 16_000, 0.001, 0.005, 2000), (16_000, 22_000, 0.0001, 0.0005, 1000),
          (22_000, 25_000, 0.00001, 0.00005, 500)]


def recipe(name="quick_triangular2", seed=0, **overrides):
    return CyclicalLrRecipe(EXPERIMENTS.resolve(
        name, seed, {k.replace("__", "."): v for k, v in overrides.items()}))


@functools.cache
def schedule(name):
    return EXPERIMENTS.resolve(name).schedule


def rates(name, *steps):
    return [rate(schedule(name), k) for k in steps]


@pytest.mark.parametrize(("arm", "base", "top"), [("sgd", 0.05, 0.1), ("adam", 0.0005, 0.002)])
def test_golden_curve_of_12_steps(arm, base, top, num_regression):
    made = recipe(optim__solver=arm, schedule__base_lr=base, schedule__max_lr=top,
                  schedule__stepsize=[4])
    losses = [made.step(k).item() for k in range(12)]  # later on processors part
    num_regression.check({"loss": losses}, default_tolerance=dict(rtol=1e-5, atol=0))


@pytest.mark.parametrize("name", [n for n in EXPERIMENTS.experiments if not n.startswith("quick")])
def test_the_papers_values(name):
    c = EXPERIMENTS.resolve(name)
    assert (c.data.name, c.train.batch_size, c.model.lrn) == ("cifar10", 100, True)
    assert (c.optim.momentum, c.optim.momentum2, c.optim.rms_decay, c.optim.delta,
            c.optim.weight_decay) == (0.9, 0.999, 0.99, 1e-8, 0.004)
    assert (c.data.evaluate_on == "validation") == (name == "range_test"), "rates see no test image"


def test_triangular2_is_table_2():
    for start, end, base, top, stepsize in TABLE2:
        for k in range((end - start) // (2 * stepsize)):
            at = start + 2 * k * stepsize
            found = rates("triangular2", at, at + stepsize // 2, at + stepsize,
                          at + 2 * stepsize - 1)
            height = (top - base) / 2**k
            assert found == pytest.approx([
                base, base + height / 2, base + height, base + height / stepsize])
    assert rates("triangular2", 25_000) == pytest.approx([1e-5])


@pytest.mark.parametrize("name", ["fixed", "nesterov_fixed", "adam_fixed"])
def test_fixed_rates_are_caffes_three(name):
    base = 0.0005 if name == "adam_fixed" else 0.001
    assert rates(name, 0, 59_999, 60_000, 64_999, 65_000, 69_999) == pytest.approx(
        [base, base, base / 10, base / 10, base / 100, base / 100])


def test_decay_falls_in_4000_iterations_and_stays():
    assert rates("decay", 0, 2000, 4000, 24_999) == pytest.approx([0.007, 0.004, 0.001, 0.001])


def test_the_controls_have_triangular2s_stages_and_no_rise():
    assert rates("decay_staged", 0, 4000, 15_999, 16_000, 18_000, 22_000, 23_000) == pytest.approx(
        [0.005, 0.001, 0.001, 0.0005, 0.0001, 0.00005, 0.00001])
    for name in ("decay_staged", "fixed_staged"):
        one, other = (EXPERIMENTS.resolve(n) for n in (name, "triangular2"))
        assert one.train.steps == other.train.steps and one.schedule.stages == other.schedule.stages
        inside = [rates(name, k)[0] for k in range(0, 25_000, 50) if k not in (16_000, 22_000)]
        assert all(b <= a for a, b in pairwise(inside))


def test_exp_policies():
    γ = 0.99994
    assert rates("exp", 0, 1, 69_999) == pytest.approx([0.001, 0.001 * γ, 0.001 * γ**69_999])
    assert rates("exp_range", 0, 2000, 4000, 42_000) == pytest.approx(
        [0.001, 0.006 * γ**2000, 0.001 * γ**4000, 0.006 * γ**42_000])
    assert rates("exp_range_3000", 42_000) == pytest.approx([0.001 * γ**42_000])


@pytest.mark.parametrize(("name", "low", "high"), [
    ("nesterov", 0.001, 0.006), ("adam", 0.0005, 0.002), ("rmsprop", 0.0001, 0.0003),
    ("adagrad", 0.003, 0.035), ("adadelta", 0.01, 0.1)])
def test_table_3s_bounds(name, low, high):
    fixed, cyclic = (EXPERIMENTS.resolve(f"{name}_{k}") for k in ("fixed", "triangular"))
    assert fixed.optim.solver == cyclic.optim.solver == name
    assert (fixed.train.steps, cyclic.train.steps) == (70_000, 25_000)
    assert rates(f"{name}_fixed", 0) == [low]
    assert rates(f"{name}_triangular", 0, 2000, 4000, 14_000) == pytest.approx(
        [low, high, low, high])
    assert rates(f"{name}_triangular", 16_000, 17_000, 22_500, 25_000) == pytest.approx(
        [low / 10, high / 10, high / 100, low / 100])


@pytest.mark.parametrize("name", ["adam", "rmsprop"])
def test_table_3s_long_rows_end_at_the_end_of_a_cycle(name):
    low = rates(f"{name}_fixed", 0)[0]
    assert rates(f"{name}_triangular_70k", 0, 60_000, 65_000, 70_000) == pytest.approx(
        [low, low / 10, low / 100, low / 100])


def test_the_range_tests_rate_rises_in_a_line():
    assert rates("range_test", 0, 1, 2000, 4000) == pytest.approx([0, 5e-6, 0.01, 0.02])


def test_an_update_uses_the_rate_of_its_step():
    made = recipe(schedule__stepsize=[2], schedule__stages=[])
    for k, expected in enumerate([0.001, 0.003, 0.005, 0.003, 0.001, 0.002, 0.003]):
        made.step(k)
        assert [g["lr"] for g in made.optimizer.param_groups] == pytest.approx(
            [expected] * len(made.optimizer.param_groups))


def test_inputs_are_pixels_less_the_mean_image():
    made = recipe(model__magnify=1)
    raw = made.data.train.images.float()
    torch.testing.assert_close(made.inputs.contiguous(), raw - raw.mean(0))
    torch.testing.assert_close(made.eval_inputs.contiguous(),
                               made.data.test.images.float() - raw.mean(0))
    assert raw.max() == 255


def test_a_range_test_names_its_edges_at_the_end_and_after_a_checkpoint():
    small = dict(train__steps=120, train__batch_size=20, schedule__stepsize=[120],
                 schedule__max_lr=0.02)
    whole, resumed = (recipe("quick_range_test", **small) for _ in range(2))
    for k in range(119):
        whole.step(k)
        if (k + 1) % 10 == 0:
            metrics = whole.evaluate(k + 1, False)
            assert metrics["rate"] == pytest.approx(0.02 * k / 120)
            assert "base_lr" not in metrics
    resumed.load_state(copy.deepcopy(whole.state()))
    for made in (whole, resumed):
        made.step(119)
    final = whole.evaluate(120, True)
    assert 0 < final["base_lr"] < final["max_lr"] < 0.02
    assert resumed.evaluate(120, True) == final


def test_other_policies_measure_accuracy_alone():
    assert recipe().evaluate(0, True).keys() == {"accuracy"}


def test_training_learns():
    made = recipe(train__batch_size=20, schedule__policy="fixed", schedule__base_lr=0.01)
    losses = [made.step(k).item() for k in range(250)]
    assert sum(losses[-20:]) < 0.5 * sum(losses[:20])


@pytest.mark.parametrize(("wrong", "said"), [
    ({"schedule__max_lr": 0.0001}, "schedule.max_lr=0.0001: expected at least"),
    ({"schedule__stages": [440, 320]}, "expected steps in ascending order"),
    ({"schedule__stepsize": [4, 3, 2, 1]}, "expected at most 3, one for each stage"),
    ({"schedule__stepsize": []}, "schedule.stepsize"),
    ({"optim__delta": 0.0, "optim__solver": "adam"}, "optim.delta"),
    ({"optim__delta": 0.1}, "optim.delta"),
    ({"schedule__gamma": 0.5}, "schedule.gamma"),
])
def test_bad_values_are_one_line(wrong, said):
    with pytest.raises(UserError) as e:
        recipe(**wrong)
    assert said in str(e.value) and "\n" not in str(e.value)


def test_images_too_small_for_the_network_are_one_line(monkeypatch):
    made = CyclicalLrRecipe.prepare
    monkeypatch.setattr(CyclicalLrRecipe, "prepare", lambda self, x: made(self, x)[..., :7, :7])
    with pytest.raises(UserError, match=r"model\.magnify=1: images of 7×7 pixels"):
        recipe(model__magnify=1)


def test_nothing_is_compiled():
    with pytest.raises(UserError, match=r"train\.compile"):
        EXPERIMENTS.resolve("quick_triangular2", 0, {"train.compile": True})
    with pytest.raises(UserError, match=r"train\.vectorize=true: batched networks are compiled"):
        BatchedSeeds([recipe(), recipe(seed=1)])
