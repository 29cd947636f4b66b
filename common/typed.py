"""Typed models for files written by people and programs; errors are reported in one line.

A model is a pydantic class. Content it rejects raises a :class:`UserError` that names the file, the
place in it, the value found there and what was expected.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import yaml
from omegaconf import OmegaConf
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from common.errors import UserError, cut, nearest, on_one_line, shorten
from common.files import read_text, shown


class Model(BaseModel):
    """A mapping with known parts, each of its declared type; nothing is converted silently."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    def written(self) -> dict[str, Any]:
        """The parts that were set explicitly, as they are written to a file."""
        return self.model_dump(by_alias=True, exclude_unset=True)


class Open(Model):
    """A model that also accepts unknown parts."""

    model_config = ConfigDict(extra="allow")


def _single(text: str) -> str:
    if len(text.splitlines()) > 1 or text != text.rstrip("\r\n"):
        raise ValueError(f"{text[:40]!r}: expected a single line")
    return text


Line = Annotated[str, AfterValidator(_single)]
"""Text on a single line, such as a title."""

M = TypeVar("M", bound=Model)

EXPECTED = {
    "string_type": "text", "int_type": "a whole number", "float_type": "a number",
    "finite_number": "a finite number", "bool_type": "true or false", "list_type": "a list",
    "tuple_type": "a list", "dict_type": "a mapping", "model_type": "a mapping",
    "greater_than_equal": "at least {ge:g}", "greater_than": "above {gt:g}",
    "less_than_equal": "at most {le:g}", "too_short": "at least {min_length} in it",
    "too_long": "at most {max_length} in it", "literal_error": "one of {expected}",
    "string_pattern_mismatch": "text of the form {pattern}",
}
"""What was expected, by pydantic's type of error."""

FORMS: dict[str, str] = {}
"""What texts of a form are in words, by its regular expression; added where the form is declared.

:meta hide-value:
"""


def form(pattern: str, words: str) -> str:
    """A regular expression for texts, whose words stand in messages: ``text of … alone``."""
    FORMS[pattern] = words
    return pattern


def checked(model: type[M], content: Any, where: str) -> M:
    """Validate content against a model.

    Args:
        model: the expected structure.
        content: plain data, as parsed from YAML or JSON.
        where: the file, and the place in it, for the message.

    Raises:
        UserError: the content does not match the model.
    """
    try:
        return model.model_validate(content)
    except ValidationError as e:
        errors = e.errors(include_url=False)  # a part spelled wrongly is unknown, and is missing
        unknown = [k for k in errors if k["type"] == "extra_forbidden"]
        first = unknown[0] if unknown and errors[0]["type"] == "missing" else errors[0]
        raise UserError(f"{where}: {error_text(first, model)}") from e


def parse_json(text: str | bytes) -> Any:
    """Parse JSON in which every mapping gives a key once.

    Raises:
        ValueError: it is not JSON, is nested too deeply, or gives a key twice.
    """
    try:
        return json.loads(text, object_pairs_hook=_once)
    except RecursionError as e:
        raise ValueError("it is nested too deeply") from e


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for k, v in pairs:
        if k in found:
            raise ValueError(f"{shorten(k)!r} is given twice, as {shorten(repr(found[k]))} and "
                             f"{shorten(repr(v))}: expected each key once")
        found[k] = v
    return found


def read_json(model: type[M], path: Path) -> M:
    """Read a JSON file and validate it against a model.

    Raises:
        UserError: it cannot be read, is not JSON, gives a key twice, or does not match the model.
    """
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise UserError(f"cannot read {shown(path)}: {e.strerror}") from e
    except ValueError as e:
        raise UserError(f"{shown(path)} is not JSON: {cut(str(e), 160)}") from e
    return checked(model, content, shown(path))


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file as plain dictionaries.

    Raises:
        UserError: it cannot be read, is not YAML, is not a mapping, or contains a number that YAML
            reads as a different one.
    """
    try:
        text = read_text(path).removeprefix("\ufeff")
        number = misread(text)
        content: Any = OmegaConf.to_container(OmegaConf.load(io.StringIO(text)))
    except OSError as e:
        if e.strerror is None:  # raised by omegaconf if the text is a single value
            raise UserError(f"{shown(path)}: expected a mapping at the top") from e
        raise UserError(f"cannot read {shown(path)}: {e.strerror}") from e
    except UserError:
        raise
    except Exception as e:  # yaml's and omegaconf's errors share no base class
        if "max_yaml_expanded_nodes" in str(e):
            raise UserError(f"{shown(path)}: its aliases (*name) repeat too much: expected the "
                            "values written out") from e
        said = told(e, text) if isinstance(e, yaml.MarkedYAMLError) else on_one_line(str(e))
        raise UserError(f"{shown(path)} is not valid YAML: {said}") from e
    if number:
        raise UserError(f"{shown(path)}: {number}")
    if not text.strip():
        raise UserError(f"{shown(path)}: is empty: expected a mapping at the top")
    if not isinstance(content, dict):
        raise UserError(f"{shown(path)}: expected a mapping at the top")
    return content


def told(error: yaml.MarkedYAMLError, text: str) -> str:
    """What is wrong with a text that is no YAML, and where."""
    mark, problem = error.problem_mark, on_one_line(error.problem or str(error))
    if mark is None:
        return problem
    (row,) = text.splitlines()[mark.line:mark.line + 1] or [""]
    tab = ": expected spaces in place of the tab" if "\t" in row[:mark.column + 1] else ""
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}{tab}"


def whole(text: str) -> int | None:
    """The whole number that a text of one to twelve digits 0-9 says, else None.

    ``int`` alone accepts the digits of other scripts and refuses very long numbers with an error of
    its own; ``str.isdigit`` accepts what ``int`` refuses, such as ``²``.
    """
    return int(text) if re.fullmatch("[0-9]{1,12}", text) else None


MISREAD = re.compile(r"[-+]?0[0-9_]+|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")
"""Numbers that YAML reads in base 8 or 60."""

TINY = re.compile(r"[-+]?(?=[0-9.]*[1-9])(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE]-[0-9]{3,}")
"""Numbers so close to 0 that they may be read as 0."""

def misread(text: str) -> str | None:
    """What is wrong with the first number that YAML would read in base 8 or 60, or as 0; or None.

    The number stands there as it is written, after its key: ``steps: 010: expected …``.

    Raises:
        yaml.YAMLError: the text is not YAML.
    """
    if not MISREAD.search(text) and not TINY.search(text):
        return None
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # much faster, if available
    key = ""
    for event in yaml.parse(text, loader):
        if not isinstance(event, yaml.ScalarEvent):
            continue
        if event.implicit[0]:
            said = f"{key}: {event.value}" if key else str(event.value)
            if MISREAD.fullmatch(event.value):
                return f"{said}: expected a decimal number, without " + (
                    "colons" if ":" in event.value else "leading zeros")
            if TINY.fullmatch(event.value) and float(event.value) == 0:
                return f"{said}: expected a number that is not rounded to 0"
        end: Any = event.end_mark
        if text[end.index:end.index + 1] == ":":
            key = on_one_line(shorten(str(event.value)))
    return None


def error_text(error: Any, model: type[Model]) -> str:
    """The message for one of pydantic's errors, in this repository's wording.

    Args:
        error: as :meth:`ValidationError.errors` lists them.
        model: what was expected.
    """
    loc = error["loc"]
    place = on_one_line(".".join(map(str, loc[:-2] if loc[-1:] == ("[key]",) else loc)))
    if error["type"] == "extra_forbidden":
        return f"unknown part {place!r}{nearest(str(error['loc'][-1]), parts(model, error['loc']))}"
    if error["type"] == "missing":
        return f"expected {place!r}"
    expected = EXPECTED.get(error["type"])
    if expected is None:  # raised by the model's own validator, with a complete message
        return f"{place}: {error['msg'].removeprefix('Value error, ')}".removeprefix(": ")
    value = shorten(repr(error["input"]))
    expected = expected.format_map(error.get("ctx", {}))
    if error["type"] == "string_pattern_mismatch":
        expected = FORMS.get(error["ctx"]["pattern"], expected)
    if loc[-1:] == ("[key]",):
        value = f"the name {value}"
        if error["type"] == "string_type":  # YAML reads no and 12 as another type
            expected = f'text, in quotes here: "{str(error["input"]).lower()}"'
    return f"{place}: {value}: expected {expected}" if place else f"{value}: expected {expected}"


def parts(model: type[Model], place: Sequence[int | str]) -> list[str]:
    """The parts' names, as files spell them, of a model or of the nested model at a place."""
    fields = {f.alias or name: f for name, f in model.model_fields.items()}
    inner = fields[str(place[0])].annotation if str(place[0]) in fields else None
    for kind in (inner, *get_args(inner)):  # an optional part is a union with None
        if len(place) > 1 and isinstance(kind, type) and issubclass(kind, Model):
            return parts(kind, place[1:])
    return list(fields)
