"""The recipe: sweeps, held-out cases, what is measured of weights, golden curves."""

import copy
import math

import numpy as np
import pytest
import torch

from common.errors import UserError
from common.evidence.results import Result
from common.experiments import Experiments
from common.files import ROOT
from papers.backprop import facts
from papers.backprop.facts import family_units, symmetry_structure
from papers.backprop.measures import right
from papers.backprop.model import Network, layered
from papers.backprop.tasks import ENGLISH
from papers.backprop.train import BackpropRecipe, Config

EXPERIMENTS = Experiments(Config, ROOT / "papers/backprop/config.yaml")


def made(name="symmetry", seed=0, **overrides):
    return BackpropRecipe(EXPERIMENTS.resolve(name, seed, {
        k.replace("__", "."): v for k, v in overrides.items()}))


@pytest.mark.parametrize("name", ["quick", "symmetry", "family_learns"])
def test_golden_curve_of_20_steps(name, num_regression):
    r = made(name, model__networks=4)
    losses = [r.step(k).item() for k in range(20)]
    num_regression.check({"loss": losses}, default_tolerance=dict(rtol=1e-5, atol=0))


def test_the_letters_values():
    s, f = (EXPERIMENTS.resolve(n) for n in ("symmetry", "family_printed"))
    assert (s.optim.lr, s.optim.momentum, s.model.init, s.model.hidden) == (0.1, 0.9, 0.3, 2)
    assert (f.optim.lr, f.optim.momentum, f.optim.decay, f.train.steps) == (0.01, 0.9, 0.002, 1500)
    assert (f.optim.gentle, f.optim.gentle_lr, f.optim.gentle_momentum) == (20, 0.005, 0.5)
    assert f.model.tolerance == 0.2 and f.task.held_out == 4


def test_the_gentle_sweeps_end_at_their_corner():
    r = made("family_printed", model__networks=2)
    rates = []
    for k in range(22):
        r.step(k)
        group = r.optimizer.param_groups[0]
        rates.append((group["lr"], group["momentum"]))
    assert rates[:20] == [(0.005, 0.5)] * 20 and rates[20:] == [(0.01, 0.9)] * 2


def test_held_out_cases_do_not_touch_the_gradient():
    r = made("family_learns", model__networks=3)
    assert torch.equal((r.mask == 0).sum(1).flatten(), torch.tensor([4, 4, 4]))
    assert not torch.equal(r.mask[0], r.mask[1])
    d = r.labels
    changed = d.clone()
    held = (r.mask[0, :, 0] == 0).nonzero()[0, 0]
    changed[held] = 1 - changed[held]
    gradients = []
    for targets in (d, changed):
        other = made("family_learns", model__networks=3)
        other.labels = targets
        other.step(0)
        gradients.append(other.model.w["5-6"].grad[0])
    assert torch.equal(*gradients)


def test_sweeps_are_counted_to_the_first_solution():
    r = made("xor_two", model__networks=30)
    first = {}
    for k in range(600):
        y = r.model.outputs(r.groups(r.inputs))
        for s in right(y, r.labels).all(1).nonzero().flatten().tolist():
            first.setdefault(s, k)
        r.step(k)
    assert first, "some are solved"
    assert {s: int(v) for s, v in enumerate(r.sweeps) if v >= 0} == first


@pytest.mark.parametrize(("held_out", "sweeps"), [(0, 700), (1, 60)])
def test_learned_is_every_output_of_every_trained_case_within_the_tolerance(held_out, sweeps):
    r = made("xor_two", model__networks=30, model__tolerance=0.2, task__held_out=held_out)
    for k in range(sweeps):
        r.step(k)
    x, d = r.inputs.double().numpy(), r.labels.double().numpy()
    w = {k: v.double().numpy() for k, v in r.model.state_dict().items()}
    learned, solved_now, all_cases = [], [], []
    for s in range(30):
        h = 1 / (1 + np.exp(-x @ w["w.0-1"][s].T - w["b.1"][s]))
        off = np.abs(1 / (1 + np.exp(-h @ w["w.1-2"][s].T - w["b.2"][s])) - d)[:, 0]
        trained = r.mask[s, :, 0].numpy() == 1
        learned.append((off[trained] < 0.2).all())
        solved_now.append((off[trained] < 0.5).all())
        all_cases.append((off < 0.2).all())
    assert 0 < np.mean(learned) < np.mean(solved_now), "otherwise nothing is shown"
    assert not held_out or np.mean(all_cases) < np.mean(learned)
    assert r.evaluate(sweeps, False)["learned"] == pytest.approx(np.mean(learned))
    assert "learned" not in made("xor_two", model__networks=2).evaluate(0, False)


def run_of(hidden, *sweeps):
    metrics = {f"sweeps_{k}": float(v) for k, v in enumerate(sweeps)}
    return Result("backprop", f"h{hidden}", 0, metrics | {"median_sweeps": 7.0}, {},
                  {"model.hidden": hidden}, {})


def test_measures_over_networks():
    one = {"h2": run_of(2, 100, 200, -1, 300)}
    assert facts.sweeps(one["h2"]) == [100, 200, math.inf, 300]
    assert facts.faster_than(one, 200) == 0.5 and facts.faster_than(one, 1e9) == 0.75
    runs = {f"h{n}": run_of(n, *v) for n, v in {2: (300, -1, 500), 8: (250,), 32: (150,)}.items()}
    x, y = np.log2([2, 8, 32]), np.array([400, 250, 150])
    assert facts.slope_per_doubling(runs) == pytest.approx(np.polyfit(x, y, 1)[0])
    assert facts.level_of_line(runs, 280, -33) == pytest.approx(np.mean(y / (280 - 33 * x)))


def test_fractions_are_of_trained_and_of_held_out_cases():
    r = made("family_learns", model__networks=6)
    for k in range(60):
        r.step(k)
    y, d = r.model.outputs(r.groups(r.inputs)).numpy(), r.labels.numpy()
    right, mask = (np.abs(y - d) < 0.5).all(2), r.mask[:, :, 0].numpy() == 1
    m = r.evaluate(60, False)
    assert m["trained"] == pytest.approx(right[mask].mean())
    assert m["held_out"] == pytest.approx(right[~mask].mean())
    close = np.abs(y - d) < 0.2
    assert m["learned"] == (close.all(2) | ~mask).all(1).mean()
    assert m["learned"] < (close.any(2) | ~mask).all(1).mean(), "otherwise nothing is shown"
    r.sweeps = torch.tensor([5, -1, 9, 7, -1, 11])
    m = r.evaluate(60, False)
    assert m["solved"] == pytest.approx(4 / 6) and m["median_sweeps"] == 9  # 5 7 9 11 ∞ ∞
    r.sweeps[0] = -1
    assert r.evaluate(60, False)["median_sweeps"] == -1


def test_online_changes_weights_after_every_case():
    r, by_hand = (made("xor_hidden_2", model__networks=2) for _ in range(2))
    r.step(0)
    x, d = by_hand.inputs, by_hand.labels
    for c in range(4):
        totals, outputs = by_hand.model([x[c:c + 1]])
        by_hand.model.backward(totals, outputs, by_hand.E.slope(outputs[-1], d[c:c + 1]))
        by_hand.optimizer.step()
    for p, q in zip(r.model.parameters(), by_hand.model.parameters(), strict=True):
        assert torch.equal(p, q)


def test_a_resumed_recipe_goes_on_identically():
    one, two = made("symmetry", model__networks=5), made("symmetry", seed=0, model__networks=5)
    for k in range(10):
        one.step(k)
    two.load_state(copy.deepcopy(one.state()))  # as a file would: nothing shared
    for k in range(10, 15):
        one.step(k), two.step(k)
    for p, q in zip(one.model.parameters(), two.model.parameters(), strict=True):
        assert torch.equal(p, q)
    assert torch.equal(one.sweeps, two.sweeps)


def ideal():
    """Two networks that are what Fig. 1 shows, exactly."""
    net = Network([6, 2, 1], 1, layered([6, 2, 1]), 2)
    pattern = torch.tensor([2.0, -1.0, 4.0, -4.0, 1.0, -2.0])
    with torch.no_grad():
        net.w["0-1"].copy_(torch.stack([pattern, -pattern]).expand(2, 2, 6))
        net.b["1"].fill_(-1.0)
        net.b["2"].fill_(1.0)
    return net


def test_structure_of_the_ideal_symmetry_network():
    found = symmetry_structure(ideal(), torch.tensor([True, True]))
    assert found == pytest.approx({"mirror": 0, "ratio_2": 2, "ratio_4": 4, "twins": -1,
                                   "hidden_bias_negative": 1, "output_bias_positive": 1})
    broken = ideal()
    with torch.no_grad():
        broken.w["0-1"][:, 0, 0] *= 1.5
        broken.b["1"][0, 0] = 1
    found = symmetry_structure(broken, torch.tensor([True, True]))
    assert found["mirror"] == pytest.approx(0.4) and found["hidden_bias_negative"] == 0.5
    assert symmetry_structure(broken, torch.tensor([False, False])) == {}


def test_family_units_find_a_code_in_any_unit():
    net = made("family_learns", model__networks=2).model
    with torch.no_grad():
        net.w["0-2"][:, 3] = torch.tensor([-1.0] * 12 + [1.0] * 12)
    assert family_units(net)["unit_nationality"] == pytest.approx(1)
    assert family_units(net)["unit_generation"] < 1
    older = {"Christopher", "Penelope", "Andrew", "Christine"}
    generation = [0.0 if p in older else 2.0 if p in ("Colin", "Charlotte") else 1.0
                  for p in ENGLISH] * 2
    with torch.no_grad():
        net.w["0-2"][:, 5] = -torch.tensor(generation)
    assert family_units(net)["unit_generation"] == pytest.approx(1)


def test_accuracy_on_digits_is_of_the_largest_output():
    r = made("quick", model__networks=3)
    for k in range(60):
        r.step(k)
    said = [r.model.outputs(r.groups(r.eval_inputs))[s].numpy().argmax(1) for s in range(3)]
    labels = r.eval_labels.numpy().argmax(1)
    share = [(s == labels).mean() for s in said]
    m = r.evaluate(60, False)
    assert m["accuracy"] == pytest.approx(np.mean(share)) and np.mean(share) > 0.3
    assert (m["accuracy_worst"], m["accuracy_best"]) == pytest.approx((min(share), max(share)))
    assert min(share) < max(share)


def test_what_weights_show_on_a_device_without_float64(accelerator_without_float64):
    d, solved = accelerator_without_float64.device, torch.tensor([True, False])
    family = made("family_learns", model__networks=2).model
    expected = symmetry_structure(ideal(), solved), family_units(family)
    assert symmetry_structure(ideal().to(d), solved) == expected[0]
    assert symmetry_structure(ideal().to(d), solved.to(d)) == expected[0]
    assert family_units(family.to(d)) == expected[1]


def test_bad_values_are_one_line():
    with pytest.raises(UserError, match=r"task.held_out=64: expected fewer than the 64 cases"):
        made(task__held_out=64)
    with pytest.raises(UserError, match=r"expected model.activation=logistic"):
        made(model__loss="cross_entropy", model__activation="tanh")
