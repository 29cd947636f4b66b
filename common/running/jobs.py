"""Runs as a command line asks for them, and what becomes of them."""

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
"""Signs that some system refuses in the name of a folder."""


def run_folder(paper: str, config: Config, overrides: dict[str, Any]) -> Path:
    """The folder of a run: ``runs/<paper>/<experiment>[,key=value …]/seed<k>``."""
    name = ",".join([config.experiment, *(f"{k}={v}" for k, v in sorted(overrides.items()))])
    name = NOT_IN_NAMES.sub("_", name)
    if len(name) > 150:
        name = name[:130] + "-" + hashlib.sha256(name.encode()).hexdigest()[:12]
    return runs_root() / paper / name / f"seed{config.seed}"


@dataclass(frozen=True)
class Job:
    """One run as the command line asks for it.

    Attributes:
        config: its configuration.
        folder: its folder below ``runs/``.
        recorded: whether its result goes to ``papers/<paper>/results/``: the configuration is the
            experiment's own, or its own but for a precision that counts; never of an installed
            wheel, whose results nobody could commit.
    """

    config: Config
    folder: Path
    recorded: bool

    @property
    def label(self) -> str:
        """paper/experiment/seed, for messages."""
        return "/".join(self.folder.parts[-3:])


@dataclass(frozen=True)
class Finished:
    """A run that has come to its end.

    Attributes:
        job: what was asked for.
        ended: how it ended.
        before: the metrics of the committed result of the same run, if there was one.
        shown, loss_name: of its recipe.
        there: whether it was finished already.
        by: the commit that finished it then, if it is not that of today's code.
    """

    job: Job
    ended: Ended
    before: dict[str, float] | None
    shown: tuple[list[str], list[str]]
    loss_name: str
    there: bool = False
    by: str = ""

    @property
    def metrics(self) -> dict[str, float]:
        """Of the final step."""
        return self.ended.metrics


def job(experiments: Experiments, name: str, seed: int, overrides: dict[str, Any]) -> Job:
    """The run of an experiment and a seed, with some keys overridden.

    Raises:
        UserError: see :meth:`common.experiments.Experiments.resolve`.
    """
    config, own = experiments.resolve(name, seed, overrides), experiments.resolve(name)
    asked = identity(config)
    changed = {k: v for k, v in asked.items() if v != identity(own).get(k)}
    return Job(config, run_folder(experiments.path.parent.name, config, changed),
               config.record and experiments.counts(asked, own) and is_clone())
