"""All verdicts of a paper in one picture: a row for every measured statement, on one scale.

A statement's text stands above its row, and the picture is as wide as a telephone's page, so that
nobody sees texts without their marks. The scale's numbers stand above the rows, below them and on
every screen between. Then come the rows of published tables: a mark for each number.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.textpath import text_to_path

from common.evidence import plotting
from common.evidence.counting import is_formula, of_table
from common.evidence.legends import fitted
from common.evidence.paper import Judgement

NAME = "verdicts"
"""The name of the figure's file, without suffix."""

CAPTION = ("Every statement measured in runs, on a scale of its own: grey, the band fixed "
           "beforehand; black bar, published, where the paper gives a number; mark, measured, with "
           "its 95 % interval. Arrows point at what lies outside.")
TABLE_CAPTION = ("Rows of published tables: a mark for each number's verdict; rows that agree in "
                 "all columns share a line.")

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

WIDTH = 384 / 96
"""The width in inches: a telephone shows pictures of 384 pixels as large as they are."""

ROOM = 72 * WIDTH - 14
"""The width of a line of text, in points: all but the margins and a little more."""

LINE, BAR, GAP = 0.117, 0.1, 0.08
"""Heights in inches: a line of text, a band, and what is left below it."""

RULER = 0.17
"""The height in inches of the scale's numbers."""

SCREEN = 5.2
"""Rows between two lines with the scale's numbers reach so far, in inches: most of a screen."""

UNITS = "each row on a scale of its own, on which\nits band ends at −1 and 1, or at one of them"
"""What the scale's numbers are."""

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
    tops, rulers, end = places([LINE * (1 + text.count("\n")) + BAR + GAP for text in texts])
    size = end + sum(table_height(found) for found in of_tables.values())
    signs: list[Artist] = [
        Line2D([], [], ls="", marker=mark, color=colour, ms=5, label=f"{verdict} ({n})")
        for verdict, (mark, colour) in MARKS.items()
        if (n := sum(j.verdict == verdict for j in drawn))]
    if rows:
        signs.append(Patch(color="0.85", label="band"))
    if any(j.claim.published is not None for j in rows):
        signs.append(Line2D([], [], ls="", marker="|", color="black", ms=8, mew=1.2,
                            label="published"))
    fig, axes = plotting.figure(width=WIDTH, height=size + 0.2 + 0.2 * math.ceil(len(signs) / 2))
    axes.set(xlim=(-EDGE, EDGE), ylim=(size, 0))
    axes.set_axis_off()
    for top, text, j in zip(tops, texts, rows, strict=True):
        axes.text(-EDGE, top, text, va="top", fontsize=plotting.SMALLEST, linespacing=1.05,
                  in_layout=False)  # as long as it is, rows keep their width
        row(axes, top + LINE * (1 + text.count("\n")) + BAR / 2, j)
    for k, y in enumerate(rulers):
        ruler(axes, y, UNITS if k == 0 else "")
    top = end
    for found in of_tables.values():
        table(axes, top, found)
        top += table_height(found)
    fitted(fig, fig.bbox.width, len(MARKS) + 2, loc="outside upper center", handles=signs)
    return fig


def places(heights: Sequence[float]) -> tuple[list[float], list[float], float]:
    """Where rows of these heights begin, where the scale's numbers stand, and where both end.

    Numbers stand above the first row, below the last one, and between in parts of equal height, as
    few as are no higher than a :data:`SCREEN`, but for a row.
    """
    if not heights:
        return [], [], 0.0
    whole = sum(heights)
    part = whole / math.ceil(round(whole / SCREEN, 6))
    top, done = LINE * (1.1 + UNITS.count("\n")) + RULER, 0.0
    tops, rulers = [], [top - RULER]
    for height in heights:
        if done >= part * len(rulers) - 1e-6:
            rulers.append(top)
            top += RULER + GAP / 2
        tops.append(top)
        top, done = top + height, done + height
    return tops, [*rulers, top], top + RULER + GAP


def ruler(axes: plotting.Axes, top: float, said: str) -> None:
    """Draw the scale's numbers below a height, and above it in words what they are."""
    small: dict[str, Any] = {"fontsize": plotting.SMALLEST, "in_layout": False, "color": "0.3"}
    if said:
        axes.text(0, top, said, ha="center", va="bottom", linespacing=1.05, **small)
    for x in range(-round(EDGE), round(EDGE) + 1):
        side = "left" if x == -EDGE else "right" if x == EDGE else "center"
        axes.text(x, top + 0.01, f"{x}".replace("-", "−"), ha=side, va="top", **small)


def columns_and_rows(judgements: Sequence[Judgement]) -> tuple[list[str], list[str], list[str]]:
    """A table's columns, the rows with a number that does not agree, and the other rows."""
    columns = list(dict.fromkeys(j.claim.column for j in judgements))
    other = dict.fromkeys(j.claim.row for j in judgements if j.verdict != "reproduced")
    agree = dict.fromkeys(j.claim.row for j in judgements if j.claim.row not in other)
    return columns, list(other), list(agree)


def heading(judgements: Sequence[Judgement]) -> str:
    """What stands above a published table's rows: how many agree, and the names of its columns."""
    columns, counted = columns_and_rows(judgements)[0], of_table(judgements)
    return "\n".join((in_lines(f"{counted.place}: {counted.words}"), in_lines(
        "; ".join(f"{k} {c}" for k, c in enumerate(columns, 1))))).replace("$", r"\$")


def table_height(judgements: Sequence[Judgement]) -> float:
    """The height of a published table in inches."""
    _, other, agree = columns_and_rows(judgements)
    return LINE * (heading(judgements).count("\n") + 1.9 + len(other) + bool(agree) + 1) + 2 * GAP


def table(axes: plotting.Axes, top: float, judgements: Sequence[Judgement]) -> None:
    """Draw a published table: a mark for every number, in a line for every row.

    Rows whose numbers all agree share the last line.
    """
    small: dict[str, Any] = {"fontsize": plotting.SMALLEST, "in_layout": False}
    text = heading(judgements)
    axes.text(-EDGE, top + GAP, text, va="top", linespacing=1.05, **small)
    columns, other, agree = columns_and_rows(judgements)
    x = {c: LAST_COLUMN - COLUMN * k for k, c in enumerate(reversed(columns))}
    first = top + GAP + LINE * (text.count("\n") + 1.9)
    for k, c in enumerate(columns, 1):
        axes.text(x[c], first, f"{k}", ha="center", va="center", **small)
    rest = agree if len(agree) < 2 else [f"{'the other' if other else 'all'} {len(agree):,} rows"]
    for n, name in enumerate([*other, *rest], 1):
        axes.text(-EDGE, first + LINE * n, name.replace("$", r"\$"), va="center", **small)
    line = {name: n for n, name in enumerate(other, 1)}
    marks = {(j.claim.column, line.get(j.claim.row, len(other) + 1)): j for j in judgements}
    for (column, n), j in marks.items():
        mark, colour = MARKS[j.verdict]
        axes.plot([x[column]], [first + LINE * n], mark, color=colour, ms=5)


def label(j: Judgement) -> str:
    """A row's text: the claim's id and what it says, in as few lines as are wide enough."""
    return in_lines(f"{j.claim.id}: {j.claim.says}").replace("$", r"\$")


def in_lines(text: str) -> str:
    """A text in lines as long as fit into :data:`ROOM`."""
    letters = 85  # more than any line has
    while max(map(width, lines := textwrap.wrap(text, letters))) > ROOM:
        letters -= 1
    return "\n".join(lines)


def width(text: str) -> float:
    """How wide a line of text is, in points."""
    font = FontProperties(family="DejaVu Sans", size=plotting.SMALLEST)
    return float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0])


def row(axes: plotting.Axes, y: float, j: Judgement) -> None:
    """Draw a claim's row: the band, the published value, the measured value and its interval."""
    at, (mark, colour) = scale_of(j), MARKS[j.verdict]
    low, high = max(at.low, -EDGE), min(at.high, EDGE)
    bottom, top = y + BAR / 2, y - BAR / 2
    axes.vlines(range(-round(EDGE), round(EDGE) + 1), top, bottom, color="0.85", lw=0.8, zorder=0)
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
