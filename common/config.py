"""Typed configuration: the keys of a run, their allowed values, and where each is honoured.

A paper declares a dataclass that extends :class:`Config`; its ``config.yaml``, which
:mod:`common.experiments` reads, and the command line give the values. A key is *honoured* where the
code uses it. Elsewhere it is refused, and it is not part of the run's :func:`identity`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints

from common import conditions
from common.conditions import ALWAYS, Condition
from common.errors import UserError, on_one_line, shorten
from common.segments import MOST_STEPS


@dataclass(frozen=True)
class Bounds:
    """The allowed range of a number, or of each number in a list.

    Attributes:
        least, above: the lower bound, inclusive or exclusive.
        most, below: the upper bound, inclusive or exclusive.
        some: whether a list needs at least one element.
    """

    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None
    some: bool = False

    def __str__(self) -> str:
        limits = {"at least": self.least, "above": self.above, "at most": self.most,
                  "below": self.below}
        return " and ".join(f"{word} {v:g}" for word, v in limits.items() if v is not None)

    def __contains__(self, value: float) -> bool:
        """Whether a number is within the bounds; NaN is outside any."""
        return ((self.least is None or value >= self.least)
                and (self.above is None or value > self.above)
                and (self.most is None or value <= self.most)
                and (self.below is None or value < self.below))


def key(default: Any, help: str, neutral: bool = False,
        only: Condition | Sequence[Condition] = ALWAYS, **bounds: Any) -> Any:
    """Declare a configuration key.

    Args:
        default: its value where neither ``config.yaml`` nor the command line gives one.
        help: its meaning, shown by ``--help``.
        neutral: True if it affects how a run executes but not what it computes; such keys may
            differ between a result and its experiment.
        only: where it is honoured: a condition such as ``{"task.name": "bandit"}``, or several of
            which one has to hold, see :mod:`common.conditions`.
        bounds: see :class:`Bounds`; a value outside them is refused before anything runs.
    """
    metadata = {"help": help, "neutral": neutral, "bounds": Bounds(**bounds),
                "only": conditions.alternatives(only)}
    if isinstance(default, list | dict):
        return field(default_factory=lambda: default.copy(), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class DataConfig:
    name: str = key("mnist", "data set: mnist, fashion_mnist, cifar10 or digits")
    evaluate_on: Literal["test", "validation"] = key(
        "test", "test: train on all training data; validation: hold part of it out instead")
    validation: int = key(
        10_000, "how many training images evaluate_on=validation holds out", least=1,
        only={"data.evaluate_on": "validation"})


@dataclass
class TrainConfig:
    steps: int = key(1000, "number of updates", least=1, most=MOST_STEPS)
    batch_size: int = key(100, "images per update", least=1, most=10**9)
    log_every: int = key(50, "steps averaged in one line of the training-loss log", least=1)
    eval_every: int = key(
        500, "steps between evaluations (the final step is always evaluated)", least=1)
    checkpoint_every: int = key(5000, "steps between checkpoints", neutral=True, least=1)
    checkpoint_seconds: float = key(
        600.0, "also a checkpoint when this many seconds have passed since the last one",
        neutral=True, above=0)
    compile: bool = key(False, "run the model through torch.compile")
    precision: Literal["float32", "tf32", "bfloat16"] = key(
        "float32", "arithmetic of convolutions and products; float32 is IEEE's on every device")
    device: str = key("auto", "auto, cpu, cuda, mps …", neutral=True)
    threads: int = key(0, "CPU threads; 0 leaves it to torch", neutral=True, least=0, most=1024)
    vectorize: bool = key(False, "train all seeds given as one batched network, for small ones",
                          neutral=True)
    side_by_side: int = key(1, "how many of the runs given take turns in one process, on a card",
                            neutral=True, least=1, most=1024)
    capture: bool = key(True, "on a CUDA card: capture the step in a graph", neutral=True)


@dataclass
class TrackingConfig:
    wandb: Literal["disabled", "offline", "online"] = key(
        "disabled", "also send metrics to Weights & Biases", neutral=True)
    project: str = key("papers-to-code", "the Weights & Biases project", neutral=True)


@dataclass
class Config:
    """The keys every paper has; a paper's own dataclass adds ``model``, ``optim`` and others.

    Attributes:
        honoured: where a paper honours keys of this class or its sections, such as
            ``{"train.batch_size": NEVER}`` for one that always takes all examples at once.
        precisions: the values of ``train.precision`` that a paper's code supports.
    """

    honoured: ClassVar[Mapping[str, Condition | Sequence[Condition]]] = {}
    precisions: ClassVar[Sequence[str]] = ("float32", "tf32", "bfloat16")

    experiment: str = key("", "which experiment of config.yaml; several: a,b", neutral=True)
    seed: int = key(0, "seed of initialisation and batch order; several: 0-9 or 0,3,5",
                    neutral=True, least=0, most=2**31 - 1)
    record: bool = key(True, "leave the finished result under papers/<paper>/results/",
                       neutral=True)
    fresh: bool = key(False, "start anew instead of resuming, discarding the run's folder",
                      neutral=True)
    budget: str = key("", "stop with a checkpoint after 90s, 8m or 1.5h; empty: train to the end",
                      neutral=True)
    start_from: str = key("", "begin with the weights of another experiment (its run of the same "
                              "seed) or of a .safetensors file")
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)

    def check(self) -> None:
        """Refuse values that are incompatible; a paper overrides this with its own rules.

        Raises:
            UserError: two values are incompatible; the message names them.
        """


@dataclass(frozen=True)
class Key:
    """One leaf of a configuration, as ``--help`` lists it."""

    name: str
    type: str
    default: Any
    help: str
    neutral: bool
    bounds: Bounds
    only: tuple[Condition, ...]


KEYS: dict[type, Mapping[str, Key]] = {}
"""Results of :func:`keys`, cached by class.

:meta hide-value:
"""


def keys(schema: type[Config]) -> Mapping[str, Key]:
    """All leaf keys of a structured configuration by dotted name, in order of declaration."""
    if schema in KEYS:
        return KEYS[schema]
    found: dict[str, Key] = {}
    own = {k: conditions.alternatives(only) for k, only in schema.honoured.items()}

    def walk(cls: Any, prefix: str) -> None:  # any dataclass; typing has no name for that
        hints = get_type_hints(cls)
        for f in fields(cls):
            hint, name = hints[f.name], prefix + f.name
            if is_dataclass(hint):
                walk(hint, name + ".")
                continue
            kind = "|".join(map(str, get_args(hint))) if get_origin(hint) is Literal else \
                getattr(hint, "__name__", str(hint)) if not get_args(hint) else str(hint)
            if name == "train.precision":
                kind = "|".join(schema.precisions)
            default = f.default if f.default_factory is MISSING else f.default_factory()
            found[name] = Key(name, kind, default, f.metadata.get("help", ""),
                              f.metadata.get("neutral", False),
                              f.metadata.get("bounds", Bounds()),
                              own.get(name, f.metadata.get("only", ALWAYS)))

    walk(schema, "")
    return KEYS.setdefault(schema, MappingProxyType(found))


KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text",
         "list[int]": "a list of whole numbers", "list[float]": "a list of numbers"}
"""How messages name the types of keys."""

EXAMPLES: dict[str, list[float]] = {"list[int]": [100, 10], "list[float]": [0.5, 0.1]}
"""Example values for types whose syntax is not obvious, used where a key's default is empty."""


def wanted(key: Key) -> str:
    """The kind of value a key takes: ``a list of whole numbers such as stepsize=[100,10]``."""
    kind = KINDS.get(key.type, key.type)
    if key.type not in EXAMPLES:
        return kind
    example = ",".join(str(v) for v in key.default or EXAMPLES[key.type])
    return f"{kind} such as {key.name}=[{example}]"


def leaves(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested mappings with their dotted names; lists and empty mappings are leaves.

    A name comes twice if the mappings spell it in two ways, as ``{"a": {"b": 1}, "a.b": 2}`` do.
    """
    for k, v in tree.items():
        if isinstance(v, dict) and v:
            yield from leaves(v, f"{prefix}{k}.")
        else:
            yield f"{prefix}{k}", v


def flatten(tree: dict[str, Any]) -> dict[str, Any]:
    """Nested mappings as one mapping from dotted names to leaves, without empty mappings."""
    return {k: v for k, v in leaves(tree) if v != {}}


def as_dict(config: Config) -> dict[str, Any]:
    """The whole configuration as plain nested dictionaries."""
    return asdict(config)


def unused(config: Config) -> dict[str, str]:
    """The keys that are not honoured given the values of the others, each with the reason.

    The reason is a value such as ``task.name=bandit``, or empty if no other value would help.
    """
    known, values = keys(type(config)), flatten(as_dict(config))
    found: dict[str, str | None] = {}

    def of_key(name: str) -> str | None:
        if name not in found:
            found[name] = conditions.obstacle(known[name].only, values, of_key)
        return found[name]

    return {k: against for k in known if (against := of_key(k)) is not None}


def identity(config: Config) -> dict[str, Any]:
    """The flat keys that decide what is computed: all that are honoured and not neutral."""
    known, ignored = keys(type(config)), unused(config)
    return {k: v for k, v in flatten(as_dict(config)).items()
            if not known[k].neutral and k not in ignored}


def start_of(config: Config) -> str:
    """The value of ``start_from``, or empty where it is not honoured."""
    return "" if "start_from" in unused(config) else config.start_from


def names_file(start: str) -> bool:
    """Whether a ``start_from`` names a file of weights rather than an experiment."""
    return start.endswith(".safetensors")


def completed(saved: dict[str, Any], config: Config) -> dict[str, Any]:
    """A saved :func:`identity`, completed so that it can be compared with a configuration's.

    Keys added since it was saved get their defaults; a new key must therefore default to what the
    code did before. Keys that the configuration does not honour are dropped, since older files may
    contain them.
    """
    known, honoured = keys(type(config)), identity(config)
    return {k: known[k].default for k in honoured} | {
        k: v for k, v in saved.items() if k in honoured or k not in known}


def same_run(there: dict[str, Any], here: dict[str, Any], precisions: Collection[str]) -> bool:
    """Whether a run of one configuration may go on in another.

    Args:
        there, here: the two configurations, flat.
        precisions: the values of ``train.precision`` that count for the experiment. A run begun in
            one of them, such as TF32 on a graphics card, may go on in another, such as float32 on
            a CPU; its segments say which was when.
    """
    key = "train.precision"
    if there.get(key) in precisions and here.get(key) in precisions:
        there = there | {key: here[key]}
    return there == here


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """The differences of two flat configurations, each as ``key (a there, b here)``."""
    absent = "absent"
    return [f"{k} ({one.get(k, absent)} there, {other.get(k, absent)} here)"
            for k in sorted(one.keys() | other.keys())
            if one.get(k, absent) != other.get(k, absent)]


MOST_WHOLE, LEAST_FLOAT, MOST_FLOAT = 2**31 - 1, 1e-37, 1e38
"""Bounds of every number of a configuration, where its key gives none that is narrower."""


def check_bounds(config: Config) -> None:
    """Check every number against its bounds, and the precision against the paper's.

    Raises:
        UserError: a value is not allowed; the message names the key, its value and what was
            expected.
    """
    known = keys(type(config))
    for name, value in flatten(as_dict(config)).items():
        check_value(known[name], value)


def check_value(key: Key, value: Any) -> None:
    """Check a value that is of its key's type.

    Raises:
        UserError: it is not allowed, as :func:`check_bounds` says.
    """
    name, bounds, kind = key.name, key.bounds, key.type
    if name == "train.precision" and value not in kind.split("|"):
        raise UserError(f"{name}={value}: expected {kind}")
    listed = isinstance(value, list)
    values = value if listed else [value]
    if bounds.some and not value:
        raise UserError(f"{name}={value}: expected at least one number")
    if str(bounds) and any(v not in bounds for v in values):
        number = "whole number" if "int" in kind else "number"
        said = f"of {bounds}" if str(bounds).startswith("at") else bounds
        raise UserError(f"{name}={value}: expected " + (
            f"{number}s, each {bounds}" if listed else f"a {number} {said}"))
    if any(isinstance(v, float) and not math.isfinite(v) for v in values):
        raise UserError(f"{name}={value}: expected a finite number")
    if kind in ("int", "list[int]") and any(abs(v) > MOST_WHOLE for v in values):
        raise UserError(f"{name}={shorten(str(value))}: expected whole numbers of at most "
                        f"{MOST_WHOLE:,}")
    if kind in ("float", "list[float]") and any(
            v and not LEAST_FLOAT <= abs(v) <= MOST_FLOAT for v in values):
        raise UserError(f"{name}={value}: expected 0 or a number that float32 can hold, from "
                        f"{LEAST_FLOAT:g} to {MOST_FLOAT:g}")


def one_line(error: BaseException) -> str:
    """An exception's message on one line."""
    return on_one_line(str(error)) or type(error).__name__
