"""Published statements and how each is judged against the results of real runs.

``papers/<paper>/claims.yaml`` lists them:

.. code-block:: yaml

    title: ...            # of the paper; authors, year, link, shows, picture likewise
    claims:
      - id: fig1a-bn-4k
        where: Fig. 1(a)                      # the place in the paper
        says: with BN, test accuracy after 4,000 steps
        published: 0.953                      # left out where the statement has no number
        obtained: read off the figure, ±0.0005
        show: .2%                             # how numbers are printed (a Python format)
        measure: {experiment: bn, metric: accuracy, step: 4000}     # no step: the final one
        judge: {within: [-0.02, 0.02], why: the reason for the band's width}
        because: ...                          # why it is not reproduced, as far as is known

``measure`` takes a metric of an ``experiment``, its paired difference to another (``versus``), or
a ``function`` of the paper's ``facts.py``: with ``experiments`` it is called once per seed with
their results, without it is an exact fact computed from the code; ``arguments`` are passed by
name. ``judge`` takes ``within``
(around the published value), ``at_least``, ``at_most``, both, or ``exactly`` (a tolerance for an
exact fact, or for a run that no seed can change, of which one is enough), and ``sd``, the spread
of single runs, known beforehand, by which fewer than three seeds are judged. A claim without
``measure`` is out of reach; ``because`` says why.

A published table is one entry with ``each``: a claim for every row of ``published/<each>.csv``,
whose columns fill the ``{…}`` in its texts. ``row`` and ``column`` say where it stands in the
report's table:

.. code-block:: yaml

      - id: nfev-{run}
        each: minpack
        row: "{problem} from {factor} × its start"
        column: evaluations
        published: "{nfev}"
        measure: {experiment: minpack, metric: "nfev_{run}"}
        judge: {exactly: "{band}", why: ...}
"""

from __future__ import annotations

import csv
import functools
import importlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special  # scipy.stats takes half a second to import

from common.config import Config
from common.errors import UserError, nearest
from common.evidence import results
from common.evidence.results import Result
from common.experiments import Experiments, read_yaml
from common.files import ROOT, shown

ENOUGH_SEEDS = 3
"""With fewer runs a claim can be consistent with the paper, not reproduced."""

CONFIDENCE = 0.95

VERDICTS: dict[str, str] = {
    "reproduced": f"the {CONFIDENCE:.0%} interval of the mean over at least {ENOUGH_SEEDS} seeds "
                  "lies inside the band fixed beforehand; an exact fact holds",
    "consistent": f"fewer than {ENOUGH_SEEDS} runs, and they lie inside the band",
    "undecided": "the interval straddles an edge of the band, or too few runs lie outside it",
    "not reproduced": "the interval lies outside the band; an exact fact does not hold",
    "not run": "no run has measured it; the reason or the command is given",
    "stale": "the results were made with a configuration that is no longer the experiment's",
}
"""Every verdict and what it means."""


@dataclass(frozen=True)
class Claim:
    """One published statement; the fields are those of ``claims.yaml``."""

    id: str
    where: str
    says: str
    published: float | None = None
    obtained: str = "printed"
    show: str = ".4g"
    measure: dict[str, Any] = field(default_factory=dict)
    judge: dict[str, Any] = field(default_factory=dict)
    because: str = ""
    each: str = ""
    row: str = ""
    column: str = ""

    @property
    def repeatable(self) -> bool:
        """Whether one run settles it, because no seed can change what it measures."""
        return "exactly" in self.judge

    @property
    def experiments(self) -> list[str]:
        """The experiments whose results it needs."""
        named = [self.measure.get("experiment"), self.measure.get("versus")]
        return [n for n in named if n] + list(self.measure.get("experiments", []))

    @property
    def band(self) -> tuple[float, float]:
        """The lowest and highest value that agree with the claim."""
        low, high = self.judge.get("at_least", -math.inf), self.judge.get("at_most", math.inf)
        if "within" in self.judge:
            low, high = (self.published + w for w in self.judge["within"])
        if "exactly" in self.judge:
            low, high = (self.published + s * self.judge["exactly"] for s in (-1, 1))
        return float(low), float(high)


@dataclass(frozen=True)
class Judgement:
    """A claim with what was measured and the verdict.

    Attributes:
        claim: the claim.
        verdict: a key of :data:`VERDICTS`.
        values: one per seed (one for an exact fact).
        interval: of the mean over seeds, or None where there are too few.
        stale: why it is stale, naming the results.
    """

    claim: Claim
    verdict: str
    values: tuple[float, ...] = ()
    interval: tuple[float, float] | None = None
    stale: str = ""

    @property
    def mean(self) -> float:
        return float(np.mean(self.values)) if self.values else math.nan

    @property
    def sd(self) -> float:
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else math.nan


class Paper:
    """A paper's folder: its experiments, claims and results.

    Args:
        folder: such as ``papers/batchnorm``.

    Raises:
        UserError: a file of it is missing or damaged.
    """

    def __init__(self, folder: Path):
        self.folder, self.name = folder, folder.name
        train = self.module("train")
        self.schema: type[Config] = train.Config
        self.experiments = Experiments(self.schema, folder / "config.yaml")
        self.about, self.claims = read(folder / "claims.yaml")
        for claim in self.claims:
            for name in claim.experiments:
                if name not in self.experiments.experiments:
                    raise UserError(
                        f"{shown(folder / 'claims.yaml')}: claim {claim.id!r} names the unknown "
                        f"experiment {name!r}{nearest(name, self.experiments.experiments)}")
        self.results = results.read_all(folder, self.schema)

    def module(self, name: str) -> Any:
        """One of the paper's modules: model, train, facts, plots or bench."""
        return importlib.import_module(f"papers.{self.name}.{name}")

    def published(self, name: str) -> dict[str, np.ndarray]:
        """A table of ``published/`` as columns; one that holds no numbers stays text.

        Raises:
            UserError: there is no such table.
        """
        rows = read_table(self.folder / "published" / f"{name}.csv")
        columns = {k: [row[k] for row in rows] for k in rows[0]}
        found = {}
        for k, values in columns.items():
            try:
                found[k] = np.array(values, dtype=float)
            except ValueError:
                found[k] = np.array(values)
        return found

    def judgements(self) -> list[Judgement]:
        """Every claim, judged."""
        return [self.judge(claim) for claim in self.claims]

    def judge(self, claim: Claim) -> Judgement:
        """Judge one claim by the results at hand.

        Raises:
            UserError: it asks for a metric, step or function that is not there.
        """
        if not claim.measure:
            return Judgement(claim, "not run")
        if not claim.experiments:
            value = float(self.function(claim)(**claim.measure.get("arguments", {})))
            low, high = claim.band
            return Judgement(claim, "reproduced" if low <= value <= high else "not reproduced",
                             (value,))
        runs = {e: {r.seed: r for r in self.results.get(e, [])} for e in claim.experiments}
        seeds = sorted(set.intersection(*(set(r) for r in runs.values())))
        if not seeds:
            return Judgement(claim, "not run")
        values = tuple(self.measured(claim, {e: r[s] for e, r in runs.items()}) for s in seeds)
        verdict, interval = decide(values, claim.band, claim.judge.get("sd"), claim.repeatable)
        old = [runs[e][s].name for e in runs for s in seeds if not self.is_current(e, s)]
        if old:
            return Judgement(claim, "stale", values, interval, ", ".join(old))
        return Judgement(claim, verdict, values, interval)

    def measured(self, claim: Claim, runs: dict[str, Result]) -> float:
        """What one seed's runs say about a claim."""
        measure = claim.measure
        if "function" in measure:
            return float(self.function(claim)(runs, **measure.get("arguments", {})))
        metric, step = measure["metric"], measure.get("step")
        value = runs[measure["experiment"]].at(metric, step)
        return value - runs[measure["versus"]].at(metric, step) if "versus" in measure else value

    @functools.cache  # noqa: B019, a paper lives as long as its report
    def config(self, experiment: str) -> Config:
        """The configuration of an experiment, whatever the seed."""
        return self.experiments.resolve(experiment)

    @functools.cache  # noqa: B019, likewise
    def is_current(self, experiment: str, seed: int) -> bool:
        """Whether a result's configuration is still that of its experiment."""
        (run,) = (r for r in self.results[experiment] if r.seed == seed)
        return results.is_current(run, self.config(experiment), self.experiments)

    def function(self, claim: Claim) -> Callable[..., float]:
        """The function of ``facts.py`` a claim names."""
        name, facts = claim.measure["function"], self.module("facts")
        if not callable(getattr(facts, name, None)):
            raise UserError(f"claim {claim.id!r}: papers/{self.name}/facts.py has no function "
                            f"{name!r}{nearest(name, vars(facts))}")
        return getattr(facts, name)


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file.

    Raises:
        UserError: it cannot be read.
    """
    try:
        with open(path, newline="") as f:
            return list(csv.DictReader(f))
    except OSError as e:
        raise UserError(f"cannot read {shown(path)}: {e.strerror}") from e


def verdict_table(paper: Paper) -> dict[str, str]:
    """Every claim's verdict and measured mean in a line, as the tests hold on to them."""
    return {j.claim.id: f"{j.verdict}: {j.mean:.5g}, n = {len(j.values)}"
            for j in paper.judgements()}


def papers(names: Sequence[str] = ()) -> list[Paper]:
    """The named papers, or all of them.

    Raises:
        UserError: there is no such paper.
    """
    folders = {p.parent.name: p.parent for p in sorted((ROOT / "papers").glob("*/claims.yaml"))}
    for name in names:
        if name not in folders:
            raise UserError(f"unknown paper {name!r}{nearest(name, folders)}")
    return [Paper(folders[n]) for n in (names or folders)]


def decide(values: Sequence[float], band: tuple[float, float], sd: float | None = None,
           repeatable: bool = False) -> tuple[str, tuple[float, float] | None]:
    """The verdict on a mean over seeds.

    Args:
        values: one per seed, at least one.
        band: lowest and highest value that agree with the claim.
        sd: spread of single runs known beforehand, for fewer than three seeds.
        repeatable: the values are of runs that no seed can change.

    Returns:
        The verdict, and the interval of the mean it rests on (None for too few seeds without
        ``sd``).
    """
    low, high = band
    n, mean = len(values), float(np.mean(values))
    if repeatable:
        inside = all(low <= v <= high for v in values)
        return ("reproduced" if inside else "not reproduced"), None
    if n >= ENOUGH_SEEDS:
        sem = np.std(values, ddof=1) / math.sqrt(n)
        half = float(sem * special.stdtrit(n - 1, (1 + CONFIDENCE) / 2))  # Student's t
    elif sd is not None:
        half = sd / math.sqrt(n) * float(special.ndtri((1 + CONFIDENCE) / 2))
    else:
        return "consistent" if all(low <= v <= high for v in values) else "undecided", None
    interval = mean - half, mean + half
    if low <= interval[0] and interval[1] <= high:
        return ("reproduced" if n >= ENOUGH_SEEDS else "consistent"), interval
    if interval[1] < low or high < interval[0]:
        return "not reproduced", interval
    return "undecided", interval


def read(path: Path) -> tuple[dict[str, Any], list[Claim]]:
    """Read ``claims.yaml``: what it says about the paper, and its claims.

    Raises:
        UserError: not YAML, a missing or unknown part, or an id used twice.
    """
    content = read_yaml(path)
    about = {k: v for k, v in content.items() if k != "claims"}
    for k in ("title", "authors", "year", "link", "shows", "picture"):
        if k not in about:
            raise UserError(f"{shown(path)}: expected {k!r} at the top")
    claims, known = [], {f.name for f in fields(Claim)}
    if not isinstance(content.get("claims"), list):
        raise UserError(f"{shown(path)}: expected a list under 'claims'")
    for entry in [e for listed in content["claims"] for e in spread(listed, path)]:
        name = entry.get("id", "without id") if isinstance(entry, dict) else "without id"
        where = f"{shown(path)}: claim {name!r}"
        if name == "without id" or any(c.id == name for c in claims):
            raise UserError(f"{where}: expected an id used once")
        for k in entry:
            if k not in known:
                raise UserError(f"{where} has an unknown part {k!r}{nearest(k, known)}")
        for k in ("where", "says"):
            if k not in entry:
                raise UserError(f"{where}: expected {k!r}")
        claim = Claim(**entry)
        _check(claim, where)
        claims.append(claim)
    return about, claims


def spread(entry: Any, path: Path) -> list[Any]:
    """An entry of ``claims.yaml`` as one for every row of the table it names, or as it is.

    Raises:
        UserError: there is no such table, or it lacks a column.
    """
    if not isinstance(entry, dict) or "each" not in entry:
        return [entry]
    where = f"{shown(path)}: claim {entry.get('id', 'without id')!r}"
    for k in ("row", "column"):
        if k not in entry:
            raise UserError(f"{where} has 'each': expected {k!r}")

    def filled(part: Any, row: dict[str, str]) -> Any:
        if isinstance(part, dict):
            return {k: filled(v, row) for k, v in part.items()}
        if not isinstance(part, str) or "{" not in part:
            return part
        try:
            return part.format_map(row)
        except (KeyError, ValueError) as e:
            raise UserError(f"{where}: published/{entry['each']}.csv has no column for {part!r}"
                            ) from e

    entries = []
    for row in read_table(path.parent / "published" / f"{entry['each']}.csv"):
        one = filled(entry, row)
        for part, k in ((one, "published"), (one.get("judge", {}), "exactly")):
            if isinstance(part.get(k), str):
                part[k] = float(part[k])
        entries.append(one)
    return entries


MEASURES = {"experiment", "metric", "step", "versus", "function", "experiments", "arguments"}
JUDGES = {"within", "at_least", "at_most", "exactly", "why", "sd"}


def _check(claim: Claim, where: str) -> None:
    for part, known in ((claim.measure, MEASURES), (claim.judge, JUDGES)):
        for k in part:
            if k not in known:
                raise UserError(f"{where} has an unknown part {k!r}{nearest(k, known)}")
    if not claim.measure:
        if not claim.because:
            raise UserError(f"{where} is not measured: expected 'because' to say why")
        return
    if "function" not in claim.measure and not {"experiment", "metric"} <= claim.measure.keys():
        raise UserError(f"{where}: expected 'function', or 'experiment' and 'metric', in 'measure'")
    if not {"within", "at_least", "at_most", "exactly"} & claim.judge.keys():
        raise UserError(f"{where}: expected 'within', 'at_least', 'at_most' or 'exactly' in "
                        "'judge'")
    if {"within", "exactly"} & claim.judge.keys() and claim.published is None:
        raise UserError(f"{where}: expected a 'published' value to judge around")
    if claim.experiments and not claim.judge.get("why"):
        raise UserError(f"{where}: expected 'why' in 'judge', the reason for the band's width")
