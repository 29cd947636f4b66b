"""What of a claim is refused before anything is trained, and what as soon as one run is there."""

import contextlib
import math
from types import SimpleNamespace
from typing import Literal

import pytest

from common.errors import UserError
from common.evidence import measurable
from common.evidence.claims import Measure
from common.evidence.paper import Paper, papers
from common.evidence.results import POINTS, curves
from common.running import reproduce
from tests.common.toy import experiments


def with_measure(monkeypatch, name, **measure):
    """A paper whose first measured claim is measured so, before it is read."""
    (paper,) = papers([name])
    claim = next(c for c in paper.claims if c.experiments)
    bad = claim.model_copy(update={"measure": Measure(**measure)})
    monkeypatch.setattr("common.evidence.paper.read_claims", lambda path: (paper.about, [bad]))
    return paper.folder, claim.id


BAD = [
    ({"experiment": "bn", "metric": "accuracy", "step": 301}, "step: 301: bn measures accuracy "
     "every 250 of its 50,000 steps: expected another step such as 250 or 500"),
    ({"experiment": "bn", "metric": "accuracy", "step": 60_000}, "step: 60000: bn measures "
     "accuracy every 250 of its 50,000 steps: expected another step such as 50000"),
    ({"experiment": "bn", "metric": "accuracy", "step": 0}, "expected another step such as 250"),
    ({"experiment": "plain", "versus": "bn", "metric": "accuracy", "step": 7}, "step: 7: plain "),
    ({"experiment": "bn", "metric": "train_loss", "step": 99}, "bn logs train_loss every 250 of"),
    ({"function": "unbiased_factr", "arguments": {"m": 2}}, "facts.py has no function "
     "'unbiased_factr'; did you mean 'unbiased_factor'"),
    ({"function": "unbiased_factor", "arguments": {"nope": 1}}, "arguments: unbiased_factor of "
     "facts.py has no argument 'nope': expected none"),
    ({"function": "steps_to_plain_accuracy", "experiments": ["bn", "plain"],
      "arguments": {"x": [1]}}, "steps_to_plain_accuracy of facts.py has no argument 'x'")]


@pytest.mark.parametrize(("measure", "message"), BAD)
def test_what_cannot_be_measured_is_refused_when_claims_are_read(monkeypatch, measure, message):
    folder, name = with_measure(monkeypatch, "batchnorm", **measure)
    with pytest.raises(UserError) as e:
        Paper(folder)
    assert str(e.value).startswith(f"papers/batchnorm/claims.yaml: claim {name!r}: ")
    assert message in str(e.value) and "\n" not in str(e.value)


@pytest.mark.parametrize("measure", [m for m, _ in BAD] + [
    {"experiment": "bn", "metric": "acuracy"}])
def test_reproduce_refuses_it_before_it_trains(monkeypatch, measure, end_of):
    with_measure(monkeypatch, "batchnorm", **measure)
    monkeypatch.setattr(reproduce, "plan", lambda *a: pytest.fail("it planned runs"))
    code, said = end_of(lambda: reproduce.main(["batchnorm", "pace=false"]))
    assert code == 2 and said.err.startswith("error: papers/batchnorm/claims.yaml: claim ")
    assert said.err.count("\n") == 1 and not said.out


@pytest.mark.parametrize(("measure", "message"), [
    ({"experiment": "bn", "metric": "acuracy"}, "has no final metric 'acuracy'; did you mean"),
    ({"experiment": "bn", "metric": "acuracy", "step": 25}, "has no curve 'acuracy'; did you mean"),
    ({"experiment": "bn", "metric": "accuracy"}, ""), ({"function": "unbiased_factor"}, "")])
def test_a_run_tells_which_metrics_there_are(measure, message):
    (paper,) = papers(["batchnorm"])
    claim = paper.claims[0].model_copy(update={"measure": Measure(**measure)})
    found = measurable.unknown_metrics([claim], "bn", paper.results["bn"][:1])
    assert bool(found) == bool(message) and (not found or message in found[0])


@pytest.mark.parametrize(("function", "arguments", "message"), [
    (lambda a, b=2: 0, {}, "expects 'a'"),
    (lambda a, b=2: 0, {"c": 1}, "no argument 'c'; known: a, b"),
    (lambda a, b=2: 0, {"a": 1}, ""), (lambda **more: 0, {"c": 1}, "")])
def test_the_arguments_of_a_function(function, arguments, message):
    (paper,) = papers(["batchnorm"])
    claim = paper.claims[0].model_copy(update={
        "measure": Measure(function="f", arguments=arguments)})
    if not message:
        measurable.check_function(function, claim)
        return
    with pytest.raises(UserError, match=message):
        measurable.check_function(function, claim)


def takes(load: float, n: int = 1, kind: Literal["a", "b"] = "a",
          sizes: tuple[int, ...] = ()) -> float:
    return load


@pytest.mark.parametrize(("arguments", "said"), [
    ({"load": "x"}, "load: 'x': expected a number"), ({"load": None}, "load: None: expected"),
    ({"load": [1]}, r"load: \[1\]: expected a number"), ({"load": True}, "load: True: expected"),
    ({"load": math.nan}, "load: nan: expected a number .a number is not finite"),
    ({"load": -math.inf}, "load: -inf: expected a number .a number is not finite"),
    ({"load": 1, "n": 1.5}, "n: 1.5: expected a whole number"),
    ({"load": 1, "kind": "c"}, "kind: 'c': expected .*'a' or 'b'"),
    ({"load": 1, "sizes": [1, "x"]}, r"sizes: \[1, 'x'\]: expected"),
    ({"load": 1, "sizes": [1, 2], "kind": "b", "n": 3}, ""), ({"load": 0.5}, "")])
def test_an_argument_has_the_type_that_the_function_says(arguments, said):
    (paper,) = papers(["batchnorm"])
    claim = paper.claims[0].model_copy(update={
        "measure": Measure(function="takes", arguments=arguments)})
    with pytest.raises(UserError, match=said) if said else contextlib.nullcontext() as e:
        measurable.check_function(takes, claim)
    assert not said or "\n" not in str(e.value)


def with_runs(runs: dict[str, object]) -> float:
    return 0.0


def without_runs() -> float:
    return 0.0


@pytest.mark.parametrize(("function", "refused"), [
    (with_runs, False), (without_runs, True), (takes, True)])
def test_a_function_of_runs_takes_runs(function, refused):
    (paper,) = papers(["batchnorm"])
    claim = paper.claims[0].model_copy(update={
        "measure": Measure(function="f", experiments=["bn"])})
    with pytest.raises(UserError, match="takes no runs") if refused else contextlib.nullcontext():
        measurable.check_function(function, claim)


def test_only_functions_can_be_called_by_claims():
    facts = SimpleNamespace(__doc__="text", Path=str, math=math, _own=len, share=len)
    assert measurable.functions(facts) == ["share"]


@pytest.mark.parametrize(("metric", "step", "refused"), [
    ("train_loss", 10, True), ("train_loss", 10_000, True), ("train_loss", 9960, False),
    ("train_loss", 20_000, False),
    ("accuracy", 20, False), ("accuracy", 10, True), ("accuracy", None, False)])
def test_points_that_a_result_leaves_out_are_no_steps_of_a_claim(tmp_path, metric, step, refused):
    config = experiments(tmp_path).resolve("base", 0, {
        "train.steps": 20_000, "train.log_every": 5, "train.eval_every": 20})
    lines = [{"step": k, "loss": 1.0} for k in range(5, 20_001, 5)]
    kept = curves(lines)["train_loss"][0]
    measure = Measure(experiment="base", metric=metric, step=step)
    with pytest.raises(UserError, match="base") if refused else contextlib.nullcontext():
        measurable.check_step(measure, "base", config)
    if metric == "train_loss":
        assert len(kept) == POINTS and (step in kept) != refused


@pytest.mark.parametrize(("step", "steps", "said"), [
    (3, [10], "10"), (3, [10, 20, 25], "10 or 20 or 25"),
    (12, [10, 20, 30, 40, 50], "another step such as 10 or 20"),
    (60, [10, 20, 30, 40, 50], "another step such as 50")])
def test_the_steps_that_would_do(step, steps, said):
    assert measurable.near(step, steps) == said
