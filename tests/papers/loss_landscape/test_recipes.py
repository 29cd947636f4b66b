"""Planes, maps and paths: against loops over points, resumed, and without touching a weight."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from common.errors import UserError
from common.evidence.paper import Paper
from common.evidence.results import Result
from common.experiments import Experiments
from common.files import ROOT
from common.running import cli
from common.training import start
from papers.loss_landscape import facts, look, plots, train
from papers.loss_landscape.model import flat, shaped
from papers.loss_landscape.networks import build
from papers.loss_landscape.surfaces import chosen, loss_and_accuracy

PATH = ROOT / "papers/loss_landscape/config.yaml"
EXPERIMENTS = Experiments(train.Config, PATH)
SMALL = {"start_from": "", "view.images": 40, "view.points": 3, "train.steps": 9}
RESNET = SMALL | {"data.name": "digits", "model.depth": 8}
SHORT = {"train.steps": 30, "train.eval_every": 10, "view.images": 50, "view.points": 5}


def made(name, changes):
    return train.recipe(EXPERIMENTS.resolve(name, 0, changes | {"train.device": "cpu"}))


def trained(changes=SHORT):
    r = made("quick_train", changes)
    r.train_mode()
    for k in range(r.config.train.steps):
        r.step(k)
        if (k + 1) % r.config.train.eval_every == 0 and k + 1 < r.config.train.steps:
            r.evaluate(k + 1, False)
    return r


def test_golden_curve_of_20_steps(num_regression):
    r = made("quick_train", {})
    losses = [r.step(k).item() for k in range(20)]
    num_regression.check({"loss": losses}, default_tolerance=dict(rtol=1e-5, atol=0))


def test_golden_points_of_a_plane_and_a_map(num_regression):
    plane = made("quick_surface", {"start_from": "", "view.points": 5, "train.steps": 25})
    hessian = made("quick_curvature", {"start_from": "", "view.points": 3, "train.steps": 9,
                                       "view.images": 100, "view.iterations": 5})
    num_regression.check({"loss": [plane.step(k).item() for k in range(20)],
                          "ratio": [hessian.step(k).item() for k in range(9)] + [0.0] * 11},
                         default_tolerance=dict(rtol=1e-4, atol=1e-6))


@pytest.mark.parametrize(("name", "changes"), [("quick_surface", SMALL),
                                               ("surface_resnet20", RESNET)])
def test_a_plane_is_what_a_network_with_those_weights_computes(name, changes):
    r = made(name, changes)
    δ, η = r.directions()
    for k in (0, 1, 5, 8):
        loss = r.step(k)
        network = copy.deepcopy(r.model).eval()
        with torch.no_grad():
            for n, p in network.named_parameters():
                p += (k // 3 - 1) * δ[n] + (k % 3 - 1) * η[n]
            logits = network(r.pixels / 255 - r.mean)
        assert loss.item() == pytest.approx(F.cross_entropy(logits, r.labels).item(), rel=1e-4)
        right = (logits.argmax(1) == r.labels).double().mean().item()
        assert r.table[k, 1] == pytest.approx(right)


@pytest.mark.parametrize("task", ["surface", "curvature"])
@pytest.mark.parametrize("kind", ["mlp", "resnet"])
def test_no_weight_and_no_statistic_changes(task, kind):
    changes = RESNET if kind == "resnet" else SMALL
    r = made("surface_resnet20" if kind == "resnet" else "quick_surface",
             changes | {"task.name": task, "view.images": 20})
    before = {k: v.clone() for k, v in r.model.state_dict().items()}
    r.train_mode()
    for k in range(9):
        r.step(k)
    r.evaluate(9, True)
    for k, v in r.model.state_dict().items():
        assert torch.equal(v, before[k]), k


def test_the_centre_is_the_network_itself_and_metrics_follow_from_the_table():
    r = made("quick_surface", {"start_from": ""} | {"view.images": 200})
    r.step(r.centre)
    whole = loss_and_accuracy(r.model, r.weights, r.inputs, r.labels)
    assert r.table[r.centre].tolist() == pytest.approx(whole.tolist())
    at = torch.linspace(-1, 1, 21, dtype=torch.float64)
    f = 0.05 + 30 * at[:, None] ** 2 - 5 * at[None] ** 2 * (at[None].abs() > 0.55)
    r.table[:, 0] = f.flatten()
    found = r.evaluate(441, True)
    assert found["centre"] == pytest.approx(0.05) and found["highest"] == pytest.approx(30.05)
    assert found["rise"] == pytest.approx((2 * 7.5 + 0) / 4), "half way to the edge"
    assert found["below_0.1"] == pytest.approx(100 * (f < 0.1).double().mean().item())


@pytest.mark.parametrize(("least", "low_inner"), [
    (0.0, (True, True)), (3.9, (True, False)), (20.0, (False, False))])
def test_convexity_is_counted_where_the_closed_form_has_it(least, low_inner):
    """f = 20 (1 − cos πα) + β²: curved downwards in α where |α| > ½, where f > 20.

    Turned over, f = 20 (1 + cos πα) + β² is so about the middle.
    """
    r = made("quick_surface", {"start_from": ""})
    at = np.linspace(-1, 1, 21)
    for sign, any_low in zip((-1, 1), low_inner, strict=True):
        f = least + 20 * (1 + sign * np.cos(np.pi * at[:, None])) + at[None] ** 2
        r.table[:, 0] = torch.from_numpy(f).flatten()
        found = r.evaluate(441, True)
        inner = list(itertools.product(range(1, 20), repeat=2))
        down = {k for k in inner if sign * np.cos(np.pi * at[k[0]]) > 1e-9}
        low = {k for k in inner if f[k] < 4}
        assert bool(low) == any_low and 0 < len(down) < len(inner)
        assert found["nonconvex"] == pytest.approx(100 * len(down) / len(inner))
        if low:
            assert found["nonconvex_low"] == pytest.approx(100 * len(down & low) / len(low))
        else:
            assert "nonconvex_low" not in found, "nothing is said of no points"


def test_a_plane_around_no_network_says_nothing():
    r = made("quick_surface", SMALL)
    r.model.out.weight.data.fill_(float("nan"))
    for k in range(9):
        r.step(k)
    with pytest.raises(UserError, match=r"the loss at these weights is above 1e\+06 or not"):
        r.evaluate(9, True)
    r = made("quick_curvature", SMALL)
    r.model.out.weight.data.fill_(float("nan"))
    with pytest.raises(UserError, match=r"view.reach=1: .* not finite at the point \[-1.0, -1.0\]"):
        r.step(0)


def test_ratios_are_of_negative_curvature_to_the_largest():
    r = made("quick_curvature", SMALL)
    pairs = {(-1.0, 2.0): 0.5, (0.5, 2.0): 0.0, (-3.0, 1.5): 2.0, (-1.0, -0.5): 2.0,
             (0.0, 0.0): 0.0, (-1.0, 0.0): 1e6, (-1e9, 1.0): 1e6, (2.0, 2.0): 0.0, (0.0, 1.0): 0.0}
    r.table = torch.tensor(list(pairs), dtype=torch.float64)
    assert r.ratios().tolist() == list(pairs.values())
    assert r.evaluate(9, True)["below_0.1"] == pytest.approx(400 / 9)


def test_a_line_has_its_points_as_metrics():
    r = made("line_resnet20", {"data.name": "digits", "start_from": "", "view.images": 30,
                               "model.depth": 8, "view.points": 9, "train.steps": 9,
                               "view.reach": 8.0})
    losses = [r.step(k).item() for k in range(9)]
    found = r.evaluate(9, True)
    assert [found[f"loss_{k}"] for k in range(9)] == pytest.approx(losses)
    assert found["rise"] == pytest.approx((losses[2] + losses[6]) / 2 - losses[4], rel=1e-4)
    assert found["rise"] > 0.05, "far above rounding"


def test_a_stopped_plane_goes_on_with_the_same_bits():
    whole, first, second = (made("quick_surface", SMALL) for _ in range(3))
    for k in range(9):
        whole.step(k)
    for k in range(4):
        first.step(k)
    second.load_state(first.state())
    for k in range(4, 9):
        second.step(k)
    assert torch.equal(second.table, whole.table)


def test_the_map_agrees_with_the_dense_hessian():
    r = made("quick_curvature", SMALL | {"view.images": 30, "model.hidden": [3],
                                         "view.iterations": 60})
    r.step(7)
    θ, point = r.weights, flat(r.point(7)).double()
    network = copy.deepcopy(r.model).double().eval()
    x = r.inputs.double()
    H = torch.autograd.functional.hessian(
        lambda row: F.cross_entropy(torch.func.functional_call(network, shaped(row, θ), (x,)),
                                    r.labels), point)
    λ = np.linalg.eigvalsh(H.numpy())
    assert r.table[7].tolist() == pytest.approx([λ[0], λ[-1]], rel=1e-3)
    assert r.ratios()[7] == pytest.approx(-λ[0] / λ[-1], rel=1e-3)


def test_a_file_of_weights_brings_its_mean_image(tmp_path):
    r = made("surface_resnet20", RESNET)
    assert r.mean.abs().sum() > 0, "that of the training images"
    weights = {k: v + 0.01 for k, v in r.model.state_dict().items()}
    mean = torch.rand(1, 8, 8)
    save_file(weights | {start.MEAN: mean, "epoch": torch.ones(1)}, tmp_path / "w.safetensors")
    there = made("surface_resnet20", RESNET | {"start_from": str(tmp_path / "w.safetensors")})
    start.begin(there, lambda c: start.load(EXPERIMENTS, c))
    assert torch.equal(there.mean, mean)
    torch.testing.assert_close(there.weights["fc.weight"], r.weights["fc.weight"] + 0.01)
    torch.testing.assert_close(there.inputs, there.pixels / 255 - mean)
    save_file(weights | {start.MEAN: torch.rand(3, 8, 8)}, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=r"input.mean is \(3, 8, 8\) there, \(1, 8, 8\) here"):
        start.begin(there, lambda c: start.load(EXPERIMENTS, c))
    deeper = made("surface_resnet20", RESNET | {
        "model.depth": 14, "start_from": str(tmp_path / "w.safetensors")})
    with pytest.raises(UserError, match="does not fit"):
        start.begin(deeper, lambda c: start.load(EXPERIMENTS, c))


@pytest.mark.parametrize("name", ["resnet20", "plain20"])
def test_the_repositorys_networks_fit(name):
    config = EXPERIMENTS.resolve(f"surface_{name}")
    state = load_file(ROOT / config.start_from)
    network = build(config.model, (3, 32, 32), 10, torch.Generator())
    assert start.fit(network, state).keys() == state.keys() - {start.MEAN}


def test_the_path_is_the_weights_after_every_epoch_and_the_line_goes_from_end_to_end():
    r = made("quick_train", SHORT | {"model.bn": False})
    r.train_mode()
    rows = [flat(r.weights).clone()]
    for k in range(30):
        r.step(k)
        if (k + 1) % 10 == 0:
            rows.append(flat(r.weights).clone())
            if k + 1 < 30:
                r.evaluate(k + 1, False)
    found = r.evaluate(30, True)
    assert torch.equal(r.path, torch.stack(rows))
    ends = [r.at(shaped(rows[k], r.weights))[0] for k in (0, -1)]
    assert found["line_loss_0"] == pytest.approx(ends[0])
    assert found["line_loss_10"] == pytest.approx(ends[1], rel=1e-4) == found["loss"]
    middle = r.at(shaped((rows[0] + rows[-1]) / 2, r.weights))[0]
    assert found["line_loss_5"] == pytest.approx(middle, rel=1e-4)
    L = np.array([found[f"line_loss_{k}"] for k in range(11)])
    rise = 100 * sum(max(b - a, 0) for a, b in itertools.pairwise(L)) / (L[0] - L[-1])
    assert found["line_rise"] == pytest.approx(rise)
    θ, d = r.weights, r.direction(0, "none")
    assert flat(d).norm() == pytest.approx(1, rel=1e-5)
    moved = {n: θ[n] + 5 * d[n] for n in θ}
    up = [r.at({n: θ[n] + s * 5 * r.direction(k, "none")[n] for n in θ})[0]
          for k in range(4) for s in (1, -1)]
    assert found["rise_none"] == pytest.approx(np.mean(up) - found["loss"], rel=1e-4)
    assert r.at(moved)[0] == pytest.approx(up[0])
    picture = r.picture()
    assert picture["path"][-1].abs().max() < 1e-9 and picture["loss"].shape == (5, 5)
    assert "line_rise" not in trained().evaluate(30, True), "not with batch normalisation"


def test_a_look_at_the_landscape_leaves_training_as_it_was():
    """The loss after an evaluation is what it would have been without it."""
    one, other = (made("quick_train", SHORT) for _ in range(2))
    for r in (one, other):
        r.train_mode()
        for k in range(10):
            r.step(k)
    one.evaluate(10, True)
    assert [one.step(k).item() for k in (10, 11)] == [other.step(k).item() for k in (10, 11)]


def test_the_images_are_the_same_for_every_seed():
    r, other = (train.recipe(EXPERIMENTS.resolve("quick_surface", k, SMALL)) for k in (0, 1))
    assert torch.equal(r.pixels, other.pixels)
    one, another = (flat(x.directions()[0]).sign() for x in (r, other))
    assert not torch.equal(one, another), "directions are the seed's own, whatever the weights"
    with pytest.raises(UserError, match="at most the 1437 training images"):
        chosen(r.data.train, 2000)


@pytest.mark.parametrize(("name", "changes", "said"), [
    ("quick_surface", {"view.points": 4, "train.steps": 16}, "expected an odd number"),
    ("quick_surface", {"view.points": 5}, "expected 25, a step for each point"),
    ("line_resnet20", {"train.steps": 22}, "expected 21, a step for each point"),
    ("quick_curvature", {"train.steps": 7}, "expected 49"),
    ("quick_train", {"model.kind": "resnet"}, "expected mlp"),
    ("quick_train", {"train.eval_every": 500}, "less than half of the 900 steps"),
    ("surface_resnet20", {"model.depth": 21, "data.name": "digits"}, r"expected 6n\+2"),
    ("quick_surface", {"data.name": "mushroom"}, "mushroom"),
    ("quick_surface", {"view.reach": 1e300}, r"view.reach=1e\+300: expected .* at most 1e\+06"),
    ("quick_curvature", {"view.reach": 1e30}, r"view.reach=1e\+30: expected .* at most 1e\+06"),
    ("quick_train", {"view.distance": 1e300}, r"view.distance=1e\+300: expected .* at most 1e\+06"),
])
def test_bad_values_end_in_one_line(name, changes, said):
    with pytest.raises(UserError, match=said) as e:
        made(name, changes)
    assert "\n" not in str(e.value)


def test_the_papers_plane_has_the_papers_size():
    c = EXPERIMENTS.resolve("surface_paper")
    assert (c.view.points, c.view.images, c.train.steps) == (51, 10_000, 2601)


def test_small_and_large_batches_see_as_many_images_and_nearly_as_many_rates():
    runs = {n: EXPERIMENTS.resolve(n) for n in ("sb_wd0", "lb_wd0", "sb_wd", "lb_wd")}
    for name, c in runs.items():
        epoch = 60_000 / c.train.batch_size
        assert c.train.steps == pytest.approx(20 * epoch, abs=1), name
        assert np.array(c.optim.milestones) / c.train.steps == pytest.approx(
            [150 / 300, 225 / 300, 275 / 300], abs=0.004)
        assert c.train.eval_every == pytest.approx(epoch, rel=0.05)
        assert c.optim.weight_decay == (0.0005 if name.endswith("_wd") else 0)


def test_measures_over_runs():
    def run(name, **metrics):
        return Result("loss_landscape", name, 0, metrics, {}, {}, {})
    runs = {"lb_wd": run("lb_wd", rise_none=8.0, rise_filter=3.0),
            "sb_wd": run("sb_wd", rise_none=2.0, rise_filter=2.0)}
    assert facts.more_subtle(runs) == pytest.approx(math.log(4) - math.log(1.5))
    two = {"line_plain20": run("line_plain20", rise=3.0),
           "line_resnet20": run("line_resnet20", rise=2.0)}
    assert facts.plain_over_residual(two, "rise") == 1.5


def test_a_stopped_run_can_be_looked_at(end_of, tmp_path):
    (run,) = cli.train(train.recipe, EXPERIMENTS, "quick_surface", [0], SMALL)
    view = look.of_folder(run.request.folder)
    assert view.columns["loss"].shape == (3, 3) and view.at.tolist() == [-1, 0, 1]
    assert view.columns["loss"][1, 1] == pytest.approx(run.metrics["centre"])
    (other,) = cli.train(train.recipe, EXPERIMENTS, "quick_curvature", [0],
                         SMALL | {"view.iterations": 3})
    code, said = end_of(lambda: look.main([str(run.request.folder)]))
    assert code == 0 and (run.request.folder / "landscape.png").stat().st_size > 1000
    code, said = end_of(lambda: look.main([str(run.request.folder), str(other.request.folder)]))
    assert code == 2 and "of one kind" in said.err
    (empty := tmp_path / "begun").mkdir()
    code, said = end_of(lambda: look.main([str(empty), str(run.request.folder)]))
    assert code == 0 and f"{empty}: no checkpoint yet, left out" in said.out
    assert "picture: " in said.out and not list(empty.iterdir())
    code, said = end_of(lambda: look.main([]))
    assert code == 2 and "expected the folder of a run" in said.err
    code, said = end_of(lambda: look.main(["--help"]))
    assert code == 0 and "side by side" in said.out
    code, said = end_of(lambda: look.main([str(tmp_path)]))
    assert code == 2 and "expected the folder of a run" in said.err


def test_every_figure_is_drawn_without_any_run(monkeypatch):
    paper = Paper(ROOT / "papers/loss_landscape")
    monkeypatch.setattr(paper, "results", {})
    monkeypatch.setattr(paper, "folder", ROOT / "nowhere")
    names = [name for name, _, figure in plots.draw(paper) if figure.get_axes()]
    assert names == ["landscapes", "lines", "curvature", "batches", "f1", "paths", "straight",
                     "invariance"]
