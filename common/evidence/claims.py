"""Claims: the paper's statements, and how each is measured and judged.

``papers/<paper>/claims.yaml`` lists them:

.. code-block:: yaml

    title: ...            # of the paper; also authors, year, link, shows, picture
    link: https://…       # of several papers a list: an address for each, in the authors' order
    result: >             # the outcome in at most 20 words, for README's gallery
      BN is five times as fast {fig1a-speed: reproduced}    # the verdict is checked, not shown
    story: >              # three sentences: the paper's claims, the outcome, what failed and why
      BN learns faster {fig1a-speed: reproduced}, … # the report shows the claim's verdict here
    notes: "..."          # what is not settled, and what was tried: a list in Markdown, as story
    claims:
      - id: fig1a-bn-4k
        where: Fig. 1(a)                      # the place in the paper
        says: with BN, test accuracy after 4,000 steps
        published: 0.953                      # left out if the statement has no number
        obtained: read off the figure, ±0.0005
        show: .2%                             # a Python format, or .2p: a difference in points
        measure: {experiment: bn, metric: accuracy, step: 4000}     # no step: the final one
        judge: {within: [-0.02, 0.02], why: the reason for the band's width}
        because: ...                          # why it is not reproduced, as far as is known
        afterwards: ...                       # why it was written or changed after its results

``measure`` is one of these:

- a ``metric`` of an ``experiment``, at a ``step`` if given;
- its difference from another experiment (``versus``), paired by seed;
- a ``function`` of the paper's ``facts.py``. With ``experiments`` it is called once per seed with
  their results; without, it is an exact fact. ``arguments`` are passed by name.

A claim without ``measure`` cannot be measured here; ``because`` says why.

``judge`` has a band: ``within`` (around the published value), ``at_least``, ``at_most`` or both of
these, or ``exactly`` (a tolerance for an exact fact, or for a run that no seed can change, so that
one is enough). ``sd`` is the spread of single runs, if it is known beforehand; with it fewer than
three seeds can be judged. ``by`` says what is judged: the ``mean``, the ``median``, the ``share``
of a run's ``trials`` that succeed, or ``one`` run whose seed changes nothing that is measured.

``obtained`` gives the source of the published number. It begins with ``printed`` (as it stands in
the paper), ``derived`` (computed from printed numbers), ``read off`` (a figure, with the reading
error) or ``quoted by`` (a third party, whose name follows). A number from memory is not allowed.

A published table is one entry with ``each``: a claim for every row of ``published/<each>.csv``,
whose columns fill the ``{…}`` in its texts. ``row`` and ``column`` place it in the report's table:

.. code-block:: yaml

      - id: nfev-{run}
        each: minpack
        row: "{problem} from {factor} × its start"
        column: evaluations
        published: "{nfev}"
        measure: {experiment: minpack, metric: "nfev_{run}"}
        judge: {exactly: "{band}", why: ...}

A published curve over the steps of training is no claim of its own. ``curves`` says whose runs
it belongs to, and the claims explorer draws it over theirs:

.. code-block:: yaml

    curves:
      - table: fig1a_with_bn             # of published/
        steps: steps_thousand            # its column of steps,
        each: 1000                       # … times this
        values: [test_accuracy]          # its columns of values, two where a range was published
        metric: accuracy                 # whose curves it is drawn over, in the metric's unit,
        experiments: [bn, bn_best]       # … and of which experiments
        says: published, six networks    # its name in the legend; left out: published
"""

from __future__ import annotations

import contextlib
import csv
import math
import re
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from common.config import one_line
from common.errors import UserError, nearest
from common.evidence.about import NAME, About, Curve
from common.evidence.lookup import Lookup
from common.evidence.verdicts import Judge as Judge
from common.files import shown
from common.segments import MOST_STEPS
from common.typed import Line, Model, checked, read_yaml


class Measure(Model):
    """The ``measure`` of a claim: either ``function``, or ``experiment`` and ``metric``."""

    experiment: str | None = None
    metric: str | None = None
    step: int | None = Field(None, ge=0, le=MOST_STEPS)
    versus: str | None = None
    function: str | None = None
    experiments: list[str] = Field(default_factory=list)
    arguments: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _of_one_kind(self) -> Measure:
        of = "metric" if self.function is None else "function"
        unused = (("experiments", "arguments") if self.function is None else
                  ("experiment", "metric", "step", "versus"))
        if self.versus is not None and self.versus == self.experiment:
            raise ValueError(f"versus: {self.versus}: expected another experiment than the first")
        for k in unused:
            if getattr(self, k) not in (None, [], {}):
                raise ValueError(f"{k} is not used with a {of}: expected it left out")
        return self


class ClaimsFile(About):
    """The content of a ``claims.yaml``; its claims are validated one by one."""

    claims: list[Any]


class Claim(Model):
    """One published statement; the fields are those of ``claims.yaml``."""

    id: str = Field(pattern=NAME)
    where: Line
    says: Line
    published: float | None = None
    obtained: Line = ""
    show: str = ".4g"
    measure: Measure | None = None
    judge: Judge = Judge()
    because: str = ""
    afterwards: str = ""
    each: str = ""
    row: Line = ""
    column: Line = ""

    @property
    def function(self) -> str:
        """The function of ``facts.py`` that measures it; empty if there is none."""
        return (self.measure.function if self.measure else None) or ""

    @property
    def repeatable(self) -> bool:
        """Whether one run is enough, because no seed can change the measurement."""
        return self.judge.exactly is not None or self.judge.by == "one"

    @property
    def experiments(self) -> list[str]:
        """The experiments whose results the claim needs."""
        if self.measure is None:
            return []
        named = [self.measure.experiment, self.measure.versus, *self.measure.experiments]
        return [n for n in named if n]

    @property
    def band(self) -> tuple[float, float]:
        """The lowest and highest value that agree with the claim."""
        judge, published = self.judge, self.published
        low = -math.inf if judge.at_least is None else judge.at_least
        high = math.inf if judge.at_most is None else judge.at_most
        if judge.within is not None and published is not None:
            low, high = (published + w for w in judge.within)
        if judge.exactly is not None and published is not None:
            low, high = published - judge.exactly, published + judge.exactly
        return low, high


def read_table(path: Path) -> list[dict[str, str]]:
    """Read the rows of a CSV file.

    Raises:
        UserError: it cannot be read, has no rows, gives a name twice, or a row has more or fewer
            values than there are names.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as f:
            reader = csv.DictReader(f)
            names = list(reader.fieldnames or [])
            rows: list[dict[str, str]] = [Lookup(r, shown(path), "column") for r in reader]
    except OSError as e:
        raise UserError(f"cannot read {shown(path)}: {e.strerror}") from e
    except (UnicodeDecodeError, csv.Error) as e:
        raise UserError(f"{shown(path)} is no CSV table in UTF-8: {one_line(e)}") from e
    if twice := [n for n in names if names.count(n) > 1]:
        raise UserError(f"{shown(path)}, line 1: the name {twice[0]!r} is given twice: expected "
                        "each once")
    if not rows:
        raise UserError(f"{shown(path)}: expected a line of names and at least one of values")
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise UserError(f"{shown(path)}, line {number}: expected a value for every name in "
                            f"the first line, {', '.join(k for k in rows[0] if k)}")
    return rows


def read_claims(path: Path) -> tuple[About, list[Claim]]:
    """Read a ``claims.yaml``: the description of the paper, and the claims.

    Raises:
        UserError: it is not YAML; a part is missing, unknown, of the wrong type or inconsistent
            with others; or an id is used twice.
    """
    about = checked(ClaimsFile, read_yaml(path), shown(path))
    claims: list[Claim] = []
    for entry in [e for one in about.claims for e in spread(one, path)]:
        name = entry.get("id", "without id") if isinstance(entry, dict) else "without id"
        where = f"{shown(path)}: claim {name!r}"
        claim = checked(Claim, entry, where)
        if any(c.id.casefold() == claim.id.casefold() for c in claims):
            raise UserError(f"{where}: expected a unique id, whether in capitals or not")
        _check(claim, where)
        claims.append(claim)
    for curve in about.curves:
        _has_columns(curve, path)
    return about, claims


def spread(entry: Any, path: Path) -> list[Any]:
    """Expand an entry with ``each`` into one entry per row of its table; return others unchanged.

    Raises:
        UserError: there is no such table, or it lacks a column.
    """
    if not isinstance(entry, dict) or "each" not in entry:
        return [entry]
    where = f"{shown(path)}: claim {entry.get('id', 'without id')!r}"
    for k in ("row", "column"):
        if k not in entry:
            raise UserError(f"{where} has 'each': expected {k!r}")
    if not re.fullmatch(NAME, str(entry["each"])):
        raise UserError(f"{where}: each: {entry['each']!r}: expected the name of a table in "
                        "published/, without .csv")

    def filled(part: Any, row: dict[str, str]) -> Any:
        if isinstance(part, dict):
            return {k: filled(v, row) for k, v in part.items()}
        if not isinstance(part, str) or "{" not in part:
            return part
        try:
            return part.format_map(dict(row))
        except (KeyError, ValueError, AttributeError, IndexError, TypeError) as e:
            raise UserError(f"{where}: published/{entry['each']}.csv has no column for {part!r}"
                            ) from e

    entries = []
    for row in read_table(path.parent / "published" / f"{entry['each']}.csv"):
        one = filled(entry, row)
        judge = one.get("judge")
        for part, k in ((one, "published"), (judge if isinstance(judge, dict) else {}, "exactly")):
            with contextlib.suppress(ValueError):  # other text is kept here and refused later
                part |= {k: float(part[k])} if isinstance(part.get(k), str) else {}
        entries.append(one)
    return entries


def _has_columns(curve: Curve, path: Path) -> None:
    """Refuse a curve whose table lacks what it names."""
    columns = read_table(path.parent / "published" / f"{curve.table}.csv")[0]
    for name in (curve.steps, *curve.values):
        if name not in columns:
            raise UserError(f"{shown(path)}: curves: published/{curve.table}.csv has no column "
                            f"{name!r}{nearest(name, columns)}")


SHOW = r"\+?,?\.[0-9]{1,2}[efg%p]"
"""Allowed formats: a part of Python's, and ``p``: 0.0107 by ``.2p`` is 1.07 points."""

SOURCES = ("printed", "derived", "read off", "quoted by ")

NAMED = r"[^,;:(]*?(?:\b[A-Z]|\"[^\"]+\"|https?://|\w+/\w)"
"""What names somebody: a word with a capital, a title in quotes, an address or a repository."""


def _check(claim: Claim, where: str) -> None:
    """Refuse parts that have the right types but contradict or lack one another."""
    if not re.fullmatch(SHOW, claim.show):
        raise UserError(f"{where}: show: {claim.show!r}: expected a format of numbers such as .2f, "
                        ".4g or .1%")
    given = claim.published is not None or claim.obtained
    if given and not claim.obtained.startswith(SOURCES):
        raise UserError(f"{where}: obtained: {claim.obtained!r}: expected 'obtained' to give the "
                        f"number's source, beginning with one of {', '.join(SOURCES)}")
    if "quoted by" in claim.obtained and not re.search(f"quoted by {NAMED}", claim.obtained):
        raise UserError(f"{where}: obtained: {claim.obtained!r}: expected a name after 'quoted "
                        "by': a word with a capital, a title in double quotes, an address or a "
                        "repository")
    measure, judge = claim.measure, claim.judge
    if measure is None:
        if not claim.because:
            raise UserError(f"{where} is not measured: expected 'because' to say why")
        return
    if measure.function is None and None in (measure.experiment, measure.metric):
        raise UserError(f"{where}: expected 'function', or 'experiment' and 'metric', in 'measure'")
    if judge.by != "mean" and not claim.experiments:
        raise UserError(f"{where}: by: {judge.by}: expected experiments in 'measure', whose runs "
                        "it judges")
    around = judge.within is not None or judge.exactly is not None
    bounded = judge.at_least is not None or judge.at_most is not None
    if not around and not bounded:
        raise UserError(f"{where}: expected 'within', 'at_least', 'at_most' or 'exactly' in "
                        "'judge'")
    if around and claim.published is None:
        raise UserError(f"{where}: expected a 'published' value to judge around")
    if (judge.within is not None) + (judge.exactly is not None) + bounded > 1:
        raise UserError(f"{where}: expected one of 'within', 'exactly' and bounds in 'judge'")
    low, high = claim.band
    if low > high:
        said = f"within: {judge.within}" if judge.within else "at_least and at_most"
        raise UserError(f"{where}: judge.{said}: the band ends at {high:g}, below its beginning "
                        f"{low:g}: expected the smaller number first")
    if (judge.by == "share") != (judge.trials is not None):
        raise UserError(f"{where}: expected 'trials', the number in a run, with by: share and "
                        "only there")
    if claim.experiments and not judge.why:
        raise UserError(f"{where}: expected 'why' in 'judge', the reason for the band's width")
