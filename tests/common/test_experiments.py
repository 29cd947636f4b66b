"""Experiments: files, command line, and every way they can be wrong."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.config import Config, key, keys
from common.errors import UserError
from common.experiments import Experiments, help_text, parse_arguments, parse_seeds

YAML = """
default: both
defaults: {train: {steps: 100}, optim: {lr: 0.1}}
experiments:
  a: {help: the first}
  b: {help: the second, from: a, optim: {lr: 0.2, betas: [0.5]}}
  rate: {help: rates, from: b, vary: {optim.lr: [0.3, 0.4], train.steps: [5]}}
  both: {help: all, runs: [a, rate]}
"""


@dataclass
class Optim:
    lr: float = key(1.0, "learning rate", above=0, most=9)
    betas: list[float] = key([0.9], "averages", least=0, below=1, some=True)


@dataclass
class Own(Config):
    optim: Optim = field(default_factory=Optim)


@pytest.fixture
def experiments(tmp_path):
    (tmp_path / "config.yaml").write_text(YAML)
    return Experiments(Own, tmp_path / "config.yaml")


def test_precedence_is_defaults_then_experiment_then_command_line(experiments):
    assert experiments.resolve("a").optim.lr == 0.1
    assert experiments.resolve("b").optim.lr == 0.2
    assert experiments.resolve("b").optim.betas == [0.5]
    assert experiments.resolve("b", 3, {"optim.lr": 7}).optim.lr == 7.0
    assert experiments.resolve("b", 3).seed == 3
    assert experiments.resolve("a").train.steps == 100


def test_groups_and_sweeps_expand(experiments):
    assert experiments.expand("both") == ["a", "rate_0.3_5", "rate_0.4_5"]
    point = experiments.resolve("rate_0.4_5")
    assert (point.optim.lr, point.train.steps, point.optim.betas) == (0.4, 5, [0.5])


@pytest.mark.parametrize(("overrides", "message"), [
    ({"optim.rl": 1}, "unknown key 'optim.rl'; did you mean 'optim.lr'?"),
    ({"steps": 1}, "did you mean 'train.steps'?"),
    ({"train.steps": "many"}, "train.steps=many: expected int, got str 'many'"),
    ({"train.steps": 1.5}, "train.steps=1.5: expected int"),
    ({"train.steps": -1}, "train.steps=-1: expected a whole number of at least 1"),
    ({"train.batch_size": 0}, "train.batch_size=0: expected"),
    ({"train.precision": "half"}, "expected float32|tf32|bfloat16"),
    ({"optim.betas": ["x"]}, "optim.betas"),
    ({"optim.betas": []}, "optim.betas=[]: expected at least one number"),
    ({"optim.betas": [0.5, 1.0]}, "optim.betas=[0.5, 1.0]: expected numbers, each at least 0 and "
                                  "below 1"),
    ({"optim.lr": 0}, "optim.lr=0.0: expected a number above 0 and at most 9"),
    ({"optim.lr": 9.5}, "optim.lr=9.5: expected a number above 0 and at most 9"),
    ({"optim.lr": float("nan")}, "optim.lr=nan: expected a number above 0 and at most 9"),
    ({"optim": 3}, "unknown key 'optim'"),
])
def test_wrong_overrides_are_named(experiments, overrides, message):
    with pytest.raises(UserError) as e:
        experiments.resolve("a", 0, overrides)
    assert message in str(e.value)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(("text", "message"), [
    ("experiments: {a: {optim: {rl: 1}}}", "experiment 'a' has an unknown key 'optim.rl'"),
    ("defaults: {trian: {steps: 1}}", "unknown key 'trian.steps'; did you mean 'train.steps'"),
    ("experiments: {a: {from: b}}", "made from 'b'"),
    ("experiments: {a: {runs: [b]}}", "runs 'b', which is not there"),
    ("experiments: [", "not valid YAML"),
    ("- a", "expected a mapping"),
])
def test_wrong_files_are_named(tmp_path, text, message):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(UserError, match=message.replace("'", ".")):
        Experiments(Own, tmp_path / "config.yaml")


def test_unknown_experiment_names_the_nearest(experiments):
    with pytest.raises(UserError, match="unknown experiment 'bth'; did you mean 'both'"):
        experiments.expand("bth")


def test_missing_file_is_one_line(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        Experiments(Own, tmp_path / "config.yaml")


@pytest.mark.parametrize("word", ["steps", "=3", "a=["])
def test_unreadable_words(word):
    with pytest.raises(UserError):
        parse_arguments([word])


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=6))
def test_seed_lists_come_back(seeds):
    assert parse_seeds(",".join(map(str, seeds))) == seeds


@given(st.integers(0, 500), st.integers(0, 50))
def test_seed_ranges_are_inclusive(first, more):
    assert parse_seeds(f"{first}-{first + more}") == list(range(first, first + more + 1))


@given(st.text(max_size=8).filter(lambda t: not any(c.isdigit() for c in t)))
def test_other_seeds_are_refused(text):
    with pytest.raises(UserError):
        parse_seeds(text)


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(1, 10**9), st.booleans())
def test_values_survive_the_command_line(lr, steps, compiled):
    _, _, overrides = parse_arguments(
        [f"optim.lr={lr!r}", f"train.steps={steps}", f"train.compile={compiled}"])
    assert overrides == {"optim.lr": lr, "train.steps": steps, "train.compile": compiled}


def test_help_lists_every_experiment_and_key(experiments):
    text = help_text(experiments, "train.py", "About.")
    for name in ["a", "b", "rate", "both", *keys(Own)]:
        assert f"  {name} " in text
    assert "learning rate" in text
