"""Files that people and programs write, read through typed models: one line says what is wrong.

A model is a pydantic class. What it refuses becomes a :class:`UserError` with the file, the place
in it, what stood there and what was expected.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from omegaconf import OmegaConf
from pydantic import BaseModel, ConfigDict, ValidationError

from common.errors import UserError, nearest
from common.files import shown


class Model(BaseModel):
    """A mapping with known parts, each of its own type; nothing is converted silently."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    def written(self) -> dict[str, Any]:
        """The parts that were given, as a file holds them."""
        return self.model_dump(by_alias=True, exclude_unset=True)


class Open(Model):
    """The same, and it may have parts that nobody here reads."""

    model_config = ConfigDict(extra="allow")


M = TypeVar("M", bound=Model)

EXPECTED = {
    "string_type": "text", "int_type": "a whole number", "float_type": "a number",
    "finite_number": "a finite number", "bool_type": "true or false", "list_type": "a list",
    "tuple_type": "a list", "dict_type": "a mapping", "model_type": "a mapping",
    "greater_than_equal": "at least {ge:g}", "greater_than": "above {gt:g}",
    "less_than_equal": "at most {le:g}", "too_short": "at least {min_length} of them",
    "too_long": "at most {max_length} of them", "literal_error": "one of {expected}",
    "string_pattern_mismatch": "text of the form {pattern}",
}
"""What to say where pydantic finds an error of a kind."""


def checked(model: type[M], content: Any, where: str) -> M:
    """Content as a model.

    Args:
        model: what is expected.
        content: as a YAML or JSON file holds it.
        where: the file, and the place in it, for the message.

    Raises:
        UserError: it is something else.
    """
    try:
        return model.model_validate(content)
    except ValidationError as e:
        raise UserError(f"{where}: {said(e.errors(include_url=False)[0], model)}") from e


def read_json(model: type[M], path: Path) -> M:
    """A JSON file as a model.

    Raises:
        UserError: it cannot be read, is not JSON, or something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise UserError(f"cannot read {shown(path)}: {e.strerror}") from e
    except (ValueError, RecursionError) as e:
        raise UserError(f"{shown(path)} is not JSON: {' '.join(str(e).split())[:160]}") from e
    return checked(model, content, shown(path))


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file as plain dictionaries.

    Raises:
        UserError: it cannot be read, is not YAML, holds no mapping, or a number that YAML reads as
            another one.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        number = misread(text)
        content: Any = OmegaConf.to_container(OmegaConf.load(io.StringIO(text)))
    except OSError as e:
        if e.strerror is None:  # omegaconf's, of a text that is a single value
            raise UserError(f"{shown(path)}: expected a mapping at the top") from e
        raise UserError(f"cannot read {shown(path)}: {e.strerror}") from e
    except Exception as e:  # yaml's and omegaconf's errors share no base
        raise UserError(f"{shown(path)} is not valid YAML: {' '.join(str(e).split())}") from e
    if number:
        raise UserError(f"{shown(path)}: {number}: {DECIMAL}")
    if not isinstance(content, dict):
        raise UserError(f"{shown(path)}: expected a mapping at the top")
    return content


MISREAD = re.compile(r"[-+]?0[0-9_]+|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")
"""Numbers that YAML takes as written in base 8 or 60."""

DECIMAL = "expected a decimal number, without leading zeros or colons"


def misread(text: str) -> str | None:
    """The first number of a YAML text that would be read in base 8 or 60; None if there is none.

    Raises:
        yaml.YAMLError: it is not YAML.
    """
    if not MISREAD.search(text):
        return None
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # many times as fast, where it is
    for event in yaml.parse(text, loader):
        if isinstance(event, yaml.ScalarEvent) and event.implicit[0] and MISREAD.fullmatch(
                event.value):
            return str(event.value)
    return None


def said(error: Any, model: type[Model]) -> str:
    """One of pydantic's errors in the words of this repository.

    Args:
        error: as :meth:`ValidationError.errors` lists them.
        model: what was expected.
    """
    loc = error["loc"]
    place = " ".join(".".join(map(str, loc[:-2] if loc[-1:] == ("[key]",) else loc)).split())
    if error["type"] == "extra_forbidden":
        return f"unknown part {place!r}{nearest(str(error['loc'][-1]), parts(model, error['loc']))}"
    if error["type"] == "missing":
        return f"expected {place!r}"
    expected = EXPECTED.get(error["type"])
    if expected is None:  # a check of the model's own, which says it all
        return f"{place}: {error['msg'].removeprefix('Value error, ')}".removeprefix(": ")
    value = repr(error["input"])
    value = value if len(value) <= 60 else value[:57] + "…"
    value = f"the name {value}" if loc[-1:] == ("[key]",) else value
    expected = expected.format_map(error.get("ctx", {}))
    return f"{place}: {value}: expected {expected}" if place else f"{value}: expected {expected}"


def parts(model: type[Model], place: Sequence[int | str]) -> list[str]:
    """The names in a file of the parts of a model, or of the model in it that a place leads to."""
    fields = {f.alias or name: f for name, f in model.model_fields.items()}
    inner = fields[str(place[0])].annotation if str(place[0]) in fields else None
    for kind in (inner, *get_args(inner)):  # a part that may be absent is one of two kinds
        if len(place) > 1 and isinstance(kind, type) and issubclass(kind, Model):
            return parts(kind, place[1:])
    return list(fields)
