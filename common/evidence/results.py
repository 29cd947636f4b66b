"""Results of finished runs: one small JSON file for each, with its provenance."""

from __future__ import annotations

import gc
import json
import math
import re
import sys
from collections.abc import Container, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
from pydantic import Field, model_validator

from common.config import Config, as_dict, completed, flatten, identity, keys, one_line
from common.data import DataSet
from common.errors import UserError, nearest, shorten
from common.evidence.lookup import Lookup
from common.evidence.provenance import origin as origin
from common.evidence.provenance import provenance as provenance
from common.experiments import LAST_SEED, SEED, Experiments
from common.files import read_text, reason, shown, write_atomic
from common.segments import MOST_SECONDS, MOST_STEPS, Segment
from common.training import tracking
from common.training.loop import Ended
from common.training.weight_files import RecordedRun
from common.typed import Model, checked, parse_json, read_json

MOST = sys.float_info.max
"""The largest number in a configuration."""

POINTS = 250
"""The largest number of points in a curve; longer ones are thinned evenly, ends included."""


P = TypeVar("P")
"""A point of a curve."""


class Data(Model):
    """The data set of a run."""

    name: str
    fingerprint: str


Value = Annotated[float, Field(allow_inf_nan=True)]


class Record(Model):
    """The content of a result file.

    A metric may be infinite, such as the epoch of an event that never happens, but not NaN.
    """

    paper: str
    experiment: str
    seed: int = Field(ge=0, le=LAST_SEED)
    metrics: dict[str, Value] = Field(min_length=1)
    curves: dict[str, Annotated[list[Annotated[list[Value], Field(min_length=1)]],
                                Field(min_length=2, max_length=2)]] = Field(min_length=1)
    config: dict[str, Any]
    data: Data
    seconds: float = Field(ge=0, le=MOST_SECONDS)
    segments: list[Segment] = Field(min_length=1)
    first_losses: list[float] = Field(default_factory=list)

    @model_validator(mode="after")
    def _whole(self) -> Record:
        for k, v in self.metrics.items():
            if math.isnan(v):
                raise ValueError(f"metrics.{k}: nan: expected a number")
        for k, (steps, values) in self.curves.items():
            if len(steps) != len(values):
                raise ValueError(f"curves.{k}: expected as many values as steps")
            if any(a > b for a, b in pairwise(steps)):
                raise ValueError(f"curves.{k}: expected steps in ascending order")
            if wrong := [s for s in steps if not 0 <= s <= MOST_STEPS]:
                raise ValueError(f"curves.{k}: step {wrong[0]:g}: expected steps from 0 to "
                                 f"{MOST_STEPS:,}")
        for k, value in flatten(self.config).items():
            for number in value if isinstance(value, list) else [value]:
                if isinstance(number, int) and abs(number) > MOST:
                    raise ValueError(f"config.{k}: a number of {number.bit_length():,} bits: "
                                     f"expected at most {MOST:.3g}")
        train = self.config.get("train")
        last = train.get("steps") if isinstance(train, dict) else None
        if type(last) is not int or not 1 <= last <= MOST_STEPS:
            raise ValueError(f"config.train.steps: {shorten(str(last))}: expected a whole number "
                             f"from 1 to {MOST_STEPS:,}")
        began = [s.from_step for s in self.segments]
        if sorted(began) != began or began[-1] > last:
            raise ValueError(f"segments: from_step: {began}: expected ascending steps, none beyond "
                             f"config.train.steps={last}")
        spent = [s.from_seconds for s in self.segments if s.from_seconds is not None]
        if sorted(spent) != spent or (spent and spent[-1] > self.seconds):
            raise ValueError(f"segments: from_seconds: {spent}: expected ascending seconds, none "
                             f"beyond seconds={self.seconds}")
        return self


@dataclass(frozen=True)
class Result:
    """A finished run, as read back from its file.

    Attributes:
        paper, experiment, seed: identify the run.
        metrics: the final metrics.
        curves: (steps, values) of every evaluated metric and of ``train_loss``.
        config: the flat configuration, without neutral keys.
        record: the whole content of the file.
    """

    paper: str
    experiment: str
    seed: int
    metrics: dict[str, float]
    curves: dict[str, tuple[np.ndarray, np.ndarray]]
    config: dict[str, Any]
    record: Record

    def at(self, metric: str, step: int | None) -> float:
        """The value of a metric at a step; None: the final one.

        Raises:
            UserError: the run has no such metric or was not evaluated at that step.
        """
        if step is None:
            if metric not in self.metrics:
                raise UserError(f"{self.name} has no final metric {metric!r}"
                                f"{nearest(metric, self.metrics)}")
            return self.metrics[metric]
        if metric not in self.curves:
            raise UserError(f"{self.name} has no curve {metric!r}{nearest(metric, self.curves)}")
        steps, values = self.curves[metric]
        hit = np.flatnonzero(steps == step)
        if not len(hit):
            beside = [*steps[steps < step][-1:], *steps[steps > step][:1]]
            raise UserError(f"{self.name}: {metric!r} was not measured at step {step}: expected "
                            f"another one such as {' or '.join(f'{s:g}' for s in beside)}")
        return float(values[hit[0]])

    @property
    def name(self) -> str:
        """The run's name in messages: paper/experiment/seed."""
        return f"{self.paper}/{self.experiment}/seed{self.seed}"


def path_of(paper_folder: Path, experiment: str, seed: int) -> Path:
    """The path of a run's result file."""
    return paper_folder / "results" / experiment / f"seed{seed}.json"


def difference_path(paper_folder: Path, experiment: str, seed: int) -> Path:
    """The path of the note that ``papers recheck`` leaves if the code no longer gives a result."""
    return path_of(paper_folder, experiment, seed).with_suffix(".differs")


def noted_difference(paper_folder: Path, experiment: str, seed: int) -> str:
    """The text of the note that ``papers recheck`` left beside a result; empty if there is none."""
    path = difference_path(paper_folder, experiment, seed)
    return read_text(path).strip() if path.exists() else ""


def write(path: Path, paper: str, config: Config, data: DataSet, folder: Path,
          ended: Ended) -> RecordedRun:
    """Write the result of a finished run; returns its description for files of weights.

    Args:
        path: the file, see :func:`path_of`.
        paper: the paper's folder name.
        config: the run's configuration.
        data: the data set it was trained on.
        folder: the run's folder, whose metrics file contains the curves.
        ended: the run's outcome.
    """
    record: dict[str, Any] = {
        "paper": paper, "experiment": config.experiment, "seed": config.seed,
        "metrics": ended.metrics, "curves": curves(tracking.read(folder)),
        "config": as_dict(config), "data": {"name": data.name, "fingerprint": data.fingerprint},
        "seconds": round(ended.seconds, 1), "segments": [s.written() for s in ended.segments],
    }
    if ended.first_losses:
        record["first_losses"] = [float(f"{v:.8g}") for v in ended.first_losses]
    lines = [f" {json.dumps(k)}: {json.dumps(v)}" for k, v in record.items()]
    write_atomic(path, "{\n" + ",\n".join(lines) + "\n}\n")
    return RecordedRun(experiment=config.experiment, seed=config.seed, data=data.name,
                       config=record["config"], commits=[s.commit for s in ended.segments],
                       metrics=ended.metrics)


def curves(lines: list[dict[str, Any]]) -> dict[str, list[list[float]]]:
    """Convert a metrics file's lines to curves ``{name: [steps, values]}``, thinned and rounded."""
    series: dict[str, list[tuple[int, float]]] = {}
    for line in lines:
        for k, v in line.items():
            if k == "loss" or k.startswith("eval/"):
                name = "train_loss" if k == "loss" else k.removeprefix("eval/")
                series.setdefault(name, []).append((line["step"], float(f"{v:.6g}")))
    return {name: [list(column) for column in zip(*thinned(points), strict=True)]
            for name, points in series.items()}


def thinned(points: Sequence[P], most: int = POINTS) -> list[P]:
    """At most ``most`` of the points of a curve, evenly apart, with both its ends."""
    chosen = np.unique(np.linspace(0, len(points) - 1, min(len(points), most)).round())
    return [points[int(i)] for i in chosen]


def read(path: Path, schema: type[Config]) -> Result:
    """Read one committed result.

    Raises:
        UserError: the file is damaged, lacks a part, or is in the place of another run.
    """
    found = parse(path, schema)
    folder = path.parent.parent.parent
    if path != path_of(folder, found.experiment, found.seed) or found.paper != folder.name:
        raise UserError(f"result {shown(path)} is of {found.name}: expected it in the file of "
                        "that experiment and seed")
    return found


def parse(path: Path, schema: type[Config]) -> Result:
    """Read a result file from any path.

    Raises:
        UserError: the file is damaged or lacks a part.
    """
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
        record = checked(Record, content, "it")
        known = keys(schema)
        flat = {k: v for k, v in flatten(record.config).items()
                if k not in known or not known[k].neutral}
        found = Result(
            record.paper, record.experiment, record.seed,
            Lookup(record.metrics, f"result {shown(path)}", "metric"),
            Lookup({k: (np.asarray(s), np.asarray(v)) for k, (s, v) in content["curves"].items()},
                   f"result {shown(path)}", "curve"), flat, record)
    except (OSError, ValueError, TypeError, RecursionError, UserError) as e:
        why = (str(e).removeprefix("it: ") if isinstance(e, UserError) else
               reason(e, path) if isinstance(e, OSError) else f"it is not JSON: {one_line(e)}")
        raise UserError(f"result {shown(path)} is damaged: {why}; restore it with git or run its "
                        "experiment again") from e
    return found


def read_all(paper_folder: Path, schema: type[Config]) -> dict[str, list[Result]]:
    """Read all results of a paper: by experiment, in order of their seeds."""
    found: dict[str, list[Result]] = {}
    collects = gc.isenabled()
    gc.disable()  # it would walk through all curves again and again, and none of them is garbage
    try:
        for path in sorted((paper_folder / "results").glob("*/seed*.json")):
            result = read(path, schema)
            found.setdefault(result.experiment, []).append(result)
    finally:
        if collects:
            gc.enable()
    return {k: sorted(v, key=lambda r: r.seed) for k, v in found.items()}


def unread(paper_folder: Path, known: Container[str]) -> list[Path]:
    """The folders and files below ``results/`` that no report reads.

    Args:
        paper_folder: such as ``papers/batchnorm``.
        known: the names of the paper's experiments.
    """
    found = sorted((paper_folder / "results").glob("[!.]*"))
    return [p for p in found if p.is_file() or p.name not in known] + [
        p for folder in found if folder.name in known for p in sorted(folder.glob("*.json"))
        if p.name != "pace.json" and not re.fullmatch(rf"seed({SEED})\.json", p.name)]


class PaceFile(Model):
    """The content of a ``pace.json``; see :class:`Pace`."""

    cpu: str
    seconds_per_step: dict[Annotated[str, Field(pattern=r"^[1-9][0-9]{0,3}$")],
                           Annotated[float, Field(gt=0, le=MOST_SECONDS)]] = Field(min_length=1)
    config: dict[str, Any]


@dataclass(frozen=True)
class Pace:
    """Seconds per step of a configuration on one machine, by number of threads.

    On a graphics card, by the number of runs that take turns.
    """

    cpu: str
    seconds: dict[int, float]

    def best(self) -> tuple[int, float]:
        """The fastest number of threads, and its seconds per step."""
        return min(self.seconds.items(), key=lambda item: item[1])


def read_pace(folder: Path, config: Config) -> Pace | None:
    """Read the pace that ``train.py --pace`` wrote into a folder below ``runs/`` or ``results/``.

    None if it is missing or damaged, or for a configuration that differs in more than the number of
    steps.
    """
    try:
        found = read_json(PaceFile, folder / "pace.json")
    except UserError:
        return None
    if _paced(completed(found.config, config)) != _paced(identity(config)):
        return None
    return Pace(found.cpu, {int(k): v for k, v in found.seconds_per_step.items()})


def _paced(flat: dict[str, Any]) -> dict[str, Any]:
    """The keys that determine how long a step takes."""
    return {k: v for k, v in flat.items() if k != "train.steps"}


def add_pace(folder: Path, config: Config, cpu: str, threads: int, seconds: float) -> None:
    """Add a measured pace to the file; paces of other machines or configurations are dropped."""
    before = read_pace(folder, config)
    known = before.seconds if before and before.cpu == cpu else {}
    every = sorted((known | {threads: round(seconds, 6)}).items())
    write_atomic(folder / "pace.json", json.dumps(
        {"cpu": cpu, "seconds_per_step": {str(k): v for k, v in every},
         "config": identity(config)}) + "\n")


def is_current(result: Result, config: Config, experiments: Experiments) -> bool:
    """Whether a result's configuration is still that of its experiment.

    Args:
        result: the result.
        config: the configuration of its experiment, with any seed.
        experiments: the paper's experiments, which know the precisions that count.
    """
    return experiments.counts(completed(result.config, config), config)
