"""Where a configuration key is honoured: conditions on the values of other keys.

A condition maps keys to the values they must have, and holds where all of them match:

>>> described(alternatives({"task.name": ("sine", "sinc"), "optim.l1": Not(0.0)}))
'task.name=sine|sinc and optim.l1≠0.0'

A key may have several conditions, of which one has to hold: ``ALWAYS`` is a single empty condition,
``NEVER`` is no condition at all. A key that is not honoured itself matches nothing: ``prior.std``
with the condition ``prior.kind=gaussian`` need not repeat where ``prior.kind`` is honoured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Condition = Mapping[str, Any]
"""What each key must be: a value, one of a tuple of values, :class:`Not` or :class:`Unlike`."""

ALWAYS: tuple[Condition, ...] = ({},)
NEVER: tuple[Condition, ...] = ()


@dataclass(frozen=True)
class Not:
    """Any value but this one."""

    value: Any


@dataclass(frozen=True)
class Unlike:
    """Any value but the one another key has."""

    key: str


def both(*conditions: Condition) -> Condition:
    """One condition that holds where all of these hold."""
    return {k: wanted for condition in conditions for k, wanted in condition.items()}


def alternatives(only: Condition | Sequence[Condition]) -> tuple[Condition, ...]:
    """A key's conditions as a tuple; a single condition need not be given in a sequence."""
    return (only,) if isinstance(only, Mapping) else tuple(only)


def fits(value: Any, wanted: Any, values: Mapping[str, Any]) -> bool:
    """Whether a value is what a condition wants, given the values of all keys."""
    if isinstance(wanted, Not):
        return value != wanted.value
    if isinstance(wanted, Unlike):
        return value != values[wanted.key]
    return value in wanted if isinstance(wanted, tuple) else value == wanted


def obstacle(only: Sequence[Condition], values: Mapping[str, Any],
             of_key: Callable[[str], str | None]) -> str | None:
    """The reason why none of a key's conditions holds, such as ``task.name=bandit``, or None.

    Args:
        only: the alternative conditions.
        values: the values of all keys by dotted name.
        of_key: gives the obstacle of another key, which may not be honoured itself.
    """
    found = []
    for condition in only:
        against = (_against(k, wanted, values, of_key) for k, wanted in condition.items())
        first = next((a for a in against if a is not None), None)
        if first is None:
            return None
        found.append(first)
    return " and ".join(dict.fromkeys(found))


def _against(name: str, wanted: Any, values: Mapping[str, Any],
             of_key: Callable[[str], str | None]) -> str | None:
    deeper = of_key(name)
    if deeper is not None:
        return deeper
    return None if fits(values[name], wanted, values) else f"{name}={written(values[name])}"


def described(only: Sequence[Condition]) -> str:
    """The conditions as ``--help`` shows them: ``task.name=bandit or optim.l1≠0.0``."""
    def part(name: str, wanted: Any) -> str:
        if isinstance(wanted, Unlike):
            return f"{name}≠{wanted.key}"
        if isinstance(wanted, Not):
            return f"{name}≠{written(wanted.value)}"
        several = wanted if isinstance(wanted, tuple) else (wanted,)
        return f"{name}={'|'.join(map(written, several))}"

    return " or ".join(" and ".join(part(*item) for item in condition.items())
                       for condition in only)


def written(value: Any) -> str:
    """A value as it is typed on the command line, where None is nothing at all."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
