"""Content of files becomes typed, or one line."""

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from common.errors import UserError
from common.typed import Model, Open, checked


class Inner(Model):
    name: str
    rate: float = Field(0.5, ge=0, le=1)


class Outer(Model):
    steps: int = Field(gt=0)
    flag: bool = False
    kind: Literal["a", "b"] = "a"
    inner: Inner = Inner(name="x")
    maybe: Inner | None = None
    many: list[Inner] = Field(default_factory=list)


class Loose(Open):
    name: str


@pytest.mark.parametrize(("content", "message"), [
    ([], "[]: expected a mapping"), (None, "None: expected a mapping"), ({}, "expected 'steps'"),
    ({"steps": "3"}, "steps: '3': expected a whole number"),
    ({"steps": 3.0}, "steps: 3.0: expected a whole number"),
    ({"steps": True}, "steps: True: expected a whole number"),
    ({"steps": 0}, "steps: 0: expected above 0"),
    ({"steps": 1, "flag": 1}, "flag: 1: expected true or false"),
    ({"steps": 1, "kind": "c"}, "kind: 'c': expected one of 'a' or 'b'"),
    ({"steps": 1, "inner": {"name": "y", "rate": 1.5}}, "inner.rate: 1.5: expected at most 1"),
    ({"steps": 1, "inner": {"name": "y", "rate": float("nan")}}, "expected a finite number"),
    ({"steps": 1, "inner": {"name": "y", "rat": 1}},
     "unknown part 'inner.rat'; did you mean 'rate'?"),
    ({"steps": 1, "maybe": {"name": "y", "rat": 1}},
     "unknown part 'maybe.rat'; did you mean 'rate'?"),
    ({"steps": 1, "stpes": 1}, "unknown part 'stpes'; did you mean 'steps'?"),
    ({"steps": 1, "many": [{"name": "y"}, {}]}, "expected 'many.1.name'"),
    ({"steps": 1, "many": {"name": "y"}}, "many: {'name': 'y'}: expected a list")])
def test_what_does_not_fit_is_one_line(content, message):
    with pytest.raises(UserError) as e:
        checked(Outer, content, "a file")
    assert str(e.value).startswith("a file: ") and message in str(e.value)
    assert "\n" not in str(e.value)


def test_what_fits_is_frozen_and_typed():
    made = checked(Outer, {"steps": 3, "inner": {"name": "y", "rate": 1}}, "a file")
    assert (made.steps, made.inner.rate, made.kind) == (3, 1.0, "a")
    with pytest.raises(ValueError, match="frozen"):
        made.steps = 4
    assert checked(Loose, {"name": "n", "other": [1]}, "a file").model_extra == {"other": [1]}


anything = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
                        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
                        max_leaves=8)


@given(anything | st.fixed_dictionaries({"steps": anything, "inner": anything, "many": anything}))
def test_whatever_stands_in_a_file_it_is_typed_or_one_line(content):
    try:
        made = checked(Outer, content, "a file")
    except UserError as e:
        assert str(e).startswith("a file: ") and len(str(e).splitlines()) == 1
    else:
        assert type(made.steps) is int and made.steps > 0
