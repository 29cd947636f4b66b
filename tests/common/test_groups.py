"""Groups of experiments: a few, of a few, or one line."""

import re

import pytest

from common.errors import UserError
from common.groups import Names, check_groups, repeated
from tests.common.test_experiments import written


def chain(deep, many=1):
    """Groups of groups: the first runs the second, so many times, and the last an experiment."""
    return {f"g{k}": [f"g{k + 1}" if k < deep - 1 else "a"] * many for k in range(deep)}


def backwards(groups):
    return dict(reversed(groups.items()))


def check(groups):
    check_groups(groups, ["a", "b"], ["a", "b", *groups], "config.yaml")


@pytest.mark.parametrize("groups", [
    {}, {"g": ["a", "b", "a"]}, {"g": ["a"] * 1000}, chain(20), backwards(chain(20)),
    chain(9, many=2), {"g": ["h", "h"], "h": ["a"]}])
def test_groups_of_a_few_are_sound(groups):
    check(groups)


@pytest.mark.parametrize("way", [dict, backwards], ids=["down", "up"])
@pytest.mark.parametrize(("groups", "message"), [
    ({"g": ["c"]}, "'g' runs 'c', which does not exist"),
    ({"g": ["g"]}, "'g' runs itself: g → g"), ({"g": ["h"], "h": ["a", "g"]}, "runs itself: "),
    ({"g": ["a"] * 1001}, "'g' runs 1,001 experiments: expected at most 1,000"),
    (chain(10, many=2), "'g0' runs 1,024 experiments: expected at most 1,000"),
    (chain(20, many=9), "experiments: expected at most 1,000"),
    *((chain(deep), "runs groups of groups: expected at most 20 of them in one another")
      for deep in (21, 22, 1500))], ids=range(9))
def test_others_are_one_line(groups, message, way):
    with pytest.raises(UserError, match=f"config.yaml: experiment .*{re.escape(message)}") as e:
        check(way(groups))
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(("names", "first"), [
    ([], None), (["a", "b"], None), (["a", "A"], None), (["a", "b", "a"], "a"),
    (["a", "b", "b", "a"], "b"), (["", ""], "")])
def test_a_name_that_stands_there_twice(names, first):
    assert repeated(names) == first


@pytest.mark.parametrize(("name", "group", "why"), [
    ("a", "", "another experiment or group has it"), ("a", "s", "another experiment or group has"),
    ("A", "", "'a' differs from it in upper and lower case alone"),
    ("s_1", "", "a member of 's' has it, or from: s_1 to change that one"),
    ("s_1", "t", "a member of 's' has it"), ("S_1", "", "'s_1' differs from it"),
    ("default", "", "in seeds it stands for all"), ("com1", "", "Windows allows no folder")])
def test_a_name_means_one_thing(name, group, why):
    taken = Names()
    taken.add("a")
    taken.add("s_1", "s")
    taken.add("b")
    with pytest.raises(UserError, match=f"^the name {name!r}: expected another, since {why}"):
        taken.add(name, group)


def test_only_what_a_vary_made_may_be_changed():
    taken = Names()
    taken.add("a")
    taken.add("s_1", "s")
    taken.add("s_1", changes=True)
    with pytest.raises(UserError, match="another experiment or group has it"):
        taken.add("a", changes=True)


@pytest.mark.parametrize(("entries", "message"), [
    ("a: {vary: {optim.lr: [1]}}, a_1: {optim: {lr: 2}}",
     "experiments: the name 'a_1': expected another, since a member of 'a' has it, or from: a_1"),
    ("b: {}, a: {vary: {optim.lr: [1]}}, a_1: {from: b}", "since a member of 'a' has it"),
    ("b: {}, a: {vary: {optim.lr: [1]}}, a_1: {runs: [b]}", "since a member of 'a' has it"),
    ("a: {vary: {optim.lr: [1]}}, a_1: {from: a_1, vary: {train.steps: [2]}}", "of 'a' has it"),
    ("a: {vary: {optim.lr: [1]}}, A_1: {from: a_1}", "the name 'A_1': expected another, since "
                                                     "'a_1' differs from it in upper and lower"),
    ("a_1: {}, a: {vary: {optim.lr: [1]}}",
     "experiment 'a': vary: the name 'a_1': expected another, since another experiment or group"),
    ("b: {}, a_1: {runs: [b]}, a: {vary: {optim.lr: [1]}}", "vary: the name 'a_1': expected"),
    ("a_1: {vary: {optim.lr: [2]}}, a: {vary: {optim.lr: [1]}}", "vary: the name 'a_1': expected"),
    ("a: {vary: {optim.lr: [1, 2], train.steps: [2]}}, a_1: {vary: {train.steps: [2]}}",
     "experiment 'a_1': vary: the name 'a_1_2': expected another, since a member of 'a' has it"),
    ("plain: {}, Plain: {}", "the name 'Plain': expected another, since 'plain' differs from it"),
    ("a: {}, g: {runs: [a]}, G: {}", "the name 'G': expected another, since 'g' differs"),
    ("a: {vary: {data.name: [x, X]}}", "vary: the name 'a_X': expected another, since 'a_x' dif"),
    ("default: {}", "the name 'default': expected another, since in seeds it stands for"),
    *((f"a: {{}}, {name}: {{}}", f"the name '{name}': expected another, since Windows")
      for name in ("con", "Aux", "nul.txt", "lpt1", "a.")),
    ("a: {vary: {data.name: [x.]}}", "the name 'a_x.': expected another, since Windows"),
    ("a: {}, b: {runs: [a, a]}", "experiment 'b' runs 'a' twice: expected it once"),
    ("a: {}, b: {}, c: {runs: [a, b, a]}", "experiment 'c' runs 'a' twice"),
    ("a: {}, b: {runs: [a]}, c: {runs: [b, b]}", "experiment 'c' runs 'b' twice"),
    ("a: {optim: {lr: 1}, vary: {optim.lr: [2]}}", "experiment 'a' gives optim.lr twice"),
    ("a: {train: {steps: 1}, train.steps: 2}", "experiment 'a' gives train.steps twice")])
def test_what_means_two_things_is_refused(tmp_path, entries, message):
    with pytest.raises(UserError, match=re.escape(message)) as e:
        written(tmp_path, f"experiments: {{{entries}}}")
    assert "config.yaml: experiment" in str(e.value) and "\n" not in str(e.value)


def test_an_entry_may_change_a_member_that_a_vary_made(tmp_path):
    made = written(tmp_path, "experiments: {a: {vary: {optim.lr: [1, 2]}}, "
                             "a_1: {from: a_1, train: {steps: 7}}}")
    changed = made.resolve("a_1")
    assert (changed.optim.lr, changed.train.steps) == (1.0, 7) and made.expand("a") == [
        "a_1", "a_2"]


def test_an_experiment_of_two_groups_is_run_once(tmp_path):
    made = written(tmp_path, "experiments: {a: {}, b: {}, g: {runs: [a, b]}, h: {runs: [b, g]}}")
    assert made.expand("h") == ["b", "a"]
