"""Runs requested on the command line of a ``train.py``, and their outcomes."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.config import Config, identity
from common.experiments import Experiments
from common.files import is_clone, runs_root
from common.training.loop import Ended

NOT_IN_NAMES = re.compile(r'[<>:"/\\|?*\x00-\x1f\ud800-\udfff]')
"""Characters that some system does not allow in folder names."""


def requested_folder(paper: str, config: Config, overrides: dict[str, Any]) -> Path:
    """The folder of a run: ``runs/<paper>/<experiment>[,key=value …]/seed<k>``."""
    name = ",".join([config.experiment, *(f"{k}={v}" for k, v in sorted(overrides.items()))])
    name = NOT_IN_NAMES.sub("_", name)
    if len(name) > 150:
        name = name[:130] + "-" + hashlib.sha256(name.encode()).hexdigest()[:12]
    return runs_root() / paper / name / f"seed{config.seed}"


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
