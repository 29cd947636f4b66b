"""The values that files and commands give to configuration keys: each of its key's type."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException, ValidationError

from common import conditions
from common.config import Key, check_value, wanted
from common.errors import UserError

NUMBERS = ("int", "float", "list[int]", "list[float]")
"""Types of keys that no text may stand for."""


EXACT = {"int": int, "float": float, "bool": bool, "str": str}
"""Types of keys whose values need no conversion if they are of this type already."""


def is_placeholder(value: Any) -> bool:
    """Whether omegaconf would put another value for this one."""
    return isinstance(value, str) and ("${" in value or value == "???")


def put(config: Any, key: Key, value: Any) -> None:
    """Give a key its value, converted to the key's type.

    Args:
        config: of omegaconf, with the types of a paper's configuration.
        key: the key.
        value: as YAML reads it.

    Raises:
        UserError: the value is of another type, or a text in which omegaconf would put another.
    """
    values = value if isinstance(value, list) else [value]
    if any(is_placeholder(v) for v in values):
        raise UserError(f"{key.name}={value}: expected the value itself; ${{…}} and ??? are not "
                        "replaced")
    try:
        if (any(isinstance(v, list | dict) for v in values)
                or (key.type == "bool" and isinstance(value, int) and value not in (0, 1))
                or (key.type in NUMBERS and any(isinstance(v, str) for v in values))):
            raise ValidationError  # omegaconf would take or convert these
        OmegaConf.update(config, key.name, value)
    except OmegaConfBaseException as e:
        raise UserError(f"{key.name}={conditions.written(value)}: expected {wanted(key)}") from e


def converted(blank: Any, key: Key, value: Any) -> Any:
    """A value as a key takes it: 3 as 3.0 where the key is a number.

    Args:
        blank: a configuration of omegaconf with the paper's types.
        key: the key.
        value: as YAML reads it.

    Raises:
        UserError: see :func:`put`.
    """
    if type(value) is EXACT.get(key.type) and not is_placeholder(value):
        return value  # most are, and a file may have hundreds
    config = copy.deepcopy(blank)
    put(config, key, value)
    return OmegaConf.select(config, key.name)


def check_varied(vary: Mapping[str, Any], known: Mapping[str, Key], blank: Any, most: int) -> None:
    """Check the values of a ``vary``, which makes an experiment of each combination of them.

    Args:
        vary: the values of each key, by dotted name.
        known: all keys of the paper.
        blank: a configuration of omegaconf with the paper's types.
        most: how many experiments it may make.

    Raises:
        UserError: it makes more; a key has no list of values, or cannot make experiments that
            differ; or a value is not allowed, or is given twice.
    """
    if not vary:
        raise UserError("expected at least one key")
    for k, values in vary.items():
        if not isinstance(values, list) or not values:
            raise UserError(f"{k}: {values}: expected a list of values")
    if (made := math.prod(map(len, vary.values()))) > most:
        raise UserError(f"{made:,} experiments: expected at most {most:,}")
    for k, values in vary.items():
        key = known[k]
        if not key.only:
            raise UserError(f"{k}: not used by this paper")
        if key.neutral:
            raise UserError(f"{k}: expected a key that changes what is computed; with this one "
                            "the members would be the same run under several names")
        if key.type.startswith("list"):
            raise UserError(f"{k}: {values}: lists cannot be varied, since each value becomes part "
                            "of a name: expected an experiment of its own for each")
        found: list[Any] = []
        for value in values:
            if value is None:
                raise UserError(f"{k}: null: expected {wanted(key)}")
            found.append(converted(blank, key, value))
            check_value(key, found[-1])
            if found[-1] in found[:-1]:
                raise UserError(f"{k}: {conditions.written(value)} is given twice: expected each "
                                "value once")
