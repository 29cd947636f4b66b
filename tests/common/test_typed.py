"""Content of files becomes typed, or one line."""

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from common.errors import UserError
from common.typed import (
    Model,
    Open,
    checked,
    form,
    parse_json,
    read_json,
    read_yaml,
    whole,
)


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


@pytest.mark.parametrize(("text", "said"), [
    ("train: {steps: 0010}", "steps: 0010: expected a decimal number, without leading zeros"),
    ("a: {b: 1}\ntimes:\n  - 1:30", "times: 1:30: expected a decimal number, without colons"),
    ("optim: {lr: 1e-400}", "lr: 1e-400: expected a number that is not rounded to 0"),
    ("", "is empty: expected a mapping"), (" \n", "is empty: expected a mapping"),
    ("a: &a [1]\n" + "".join(f"k{n}: &k{n} [{', '.join(['*a' if not n else f'*k{n - 1}'] * 9)}]\n"
                             for n in range(9)), "its aliases (*name) repeat too much")])
def test_what_yaml_would_misread_is_named_with_its_key(tmp_path, text, said):
    (tmp_path / "f.yaml").write_text(text)
    with pytest.raises(UserError) as e:
        read_yaml(tmp_path / "f.yaml")
    assert f"f.yaml: {said}" in str(e.value) and "max_yaml" not in str(e.value)


class Forms(Model):
    names: dict[str, int] = Field(default_factory=dict)
    word: str = Field("a", pattern=form("^[a-z]+$", "small letters alone"))
    several: list[int] = Field([1], min_length=1)


@pytest.mark.parametrize(("content", "said"), [
    ({"names": {False: 1}}, 'the name False: expected text, in quotes here: "false"'),
    ({"names": {12: 1}}, 'the name 12: expected text, in quotes here: "12"'),
    ({"word": "A"}, "word: 'A': expected small letters alone"),
    ({"several": []}, "several: []: expected at least 1 in it")])
def test_forms_are_said_in_words(content, said):
    with pytest.raises(UserError) as e:
        checked(Forms, content, "f")
    assert said in str(e.value) and "^" not in str(e.value)


@pytest.mark.parametrize("number", ["0010", "-01", "1:30", "+1:30:59", "1:30.5", "00", "0_1",
                                    "1e-400", "-2.5E-9999", ".5e-400", "1e-324"])
def test_numbers_that_yaml_reads_as_others_are_refused_wherever_they_stand(tmp_path, number):
    for text in ("a: {}", "a: [1, {}]", "a: {{b: {}}}", "{}: a"):
        (tmp_path / "f.yaml").write_text(text.format(number))
        with pytest.raises(UserError, match=r"f\.yaml: .*expected a (decimal )?number"):
            read_yaml(tmp_path / "f.yaml")
    (tmp_path / "f.yaml").write_text(f"a: '{number}'\nb: x {number}\n# {number}\nc: 10:65:a")
    assert read_yaml(tmp_path / "f.yaml") == {"a": number, "b": f"x {number}", "c": "10:65:a"}


@pytest.mark.parametrize(("text", "value"), [
    ("1e-300", 1e-300), ("4e-324", 5e-324), ("0e-400", 0.0), ("-0.0e-999", 0.0),
    ("1e-400x", "1e-400x"), ("1.2.3e-400", "1.2.3e-400"), ("'1e-400'", "1e-400")])
def test_small_numbers_are_read_where_64_bits_hold_them(tmp_path, text, value):
    (tmp_path / "f.yaml").write_text(f"a: {text}")
    assert read_yaml(tmp_path / "f.yaml") == {"a": value}


@pytest.mark.parametrize(("text", "number"), [
    ("0", 0), ("12", 12), ("007", 7), ("9" * 12, 10**12 - 1), ("", None), ("-1", None),
    ("1.0", None), ("²", None), ("٣", None), ("３", None), ("1_0", None), (" 1", None),
    ("1\n", None), ("9" * 13, None), ("9" * 5000, None)])
def test_a_whole_number_has_the_digits_0_to_9(text, number):
    assert whole(text) == number


@pytest.mark.parametrize(("text", "said"), [
    ("[" * 100_000, "nested too deeply"), ('{"a":' * 100_000, "nested too deeply"),
    ('{"a": 1, "a": 2}', "given twice"), ("9" * 5000, "limit"), ("", "Expecting value"),
    ("{", "Expecting"), ("\ufeff{}", "BOM"), ("\x00", "Expecting value")])
def test_what_is_no_json_is_one_line(tmp_path, text, said):
    (tmp_path / "f.json").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=said):
        parse_json(text)
    with pytest.raises(UserError, match=f"f.json is not JSON: .*{said}") as e:
        read_json(Loose, tmp_path / "f.json")
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(("content", "message"), [
    ("a: é".encode("latin-1"), "expected text in UTF-8, not byte 0xe9"),
    (b"3", "expected a mapping at the top"),
    (b"[1]", "expected a mapping at the top"), (b"a: [", "not valid YAML: line 2, "),
    (b"a: 1\n\tb: 2", "line 2, column 1: "), (b"a:\n\tb: 2", "expected spaces in place of the tab"),
    (b"[" * 5000, "nesting"),
    (b"a: 1\na: 2", "duplicate key"), (b"a: 1\n---\nb: 2", "not valid YAML"),
    (b"a: &a [*a]", "recursive"), (b"\x00", "not valid YAML")])
def test_what_is_no_yaml_is_one_line(tmp_path, content, message):
    (tmp_path / "f.yaml").write_bytes(content)
    with pytest.raises(UserError, match=message) as e:
        read_yaml(tmp_path / "f.yaml")
    assert "f.yaml" in str(e.value) and "\n" not in str(e.value)


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_mark_of_the_byte_order_is_no_content(tmp_path, mark):
    (tmp_path / "f.yaml").write_text(f"{mark}a: 1\r\nb: [x]\r\n", encoding="utf-8")
    assert read_yaml(tmp_path / "f.yaml") == {"a": 1, "b": ["x"]}


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
