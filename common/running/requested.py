"""Runs requested on the command line of a ``train.py``, and their outcomes."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.conditions import written
from common.config import Config, identity
from common.errors import UserError, cut, shorten
from common.experiments import Experiments
from common.files import is_clone, run_folder
from common.training.loop import Ended

NOT_IN_NAMES = re.compile(r'[<>:"/\\|?*\x00-\x1f\ud800-\udfff]')
"""Characters that some system does not allow in folder names."""


def requested_folder(paper: str, config: Config, overrides: dict[str, Any]) -> Path:
    """The folder of a run: ``runs/<paper>/<experiment>[,key=value …]/seed<k>``."""
    name = ",".join([config.experiment, *(f"{k}={v}" for k, v in sorted(overrides.items()))])
    name = NOT_IN_NAMES.sub("_", name)
    if len(name) > 150:
        name = name[:130] + "-" + hashlib.sha256(name.encode()).hexdigest()[:12]
    return run_folder(paper, name, config.seed)


TOO_LARGE = re.compile(
    "overflow|too large|too big|can't allocate|out of memory|negative dimension|exceeds the maximum"
    "|maximum .*dimension|invalid .*size|not enough memory|Unable to allocate|larger than", re.I)
"""What torch and numpy say of numbers that they cannot compute with, beside errors of that name."""


@contextlib.contextmanager
def computable(overrides: Mapping[str, Any]) -> Iterator[None]:
    """A context in which what the given values make too large or too small to compute is one line.

    Args:
        overrides: the keys and values of the command line.

    Raises:
        UserError: a number overflows, or what it asks for does not fit into memory.
    """
    try:
        yield
    except (ArithmeticError, MemoryError, RuntimeError, TypeError, ValueError) as e:
        numbers = {k: v for k, v in overrides.items()
                   if any(isinstance(n, int | float) and not isinstance(n, bool)
                          for n in (v if isinstance(v, list) else [v]))}
        told = isinstance(e, ArithmeticError | MemoryError) or TOO_LARGE.search(str(e))
        if not numbers or not told or isinstance(e, UnicodeError):
            raise
        given = ", ".join(f"{k}={written(v)}" for k, v in numbers.items())
        raise UserError(f"{shorten(given, 200)}: expected numbers that can be computed with here "
                        f"({type(e).__name__}: {cut((str(e).splitlines() or [''])[0])})") from e


@dataclass(frozen=True)
class RequestedRun:
    """One run requested on the command line.

    Attributes:
        config: its configuration.
        folder: its folder below ``runs/``.
        recorded: whether its result goes to ``papers/<paper>/results/``. That requires the
            experiment's own configuration, up to a precision that counts, and a clone: results of
            an installed wheel could not be committed.
    """

    config: Config
    folder: Path
    recorded: bool

    @property
    def label(self) -> str:
        """The run's name in messages: paper/experiment/seed."""
        return "/".join(self.folder.parts[-3:])


@dataclass(frozen=True)
class Finished:
    """A finished run.

    Attributes:
        request: the requested run.
        ended: its outcome.
        before: the metrics of the result that it replaced, if any.
        headlines, loss_name: from its recipe.
        curves: its curves, read before another process could begin in its folder.
        there: whether it had already been finished before this command.
        by: the commit that finished it, if that is not the present one.
    """

    request: RequestedRun
    ended: Ended
    before: dict[str, float] | None
    headlines: tuple[list[str], list[str]]
    loss_name: str
    curves: dict[str, list[list[float]]]
    there: bool = False
    by: str = ""

    @property
    def metrics(self) -> dict[str, float]:
        """The final metrics."""
        return self.ended.metrics


def requested_run(experiments: Experiments, name: str, seed: int, overrides: dict[str, Any],
                  ) -> RequestedRun:
    """The run of an experiment with a seed and overrides.

    Raises:
        UserError: see :meth:`common.experiments.Experiments.resolve`.
    """
    config, own = experiments.resolve(name, seed, overrides), experiments.resolve(name)
    asked = identity(config)
    changed = {k: v for k, v in asked.items() if v != identity(own).get(k)}
    return RequestedRun(config, requested_folder(experiments.path.parent.name, config, changed),
                        config.record and experiments.counts(asked, own) and is_clone())
