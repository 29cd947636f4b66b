"""How a paper's claims are counted, and what their runs cost.

A claim that is measured in runs, or would be, counts as a *statement* of the paper. Claims computed
from the code alone (a formula, a number of parameters) are counted separately as *formulas*, and a
published table by the number of its rows that agree in all columns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from common.evidence import results
from common.evidence.claims import Claim
from common.evidence.paper import Judgement, Paper
from common.evidence.places import places
from common.evidence.results import Record
from common.evidence.verdicts import VERDICTS
from common.segments import Hardware


@dataclass(frozen=True)
class TableCount:
    """How much of a published table was reproduced.

    Attributes:
        place: where it stands in the paper.
        agree: number of rows that agree in every column.
        rows, columns: the size of the table.
        cells: its cells by verdict.
    """

    place: str
    agree: int
    rows: int
    columns: int
    cells: Counter[str]

    @property
    def words(self) -> str:
        """How many rows agree, in words, and how many cells where not every row does."""
        said = f"{self.agree} of {self.rows} rows agree"
        if self.columns == 1:
            return said
        said += f" in all {self.columns} columns"
        return said if self.agree == self.rows else (
            f"{said}, {self.cells['reproduced']} of {self.cells.total()} cells")


@dataclass(frozen=True)
class Count:
    """A paper's claims, counted.

    Attributes:
        statements: number of statements by verdict.
        formulas, hold: number of formulas, and how many of them hold.
        tables: the published tables.
        afterwards: number of claims written or changed after their results were known.
    """

    statements: Counter[str]
    formulas: int
    hold: int
    tables: tuple[TableCount, ...]
    afterwards: int = 0

    @property
    def cells(self) -> Counter[str]:
        """The cells of all tables by verdict."""
        return sum((t.cells for t in self.tables), Counter[str]())

    @property
    def words(self) -> list[str]:
        """The count in words: the statements by verdict, the formulas, each table."""
        said = [", ".join(f"{self.statements[v]} {v}" for v in VERDICTS if self.statements[v])]
        if self.afterwards:
            said.append(f"{self.afterwards} of these claims written afterwards")
        if self.formulas:
            said.append(f"{self.hold} of {self.formulas} formula{'s' * (self.formulas > 1)} "
                        f"hold{'s' * (self.formulas == 1)}")
        said += [f"{t.words} ({t.place})" for t in self.tables]
        return [s for s in said if s]


def count(judgements: Sequence[Judgement]) -> Count:
    """Count a paper's claims."""
    alone = [j for j in judgements if not j.claim.each]
    formulas = [j for j in alone if is_formula(j.claim)]
    names = dict.fromkeys(j.claim.each for j in judgements if j.claim.each)
    return Count(
        Counter(j.verdict for j in alone if j not in formulas), len(formulas),
        sum(j.verdict == "reproduced" for j in formulas),
        tuple(of_table([j for j in judgements if j.claim.each == n]) for n in names),
        sum(bool(j.claim.afterwards) for j in alone))


def is_formula(claim: Claim) -> bool:
    """Whether a claim is computed from the code alone."""
    return bool(claim.measure) and not claim.experiments


def of_table(judgements: Sequence[Judgement]) -> TableCount:
    """Count the rows of one table."""
    rows: dict[str, list[str]] = {}
    for j in judgements:
        rows.setdefault(j.claim.row, []).append(j.verdict)
    return TableCount(places(judgements), sum(set(v) == {"reproduced"} for v in rows.values()),
                      len(rows), len({j.claim.column for j in judgements}),
                      Counter(j.verdict for j in judgements))


@dataclass(frozen=True)
class Cost:
    """The computing time of a report's runs.

    Attributes:
        spent: core-seconds of the finished runs.
        missing: core-seconds of the missing runs whose speed is known.
        unknown: number of missing runs whose speed on a processor is not known.
        on_card: seconds that processes used a graphics card for the finished runs, see
            :func:`card_seconds`.
    """

    spent: float
    missing: float
    unknown: int
    on_card: float = 0.0

    @property
    def words(self) -> str:
        """Minutes on two cores, spent and still to go, and process-minutes on a graphics card.

        A missing run whose speed is not known is called untimed.
        """
        said = f"{self.spent / 120:,.0f} spent"
        said += f", {self.on_card / 60:,.1f} process-minutes on a card" if self.on_card else ""
        left = in_words(self.missing, self.unknown)
        return said + (f"; to go: {left}" if left else "")


def in_words(missing: float, unknown: int) -> str:
    """The cost of missing runs: minutes on two cores, and untimed runs; empty if none is missing.

    Args:
        missing: core-seconds.
        unknown: number of runs whose speed is not known.
    """
    words = [f"{max(1.0, missing / 120):,.0f} min"] if missing else []
    return ", ".join(words + ([f"{unknown} untimed run{'s' * (unknown > 1)}"] if unknown else []))


def cost(paper: Paper) -> Cost:
    """The cost of all runs of a paper: those recorded, and those its claims plan."""
    records = [r.record for runs in paper.results.values() for r in runs]
    return Cost(sum(map(core_seconds, records)), *to_go(paper.claims, paper),
                sum(map(card_seconds, records)))


def to_go(claims: Sequence[Claim], paper: Paper) -> tuple[float, int]:
    """What claims' missing runs cost.

    Returns:
        The core-seconds of those whose speed is known, and the number of the others.
    """
    missing, unknown = 0.0, 0
    for name, runs in runs_wanted(claims, paper).items():
        left = runs - sum(r.seed < runs for r in paper.results.get(name, []))
        each = of_one(paper, name)
        if each is None:
            unknown += max(left, 0)
        else:
            missing += max(left, 0) * each
    return missing, unknown


def runs_wanted(claims: Sequence[Claim], paper: Paper) -> dict[str, int]:
    """How many runs of each experiment the claims need; one where no seed changes anything."""
    runs: dict[str, int] = {}
    for claim in claims:
        for name in claim.experiments:
            wanted = 1 if claim.repeatable else paper.experiments.planned(name)[-1]
            runs[name] = max(runs.get(name, 0), wanted)
    return runs


def of_one(paper: Paper, name: str) -> float | None:
    """Core-seconds of one run of an experiment; None if its speed is not known."""
    if records := [r.record for r in paper.results.get(name, []) if not card_seconds(r.record)]:
        return sum(map(core_seconds, records)) / len(records)
    config = paper.config(name)
    pace = results.read_pace(paper.folder / "results" / name, config)
    if pace is None:
        return None
    threads, seconds = pace.best()
    return threads * seconds * config.train.steps


def core_seconds(record: Record) -> float:
    """The core-seconds of a run: its seconds times its threads.

    Time on a graphics card does not count, see :func:`card_seconds`.
    """
    return weighed(record, lambda hardware: 0.0 if hardware.gpu else hardware.threads)


def card_seconds(record: Record) -> float:
    """The seconds of a run on a graphics card; its share where runs took turns in one process.

    A record does not know of other processes on the same card. Where there were some, the sum over
    all runs exceeds the time for which the card was held.
    """
    return weighed(record, lambda hardware: float(hardware.gpu is not None))


def weighed(record: Record, weight: Callable[[Hardware], float]) -> float:
    """A run's seconds, each times the weight of the hardware it was spent on.

    A resumed run may have used several machines.

    Args:
        record: a result.
        weight: gives the weight of a segment's hardware.
    """
    return sum(seconds * weight(s.hardware)
               for s, seconds in zip(record.segments, spent(record), strict=True))


def spent(record: Record) -> list[float]:
    """The seconds of each segment of a run; by its steps, where the seconds were not kept."""
    later = record.segments[1:]
    kept = [s.from_seconds for s in later if s.from_seconds is not None]
    if len(kept) == len(later):
        bounds = [0.0, *kept, record.seconds]
    else:
        steps = record.config["train"]["steps"]
        ends = [0, *(s.from_step for s in later), steps]
        bounds = [record.seconds * end / steps for end in ends]
    return [end - begin for begin, end in pairwise(bounds)]
