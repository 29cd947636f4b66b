"""Teachers, students and transfer sets, the search's choices, and golden curves on digits."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf
from safetensors.torch import load_file

from common.config import names_file, start_of
from common.errors import UserError
from common.evidence.paper import papers
from common.evidence.plotting import png, style
from common.experiments import Experiments
from common.files import ROOT
from common.training.vectorised import BatchedSeeds
from papers.distillation import facts, plots
from papers.distillation.train import (
    TEACHERS,
    Config,
    DistillationRecipe,
    TeacherRecipe,
    examples,
    recipe,
)

EXPERIMENTS = Experiments(Config, ROOT / "papers/distillation/config.yaml")


def made(name, seed=0, **overrides):
    return recipe(EXPERIMENTS.resolve(
        name, seed, {k.replace("__", "."): v for k, v in overrides.items()}))


def student(seed=0, **overrides):
    """A student with made-up logits of a teacher."""
    r = made("quick_soft", seed, **overrides)
    draw = torch.Generator().manual_seed(7)
    r.start_with({"logits": 4 * torch.randn(len(r.train), 10, generator=draw)})
    return r


@pytest.mark.parametrize("arm", ["quick_teacher", "quick_hard", "quick_soft"])
def test_golden_curve_of_20_steps(arm, num_regression):
    r = student() if arm == "quick_soft" else made(arm)
    losses = [r.step(k).item() for k in range(20)]
    num_regression.check({"loss": losses}, default_tolerance=dict(rtol=1e-6, atol=0))


def test_the_papers_networks_and_transfer_sets():
    for name, hidden in {"teacher": 1200, "hard": 800, "soft": 800, "no3": 800}.items():
        c = EXPERIMENTS.resolve(name)
        assert (c.data.name, c.data.evaluate_on, c.model.hidden) == ("mnist", "test", [hidden] * 2)
    teacher, soft = EXPERIMENTS.resolve("teacher"), EXPERIMENTS.resolve("soft")
    assert (teacher.transfer.jitter, teacher.model.p_input, teacher.model.p_hidden,
            teacher.model.max_norm) == (2, 0.8, 0.5, 2.0)
    assert soft.transfer.temperature == 20 and soft.transfer.jitter == 0
    assert soft.model.p_hidden == 1 and soft.model.max_norm == 0
    no3, only78 = EXPERIMENTS.resolve("no3"), EXPERIMENTS.resolve("only78")
    assert set(range(10)) - set(no3.transfer.digits) == {3} == set(no3.measure.classes)
    assert only78.transfer.digits == only78.measure.classes == [7, 8]
    assert (no3.measure.shift, only78.measure.shift) == (3.5, -7.6)
    assert [EXPERIMENTS.resolve(n).transfer.temperature for n in EXPERIMENTS.expand("narrow")] == [
        1, 2.5, 4, 8, 20]


@pytest.mark.parametrize(("search", "key", "names"), [
    ("search_teacher", "optim.lr", ["teacher"]),
    ("search_hard", "optim.lr", ["hard"])])
def test_committed_choices_are_what_the_search_says(search, key, names):
    results = papers(["distillation"])[0].results
    searched = [results[n][0] for n in EXPERIMENTS.expand(search)]
    assert all(r.config["data.evaluate_on"] == "validation" for r in searched)
    best = min(searched, key=lambda r: r.at("errors", None)).config[key]
    for name in names:
        assert OmegaConf.select(OmegaConf.structured(EXPERIMENTS.resolve(name)), key) == best, name


def test_students_of_soft_targets_have_the_one_rate_that_does_not_diverge():
    results = papers(["distillation"])[0].results
    searched = [results[n][0] for n in EXPERIMENTS.expand("search_soft")]
    assert all(r.config["data.evaluate_on"] == "validation" for r in searched)
    by_errors = sorted(searched, key=lambda r: r.at("errors", None))
    rates = [r.config["optim.lr"] for r in by_errors]
    assert rates[:2] == [0.3, 0.1], "with which training diverges, see the README"
    for name in ("soft", "no3", "only78", "narrow_2.5", "wide_10.0"):
        assert EXPERIMENTS.resolve(name).optim.lr == rates[2]


# ---- the teacher -------------------------------------------------------------------------------


def test_jittered_images_are_padded_and_cut_as_numpy_does():
    r = made("quick_teacher", transfer__jitter=2)
    row = r.row_here(3)
    images, labels = r.batch(row)
    down, right = row["offset"][..., 0].numpy()
    assert set(down) | set(right) <= set(range(5)) and len(set(down)) > 3
    for k, i in enumerate(row["index"].tolist()):
        padded = np.pad(r.inputs[i, 0].numpy(), 2)
        rolled = np.roll(padded, (2 - down[k], 2 - right[k]), (0, 1))[2:-2, 2:-2]
        np.testing.assert_array_equal(images[k, 0], rolled)
        assert labels[k] == r.labels[i]
    again = made("quick_teacher", transfer__jitter=2).batch_of(3)[0]
    assert torch.equal(images, again), "a function of seed and step"
    assert not torch.equal(images, made("quick_teacher", 1, transfer__jitter=2).batch_of(3)[0])


def test_a_teachers_weights_stay_on_their_balls():
    r = made("quick_teacher", model__max_norm=0.7, model__p_input=0.8, model__p_hidden=0.5,
             optim__lr=0.5)
    assert type(r) is TeacherRecipe
    for k in range(5):
        r.step(k)
    radii = [0.8 * 0.7, 0.5 * 0.7, 0.5 * 0.7]  # pc: of weights that see units over p
    for layer, radius in zip(r.model.layers, radii, strict=True):
        assert layer.weight.norm(dim=1).max().item() == pytest.approx(radius, rel=1e-5)


SMALL = {"data__name": "digits", "train__batch_size": 50, "model__hidden": [30, 30]}


def test_a_teachers_logits_are_left_in_the_order_of_the_images(tmp_path):
    r = made("teacher", **SMALL)
    for k in range(30):
        r.step(k)
    r.publish(tmp_path, None)
    (path,) = tmp_path.rglob("*.safetensors")
    assert path.name == "logits0.safetensors" and path.parent.name == "teacher"
    stored = load_file(path)
    torch.testing.assert_close(stored["logits"].float(), r.predict(r.inputs), rtol=1e-3, atol=1e-3)
    assert stored["images"].shape == (4, 8, 8) and stored["shown"].shape == (4, 10)
    made("teacher", 1, **SMALL).publish(tmp_path / "other", None)
    made("search_teacher_0.1", data__validation=300, **SMALL).publish(tmp_path / "other", None)
    assert not list((tmp_path / "other").rglob("*")), "nobody starts from them"


def test_the_teachers_are_those_that_students_start_from():
    starts = {start_of(EXPERIMENTS.resolve(n)) for n in EXPERIMENTS.experiments}
    files = {s for s in starts if names_file(s)}
    assert files == {f"papers/distillation/results/{n}/logits0.safetensors" for n in TEACHERS}
    assert {str(p.relative_to(ROOT)) for p in ROOT.glob("papers/distillation/results/*/logits*")
            } == files


def test_examples_are_the_extremes_of_what_is_right():
    labels = torch.tensor([2, 2, 2, 2, 7])
    v = torch.zeros(5, 10)
    v[:4, 2], v[4, 7] = 9.0, 9.0
    v[0, 3], v[1, 7], v[2, 7] = 5.0, 4.0, 12.0  # the third is taken for a 7
    v[4, 3] = 8.0  # no 2
    assert examples(v, labels, 2, 3, 7) == (0, 1)


# ---- students ----------------------------------------------------------------------------------


def test_a_step_of_a_student_is_torchs_sgd_on_both_objectives():
    ours, theirs = (student(transfer__hard=0.2, transfer__temperature=5.0) for _ in range(2))
    optimizer = torch.optim.SGD(theirs.model.parameters(), 0.1, momentum=0.9)
    for k in range(5):
        x, y, v = theirs.batch_of(k)
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - k / 2000)
        optimizer.zero_grad()
        z = theirs.model(x)
        loss = 0.2 * F.cross_entropy(z, y) + 0.8 * 25 * F.cross_entropy(
            z / 5, torch.softmax(v / 5, 1))
        loss.backward()
        optimizer.step()
        assert ours.step(k).item() == pytest.approx(loss.item(), rel=1e-5)


def test_the_rate_falls_in_a_straight_line():
    r = made("quick_hard", optim__lr=0.4, train__steps=10)
    assert [r.rates(k)["lr"] for k in (0, 5, 9)] == pytest.approx([0.4, 0.2, 0.04])


def test_students_take_the_logits_of_their_own_images():
    everything, some = student(), student(transfer__digits=[7, 8])
    assert set(some.labels.tolist()) == {7, 8} and set(everything.labels.tolist()) == set(range(10))
    kept = torch.isin(everything.labels, torch.tensor([7, 8]))
    assert torch.equal(some.inputs, everything.inputs[kept])
    assert torch.equal(some.v, everything.v[kept])
    assert torch.equal(some.batch_of(0)[2], some.v[some.row(0)["index"]])


def test_logits_and_weights_of_a_teacher_are_the_same_start():
    teacher = made("quick_teacher")
    for k in range(20):
        teacher.step(k)
    by_weights, by_logits = made("quick_soft"), made("quick_soft")
    by_weights.start_with(teacher.model.state_dict())
    by_logits.start_with({"logits": teacher.predict(teacher.inputs)})
    torch.testing.assert_close(by_weights.v, by_logits.v)
    assert by_weights.v.std() > 0


def test_a_student_resumes_without_its_teacher():
    r, again = student(), made("quick_soft")
    r.step(0)
    again.load_state(r.state())
    assert torch.equal(again.v, r.v)
    assert again.step(1).item() == r.step(1).item()
    assert "v" not in made("quick_hard").state()


@pytest.mark.slow
def test_students_side_by_side_are_those_alone():
    together, alone = [student(s) for s in (0, 1)], [student(s) for s in (0, 1)]
    joined = BatchedSeeds(together)
    for k in range(5):
        losses = joined.step(k)
        torch.testing.assert_close(losses, torch.stack([r.step(k) for r in alone]))
    joined.gather()
    for a, b in zip(together, alone, strict=True):
        for p, q in zip(a.model.parameters(), b.model.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-6)


def test_shifts_are_measured_on_the_evaluated_images_and_found_on_training_images():
    digits = [0, 1, 2, 4, 5, 6, 7, 8, 9]
    r = made("quick_hard", transfer__digits=digits, measure__classes=[3], measure__shift=5.0,
             measure__points=3)
    for k in range(100):
        r.step(k)
    m = r.evaluate(100, True)
    threes = (r.eval_labels == 3).sum().item()
    assert m["own_errors"] == threes, "a 3 never seen is never said"
    z = r.predict(r.eval_inputs)
    for name, shift in (("_shifted", 5.0), ("_best", m["shift_best"]),
                        ("_train", m["shift_train"])):
        moved = z.clone()
        moved[:, 3] += shift
        wrong = moved.argmax(1) != r.eval_labels
        assert m[f"errors{name}"] == wrong.sum().item()
        assert m[f"error{name}"] == pytest.approx(100 * wrong.double().mean().item())
        assert m[f"own_errors{name}"] == wrong[r.eval_labels == 3].sum().item()
    assert [m[f"errors_at_{k}"] for k in (0, 1)] == [m["errors"], m["errors_shifted"]]
    assert m["errors_best"] <= min(m["errors_train"], m["errors"])
    assert m["train_error"] < 20 and "errors_at_3" not in m
    assert "shift_best" not in r.evaluate(100, False)
    every = r.predict(r.prepare(r.train.images))
    found = [((every + b * F.one_hot(torch.tensor(3), 10)).argmax(1) != r.train.labels).sum().item()
             for b in (m["shift_train"], *np.linspace(0, 20, 100))]
    assert found[0] == min(found)


@pytest.mark.parametrize(("changed", "said"), [
    ({"transfer__digits": [11]}, r"transfer.digits=\[11\]: expected labels of digits, below 10"),
    ({"measure__classes": [10]}, r"measure.classes=\[10\]: expected some of the 10 classes"),
    ({"measure__classes": [3, 3]}, "each once"),
    ({"measure__classes": list(range(10))}, "not all"),
    ({"transfer__temperature": 0}, "transfer.temperature=0"),
    ({"transfer__hard": 1.5}, "transfer.hard=1.5"),
])
def test_bad_values_are_one_line(changed, said):
    with pytest.raises(UserError, match=said):
        made("quick_soft", **changed)


@pytest.mark.parametrize(("weights", "said"), [
    ({"logits": torch.zeros(5, 10)}, r"its logits are \(5, 10\), expected one for each of"),
    ({"layers.0.weight": torch.zeros(4, 9), "layers.0.bias": torch.zeros(4),
      "layers.1.weight": torch.zeros(10, 4), "layers.1.bias": torch.zeros(10)}, "9 pixels"),
    ({}, "expected the logits of a teacher"),
])
def test_what_is_no_teacher_is_one_line(weights, said):
    with pytest.raises(UserError, match=said):
        made("quick_soft").start_with(weights)


# ---- measures over runs, figures -----------------------------------------------------------------


def run(**metrics):
    return SimpleNamespace(at=lambda name, step: metrics[name])


def test_measures_over_runs():
    runs = {"hard": run(errors=146.0), "soft": run(errors=74.0), "teacher": run(errors=67.0)}
    assert facts.kept_gap(runs) == pytest.approx(72 / 79)
    no3 = {"no3": run(errors=206.0, own_errors=133.0, own_errors_best=14.0, errors_best=109.0,
                      errors_train=111.0)}
    assert facts.share_on_own(no3) == pytest.approx(133 / 206)
    assert facts.vanished(no3) == pytest.approx(119 / 133)
    assert facts.recall(no3) == pytest.approx(0.986, abs=5e-4)
    assert facts.regret(no3) == 2
    by_T = {str(T): run(errors=float(n)) for T, n in ((1, 30), (2, 10), (4, 14), (8, 20))}
    assert facts.spread(by_T) == 20
    assert facts.ahead(by_T, ["2", "4"]) == 25 - 12


def notices(figure):
    """How many panels say that there is no run."""
    return sum("no run yet" in t.get_text() for axes in figure.axes for t in axes.texts)


def test_figures_are_drawn_without_and_with_runs(tmp_path):
    class Some(dict):
        """Two runs of every experiment."""

        def get(self, name, default=None):
            metrics = {"errors": 70.0, "errors_best": 60.0, "errors_train": 61.0,
                       "shift_best": 3.0, "shift_train": 2.5}
            return [SimpleNamespace(at=lambda k, _: metrics.get(k, 65.0))] * 2

    (paper,) = papers(["distillation"])
    paper.folder, paper.results = tmp_path, {}
    with style():
        drawn = {name: made for name, _, made in plots.draw(paper)}
        assert {k: notices(v) for k, v in drawn.items()} == {
            "errors": 0, "bias": 2, "temperatures": 2, "knowledge": 1}
        (axes,) = drawn["errors"].axes
        assert [line.get_ydata()[0] for line in axes.lines[:5]] == [67, 146, 74, 206, 109]
        made("teacher", **SMALL).publish(tmp_path, None)
        paper.results = Some()
        drawn = {name: made for name, _, made in plots.draw(paper)}
        assert not any(map(notices, drawn.values()))
        assert [axes.get_title() for axes in drawn["knowledge"].axes[:5]] == [
            "", "T = 1, logarithmic", "T = 4", "T = 20", ""]
        spans = [high - low for low, high in
                 (axes.get_ylim() for axes in drawn["temperatures"].axes)]
        assert spans[0] == pytest.approx(spans[1])
        assert all(png(made, 40).startswith(b"\x89PNG") for made in drawn.values())


def test_students_of_labels_are_plain_supervised_learning():
    r = made("quick_hard")
    x, y = r.batch_of(0)
    expected = F.cross_entropy(r.model(x), y).item()
    assert type(r) is DistillationRecipe and r.step(0).item() == pytest.approx(expected, rel=1e-6)
