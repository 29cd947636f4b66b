"""A paper's folder as evidence: its claims, the results of its runs, and the verdicts."""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.config import Config
from common.errors import UserError, nearest, say
from common.evidence import results
from common.evidence.claims import Claim, Measure, read_claims, read_table
from common.evidence.lookup import FAULTS, Lookup, located
from common.evidence.measurable import check_function, check_step, functions
from common.evidence.results import Result
from common.evidence.verdicts import Interval, decide
from common.experiments import Experiments
from common.files import ROOT, shown


@dataclass(frozen=True)
class Judgement:
    """A claim with its measured values and its verdict.

    Attributes:
        claim: the claim.
        verdict: a key of :data:`VERDICTS`.
        values: one per seed (a single one for an exact fact).
        interval: the interval that the verdict rests on; None if there are too few values.
        stale: the reason if it is stale, naming the results.
        plan: how many runs were planned, see :func:`common.evidence.verdicts.decide`.
    """

    claim: Claim
    verdict: str
    values: tuple[float, ...] = ()
    interval: Interval | None = None
    stale: str = ""
    plan: tuple[int, ...] = ()

    @property
    def by(self) -> str:
        """What was judged: mean, median, share or one run."""
        return self.claim.judge.by

    @property
    def middle(self) -> float:
        """The mean of the values, or their median if the claim is judged by it."""
        if not self.values:
            return math.nan
        return float((np.median if self.by == "median" else np.mean)(self.values))

    @property
    def sd(self) -> float:
        """The values' standard deviation; NaN if there is one value or one is not finite."""
        known = len(self.values) > 1 and np.isfinite(self.values).all()
        return float(np.std(self.values, ddof=1)) if known else math.nan


class Paper:
    """A paper's folder: its experiments, claims and results.

    Args:
        folder: such as ``papers/batchnorm``.

    Raises:
        UserError: one of its files is damaged, or a claim does not fit the experiments.
    """

    def __init__(self, folder: Path):
        self.folder, self.name = folder, folder.name
        self.about, self.claims = read_claims(folder / "claims.yaml")
        self.schema: type[Config] = self.module("train").Config
        self.experiments = Experiments(self.schema, folder / "config.yaml")
        named = [*((f"claim {c.id!r}", c.experiments) for c in self.claims),
                 *((f"the curve {c.table!r}", c.experiments) for c in self.about.curves)]
        for what, name in ((what, name) for what, names in named for name in names):
            if name not in self.experiments.experiments:
                raise UserError(
                    f"{shown(folder / 'claims.yaml')}: {what} names the unknown experiment "
                    f"{name!r}{nearest(name, self.experiments.experiments)}")
        for claim in self.claims:
            with self.named(claim):
                self._check(claim)
        self.results = {name: made for name, made in results.read_all(folder, self.schema).items()
                        if name in self.experiments.experiments}  # papers report names the others

    def _check(self, claim: Claim) -> None:
        """Refuse a claim that cannot be measured as it says, before anything is trained for it."""
        if claim.judge.by == "median" and self.plan(claim)[-1] < 6:
            raise UserError("it is judged by its median: expected at least 6 planned seeds")
        if claim.function:
            check_function(self.function(claim), claim)
        if claim.measure is not None and claim.measure.step is not None:
            for name in claim.experiments:
                check_step(claim.measure, name, self.experiments.resolve(name))

    @contextlib.contextmanager
    def named(self, claim: Claim) -> Iterator[None]:
        """A context whose errors name a claim and its file."""
        try:
            yield
        except UserError as e:
            where = shown(self.folder / "claims.yaml")
            raise UserError(f"{where}: claim {claim.id!r}: {e}") from e

    def module(self, name: str) -> Any:
        """One of the paper's modules: model, train, facts, plots or bench.

        Raises:
            UserError: it cannot be imported.
        """
        try:
            return importlib.import_module(f"papers.{self.name}.{name}")
        except UserError:
            raise
        except (Exception, SystemExit) as e:
            raise UserError(f"papers/{self.name}/{name}.py cannot be imported: {located(e)}") from e

    def published(self, name: str, text: Sequence[str] = ()) -> Lookup[np.ndarray]:
        """A table in ``published/`` by columns, which are numbers.

        Args:
            name: the file's name without its suffix.
            text: the columns that are text, if the table has them.

        Raises:
            UserError: there is no such table, or a column of numbers has a cell that is none.
        """
        path = self.folder / "published" / f"{name}.csv"
        rows = read_table(path)
        return Lookup({k: np.array([row[k] for row in rows]) if k in text else
                       column([row[k] for row in rows], f"{shown(path)}: {k}") for k in rows[0]},
                      shown(path), "column")

    def judgements(self) -> list[Judgement]:
        """Every claim, judged."""
        return [self.judge(claim) for claim in self.claims]

    def judge(self, claim: Claim) -> Judgement:
        """Judge one claim by the existing results.

        Raises:
            UserError: it names a metric, step or function that does not exist.
        """
        if claim.measure is None:
            return Judgement(claim, "not run")
        with self.named(claim):
            return self._judged(claim)

    def _judged(self, claim: Claim) -> Judgement:
        """One claim with a measure, judged; messages leave the file and the claim to the caller."""
        if not claim.experiments:
            value = self.called(claim)
            low, high = claim.band
            return Judgement(claim, "reproduced" if low <= value <= high else "not reproduced",
                             (value,))
        plan = self.plan(claim)
        runs = {e: {r.seed: r for r in self.results.get(e, []) if r.seed < plan[-1]}
                for e in claim.experiments}
        seeds = sorted(set.intersection(*(set(r) for r in runs.values())))
        if not seeds:
            return Judgement(claim, "not run")
        old = [f"{runs[e][s].name}{why}" for e in runs for s in seeds
               if (why := self.outdated(e, s)) is not None]
        if old:  # an old result may lack the metrics measured now
            return Judgement(claim, "stale", stale=", ".join(old), plan=plan)
        values = tuple(self.measured(claim, {e: r[s] for e, r in runs.items()}) for s in seeds)
        if claim.judge.by == "one":
            if len(set(values)) > 1:
                raise UserError("it is judged by one run, yet seeds differ: "
                                f"{min(values)} and {max(values)}")
            values = values[:1]
        verdict, interval = decide(values, claim.band, claim.judge, plan)
        return Judgement(claim, verdict, values, interval, plan=plan)

    def plan(self, claim: Claim) -> tuple[int, ...]:
        """How many runs are planned for a claim.

        If it has several experiments, the plan with the most looks counts, then the most runs.
        """
        return max((self.experiments.planned(e) for e in claim.experiments),
                   key=lambda plan: (len(plan), plan[-1]))

    def measured(self, claim: Claim, runs: dict[str, Result]) -> float:
        """The value that one seed's runs give for a claim."""
        of = claim.measure or Measure()
        if of.experiment is None or of.metric is None or of.function is not None:
            return self.called(claim, runs)
        value = runs[of.experiment].at(of.metric, of.step)
        return value - runs[of.versus].at(of.metric, of.step) if of.versus else value

    @functools.cache  # noqa: B019, a paper lives as long as its report
    def config(self, experiment: str) -> Any:
        """The configuration of an experiment with seed 0, of the paper's own class."""
        return self.experiments.resolve(experiment)

    @functools.cache  # noqa: B019, likewise
    def outdated(self, experiment: str, seed: int) -> str | None:
        """Why a result is no longer valid for its experiment; None if it still is.

        Empty if the configuration has changed; otherwise what ``papers recheck`` found.
        """
        (run,) = (r for r in self.results[experiment] if r.seed == seed)
        if not results.is_current(run, self.config(experiment), self.experiments):
            return ""
        found = results.noted_difference(self.folder, experiment, seed)
        return f" ({found})" if found else None

    def called(self, claim: Claim, *runs: dict[str, Result]) -> float:
        """Call the function that a claim names, with the claim's arguments and any runs.

        Raises:
            UserError: there is no such function, or it does not accept the arguments.
        """
        function, arguments = self.function(claim), (claim.measure or Measure()).arguments
        try:
            return float(function(*runs, **arguments)) if runs else exact(
                function, json.dumps(arguments))
        except FAULTS as e:
            given = f" with {arguments}" if arguments else ""
            raise UserError(f"{claim.function}{given}: {located(e)}") from e

    def function(self, claim: Claim) -> Callable[..., float]:
        """The function of ``facts.py`` that a claim names.

        Raises:
            UserError: there is no such function.
        """
        name, facts = claim.function, self.module("facts")
        if name not in functions(facts):
            raise UserError(f"papers/{self.name}/facts.py has no function {name!r}"
                            f"{nearest(name, functions(facts))}")
        return getattr(facts, name)


def column(cells: Sequence[str], where: str) -> np.ndarray:
    """A table's column of numbers.

    Args:
        cells: the cells as they are written, from line 2 of the file on.
        where: the file and the column's name, for the message.

    Raises:
        UserError: a cell is empty, text, infinite or NaN.
    """
    numbers = [number(c) for c in cells]
    for line, (cell, n) in enumerate(zip(cells, numbers, strict=True), 2):
        if n is None or not math.isfinite(n):
            raise UserError(f"{where}, line {line}: {cell!r}: expected a finite number")
    return np.array(numbers, dtype=float)


def number(cell: str) -> float | None:
    """The number in a cell; None if it holds none."""
    try:
        return float(cell)
    except ValueError:
        return None


@functools.cache
def exact(function: Callable[..., float], arguments: str) -> float:
    """The value of a fact for some arguments, given as JSON; computed once per process."""
    value = float(function(**json.loads(arguments)))
    if math.isnan(value):
        raise ValueError("its value is no number")
    return value


def verdict_table(paper: Paper) -> dict[str, str]:
    """Every claim's verdict and measured value in a line, as the golden files of the tests."""
    return {j.claim.id: f"{j.verdict}: {j.middle:.5g}, n = {len(j.values)}"
            for j in paper.judgements()}


def papers(names: Sequence[str] = ()) -> list[Paper]:
    """Load the named papers, or all but unfinished and misnamed ones, which stderr lists.

    Raises:
        UserError: there is no such paper, or a named one is unfinished or misnamed.
    """
    known, unfinished, wrong = paper_names(), half_made(), misnamed()
    for name in names:
        if name in wrong:
            raise UserError(f"papers/{name}: {IDENTIFIER}")
        if name in unfinished:
            raise UserError(f"papers/{name} is half-made: expected {', '.join(unfinished[name])}")
        if name not in known:
            raise UserError(f"unknown paper {name!r}{nearest(name, known)}")
    for name in [] if names else sorted({*wrong, *unfinished}):
        say(f"papers/{name} is left out: {IDENTIFIER}" if name in wrong else
            f"papers/{name} is half-made and left out: it has no "
            f"{', no '.join(unfinished[name])} yet")
    return [Paper(ROOT / "papers" / n) for n in (names or known)]


NEEDED = ("README.md", "claims.yaml", "config.yaml", "facts.py", "model.py", "plots.py", "train.py")
"""The files that a paper's folder must have before it can be reported on."""


IDENTIFIER = "expected a folder's name of letters, digits and _, to import its code by"


def misnamed() -> list[str]:
    """The folders with a ``claims.yaml`` whose names Python cannot import, such as a copy's."""
    return sorted(p.parent.name for p in (ROOT / "papers").glob("*/claims.yaml")
                  if not p.parent.name.isidentifier())


UNFINISHED = ".unfinished"
"""A file that marks a paper's folder while ``papers new`` creates it, and after that was killed."""

CREATING: set[str] = set()
"""The papers that this process is creating: for it their folders are whole before they are."""


def half_made() -> dict[str, list[str]]:
    """The folders of unfinished papers, each with what it lacks.

    That is files of :data:`NEEDED`, or the end of its creation, which has left its mark.
    """
    folders = sorted(p for p in (ROOT / "papers").iterdir() if p.is_dir())
    lacking = {p.name: [f for f in NEEDED if not (p / f).is_file()] for p in folders}
    return {p.name: [cut_short(p)] if cut_short(p) else lacking[p.name] for p in folders
            if cut_short(p) or 0 < len(lacking[p.name]) < len(NEEDED)}


def cut_short(folder: Path) -> str:
    """The command that finishes a paper's folder, if its creation was cut short; else empty."""
    marked = (folder / UNFINISHED).exists() and folder.name not in CREATING
    return f"papers new {folder.name} to be finished by the same command" if marked else ""


def paper_names() -> list[str]:
    """The names of all papers but unfinished and misnamed ones; their files may be damaged."""
    left_out = {*half_made(), *misnamed()}
    return sorted(p.parent.name for p in (ROOT / "papers").glob("*/claims.yaml")
                  if p.parent.name not in left_out)


