"""One run's folder: when a checkpoint is due, and what its state has to look like."""

import json
import time

import pytest
import torch

from common.errors import UserError
from common.evidence import results
from common.training import checkpoint
from common.training.run import FIRST, Run
from tests.common.toy import Toy, experiments


@pytest.fixture
def run(tmp_path):
    """A run of the toy that has not begun; ``companions`` take turns with it."""
    opened = []

    def go(companions=1, precisions=()):
        made = Toy(experiments(tmp_path / "papers/toy").resolve("base"))
        (tmp_path / "run").mkdir(exist_ok=True)
        opened.append(Run(made, tmp_path / "run", "toy", results.origin(made.device), companions,
                          precisions=precisions))
        return opened[-1]
    yield go
    for each in opened:
        each.close()


@pytest.mark.parametrize(("cost", "companions", "due"), [
    (0.4, 1, True), (0.6, 1, False), (0.4, 8, False), (0.03, 8, True)])
def test_costly_checkpoints_take_a_small_share_of_the_time_all_runs_together(
        run, cost, companions, due):
    made = run(companions)
    made.saved_at, made.cost = time.perf_counter() - 5.0, cost
    assert made.due(10 * made.recipe.config.train.checkpoint_every) == due


def test_the_first_losses_are_kept_and_all_are_averaged(run):
    made = run()
    for k in range(FIRST + 3):
        made.see(float(k))
    assert made.first_losses == [float(k) for k in range(FIRST)]
    assert made.log(FIRST + 3) == sum(range(FIRST + 3)) / (FIRST + 3) and made.window == [0.0, 0]
    with pytest.raises(UserError, match=rf"toy: the loss is nan at step {FIRST + 4}; training "
                                        "stopped, there is no checkpoint yet"):
        made.see(float("nan"))


@pytest.mark.parametrize(("part", "value", "message"), [
    ("step", "ten", "step: 'ten': expected a whole number"), ("step", -1, "step: -1: expected at"),
    ("segments", [], "segments: []: expected at least 1"), ("segments", None, "expected a list"),
    ("segments", [{"commit": "a"}], "expected 'segments.0.dirty'"),
    ("window", [1.0], "window: [1.0]: expected at least 2"), ("finished", 0, "true or false"),
    ("metrics", [1], "metrics: [1]: expected a mapping"), ("more", 1, "unknown part 'more'"),
    ("lines", {"lines": -1, "sha256": "a"}, "lines.lines: -1: expected at least 0"),
    ("seconds", float("inf"), "seconds: inf: expected a finite number")])
def test_a_state_that_is_no_runs_is_one_line(run, part, value, message):
    made = run()
    made.save(0)
    state = checkpoint.load(made.folder)
    checkpoint.save(made.folder, state | {part: value})
    with pytest.raises(UserError) as e:
        run()
    assert message in str(e.value) and "\n" not in str(e.value)
    assert str(e.value).startswith("checkpoint in "), "it says where"


@pytest.mark.parametrize(("good", "said"), [
    (0, "toy: interrupted; there is no checkpoint yet, the same command begins anew"),
    (5, "toy: interrupted; the checkpoint of step 5 is kept, the same command goes on "
        "from there")])
def test_an_interrupt_says_what_is_kept(run, good, said):
    made = run()
    if good:
        made.save(good)
    assert made.interrupted == said


def test_a_run_that_goes_on_says_where_and_in_which_precision(run, capsys):
    made = run()
    assert not capsys.readouterr().err
    made.save(5)
    run()
    assert capsys.readouterr().err == "toy: goes on at step 5 of 40\n"
    made.fixed = made.fixed | {"train.precision": "tf32"}
    made.save(5)
    run(precisions=("tf32", "float32"))
    assert capsys.readouterr().err == "toy: goes on at step 5 of 40, in float32, begun in tf32\n"
    made.finished, made.metrics = True, {"accuracy": 0.5}
    made.save(40)
    run(precisions=("tf32", "float32"))
    assert not capsys.readouterr().err, "a finished run does not go on"


def test_a_state_comes_back_as_it_was(run):
    made = run()
    made.see(0.5)
    made.metrics = {"count": 3, "never": float("inf")}
    made.save(1)
    again = run()
    assert (again.first, again.window, again.first_losses) == (1, [0.5, 1], [0.5])
    assert json.dumps(again.metrics) == '{"count": 3, "never": Infinity}', "3 does not become 3.0"
    assert [s.from_step for s in again.segments] == [0, 1]
    assert all(torch.equal(a, b) for a, b in zip(
        made.recipe.model.parameters(), again.recipe.model.parameters(), strict=True))
