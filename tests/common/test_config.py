"""Configuration: what decides what a run computes, and where a key is honoured."""

import math
import re
from dataclasses import dataclass, field
from typing import ClassVar

import pytest

from common.conditions import NEVER, Not, Unlike
from common.config import (
    Bounds,
    Config,
    Key,
    as_dict,
    check_value,
    completed,
    differences,
    flatten,
    identity,
    key,
    keys,
    leaves,
    unused,
)
from common.errors import UserError


@dataclass
class Prior:
    kind: str = key("mixture", "one or two", only={"task": ("net", "tree")})
    std: float = key(1.0, "of one", only={"prior.kind": "one"})
    wide: float = key(3.0, "from", only={"prior.kind": "mixture"})
    narrow: float = key(1.0, "to", only={"prior.kind": "mixture"})
    pi: float = key(0.5, "weight", only={"prior.wide": Unlike("prior.narrow")})


@dataclass
class Own(Config):
    honoured: ClassVar = {"train.batch_size": NEVER,
                         "data.name": ({"task": "net"}, {"l1": Not(0.0)})}
    task: str = key("net", "what is learned")
    l1: float = key(0.0, "a penalty")
    l1_from: int = key(0, "when it begins", only={"l1": Not(0.0)})
    prior: Prior = field(default_factory=Prior)


def of(**values) -> Own:
    prior = Prior(**{k: values.pop(k) for k in list(values) if k in vars(Prior())})
    return Own(prior=prior, **values)


@pytest.mark.parametrize(("config", "name", "against"), [
    (of(), "train.batch_size", ""),
    (of(), "data.validation", "data.evaluate_on=test"),
    (of(), "l1_from", "l1=0.0"),
    (of(l1=0.5), "l1_from", None),
    (of(), "data.name", None),
    (of(task="tree", l1=1.0), "data.name", None),
    (of(task="tree"), "data.name", "task=tree and l1=0.0"),
    (of(), "prior.std", "prior.kind=mixture"),
    (of(kind="one"), "prior.std", None),
    (of(task="none", kind="one"), "prior.std", "task=none"),  # the obstacle of its obstacle
    (of(), "prior.pi", None),
    (of(wide=1.0), "prior.pi", "prior.wide=1.0"),
])
def test_a_key_is_honoured_where_its_conditions_hold(config, name, against):
    assert unused(config).get(name) == against
    assert (name in identity(config)) == (against is None)


def test_identity_leaves_out_what_cannot_change_a_number():
    one, other = of(), of()
    other.train.threads, other.tracking.wandb, other.seed = 7, "offline", 3
    other.l1_from, other.train.batch_size, other.prior.std = 9, 5, 8.0
    assert identity(one) == identity(other)
    other.l1 = 0.5
    assert differences(identity(one), identity(other)) == [
        "l1 (0.0 there, 0.5 here)", "l1_from (absent there, 9 here)"]


def test_what_was_saved_before_a_key_was_added_or_given_a_condition_still_compares():
    everything = {k: v for k, v in flatten_of(of()).items() if not keys(Own)[k].neutral}
    assert completed(everything | {"l1_from": 3, "train.batch_size": 1}, of()) == identity(of())
    del everything["l1"], everything["prior.kind"]
    assert completed(everything, of()) == identity(of())
    assert completed(everything, of(l1=0.5)) != identity(of(l1=0.5))
    assert completed(everything | {"gone": 1}, of()) != identity(of()), "a key that is no more"


def flatten_of(config):
    return flatten(as_dict(config))


def test_a_papers_condition_stands_in_front_of_the_shared_ones():
    assert keys(Config)["train.batch_size"].only and not keys(Own)["train.batch_size"].only


def test_flatten_keeps_lists_whole():
    assert flatten({"a": {"b": [1, 2], "c": 3}}) == {"a.b": [1, 2], "a.c": 3}
    assert flatten({"a": {"b": {}}, "c": []}) == {"c": []}


def test_leaves_are_all_that_is_written():
    assert list(leaves({"a": {"b": {}, "c": 3}, "a.c": [1], "d": {}})) == [
        ("a.b", {}), ("a.c", 3), ("a.c", [1]), ("d", {})]


def number(**bounds):
    return Key("n", bounds.pop("type", "float"), 0, "", False, Bounds(**bounds), ({},))


@pytest.mark.parametrize(("known", "value"), [
    (number(least=1), 1.0), (number(below=1), -1e38), (number(type="int"), 2**31 - 1),
    (number(type="list[float]", above=0), [1.0, 2.0]), (number(type="list[int]"), [])])
def test_a_value_within_its_bounds_passes(known, value):
    check_value(known, value)


@pytest.mark.parametrize(("known", "value", "message"), [
    (number(least=1), 0.5, "n=0.5: expected a number of at least 1"),
    (number(below=1), 1.0, "n=1.0: expected a number below 1"),
    (number(), math.inf, "n=inf: expected a finite number"),
    (number(), 1e39, "n=1e+39: expected 0 or a number that float32 can hold"),
    (number(type="int"), 2**31, "n=2147483648: expected whole numbers of at most 2,147,483,647"),
    (number(type="list[float]", above=0), [1.0, 0.0], "n=[1.0, 0.0]: expected numbers, each above"),
    (number(type="list[int]", some=True), [], "n=[]: expected at least one number")])
def test_a_value_beyond_its_bounds_is_named(known, value, message):
    with pytest.raises(UserError, match=f"^{re.escape(message)}"):
        check_value(known, value)
