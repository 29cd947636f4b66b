"""The beginning of a run, again: agrees, differs, differs by rounding alone."""

import math
import os
import shutil
import signal
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from common.errors import NotAtHand, Paused, UserError
from common.evidence import results
from common.experiments import Experiments
from common.files import write_atomic
from common.running import cli, recheck
from common.running.recheck import Beginning
from common.training import steps
from tests.common.toy import YAML, Config, Toy


class Otherwise(Toy):
    """The toy as somebody changed it by mistake: half the momentum."""

    def build(self):
        super().build()
        self.optimizer.param_groups[0]["momentum"] = 0.45


class Turned(Toy):
    """On other data."""

    def splits(self):
        data, train, test = super().splits()
        return SimpleNamespace(name=data.name, fingerprint="f" * 64, classes=10), train, test


class Measuring(Toy):
    """With a metric more, one of the last evaluation alone and one that reads a clock."""

    clocked = ("seconds",)

    def evaluate(self, step, final):
        metrics = super().evaluate(step, final) | {"half": 0.5, "seconds": time.perf_counter()}
        return metrics | ({"width": 16.0, "never": math.inf} if final else {})


def changed(**metrics):
    """:class:`Measuring` as somebody changed what it measures; None: no longer."""
    class Changed(Measuring):
        def evaluate(self, step, final):
            found = super().evaluate(step, final)
            found |= {k: v for k, v in metrics.items() if k in found}
            return {k: v for k, v in found.items() if v is not None}
    return Changed


def of(folder, text=YAML, made=Toy):
    """The toy's folder with one recorded run; ``made`` says what its code is now."""
    write_atomic(folder / "config.yaml", text)
    known = Experiments(Config, folder / "config.yaml")
    cli.train(made, known, "base", [0], {})
    paper = SimpleNamespace(
        name="toy", folder=folder, experiments=known, results=results.read_all(folder, Config),
        made=made, module=lambda name: SimpleNamespace(recipe=paper.made))
    return paper


@pytest.fixture
def paper(tmp_path, monkeypatch):
    monkeypatch.setenv("PAPERS_RUNS", str(tmp_path / "runs"))
    return of(tmp_path / "toy")


@pytest.fixture(params=["its beginning", "the whole run"])
def measuring(request, tmp_path, monkeypatch):
    """Likewise, with more metrics, repeated up to an evaluation at step 20 or to the last, 15."""
    monkeypatch.setenv("PAPERS_RUNS", str(tmp_path / "runs"))
    steps = {"its beginning": 40, "the whole run": 15}[request.param]
    return of(tmp_path / "toy", YAML.replace("steps: 40", f"steps: {steps}"), Measuring)


def note(paper):
    return results.noted_difference(paper.folder, "base", 0)


def test_the_first_losses_are_kept(paper):
    (result,) = paper.results["base"]
    made = Toy(paper.experiments.resolve("base", 0))
    made.train_mode()
    expected = [made.step(k).item() for k in range(20)]
    assert result.record.first_losses == pytest.approx(expected, rel=1e-6)


def test_code_that_computes_the_same_agrees(paper, capsys):
    assert recheck.recheck(paper, [], float("inf")) == []
    assert "toy: 1 agree, 0 differ" in capsys.readouterr().out and not note(paper)


def test_code_that_computes_something_else_is_found_and_noted(paper, capsys):
    paper.made = Otherwise
    (line,) = recheck.recheck(paper, [], float("inf"))
    assert line.startswith("toy/base/seed0: loss of update 3: ") and " recorded, " in line
    assert note(paper) in line
    assert "toy: 0 agree, 1 differ (noted beside the results)\n" in capsys.readouterr().out
    paper.made = Toy
    assert recheck.recheck(paper, [], float("inf")) == [] and not note(paper)


def test_the_speed_of_a_card_says_nothing_of_a_processor(paper, capsys):
    segments = paper.results["base"][0].record.segments
    assert recheck.recheck(paper, [], at_most=9.0) == []
    assert "toy: 1 agree, 0 differ\n" in capsys.readouterr().out
    card = segments[0].hardware.model_copy(update={"gpu": "a card"})
    segments[:] = [segments[0].model_copy(update={"hardware": card})]
    assert recheck.recheck(paper, [], at_most=9.0) == []
    assert "toy: 0 agree, 0 differ, 1 would take longer than at_most\n" in capsys.readouterr().out


def test_results_from_before_the_first_losses_were_kept_go_by_the_first_mean(paper):
    paper.results["base"][0].record.first_losses.clear()
    assert recheck.recheck(paper, [], float("inf")) == []
    paper.made = Otherwise
    (line,) = recheck.recheck(paper, [], float("inf"))
    assert "mean loss until update 7: " in line


def test_a_changed_measure_is_found_in_what_is_begun_again(measuring, capsys):
    assert recheck.recheck(measuring, [], float("inf")) == [], "a clock has gone on"
    measuring.made = changed(half=0.6)
    (line,) = recheck.recheck(measuring, [], float("inf"))
    assert line == ("toy/base/seed0: half at step 10: 0.5 recorded, 0.6 now; rounding makes "
                    "0.0e+00 of it") == f"toy/base/seed0: {note(measuring)}"
    measuring.made = changed(half=0.5 + 1e-5)
    assert recheck.recheck(measuring, [], float("inf")) == [] and not note(measuring)


def test_what_is_no_longer_measured_is_found_and_what_is_new_is_not(measuring):
    measuring.made = changed(half=None)
    (line,) = recheck.recheck(measuring, [], float("inf"))
    assert line == "toy/base/seed0: half at step 10: 0.5 recorded, no longer measured"
    recorded = [m for m in (measuring.results["base"][0].record.metrics,
                            measuring.results["base"][0].record.curves)]
    for held in recorded:
        del held["half"]
    measuring.made = Measuring
    assert recheck.recheck(measuring, [], float("inf")) == []


@pytest.mark.parametrize("name", ["half", "accuracy"])
@pytest.mark.parametrize(("small", "large", "agrees"), [
    (1.0, 1.0, False), (1.3, 1.0, True), (1.02, 1.02, False), (1.0, 1.3, True)])
def test_a_metric_may_move_as_far_as_rounding_moves_one(measuring, monkeypatch, name, small, large,
                                                        agrees):
    (result,) = measuring.results["base"]
    recorded, nudged = recheck.recorded(result), []

    def again(paper, result, updates, nudge=0.0):
        nudged.append(nudge)
        found, factor = dict(recorded.measured[10]), small if nudge == recheck.NUDGE else large
        return replace(recorded, measured={
            10: found | ({name: found[name] * factor} if nudge > 0 else {})})
    monkeypatch.setattr(recheck, "again", again)
    assert recheck.difference(measuring, result) == "" and nudged == [0.0]
    result.record.curves["half"][1][0] = 0.6
    assert (recheck.difference(measuring, result) == "") is agrees
    assert len(nudged) == 1 + (3 if small == 1.3 else 5)


@pytest.mark.parametrize(("name", "value", "said"), [
    ("width", 17.0, "width at step 15: 16 recorded, 17 now"),
    ("never", 9.0, "never at step 15: inf recorded, 9 now")])
def test_final_metrics_are_compared_where_the_whole_run_is_made_again(measuring, name, value, said):
    measuring.made = changed(**{name: value})
    found = recheck.recheck(measuring, [], float("inf"))
    whole = measuring.results["base"][0].record.config["train"]["steps"] == 15
    assert [said in line for line in found] == [True] * whole


def test_other_data_are_found(paper):
    paper.made = Turned
    (line,) = recheck.recheck(paper, [], float("inf"))
    assert "the code makes ffffffffff" in line


def test_what_rounding_does_is_no_difference(paper, monkeypatch):
    moved = []

    class Shaky(Toy):  # what another processor does in a million steps, at once
        def build(self):
            super().build()
            recheck.move(self, 3e-3)
            moved.append(1)
    paper.made = Shaky
    monkeypatch.setattr(recheck, "NUDGE", 1e-3)
    assert recheck.recheck(paper, [], float("inf")) == [] and len(moved) == 3
    monkeypatch.setattr(recheck, "MARGIN", 0.1)
    assert len(recheck.recheck(paper, [], float("inf"))) == 1


def test_a_run_that_is_made_again_is_no_longer_stale(paper):
    path = results.difference_path(paper.folder, "base", 0)
    path.write_text("it differs\n")
    cli.train(Toy, paper.experiments, "base", [0], {"fresh": True})
    assert not path.exists()


def test_only_what_takes_no_longer_is_looked_at(paper):
    (result,) = paper.results["base"]
    longer = result.record.model_copy(update={"seconds": 100.0})
    paper.results["base"] = [replace(result, record=longer)]
    left = 100 * 20 / longer.config["train"]["steps"]
    assert not list(recheck.chosen(paper, [], left * 0.99))
    assert list(recheck.chosen(paper, [], left * 1.01))
    assert not list(recheck.chosen(paper, ["other"], float("inf")))


def test_what_cannot_be_begun_again_differs_and_what_is_not_at_hand_does_not(paper, capsys):
    class Refusing(Toy):
        what = UserError

        def build(self):
            raise self.what("no")
    paper.made = Refusing
    (line,) = recheck.recheck(paper, [], float("inf"))
    assert "it cannot be begun again: no" in line and note(paper)
    results.difference_path(paper.folder, "base", 0).unlink()
    Refusing.what = NotAtHand
    assert recheck.recheck(paper, [], float("inf")) == [] and not note(paper)
    assert "toy: 0 agree, 0 differ, 1 not looked at: no" in capsys.readouterr().out


def begun_in(result, precision):
    """A result whose first segment says that it was computed on a card in a precision."""
    first = result.record.segments[0]
    card = first.hardware.model_copy(update={"device": "cuda", "precision": precision})
    record = result.record.model_copy(update={
        "segments": [first.model_copy(update={"hardware": card})]})
    return replace(result, record=record)


def test_what_was_begun_in_tf32_is_not_looked_at_without_a_card(paper, capsys):
    (result,) = paper.results["base"]
    assert result.config["train.precision"] == "float32", "as a run that went on without a card"
    paper.results = {"base": [begun_in(result, "tf32")]}
    assert recheck.recheck(paper, [], float("inf")) == [] and not note(paper)
    assert "1 not looked at: train.precision=tf32: expected a CUDA card" in capsys.readouterr().out


def test_of_several_seeds_one_whose_precision_is_at_hand_is_begun_again(paper, capsys):
    cli.train(Toy, paper.experiments, "base", [1], {})
    first, second = results.read_all(paper.folder, Config)["base"]
    paper.results = {"base": [begun_in(first, "tf32"), second]}
    assert [r.seed for r in recheck.chosen(paper, [], float("inf"))] == [1]
    assert recheck.recheck(paper, [], float("inf")) == []
    assert "toy: 1 agree, 0 differ" in capsys.readouterr().out


def test_a_loss_that_is_none_is_a_difference():
    assert Beginning((1.0,), 0, 0, "").apart(Beginning((math.nan,), 0, 0, "")) == math.inf
    assert Beginning((math.nan,), 0, 0, "").apart(Beginning((1.0,), 0, 0, "")) == math.inf


def test_differences_are_relative_and_of_the_worst_loss():
    one = Beginning((1.0, 2.0), 5, 4.0, "")
    assert one.apart(Beginning((1.0, 2.2), 5, 4.0, "")) == pytest.approx(0.2 / 2.2)
    assert one.apart(Beginning((1.0, 2.0), 5, 3.0, "")) == pytest.approx(0.25)
    assert one.apart(Beginning((1.0,), 6, 9.0, "")) == 0.0


def test_what_rounding_leaves_of_zero_is_no_difference():
    def measuring(value):
        return Beginning((), 0, 0.0, "", {5: {"smallest": value}, 9: {"largest": 2.0}})
    assert measuring(1e-16).moved(measuring(3e-16)) == 0.0 == measuring(1e-16).moved(measuring(0.0))
    assert measuring(math.inf).moved(measuring(math.inf)) == 0.0
    assert measuring(1e-9).moved(measuring(4e-9)) == pytest.approx(0.75)
    assert measuring(1.0).moved(measuring(math.inf)) == math.inf


def test_a_look_that_is_asked_to_end_says_nothing_about_results(paper, monkeypatch):
    monkeypatch.setattr(steps, "TURN", 0.0)
    class Asked(Toy):
        def step(self, number):
            if number == 3:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().step(number)
    paper.made = Asked
    with pytest.raises(Paused, match="toy/base/seed0: asked to end"):
        recheck.recheck(paper, [], float("inf"))
    assert not note(paper)


@pytest.mark.parametrize(("words", "message"), [
    (["batchnrm"], "unknown paper 'batchnrm'"),
    (["batchnorm", "experiment=bn"], "unknown key 'experiment'"),
    (["batchnorm", "experiments=b"], "experiments=b: no such result; did you mean 'bn'"),
    (["batchnorm", "experiments=bn,,plain"], "experiments=: no such result"),
    (["batchnorm", "experiments=bn,bn"], "experiments=bn,bn: 'bn' is named twice"),
    (["batchnorm", "seed=3"], "seed=: the first recorded seed"),
    (["batchnorm", "experiments="], "experiments=: expected a value"),
    (["batchnorm", "at_most=10"], "at_most=10: expected a time such as")])
def test_other_words_are_one_line(words, message):
    with pytest.raises(UserError, match=message):
        recheck.main(words)


def test_a_run_that_starts_from_another_is_begun_from_it_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PAPERS_RUNS", str(tmp_path / "runs"))
    folder = tmp_path / "toy"
    write_atomic(folder / "config.yaml", YAML + "  tuned: {start_from: base}\n")
    known = Experiments(Config, folder / "config.yaml")
    for name in ("base", "tuned"):
        cli.train(Toy, known, name, [0], {})
    paper = SimpleNamespace(
        name="toy", folder=folder, experiments=known, results=results.read_all(folder, Config),
        module=lambda name: SimpleNamespace(recipe=Toy))
    assert recheck.recheck(paper, ["tuned"], float("inf")) == []
    assert "toy: 1 agree, 0 differ" in capsys.readouterr().out
    shutil.rmtree(tmp_path / "runs/toy/base")
    assert recheck.recheck(paper, ["tuned"], float("inf")) == []
    assert "1 not looked at: toy/tuned/seed0: start_from=base: there is no finished run" in (
        capsys.readouterr().out)
    assert not results.noted_difference(folder, "tuned", 0)
