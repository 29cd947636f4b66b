"""The experiments of a paper's ``config.yaml``.

.. code-block:: yaml

    default: paper                # the experiment to run when none is named
    defaults: {...}               # the paper's values
    precisions: [float32]         # values of train.precision that count as an experiment's own
    seeds: {default: 3, bn: 10}   # how many runs of an experiment or a group are planned
    experiments:
      bn: {help: ..., model: {...}}                      # what differs from the defaults
      bn_fast: {help: ..., from: bn, train: {...}}       # what differs from another experiment
      sweep: {help: ..., from: bn, vary: {optim.lr: [0.1, 1.0]}}   # sweep_0.1, sweep_1.0
      sweep_0.1: {help: ..., from: sweep_0.1, model: {...}}        # changes one of these
      paper: {help: ..., runs: [plain, bn]}              # several, one after the other

and ``experiment=bn,plain seed=0-9 optim.lr=0.5`` on the command line chooses and overrides.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

from omegaconf import OmegaConf
from pydantic import Field

from common import conditions
from common.config import (
    Config,
    as_dict,
    check_bounds,
    flatten,
    identity,
    keys,
    leaves,
    names_file,
    same_run,
    start_of,
    unused,
    wanted,
)
from common.errors import UserError, nearest
from common.files import shown
from common.groups import MOST, Names, check_groups, repeated
from common.typed import FORMS, Model, Open, checked, form, read_yaml
from common.values import check_varied, put

NAME = r"[A-Za-z][\w.+-]{0,99}"
"""Allowed names of experiments; they become folder names under ``results/``."""

NAMED = form(f"^{NAME}$", "text: a letter, then at most 99 letters, digits or signs of _ . + -")

OF_A_COMMAND = ("experiment", "seed", "fresh", "budget")  # allowed on the command line only
MOST_SEEDS = 10_000  # limit of seeds in one command, and in a plan
LAST_SEED = 2**31 - 1  # the largest seed that the random generators accept
SEED = "0|[1-9][0-9]{0,9}"  # a seed in the name of a file

C = TypeVar("C", bound=Config)
"""A paper's own configuration."""


class Entry(Open):
    """An entry under ``experiments``; parts not listed here are configuration keys."""

    help: str = ""
    from_: str | None = Field(None, alias="from")
    vary: dict[str, Any] | None = Field(None, min_length=1)
    runs: list[str] | None = Field(None, min_length=1)
    precisions: list[str] | None = Field(None, min_length=1)


class ConfigFile(Model):
    """The content of a ``config.yaml``."""

    default: str = ""
    defaults: dict[str, Any] = Field(default_factory=dict)
    precisions: list[str] = Field(["float32"], min_length=1)
    seeds: Any = Field(default_factory=dict)
    experiments: dict[Annotated[str, Field(pattern=NAMED)], Entry] = Field(min_length=1)


@dataclass(frozen=True)
class Experiment:
    """A named set of overrides: flat dotted keys over the paper's defaults.

    Attributes:
        overrides: all overrides, including inherited ones.
        own: the keys set in its own entry.
        precisions: the values of ``train.precision`` that count as the experiment's own.
    """

    name: str
    help: str
    overrides: dict[str, Any]
    own: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ("float32",)


class Experiments(Generic[C]):
    """The experiments of one ``config.yaml``, checked against the paper's schema.

    Args:
        schema: the paper's dataclass, a subclass of :class:`Config`.
        path: the ``config.yaml``.

    Raises:
        UserError: the file is missing, is not YAML, or names an unknown key, experiment or
            precision.
    """

    def __init__(self, schema: type[C], path: Path):
        self.schema, self.path, self.known = schema, path, keys(schema)
        self._blank = OmegaConf.structured(schema)
        self._sound: set[str] = set()  # experiments already checked by _sound_one
        content = checked(ConfigFile, read_yaml(path), shown(path))
        self.default = content.default or next(iter(content.experiments))
        self.defaults = self._check(content.defaults, "defaults")
        self._precisions = self._check_precisions(content.precisions, "the top")
        self.experiments: dict[str, Experiment] = {}
        self.groups: dict[str, tuple[str, list[str]]] = {}
        taken = Names()
        for name, entry in content.experiments.items():
            self._add(name, entry, taken)
        check_groups({name: members for name, (_, members) in self.groups.items()},
                     self.experiments, self.names(), shown(path))
        if self.default not in self.names():
            raise UserError(f"{shown(path)}: default: unknown experiment {self.default!r}"
                            f"{nearest(self.default, self.names())}")
        with self._within("defaults"):
            self._typed(self.defaults)
        self._planned = self._read_plan(content.seeds)

    def _add(self, name: str, entry: Entry, taken: Names) -> None:
        with self._within("experiments"):
            taken.add(name, changes=entry.from_ == name and entry.vary is None)
        place = f"{shown(self.path)}: experiment {name!r}"
        overrides = self._check(entry.model_extra or {}, f"experiment {name!r}")
        help_, own, precisions = entry.help, tuple(overrides), self._precisions
        if entry.runs is not None:
            if beside := sorted(entry.model_fields_set - {"help", "runs"}):
                raise UserError(f"{place} has runs: expected nothing but help beside it, not "
                                f"{beside[0].rstrip('_')}")
            if twice := repeated(entry.runs):
                raise UserError(f"{place} runs {twice!r} twice: expected it once")
            self.groups[name] = (help_, entry.runs)
            return
        if entry.from_ is not None:
            base = entry.from_
            if base not in self.experiments:
                raise UserError(f"{place} is made from {base!r}, which must stand before it"
                                f"{nearest(base, self.experiments)}")
            overrides = self.experiments[base].overrides | overrides
            precisions = self.experiments[base].precisions
        if entry.precisions is not None:
            precisions = self._check_precisions(entry.precisions, f"experiment {name!r}")
        if entry.vary is None:
            self.experiments[name] = Experiment(name, help_, overrides, own, precisions)
            return
        vary = self._check(entry.vary, f"experiment {name!r}", varied=True)
        if twice := repeated([*own, *vary]):
            raise UserError(f"{place} gives {twice} twice")
        members = []
        with self._within(f"experiment {name!r}: vary"):
            check_varied(vary, self.known, self._blank, MOST)
            for values in itertools.product(*vary.values()):
                members.append(member := "_".join([name, *map(str, values)]))
                if not re.fullmatch(NAME, member):
                    raise UserError(f"the name {member!r}: expected {FORMS[NAMED]}")
                taken.add(member, name)
                varied = dict(zip(vary, values, strict=True))
                said = f"{name} with " + ", ".join(f"{k}={v}" for k, v in varied.items())
                self.experiments[member] = Experiment(member, said, overrides | varied,
                                                      (*own, *varied), precisions)
        self.groups[name] = (help_, members)

    @contextlib.contextmanager
    def _within(self, where: str) -> Iterator[None]:
        """A context whose errors name the file and a place in it."""
        try:
            yield
        except UserError as e:
            raise UserError(f"{shown(self.path)}: {where}: {e}") from e

    def _check(self, tree: dict[str, Any], where: str, varied: bool = False) -> dict[str, Any]:
        """One part of the file as a flat mapping; refuses unknown, duplicate and empty keys."""
        flat, place = dict[str, Any](), f"{shown(self.path)}: {where}"
        for k, value in leaves(tree):
            if value == {} and any(name.startswith(f"{k}.") for name in self.known):
                continue
            if k not in self.known:
                raise UserError(f"{place} has an unknown key {k!r}{nearest(k, self.known)}")
            if k in flat:
                raise UserError(f"{place} gives {k} twice")
            if k in OF_A_COMMAND:
                raise UserError(f"{place} gives {k}: expected in commands only")
            if value == {} and not varied:
                raise UserError(f"{place}: {k}: {{}}: expected {wanted(self.known[k])}")
            flat[k] = value
        return flat

    def _check_precisions(self, given: list[str], where: str) -> tuple[str, ...]:
        if set(given) - set(self.schema.precisions):
            raise UserError(f"{shown(self.path)}: {where} has precisions={given}: expected a list "
                            f"of {'|'.join(self.schema.precisions)}")
        return tuple(given)

    def _read_plan(self, given: Any) -> dict[str, tuple[int, ...]]:
        """The number of runs planned for each name in ``seeds``."""
        plans = {}
        for name, plan in (given if isinstance(given, dict) else {"default": given}).items():
            name, plan = str(name), tuple(plan) if isinstance(plan, list) else (plan,)
            if name != "default" and name not in self.experiments and name not in self.groups:
                raise UserError(f"{shown(self.path)}: seeds names {name!r}, which is no experiment"
                                f"{nearest(name, self.names())}")
            if (not plan or any(type(n) is not int or not 1 <= n <= MOST_SEEDS for n in plan)
                    or list(plan) != sorted(set(plan))):
                raise UserError(f"{shown(self.path)}: seeds of {name}: expected a whole number of "
                                f"runs, or a growing list of them, none above {MOST_SEEDS:,}")
            plans[name] = plan
        return plans

    def planned(self, name: str, plans: Mapping[str, tuple[int, ...]] | None = None,
                ) -> tuple[int, ...]:
        """How many runs of an experiment are planned, with the seeds 0, 1, 2 …

        Several numbers if the plan was raised after a look at the verdict, since each look has a
        cost, see :func:`common.evidence.verdicts.decide`. ``plans``, by name, are those of another
        version of the file; None: of this one.
        """
        plans = self._planned if plans is None else plans
        groups = (g for g in plans if g in self.groups and name in self.expand(g))
        return next((plans[n] for n in (name, *groups, "default") if n in plans), (3,))

    def names(self) -> list[str]:
        """All names that ``experiment=`` accepts: experiments and groups."""
        return [*self.experiments, *self.groups]

    def expand(self, name: str) -> list[str]:
        """The experiments that a name stands for: itself, or the members of a group.

        Raises:
            UserError: no experiment or group has that name.
        """
        if name in self.groups:
            return self.expand_all(self.groups[name][1])
        if name not in self.experiments:
            raise UserError(f"unknown experiment {name!r}{nearest(name, self.names())}")
        return [name]

    def expand_all(self, names: Iterable[str]) -> list[str]:
        """The experiments that some names stand for, each once; see :meth:`expand`."""
        return list(dict.fromkeys(e for name in names for e in self.expand(name)))

    def resolve(self, name: str, seed: int = 0, overrides: dict[str, Any] | None = None) -> C:
        """The configuration of one experiment and seed.

        Args:
            name: a single experiment.
            seed: the run's seed.
            overrides: flat dotted keys from the command line, which take precedence.

        Raises:
            UserError: an unknown experiment or key, a value of the wrong type or out of range, a
                key that the overrides or the experiment's own entry set where it is not honoured,
                or a ``start_from`` that names no other experiment or leads back to this one.
        """
        if name in self.groups:
            raise UserError(f"{name!r} is a group: expected one of {', '.join(self.expand(name))}")
        if name not in self.experiments:
            raise UserError(f"unknown experiment {name!r}{nearest(name, self.experiments)}")
        overrides = overrides or {}
        for k in overrides:
            if k not in self.known:
                raise UserError(f"unknown key {k!r}{nearest(k, self.known, 'train.py --help')}")
        experiment, where = self.experiments[name], f"{shown(self.path)}: {name}: "
        if name not in self._sound:
            own = self._sound_one(experiment, where)
            if not (overrides or seed):
                return own
        config = self._made(experiment, seed, overrides)
        self._refuse_unused(config, overrides)
        self._check_start(config, "" if "start_from" in overrides else where)
        return config

    def _sound_one(self, experiment: Experiment, where: str) -> C:
        """An experiment's own configuration; refuses mistakes in its entry, naming the file."""
        with self._within(experiment.name):
            config = self._made(experiment, 0, {})
        self._refuse_unused(config, experiment.own, where)
        if config.train.precision not in experiment.precisions:
            raise UserError(f"{where}train.precision={config.train.precision}: expected one of its "
                            f"precisions, {', '.join(experiment.precisions)}")
        self._check_start(config, where)
        self._sound.add(experiment.name)
        return config

    def _check_start(self, config: C, where: str) -> None:
        """Refuse a ``start_from`` that names an unknown experiment or leads in a circle."""
        led, at = [config.experiment], config
        while (name := start_of(at)) and not names_file(name):
            said = f"{where}start_from={name}: "
            if name not in self.experiments:
                raise UserError(f"{said}unknown experiment, and no file that ends in "
                                f".safetensors{nearest(name, self.experiments)}")
            if name in led:
                raise UserError(said + (
                    "expected another experiment than itself" if name == led[-1]
                    else f"goes in a circle: {', '.join([*led, name])}"))
            led.append(name)
            at = self._made(self.experiments[name], 0, {})

    def _made(self, experiment: Experiment, seed: int, overrides: dict[str, Any]) -> C:
        """The configuration as an object of the schema, with types and bounds checked."""
        resolved = self._typed(self.defaults | experiment.overrides | overrides
                               | {"experiment": experiment.name, "seed": seed})
        resolved.check()
        return resolved

    def _typed(self, chosen: dict[str, Any]) -> C:
        """An object of the schema with these values; the schema's defaults fill the rest."""
        config = copy.deepcopy(self._blank)
        for k, v in chosen.items():
            put(config, self.known[k], v)
        resolved: Any = OmegaConf.to_object(config)
        check_bounds(resolved)
        return resolved

    def _refuse_unused(self, config: Config, given: Iterable[str], where: str = "") -> None:
        ignored = unused(config)
        for k in given:
            if k in ignored:
                value = conditions.written(flatten(as_dict(config))[k])
                raise UserError(f"{where}{k}={value}: not used " + (
                    f"where {ignored[k]}" if ignored[k] else "by this paper"))

    def counts(self, flat: dict[str, Any], own: Config) -> bool:
        """Whether a run has an experiment's own configuration, up to a precision that counts.

        Args:
            flat: the run's :func:`~common.config.identity`.
            own: the experiment's configuration.
        """
        return same_run(flat, identity(own), self.experiments[own.experiment].precisions)
