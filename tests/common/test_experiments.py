"""Experiments: files, command line, and every way they can be wrong."""

import re
from dataclasses import dataclass, field
from typing import ClassVar

import pytest

from common.conditions import NEVER
from common.config import Config, identity, key
from common.errors import UserError
from common.experiments import Experiments

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
    adam: bool = key(False, "by Adam", only={"optim.lr": (0.1, 0.2)})
    beta2: float = key(0.99, "another", only={"optim.adam": True}, least=0)


@dataclass
class Own(Config):
    honoured: ClassVar = {"train.batch_size": NEVER}
    precisions: ClassVar = ("float32", "bfloat16")
    optim: Optim = field(default_factory=Optim)

    def check(self):
        if self.train.steps == 13:
            raise UserError("train.steps=13: expected no unlucky number")


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


def test_a_seed_is_checked_the_first_time_an_experiment_is_read(experiments):
    for _ in range(2):
        with pytest.raises(UserError, match="seed=-5: expected a whole number of at least 0"):
            experiments.resolve("b", -5)


def test_groups_and_sweeps_expand(experiments):
    assert experiments.expand("both") == ["a", "rate_0.3_5", "rate_0.4_5"]
    point = experiments.resolve("rate_0.4_5")
    assert (point.optim.lr, point.train.steps, point.optim.betas) == (0.4, 5, [0.5])


@pytest.mark.parametrize(("overrides", "message"), [
    ({"optim.rl": 1}, "unknown key 'optim.rl'; did you mean 'optim.lr'?"),
    ({"steps": 1}, "did you mean 'train.steps'?"),
    ({"train.steps": "many"}, "train.steps=many: expected a whole number"),
    ({"train.steps": 1.5}, "train.steps=1.5: expected a whole number"),
    ({"train.steps": None}, "train.steps=: expected a whole number"),
    ({"train.steps": True}, "train.steps=true: expected a whole number"),
    ({"optim.lr": "0,5"}, "optim.lr=0,5: expected a number"),
    ({"optim.adam": 2}, "optim.adam=2: expected true or false"),
    ({"optim.adam": "maybe"}, "optim.adam=maybe: expected true or false"),
    ({"optim.betas": 0}, "optim.betas=0: expected a list of numbers such as optim.betas=[0.9]"),
    ({"data.name": [1]}, "data.name=[1]: expected text"),
    ({"train.steps": -1}, "train.steps=-1: expected a whole number of at least 1"),
    ({"train.eval_every": 0}, "train.eval_every=0: expected"),
    ({"train.steps": 13}, "no unlucky number"),
    ({"train.precision": "half"}, "train.precision=half: expected float32|bfloat16"),
    ({"train.precision": "tf32"}, "train.precision=tf32: expected float32|bfloat16"),
    ({"train.batch_size": 5}, "train.batch_size=5: not used by this paper"),
    ({"data.validation": 7}, "data.validation=7: not used where data.evaluate_on=test"),
    ({"optim.beta2": 1}, "optim.beta2=1.0: not used where optim.adam=false"),
    ({"optim.adam": True, "optim.lr": 3}, "optim.adam=true: not used where optim.lr=3.0"),
    ({"optim.lr": 3, "optim.beta2": 1}, "optim.beta2=1.0: not used where optim.lr=3.0"),
    ({"optim.betas": ["x"]}, "optim.betas=['x']: expected a list of numbers such as"),
    *(({"optim.betas": value}, ": expected a list of numbers such as optim.betas=[0.9]")
      for value in ([[1, 2]], [{"a": 1}], [[0.5], 0.1], [[]], {}, {"a": 1})),
    ({"optim.lr": {}}, "optim.lr={}: expected a number"),
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
    ("experiments: {a: {help: x}}\ndefaults: {trian: {steps: 1}}",
     "unknown key 'trian.steps'; did you mean 'train.steps'"),
    ("experiments: {a: {from: b}}", "made from 'b'"),
    ("experiments: {a: {runs: [b]}}", "runs 'b', which does not exist"),
    ("experiments: {a: {precisions: [half]}}", "experiment 'a' has precisions=['half']: expected "
                                               "a list of float32|bfloat16"),
    ("precisions: float32", "precisions: 'float32': expected a list"),
    ("experiments: [", "not valid YAML"),
    ("- a", "expected a mapping"),
    ("experiments: [a, b]", "experiments: ['a', 'b']: expected a mapping"),
    ("experiments: {}", "experiments: {}: expected at least 1 in it"),
    ("default: a", "expected 'experiments'"),
    ("nonsense: 3\nexperiments: {a: {help: x}}", "unknown part 'nonsense'"),
    ("experimnts: {}\nexperiments: {a: {help: x}}", "'experimnts'; did you mean 'experiments'?"),
    ("experiments: {a: text}", "experiments.a: 'text': expected a mapping"),
    ("experiments: {a: }", "experiments.a: None: expected a mapping"),
    ("experiments: {a: {help: 3}}", "experiments.a.help: 3: expected text"),
    ("experiments: {a: {from: 3}}", "experiments.a.from: 3: expected text"),
    ("experiments: {a: {vary: {}}}", "experiments.a.vary: {}: expected at least 1 in it"),
    ("experiments: {a: {vary: {optim.lr: 1.0}}}", "vary: optim.lr: 1.0: expected a list"),
    ("experiments: {a: {vary: {optim.lr: []}}}", "vary: optim.lr: []: expected a list of values"),
    ("experiments: {a: {runs: []}}", "experiments.a.runs: []: expected at least 1 in it"),
    ("experiments: {a: {runs: a}}", "experiments.a.runs: 'a': expected a list"),
    ("experiments: {a: {runs: [a]}}", "experiment 'a' runs itself: a → a"),
    ("experiments: {a: {runs: [b]}, b: {runs: [c]}, c: {runs: [b]}}", "runs itself: b → c → b"),
    ("default: b\nexperiments: {a: {help: x}}", "default: unknown experiment 'b'"),
    ("defaults: [1]\nexperiments: {a: {help: x}}", "defaults: [1]: expected a mapping"),
    *((f"experiments: {{{name}: {{help: x}}}}", "expected text") for name in (
        "no", "1", "/abs/path", "../x", "'a b'", "'a,b'", "'a=b'", "''", "'.'", "'a/b'",
        "a" * 101)),
    ("experiments: {1: {help: x}}", "experiments: the name 1: expected text"),
    ("3", "expected a mapping at the top"),
    ("experiments: {a: {train: {steps: 0010}}}", "0010: expected a decimal number"),
    ("experiments: {a: {train: {steps: 1:30}}}", "1:30: expected a decimal number"),
    *((f"defaults: {{train: {{steps: {steps}}}}}\nexperiments: {{a: {{help: x}}}}",
       "config.yaml: defaults: train.steps=") for steps in ("'3'", "٣", "３", "'1e3'", '"0x10"')),
    *((f"defaults: {{optim: {{lr: {rate}}}}}\nexperiments: {{a: {{help: x}}}}",
       "config.yaml: defaults: optim.lr=") for rate in ("'0.1'", "٠.١", "inf", "'nan'")),
    ("experiments: {a: {optim: {lr: 1e-400}}}", "1e-400: expected a number that is not"),
    ("experiments: {a: {optim: {betas: [0.5, 010]}}}", "010: expected a decimal number"),
    ("defaults: {train: {steps: many}}\nexperiments: {a: {help: x}}",
     "config.yaml: defaults: train.steps=many: expected a whole number"),
    ("defaults: {optim: {lr: .nan}}\nexperiments: {a: {help: x}}", "defaults: optim.lr=nan: "),
    ("defaults: {data: {name: '${oc.env:HOME}'}}\nexperiments: {a: {}}",
     "expected the value itself"),
    ("defaults: {optim: {lr: 0.1}, optim.lr: 0.2}\nexperiments: {a: {}}",
     "defaults gives optim.lr twice"),
    *((f"experiments: {{a: {{{k}: 1}}}}", f"experiment 'a' gives {k}: expected in commands only")
      for k in ("experiment", "seed", "fresh", "budget")),
    ("experiments: {a: {}, b: {runs: [a], from: a}}", "'b' has runs: expected nothing but help "
                                                      "beside it, not from"),
    ("experiments: {a: {}, b: {runs: [a], vary: {optim.lr: [1]}}}", "beside it, not vary"),
    ("experiments: {a: {}, b: {runs: [a], optim: {lr: 1}}}", "beside it, not optim"),
    ("experiments: {a: {vary: {data.name: [../../x]}}}", "the name 'a_../../x': expected text"),
    ("experiments: {a: {vary: {optim.lr: [1.0, 1.0]}}}", "vary: optim.lr: 1.0 is given twice"),
    (f"experiments: {{a: {{vary: {{optim.lr: {[*range(2000)]}, train.steps: {[*range(2000)]}}}}}}}",
     "experiment 'a': vary: 4,000,000 experiments: expected at most 1,000"),
    ("experiments: {a: {}, " + ", ".join(f"g{k}: {{runs: [g{k + 1}]}}" for k in range(1500))
     + ", g1500: {runs: [a]}}", "runs groups of groups: expected at most 20 of them in one"),
])
def test_wrong_files_are_named(tmp_path, text, message):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(UserError, match=re.escape(message)):
        Experiments(Own, tmp_path / "config.yaml")


@pytest.mark.parametrize(("text", "message"), [
    ("defaults: {optim: {lr: {}}}\nexperiments: {a: {}}",
     "defaults: optim.lr: {}: expected a number"),
    ("experiments: {a: {optim: {lr: {}}}}", "experiment 'a': optim.lr: {}: expected a number"),
    ("experiments: {a: {optim.lr: {}}}", "experiment 'a': optim.lr: {}: expected a number"),
    ("experiments: {a: {train: {steps: {}, eval_every: 3}}}", "train.steps: {}: expected a whole"),
    ("experiments: {a: {optim: {betas: {}}}}", "optim.betas: {}: expected a list of numbers"),
    ("experiments: {a: {start_from: {}}}", "experiment 'a': start_from: {}: expected text"),
    ("experiments: {a: {optm: {}}}", "experiment 'a' has an unknown key 'optm'"),
    ("experiments: {a: {optim: {rate: {}}}}", "experiment 'a' has an unknown key 'optim.rate'"),
    ("experiments: {a: {vary: {optim.lr: {}}}}", "vary: optim.lr: {}: expected a list of values"),
    ("experiments: {a: {vary: {optim: {}}}}", "experiment 'a': vary: expected at least one key"),
    ("experiments: {a: {vary: {optim.lr: [0.3, x]}}}", "vary: optim.lr=x: expected a number"),
    ("experiments: {a: {vary: {optim.lr: [null]}}}", "vary: optim.lr: null: expected a number"),
    ("experiments: {a: {vary: {train.threads: [1, 2]}}}", "vary: train.threads: expected a key"),
    ("experiments: {a: {vary: {optim.betas: [[0.1], [0.2]]}}}", "lists cannot be varied"),
    ("defaults: {optim: {betas: [[0.1], 0.2]}}\nexperiments: {a: {}}",
     "defaults: optim.betas=[[0.1], 0.2]: expected a list of numbers such as")])
def test_a_value_of_another_kind_is_refused_when_the_file_is_read(tmp_path, text, message):
    with pytest.raises(UserError, match=re.escape(message)) as e:
        written(tmp_path, text)
    assert "config.yaml: " in str(e.value) and "\n" not in str(e.value)


@pytest.mark.parametrize("value", ["[[0.1], 0.2]", "[{a: 1}]", "[[]]", "[{}]"])
def test_a_list_in_an_experiments_list_is_one_line(tmp_path, value):
    made = written(tmp_path, f"experiments: {{a: {{optim: {{betas: {value}}}}}}}")
    with pytest.raises(UserError, match=r"config.yaml: a: optim.betas=.*: expected a list of num"):
        made.resolve("a")


def test_a_section_may_be_empty(tmp_path):
    made = written(tmp_path, "defaults: {optim: {}}\nexperiments: {a: {train: {}, optim: {}}}")
    assert made.resolve("a").optim.lr == 1.0


def written(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    return Experiments(Own, tmp_path / "config.yaml")


def test_an_experiment_sets_no_key_where_it_is_not_honoured_but_may_inherit_one(tmp_path):
    made = written(tmp_path, """
        defaults: {train: {batch_size: 1}, optim: {beta2: 0.5}}
        experiments:
          adam: {optim: {lr: 0.1, adam: true, beta2: 0.9}}
          other: {from: adam, optim: {lr: 3}}
          wrong: {optim: {beta2: 0.9}}
          rates: {from: adam, vary: {optim.lr: [0.2, 5.0], optim.adam: [true]}}
    """)
    assert made.resolve("other").optim.beta2 == 0.9
    assert "optim.beta2" not in identity(made.resolve("other"))
    assert made.resolve("adam", 0, {"optim.lr": 4}).optim.lr == 4, "the command line has its way"
    for name, message in (("wrong", "wrong: optim.beta2=0.9: not used where optim.lr=1.0"),
                          ("rates_5.0_True", "optim.adam=true: not used where optim.lr=5.0")):
        for overrides in ({}, {"train.steps": 3}):
            with pytest.raises(UserError) as e:
                made.resolve(name, 0, overrides)
            assert message in str(e.value) and "config.yaml" in str(e.value)


PRECISIONS = """
precisions: [float32, bfloat16]
experiments:
  both: {help: as at the top}
  one: {precisions: [float32]}
  inherited: {from: one, optim: {lr: 0.2}}
  half: {train: {precision: bfloat16}, precisions: [bfloat16]}
  none: {train: {precision: bfloat16}, precisions: [float32]}
"""


@pytest.mark.parametrize(("name", "counting"), [
    ("both", {"float32", "bfloat16"}), ("one", {"float32"}), ("inherited", {"float32"}),
    ("half", {"bfloat16"})])
def test_a_run_in_a_precision_that_counts_is_the_experiments_own(tmp_path, name, counting):
    made = written(tmp_path, PRECISIONS)
    own = made.resolve(name)
    for precision in Own.precisions:
        run = identity(made.resolve(name, 3, {"train.precision": precision}))
        assert made.counts(run, own) == (precision in counting)
        assert not made.counts(run | {"train.steps": 7}, own)


def test_an_experiments_own_precision_has_to_count(tmp_path):
    with pytest.raises(UserError, match=r"none: train.precision=bfloat16: expected one of its"):
        written(tmp_path, PRECISIONS).resolve("none")


def test_unknown_experiment_names_the_nearest(experiments):
    with pytest.raises(UserError, match="unknown experiment 'bth'; did you mean 'both'"):
        experiments.expand("bth")


@pytest.mark.parametrize(("name", "message"), [
    ("both", "'both' is a group: expected one of a, rate_0.3_5, rate_0.4_5"),
    ("rate", "'rate' is a group: expected one of rate_0.3_5, rate_0.4_5"),
    ("rat", "unknown experiment 'rat'; known: a, b, rate_0.3_5, rate_0.4_5")])
def test_a_group_is_no_single_experiment(experiments, name, message):
    with pytest.raises(UserError) as e:
        experiments.resolve(name)
    assert str(e.value) == message


def test_missing_file_is_one_line(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        Experiments(Own, tmp_path / "config.yaml")


def planned(tmp_path, said):
    (tmp_path / "config.yaml").write_text(YAML + said)
    return Experiments(Own, tmp_path / "config.yaml")


def test_three_runs_are_planned_where_nothing_is_said(experiments):
    assert experiments.planned("a") == (3,)


def test_plans_are_of_experiments_groups_and_the_rest(tmp_path):
    assert planned(tmp_path, "seeds: 5").planned("a") == (5,)
    known = planned(tmp_path, "seeds: {default: 4, rate_0.3_5: [3, 40], rate: 10}")
    assert [known.planned(e) for e in ("a", "rate_0.3_5", "rate_0.4_5")] == [(4,), (3, 40), (10,)]


@pytest.mark.parametrize(("said", "message"), [
    ("seeds: {bth: 3}", "seeds names 'bth', which is no experiment; did you mean 'both'"),
    ("seeds: 0", "seeds of default: expected a whole number of runs"),
    ("seeds: {a: [10, 3]}", "seeds of a: expected a whole number of runs, or a growing list"),
    ("seeds: {a: []}", "seeds of a: expected"),
    ("seeds: {a: many}", "seeds of a: expected"),
    ("seeds: {a: true}", "seeds of a: expected"),
    ("seeds: {a: 100000000000}", "seeds of a: expected .* none above 10,000"),
    ("seeds: {a: 2.5}", "seeds of a: expected")])
def test_other_plans_are_one_line(tmp_path, said, message):
    with pytest.raises(UserError, match=message.replace("'", ".")):
        planned(tmp_path, said)


@pytest.mark.parametrize("value", ["${oc.env:HOME}", "${optim.lr}", "???", "a${x}b"])
def test_nothing_is_put_in_for_a_value(tmp_path, value):
    known = planned(tmp_path, "")
    with pytest.raises(UserError, match="expected the value itself"):
        known.resolve("a", 0, {"optim.lr": value})
    with pytest.raises(UserError, match="expected the value itself"):
        known.resolve("a", 0, {"optim.betas": [0.5, value]})
    path = tmp_path / "other.yaml"
    path.write_text(YAML.replace("lr: 0.2", f"lr: '{value}'"))
    with pytest.raises(UserError, match=r"other\.yaml: b: .* expected the value itself"):
        Experiments(known.schema, path).resolve("b", 0)
