"""Parsing of ``key=value`` command lines, and the text of ``--help``."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from omegaconf import OmegaConf

from common import conditions
from common.config import one_line
from common.errors import UserError, nearest, shorten
from common.experiments import LAST_SEED, MOST_SEEDS, Experiments
from common.groups import repeated
from common.typed import misread


def parse_arguments(argv: list[str]) -> tuple[str | None, list[int], dict[str, Any]]:
    """Parse ``key=value`` arguments into experiment, seeds and overrides.

    Returns:
        The value of ``experiment`` (None if not given), the seeds (``[0]`` if not given), and
        all other keys with their values as YAML reads them.

    Raises:
        UserError: see :func:`texts_of` and :func:`value_of`.
    """
    given = texts_of(argv)
    experiment, seeds = given.pop("experiment", None), given.pop("seed", None)
    if experiment == "":
        raise UserError("experiment=: expected the name of one, or several as a,b")
    return (experiment, [0] if seeds is None else parse_seeds(seeds),
            {name: value_of(name, text) for name, text in given.items()})


def parse_options(argv: list[str], known: Sequence[str], also: str = "") -> dict[str, Any]:
    """Parse the ``key=value`` arguments of a command with a few keys of its own, as YAML.

    Args:
        argv: the arguments.
        known: the keys that the command uses; ``experiment`` and ``seed`` are keys like others.
        also: what further keys may begin with; empty: there are none.

    Raises:
        UserError: a key is unknown, or see :func:`texts_of` and :func:`value_of`.
    """
    given = texts_of(argv)
    for name in given:
        if name not in known and not (also and name.startswith(also)):
            raise UserError(f"unknown key {name!r}{nearest(name, known)}")
    return {name: value_of(name, text) for name, text in given.items()}


def texts_of(argv: Iterable[str]) -> dict[str, str]:
    """Split ``key=value`` arguments; every command reads its own through here.

    Raises:
        UserError: an argument is not ``key=value``, or a key is given twice.
    """
    given: dict[str, str] = {}
    for word in argv:
        name, sign, text = word.partition("=")
        if not sign or not name or name.startswith("-"):
            near = word.lstrip("-")
            raise UserError(f"cannot read {word!r}: expected key=value" + (
                f", such as {near}" if near != word and name.lstrip("-") and sign
                else " (try --help)"))
        if name in given:
            raise UserError(f"{word}: {name} is given twice; expected it once")
        given[name] = text
    return given


def value_of(name: str, text: str) -> Any:
    """A value of the command line as YAML reads it.

    Raises:
        UserError: it is not YAML, or a number that YAML reads as another one.
    """
    word = f"{name}={text}"
    try:
        number = misread(text)
        read: Any = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]))
    except Exception as e:
        raise UserError(f"cannot read the value of {word!r}: {one_line(e)}") from e
    if number:
        raise UserError(f"cannot read {word!r}: {number}")
    return read["value"]


@contextlib.contextmanager
def as_typed(argv: Sequence[str]) -> Iterator[None]:
    """A context whose errors show a value as the user typed it: ``lr=1e2`` and not ``lr=100.0``."""
    try:
        yield
    except UserError as e:
        said = str(e)
        for word in argv:
            name, sign, value = word.partition("=")
            if sign and said.startswith(f"{name}=") and (end := after_value(said)):
                shown = value.replace("\n", " ") if len(value) <= 200 else shorten(value, 200)
                raise type(e)(f"{name}={shown}{said[end:]}") from e
        raise


def after_value(message: str) -> int:
    """Where ``key=value`` ends that a message begins with; 0 if that cannot be told."""
    depth = 0
    for k, sign in enumerate(message):
        depth += (sign in "[{(") - (sign in "]})")
        if depth == 0 and message.startswith(": ", k):
            return k
    return 0


def names_of(key: str, text: str) -> list[str]:
    """Split the names that a key is given, such as ``a,b``.

    Raises:
        UserError: one of them is given twice.
    """
    names = text.split(",")
    if (twice := repeated(names)) is not None:
        raise UserError(f"{key}={shorten(text)}: {twice!r} is named twice; expected it once")
    return names


def parse_seeds(text: str) -> list[int]:
    """Parse ``"3"``, ``"0-9"`` or ``"0,2,5-7"`` as a list of seeds.

    Raises:
        UserError: the text has another form, or names too many or too large seeds.
    """
    seeds: dict[int, None] = {}
    for part in text.split(","):
        match = re.fullmatch(r"([0-9]{1,20})(?:-([0-9]{1,20}))?", part.strip())
        if match and any(n and n[0] == "0" != n for n in match.groups()):
            raise UserError(f"seed={shorten(text)}: {part.strip()}: expected decimal numbers, "
                            "without leading zeros")
        if not match or (match[2] and int(match[2]) < int(match[1])):
            raise UserError(f"seed={shorten(text)}: expected a whole number, a range 0-9 or a list "
                            "0,2,5")
        first, last = int(match[1]), int(match[2] or match[1])
        if last - first >= MOST_SEEDS - len(seeds) or last > LAST_SEED:
            raise UserError(f"seed={shorten(text)}: expected at most {MOST_SEEDS:,} seeds, none "
                            f"above {LAST_SEED:,}")
        named = range(first, last + 1)
        if any(k in seeds for k in named):
            raise UserError(f"seed={shorten(text)}: a seed is named twice; expected each once")
        seeds |= dict.fromkeys(named)
    return list(seeds)


def help_text(experiments: Experiments, program: str, about: str) -> str:
    """The text that ``--help`` prints: experiments and keys with their meaning."""
    lines = [about, "", f"usage: python {program} [experiment=NAME] [seed=K] [key=value …]",
             "       the same with --pace: time per step, and what the whole run would cost",
             "       (--pace --keep: also for the report)", "",
             "experiments:"]
    listed = {m for _, members in experiments.groups.values() for m in members
              if m in experiments.experiments
              and any(m.startswith(g + "_") for g in experiments.groups)}
    for name in experiments.names():
        if name in listed:
            continue  # the members of a sweep are listed under the sweep's own name
        if name in experiments.groups:
            text, members = experiments.groups[name]
            text = f"{text} [{', '.join(members)}]"
        else:
            text = experiments.experiments[name].help
        mark = " (default)" if name == experiments.default else ""
        lines.append(f"  {name:<18} {text}{mark}")
    defaults = {k: v.default for k, v in experiments.known.items()} | experiments.defaults | {
        "experiment": experiments.default}
    lines += ["", "keys (type, the paper's value where an experiment gives no other):"]
    for k in experiments.known.values():
        where = conditions.described(k.only)
        said = f"; only where {where}" if where else "" if k.only else "; not used by this paper"
        lines.append(f"  {k.name:<24} {k.help} ({k.type}, {defaults[k.name]!r}{said})")
    return "\n".join(lines)
