"""All verdicts of a paper in one picture: a row for every measured statement, on one scale.

A statement's text stands above its row, and the picture is as wide as a telephone's page, so that
nobody sees texts without their marks. Below the statements, the rows of published tables: a mark
for each number.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from common.evidence import plotting
from common.evidence.counting import is_formula, of_table
from common.evidence.legends import fitted
from common.evidence.paper import Judgement

NAME = "verdicts"
"""The name of the figure's file, without suffix."""

CAPTION = ("Every statement measured in runs, on a scale of its own: grey, the band fixed "
           "beforehand; black bar, published, where the paper gives a number; mark, measured, with "
           "its 95 % interval. Arrows point at what lies outside.")
TABLE_CAPTION = "Rows of published tables: a mark for each number's verdict."

EDGE = 3.0
"""The scale reaches from −EDGE to EDGE."""

READING = f"""\
- **A band with two ends** reaches from −1 to 1. Its middle is at 0, and 1 is half its width: a mark
  at 3 lies one width of the band above its upper end.
- **A band with one end** has it at −1 (at least) or at 1 (at most) and goes on to the edge. It has
  no width to measure by, so its row is stretched: of the measured value and the ends of its
  interval, the one farthest from the band's end is drawn {EDGE - 0.5} from it. Distances in such a
  row compare with one another, not with those of other rows.
- **A mark without a black bar:** the paper gives no number there, only an order or a bound.
- **A mark beside an arrow** lies beyond the edge, or so near to it that the arrow would cover it;
  an arrow without a mark is an end of the interval.
- **A mark without a line through it:** no interval, as of a single run, or one narrower than the
  mark."""
"""How the picture is read, as Markdown."""

MARKS = {"reproduced": ("o", "#009E73"), "consistent": ("v", "#56B4E9"),
         "undecided": ("s", "#E69F00"), "not reproduced": ("X", "#D55E00"),
         "stale": ("d", "#999999")}
"""A shape and a colour for each verdict; either is enough to tell them apart."""

LETTERS = 63
"""The largest number of characters in a line of a statement's text."""

WIDTH = 384 / 96
"""The width in inches: a telephone shows pictures of 384 pixels as large as they are."""

LINE, BAR, GAP = 0.133, 0.11, 0.07
"""Heights in inches: a line of text, a band, and what is left below it."""

LAST_COLUMN, COLUMN = 2.85, 0.3
"""Where a published table's columns stand on the scale: the last, and the distance of two."""


@dataclass(frozen=True)
class Scale:
    """The map from a row's values to the common scale.

    Attributes:
        middle, unit: the value at 0, and the value that corresponds to a distance of 1.
        low, high: the ends of the band on the scale; infinite on an open side.
    """

    middle: float
    unit: float
    low: float
    high: float

    def __call__(self, value: float) -> float:
        """A value's position on the scale, rounded to what a reader can see."""
        return round((value - self.middle) / self.unit, 3) if math.isfinite(value) else value


def scale_of(j: Judgement) -> Scale:
    """The scale on which a claim's band reaches from −1 to 1.

    The end of a one-sided band is at −1 or 1, and its unit is chosen so that the measured value and
    its interval are visible.
    """
    low, high = j.claim.band
    if math.isfinite(low) and math.isfinite(high):
        return Scale((low + high) / 2, (high - low) / 2 or abs(high) or 1.0,
                     -1.0 if high > low else 0.0, 1.0 if high > low else 0.0)
    edge = low if math.isfinite(low) else high
    seen = [v for v in (j.middle, *(j.interval or ())) if math.isfinite(v)]
    unit = max((abs(v - edge) for v in seen), default=0.0) / (EDGE - 0.5) or 1.0
    if math.isfinite(low):
        return Scale(edge + unit, unit, -1.0, math.inf)
    return Scale(edge - unit, unit, -math.inf, 1.0)


def statements(judgements: Sequence[Judgement]) -> list[Judgement]:
    """The statements to draw: those with a measured value that are no table rows or formulas."""
    return [j for j in judgements if j.values and j.verdict in MARKS
            and not j.claim.each and not is_formula(j.claim)]


def tables(judgements: Sequence[Judgement]) -> dict[str, list[Judgement]]:
    """The measured numbers of published tables that runs settle, by the table's name."""
    found: dict[str, list[Judgement]] = {}
    for j in judgements:
        if j.claim.each and j.values and j.verdict in MARKS and not is_formula(j.claim):
            found.setdefault(j.claim.each, []).append(j)
    return found


def caption(judgements: Sequence[Judgement]) -> str:
    """What the picture shows; empty if there is none."""
    return " ".join(text for text, there in (
        (CAPTION, statements(judgements)), (TABLE_CAPTION, tables(judgements))) if there)


def draw(judgements: Sequence[Judgement]) -> Figure | None:
    """Draw the picture; None if nothing was measured in runs."""
    rows, of_tables = statements(judgements), tables(judgements)
    drawn = [*rows, *(j for found in of_tables.values() for j in found)]
    if not drawn:
        return None
    texts = [label(j) for j in rows]
    heights = [LINE * (1.15 + text.count("\n")) + BAR + GAP for text in texts]
    end = sum(heights)
    size = end + sum(table_height(found) for found in of_tables.values())
    fig, axes = plotting.figure(width=WIDTH, height=size + 1.15)
    axes.set(xlim=(-EDGE, EDGE), ylim=(size, 0))
    axes.grid(False)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    if rows:
        axes.set_xlabel("half widths of a band with two ends;\na band with one has it at −1 or 1")
    else:
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
    top = 0.0
    for height, text, j in zip(heights, texts, rows, strict=True):
        axes.text(-EDGE, top, text, va="top", fontsize=plotting.SMALLEST, linespacing=1.1,
                  in_layout=False)  # as long as it is, rows keep their width
        row(axes, top + height - GAP - BAR / 2, j)
        top += height
    for found in of_tables.values():
        table(axes, top, found)
        top += table_height(found)
    fitted(fig, fig.bbox.width, len(MARKS), loc="outside upper center", handles=[
        Line2D([], [], ls="", marker=mark, color=colour, ms=5, label=f"{verdict} ({n})")
        for verdict, (mark, colour) in MARKS.items()
        if (n := sum(j.verdict == verdict for j in drawn))])
    return fig


def heading(judgements: Sequence[Judgement]) -> str:
    """What stands above a published table's rows: how many agree, and the names of its columns."""
    columns, counted = dict.fromkeys(j.claim.column for j in judgements), of_table(judgements)
    said = f"{counted.place}: {counted.words}"
    return "\n".join((textwrap.fill(said, LETTERS), textwrap.fill(
        "; ".join(f"{k} {c}" for k, c in enumerate(columns, 1)), LETTERS))).replace("$", r"\$")


def table_height(judgements: Sequence[Judgement]) -> float:
    """The height of a published table in inches."""
    rows = len({j.claim.row for j in judgements})
    return LINE * (heading(judgements).count("\n") + 1.6 + rows + 1) + 2 * GAP


def table(axes: plotting.Axes, top: float, judgements: Sequence[Judgement]) -> None:
    """Draw a published table: a line for every row, a mark for every number."""
    small: dict[str, Any] = {"fontsize": plotting.SMALLEST, "in_layout": False}
    text = heading(judgements)
    axes.text(-EDGE, top + GAP, text, va="top", linespacing=1.1, **small)
    columns = list(dict.fromkeys(j.claim.column for j in judgements))
    rows = list(dict.fromkeys(j.claim.row for j in judgements))
    x = {c: LAST_COLUMN - COLUMN * k for k, c in enumerate(reversed(columns))}
    first = top + GAP + LINE * (text.count("\n") + 1.6)
    for k, c in enumerate(columns, 1):
        axes.text(x[c], first, f"{k}", ha="center", va="center", **small)
    for n, name in enumerate(rows, 1):
        axes.text(-EDGE, first + LINE * n, name.replace("$", r"\$"), va="center", **small)
    for j in judgements:
        mark, colour = MARKS[j.verdict]
        axes.plot([x[j.claim.column]], [first + LINE * (1 + rows.index(j.claim.row))], mark,
                  color=colour, ms=5)


def label(j: Judgement) -> str:
    """A row's text: the claim's id and what it says, in as many lines as needed."""
    return textwrap.fill(f"{j.claim.id}: {j.claim.says}", LETTERS).replace("$", r"\$")


def row(axes: plotting.Axes, y: float, j: Judgement) -> None:
    """Draw a claim's row: the band, the published value, the measured value and its interval."""
    at, (mark, colour) = scale_of(j), MARKS[j.verdict]
    low, high = max(at.low, -EDGE), min(at.high, EDGE)
    bottom, top = y + BAR / 2, y - BAR / 2
    axes.vlines(range(-round(EDGE), round(EDGE) + 1), top, bottom, color="0.92", lw=0.8, zorder=0)
    axes.barh(y, high - low, left=low, height=BAR, color="0.85", zorder=1)
    if j.claim.published is not None:
        axes.plot([at(j.claim.published)] * 2, [top, bottom], color="black", lw=1.2, zorder=2)
    if j.interval is not None and all(map(math.isfinite, j.interval)):
        ends = [min(max(at(v), -EDGE), EDGE) for v in j.interval]
        axes.plot(ends, [y, y], color=colour, lw=1.2, zorder=3)
    x = at(j.middle)
    beyond = {math.copysign(1, v) for v in (x, *map(at, j.interval or ())) if abs(v) > EDGE}
    for side in beyond:
        point(axes, side, y, colour)
    if math.copysign(1, x) in beyond:  # a mark and its arrow stand side by side
        x = math.copysign(min(abs(x), EDGE - 0.3), x)
    axes.plot([x], [y], mark, color=colour, ms=5, zorder=4, clip_on=False)


def point(axes: plotting.Axes, x: float, y: float, colour: str) -> None:
    """Draw an arrow at the edge towards what lies outside."""
    axes.plot([math.copysign(EDGE - 0.08, x)], [y], ">" if x > 0 else "<", color=colour, ms=6,
              zorder=3.5)
