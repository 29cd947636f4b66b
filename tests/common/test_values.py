"""Values of keys: of the right type, or one line; and those that a vary may have."""

import re

import pytest
from omegaconf import OmegaConf

from common.config import keys
from common.errors import UserError
from common.values import check_varied, converted, put
from tests.common.test_experiments import Own

KNOWN, BLANK = keys(Own), OmegaConf.structured(Own)


def given(name, value):
    config = OmegaConf.structured(Own)
    put(config, KNOWN[name], value)
    return OmegaConf.select(config, name)


@pytest.mark.parametrize(("name", "value", "taken"), [
    ("optim.lr", 3, 3.0), ("train.steps", 3, 3), ("optim.betas", [1, 0.5], [1.0, 0.5]),
    ("optim.betas", [], []), ("optim.adam", 1, True), ("data.name", "x", "x")])
def test_a_value_takes_its_keys_type(name, value, taken):
    for made in (given(name, value), converted(BLANK, KNOWN[name], value)):
        assert made == taken and type(made) in (type(taken), type(OmegaConf.create([])))


@pytest.mark.parametrize("value", [
    [[1, 2]], [[1], 0.5], [0.5, [1]], [[]], [{"a": 1}], [{}], [[[]]], {"a": 1}, {}, [None], [True],
    [["${x}"]], "x", 3, None])
def test_a_list_of_numbers_holds_numbers_alone(value):
    with pytest.raises(UserError, match=r"^optim.betas=.*: expected a list of numbers such as"):
        given("optim.betas", value)


@pytest.mark.parametrize("value", [[1], [[1]], {}, {"a": 1}, [{}], None])
@pytest.mark.parametrize(("name", "kind"), [
    ("optim.lr", "a number"), ("train.steps", "a whole number"), ("data.name", "text"),
    ("optim.adam", "true or false")])
def test_a_single_value_is_no_list_and_no_mapping(name, kind, value):
    with pytest.raises(UserError, match=f"^{name}=.*: expected {kind}$"):
        given(name, value)


def varied(**vary):
    check_varied({k.replace("__", "."): v for k, v in vary.items()}, KNOWN, BLANK, most=6)


@pytest.mark.parametrize("vary", [
    {"optim__lr": [0.1, 1, 2.5]}, {"optim__adam": [True, False]}, {"data__name": ["a", "b"]},
    {"optim__lr": [1], "train__steps": [1, 2, 3, 4, 5, 6]}, {"train__precision": ["bfloat16"]}])
def test_values_of_their_keys_type_may_vary(vary):
    varied(**vary)


@pytest.mark.parametrize(("vary", "message"), [
    ({}, "expected at least one key"),
    ({"optim__lr": 0.1}, "optim.lr: 0.1: expected a list of values"),
    ({"optim__lr": []}, "optim.lr: []: expected a list of values"),
    ({"optim__lr": {}}, "optim.lr: {}: expected a list of values"),
    ({"optim__lr": [0.3, "x"]}, "optim.lr=x: expected a number"),
    ({"optim__lr": [0.3, 10]}, "optim.lr=10.0: expected a number above 0 and at most 9"),
    ({"optim__lr": [float("nan")]}, "optim.lr=nan: expected a number"),
    ({"optim__lr": [None]}, "optim.lr: null: expected a number"),
    ({"data__name": ["a", None]}, "data.name: null: expected text"),
    ({"optim__lr": [[0.1], [0.2]]}, "optim.lr=[0.1]: expected a number"),
    ({"optim__lr": [{"a": 1}]}, "optim.lr={'a': 1}: expected a number"),
    ({"optim__lr": ["${x}"]}, "optim.lr=${x}: expected the value itself"),
    ({"train__steps": [1.5]}, "train.steps=1.5: expected a whole number"),
    ({"train__precision": ["float32", "tf32"]}, "train.precision=tf32: expected float32|bfloat16"),
    ({"optim__betas": [[0.1], [0.2]]}, "optim.betas: [[0.1], [0.2]]: lists cannot be varied"),
    ({"optim__betas": [0.1, 0.2]}, "optim.betas: [0.1, 0.2]: lists cannot be varied"),
    *(({k: v}, f"{k.replace('__', '.')}: expected a key that changes what is computed")
      for k, v in (("train__threads", [1, 2]), ("record", [True, False]),
                   ("train__device", ["cpu", "cuda"]), ("train__checkpoint_every", [1, 2]))),
    ({"train__batch_size": [1, 2]}, "train.batch_size: not used by this paper"),
    ({"optim__lr": [1.0, 2, 1]}, "optim.lr: 1 is given twice: expected each value once"),
    ({"optim__adam": [True, 1]}, "optim.adam: 1 is given twice"),
    ({"train__steps": [3], "optim__lr": [1, 1]}, "optim.lr: 1 is given twice"),
    ({"train__steps": [1, 2], "optim__lr": [1, 2, 3, 4]}, "8 experiments: expected at most 6")])
def test_others_are_one_line(vary, message):
    with pytest.raises(UserError, match=f"^{re.escape(message)}") as e:
        varied(**vary)
    assert "\n" not in str(e.value)
