"""Typed configuration: ``config.yaml`` holds the paper's values, the command line overrides them.

A paper declares a dataclass that extends :class:`Config`; its ``config.yaml`` reads

.. code-block:: yaml

    default: paper                # the experiment that runs when none is named
    defaults: {...}               # the paper's values
    experiments:
      bn: {help: ..., model: {...}}                      # what differs from the defaults
      bn_fast: {help: ..., from: bn, train: {...}}       # what differs from another experiment
      sweep: {help: ..., from: bn, vary: {optim.lr: [0.1, 1.0]}}   # sweep_0.1, sweep_1.0
      paper: {help: ..., runs: [plain, bn]}              # several, one after the other

and ``experiment=bn,plain seed=0-9 optim.lr=0.5`` on the command line chooses and overrides.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from common.errors import UserError, nearest
from common.files import shown


@dataclass(frozen=True)
class Bounds:
    """What a number, or each of a list of numbers, may be; ``some``: the list may not be empty."""

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
        """Whether a number lies within; not a number lies nowhere."""
        return ((self.least is None or value >= self.least)
                and (self.above is None or value > self.above)
                and (self.most is None or value <= self.most)
                and (self.below is None or value < self.below))


def key(default: Any, help: str, neutral: bool = False, **bounds: Any) -> Any:
    """Declare a configuration key.

    Args:
        default: its value where neither ``config.yaml`` nor the command line gives one.
        help: its meaning, shown by ``--help``.
        neutral: True if it says how a run is carried out and not what is computed; such keys
            may differ between a result and its experiment.
        bounds: see :class:`Bounds`; a value beyond them ends in one line before anything runs.
    """
    metadata = {"help": help, "neutral": neutral, "bounds": Bounds(**bounds)}
    if isinstance(default, list | dict):
        return field(default_factory=lambda: default.copy(), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class DataConfig:
    name: str = key("mnist", "data set: mnist, fashion_mnist, cifar10, digits or mushroom")
    evaluate_on: Literal["test", "validation"] = key(
        "test", "test: train on all training data; validation: hold part of it out instead")
    validation: int = key(
        10_000, "how many training images evaluate_on=validation holds out", least=1)


@dataclass
class TrainConfig:
    steps: int = key(1000, "number of updates", least=1)
    batch_size: int = key(100, "images per update", least=1)
    log_every: int = key(50, "steps averaged in one line of the training-loss log", least=1)
    eval_every: int = key(
        500, "steps between evaluations (the final step is always evaluated)", least=1)
    checkpoint_every: int = key(5000, "steps between checkpoints", neutral=True, least=1)
    checkpoint_seconds: float = key(
        600.0, "also a checkpoint when so many seconds have passed since the last one",
        neutral=True, above=0)
    compile: bool = key(False, "run the model through torch.compile")
    precision: Literal["float32", "bfloat16"] = key("float32", "arithmetic of forward/backward")
    device: str = key("auto", "auto, cpu, cuda, mps …", neutral=True)
    threads: int = key(0, "CPU threads; 0 leaves it to torch", neutral=True, least=0)
    vectorize: bool = key(False, "train all seeds given as one batched network, for small ones",
                          neutral=True)
    side_by_side: int = key(1, "how many of the runs given take turns in one process, on a card",
                            neutral=True, least=1)
    capture: bool = key(True, "on a CUDA card: capture the step in a graph", neutral=True)


@dataclass
class TrackingConfig:
    wandb: Literal["disabled", "offline", "online"] = key(
        "disabled", "also send metrics to Weights & Biases", neutral=True)
    project: str = key("papers-to-code", "the Weights & Biases project", neutral=True)


@dataclass
class Config:
    """The keys every paper has; a paper's own dataclass adds ``model``, ``optim`` and others."""

    experiment: str = key("", "which experiment of config.yaml; several: a,b", neutral=True)
    seed: int = key(0, "seed of initialisation and batch order; several: 0-9 or 0,3,5",
                    neutral=True, least=0)
    record: bool = key(True, "leave the finished result under papers/<paper>/results/",
                       neutral=True)
    fresh: bool = key(False, "start anew instead of resuming, discarding the run's folder",
                      neutral=True)
    budget: str = key("", "stop with a checkpoint after 90s, 8m or 1.5h; empty: train to the end",
                      neutral=True)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)


@dataclass(frozen=True)
class Key:
    """One leaf of a configuration, as ``--help`` lists it."""

    name: str
    type: str
    default: Any
    help: str
    neutral: bool
    bounds: Bounds


@functools.cache
def keys(schema: type) -> Mapping[str, Key]:
    """All leaf keys of a structured configuration by dotted name, in order of declaration."""
    found: dict[str, Key] = {}

    def walk(cls: type, prefix: str) -> None:
        hints = get_type_hints(cls)
        for f in fields(cls):
            hint, name = hints[f.name], prefix + f.name
            if is_dataclass(hint):
                walk(hint, name + ".")
                continue
            kind = "|".join(map(str, get_args(hint))) if get_origin(hint) is Literal else \
                getattr(hint, "__name__", str(hint)) if not get_args(hint) else str(hint)
            default = f.default if f.default_factory is MISSING else f.default_factory()
            found[name] = Key(name, kind, default, f.metadata.get("help", ""),
                              f.metadata.get("neutral", False),
                              f.metadata.get("bounds", Bounds()))

    walk(schema, "")
    return MappingProxyType(found)


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one mapping from dotted names to leaves (lists are leaves)."""
    flat: dict[str, Any] = {}
    for k, v in tree.items():
        if isinstance(v, dict):
            flat |= flatten(v, f"{prefix}{k}.")
        else:
            flat[f"{prefix}{k}"] = v
    return flat


def as_dict(config: Config) -> dict[str, Any]:
    """The whole configuration as plain nested dictionaries."""
    return asdict(config)


def identity(config: Config) -> dict[str, Any]:
    """The flat keys that decide what is computed: everything but the neutral ones."""
    known = keys(type(config))
    return {k: v for k, v in flatten(as_dict(config)).items() if not known[k].neutral}


def completed(saved: dict[str, Any], schema: type) -> dict[str, Any]:
    """A saved :func:`identity`, with the schema's defaults for keys that were added since.

    So a key added later must default to what the code did before it was there.
    """
    return {k.name: k.default for k in keys(schema).values() if not k.neutral} | saved


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Describe where two flat configurations differ: ``key (a there, b here)``."""
    absent = "absent"
    return [f"{k} ({one.get(k, absent)} there, {other.get(k, absent)} here)"
            for k in sorted(one.keys() | other.keys())
            if one.get(k, absent) != other.get(k, absent)]


@dataclass(frozen=True)
class Experiment:
    """A named set of overrides: flat dotted keys over the paper's defaults."""

    name: str
    help: str
    overrides: dict[str, Any]


class Experiments:
    """The experiments of one ``config.yaml``, checked against the paper's schema.

    Args:
        schema: the paper's dataclass, a subclass of :class:`Config`.
        path: the ``config.yaml``.

    Raises:
        UserError: the file is missing, is not YAML, or names an unknown key or experiment.
    """

    RESERVED = ("help", "from", "vary", "runs")

    def __init__(self, schema: type[Config], path: Path):
        self.schema, self.path, self.known = schema, path, keys(schema)
        content = read_yaml(path)
        raw = content.get("experiments", {})
        self.default: str = content.get("default", next(iter(raw), ""))
        self._defaults = self._check(flatten(content.get("defaults", {})), "defaults")
        self.experiments: dict[str, Experiment] = {}
        self.groups: dict[str, tuple[str, list[str]]] = {}
        for name, entry in raw.items():
            self._add(name, dict(entry or {}))
        for name, (_, members) in self.groups.items():
            for member in members:
                if member not in self.experiments and member not in self.groups:
                    raise UserError(f"{shown(path)}: experiment {name!r} runs {member!r}, which "
                                    f"is not there{nearest(member, self.names())}")

    def _add(self, name: str, entry: dict[str, Any]) -> None:
        own = {k: v for k, v in entry.items() if k not in self.RESERVED}
        overrides = self._check(flatten(own), f"experiment {name!r}")
        help_ = entry.get("help", "")
        if "runs" in entry:
            self.groups[name] = (help_, list(entry["runs"]))
            return
        if "from" in entry:
            base = entry["from"]
            if base not in self.experiments:
                raise UserError(f"{shown(self.path)}: experiment {name!r} is made from {base!r}, "
                                f"which must stand before it{nearest(base, self.experiments)}")
            overrides = self.experiments[base].overrides | overrides
        if "vary" not in entry:
            self.experiments[name] = Experiment(name, help_, overrides)
            return
        vary = self._check(flatten(entry["vary"]), f"experiment {name!r}")
        members = []
        for values in itertools.product(*vary.values()):
            member = "_".join([name, *map(str, values)])
            varied = dict(zip(vary, values, strict=True))
            said = ", ".join(f"{k}={v}" for k, v in varied.items())
            self.experiments[member] = Experiment(member, f"{name} with {said}",
                                                  overrides | varied)
            members.append(member)
        self.groups[name] = (help_, members)

    def _check(self, flat: dict[str, Any], where: str) -> dict[str, Any]:
        for k in flat:
            if k not in self.known:
                raise UserError(f"{shown(self.path)}: {where} has an unknown key {k!r}"
                                f"{nearest(k, self.known)}")
        return flat

    def names(self) -> list[str]:
        """All names ``experiment=`` accepts."""
        return [*self.experiments, *self.groups]

    def expand(self, name: str) -> list[str]:
        """The single experiments behind a name.

        Raises:
            UserError: no experiment or group has that name.
        """
        if name in self.groups:
            return [m for member in self.groups[name][1] for m in self.expand(member)]
        if name not in self.experiments:
            raise UserError(f"unknown experiment {name!r}{nearest(name, self.names())}")
        return [name]

    def resolve(self, name: str, seed: int = 0, overrides: dict[str, Any] | None = None) -> Config:
        """The configuration of one experiment and seed.

        Args:
            name: a single experiment.
            seed: the run's seed.
            overrides: flat dotted keys from the command line, which win.

        Raises:
            UserError: an unknown experiment or key, or a value of the wrong type or range.
        """
        if name not in self.experiments:
            raise UserError(f"unknown experiment {name!r}{nearest(name, self.names())}")
        overrides = overrides or {}
        for k in overrides:
            if k not in self.known:
                raise UserError(f"unknown key {k!r}{nearest(k, self.known)}")
        chosen = self._defaults | self.experiments[name].overrides | overrides
        config = OmegaConf.structured(self.schema)
        for k, v in (chosen | {"experiment": name, "seed": seed}).items():
            try:
                OmegaConf.update(config, k, v)
            except OmegaConfBaseException as e:
                raise UserError(f"{k}={v}: expected {self.known[k].type}, "
                                f"got {type(v).__name__} {v!r}") from e
        resolved: Config = OmegaConf.to_object(config)  # type: ignore[assignment]
        check_bounds(resolved)
        return resolved


def check_bounds(config: Config) -> None:
    """Refuse numbers no run can have.

    Raises:
        UserError: naming the key, its value and what was expected.
    """
    known = keys(type(config))
    for name, value in flatten(as_dict(config)).items():
        bounds, kind = known[name].bounds, known[name].type
        listed = isinstance(value, list)
        if bounds.some and not value:
            raise UserError(f"{name}={value}: expected at least one number")
        if str(bounds) and any(v not in bounds for v in (value if listed else [value])):
            number = "whole number" if "int" in kind else "number"
            said = f"of {bounds}" if str(bounds).startswith("at") else bounds
            raise UserError(f"{name}={value}: expected " + (
                f"{number}s, each {bounds}" if listed else f"a {number} {said}"))


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file into plain dictionaries.

    Raises:
        UserError: the file is missing or not YAML.
    """
    try:
        content = OmegaConf.to_container(OmegaConf.load(path))
    except OSError as e:
        raise UserError(f"cannot read {shown(path)}: {e.strerror}") from e
    except Exception as e:  # yaml's and omegaconf's errors share no base
        raise UserError(f"{shown(path)} is not valid YAML: {one_line(e)}") from e
    if not isinstance(content, dict):
        raise UserError(f"{shown(path)}: expected a mapping at the top")
    return content


def one_line(error: BaseException) -> str:
    """An exception's message on one line."""
    return re.sub(r"\s+", " ", str(error)).strip() or type(error).__name__


def parse_arguments(argv: list[str]) -> tuple[str | None, list[int], dict[str, Any]]:
    """Split ``key=value`` words into experiment, seeds and overrides.

    Returns:
        The value of ``experiment`` (None if not given), the seeds (``[0]`` if not given), and
        all other keys with their values as YAML reads them.

    Raises:
        UserError: a word is not ``key=value`` or a value is not YAML.
    """
    experiment, seeds, overrides = None, [0], {}
    for word in argv:
        name, sign, value = word.partition("=")
        if not sign or not name:
            raise UserError(f"cannot read {word!r}: expected key=value (try --help)")
        if name == "experiment":
            experiment = value
        elif name == "seed":
            seeds = parse_seeds(value)
        else:
            try:
                overrides[name] = OmegaConf.to_container(
                    OmegaConf.from_dotlist([f"value={value}"]))["value"]  # type: ignore[index]
            except Exception as e:
                raise UserError(f"cannot read the value of {word!r}: {one_line(e)}") from e
    return experiment, seeds, overrides


def parse_seeds(text: str) -> list[int]:
    """``"3"``, ``"0-9"`` or ``"0,2,5-7"`` as a list of seeds.

    Raises:
        UserError: anything else.
    """
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip())
        if not match or (match[2] and int(match[2]) < int(match[1])):
            raise UserError(f"seed={text}: expected a whole number, a range 0-9 or a list 0,2,5")
        seeds += range(int(match[1]), int(match[2] or match[1]) + 1)
    return seeds


def help_text(experiments: Experiments, program: str, about: str) -> str:
    """What ``--help`` prints: experiments and keys with their meaning."""
    lines = [about, "", f"usage: python {program} [experiment=NAME] [seed=K] [key=value …]",
             "       the same with --pace: time per step, and what the whole run would cost",
             "       (--pace --keep: also for the report)", "",
             "experiments:"]
    listed = {m for _, members in experiments.groups.values() for m in members
              if m in experiments.experiments
              and any(m.startswith(g + "_") for g in experiments.groups)}
    for name in experiments.names():
        if name in listed:
            continue  # the single points of a sweep stand behind the sweep's own name
        if name in experiments.groups:
            text, members = experiments.groups[name]
            text = f"{text} [{', '.join(members)}]"
        else:
            text = experiments.experiments[name].help
        mark = " (default)" if name == experiments.default else ""
        lines.append(f"  {name:<18} {text}{mark}")
    defaults = {k: v.default for k, v in experiments.known.items()} | experiments._defaults
    lines += ["", "keys (type, the paper's value where an experiment gives no other):"]
    lines += [f"  {k.name:<24} {k.help} ({k.type}, {defaults[k.name]!r})"
              for k in experiments.known.values()]
    return "\n".join(lines)
