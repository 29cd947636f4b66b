"""README's table of papers: a picture of each, beside what came out and a strip of its verdicts.

The picture is drawn for this table by the paper's ``plots.py`` and leads to the headline figure.

A code host shows README in 830 to 1,010 pixels, and shrinks the pictures of a table whose texts ask
for more. So there are two columns, and the text of the second is broken into short lines.
"""

from __future__ import annotations

import html
import textwrap
from collections import Counter
from collections.abc import Sequence

from common.evidence import plotting
from common.evidence.counting import Count, cost
from common.evidence.paper import Judgement, Paper
from common.evidence.picture import MARKS
from common.evidence.story import result
from common.evidence.tables import escaped, linked
from common.evidence.verdicts import VERDICTS

PICTURE, STRIP = "gallery", "strip"
"""The names of the files of a paper's picture and of its strip, without suffix."""

HEAD = ("picture", "paper, what came out, and its verdicts")

MINUTES = "minutes on two cores"
"""What the numbers of a cost are."""

PIXELS = round(96 * plotting.GALLERY)
"""The width of a paper's picture."""

WIDTH, HEIGHT, LEAST = 430, 20, 22
"""Width and height of a bar, and the least width of a part, enough for two digits; in pixels."""

LETTERS = 58
"""The largest number of characters in a line of text, about as wide as a strip."""

NOT_RUN = "#d5dade"
"""The colour of verdicts without a mark in :data:`common.evidence.picture.MARKS`."""


def parts(counted: Counter[str]) -> list[tuple[str, int, str]]:
    """Verdict, number and colour of each part of a bar, in the order of :data:`VERDICTS`."""
    return [(v, n, MARKS[v][1] if v in MARKS else NOT_RUN) for v in VERDICTS if (n := counted[v])]


def shares(counted: Count) -> list[tuple[Counter[str], float]]:
    """What a strip has bars of, and how long each is: statements, and the cells of tables.

    Returns:
        The numbers by verdict of each bar, and its length as a share of the longer one's.
    """
    bars = [c for c in (counted.statements, counted.cells) if c]
    most = max((c.total() for c in bars), default=1)
    return [(c, c.total() / most) for c in bars]


def strip(counted: Count) -> str:
    """An SVG of a paper's verdicts: a bar divided in proportion to those on its statements.

    Where the paper has published tables of many rows, a second bar is of their cells, and the
    longer of the two has more to count. Each part shows its count. A line below says what the bars
    count, if there are two, and how many formulas hold.
    """
    bars, cells, more = shares(counted), counted.cells, []
    drawn = [bar(c, WIDTH * share, i * (HEIGHT + 2)) for i, (c, share) in enumerate(bars)]
    if len(bars) == 2:
        one = "statement" + "s" * (counted.statements.total() > 1)
        more = [f"{counted.statements.total()} {one}", f"below, {cells.total()} cells of tables"]
    elif cells:
        more = [f"{cells.total()} cells of tables"]
    if counted.formulas:
        more.append(f"{counted.hold} of {counted.formulas} formulas hold")
    end = len(bars) * (HEIGHT + 2)
    below = (f'<text y="{end + 12}" fill="#7a828a">{html.escape("; ".join(more))}</text>'
             if more else "")
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{end + 17}" '
            f'viewBox="0 0 {WIDTH} {end + 17}" font-family="sans-serif" font-size="12">'
            f'{"".join(drawn)}{below}</svg>\n')


def bar(counted: Counter[str], width: float, y: int) -> str:
    """The parts of one bar: none narrower than its digits ask for.

    Args:
        counted: numbers by verdict.
        width: of the whole bar, in pixels; wider where its parts need it.
        y: its upper edge, in pixels.
    """
    counts = [(v, n, colour, max(LEAST, 6 + 8 * len(str(n)))) for v, n, colour in parts(counted)]
    free = max(0.0, width - sum(least for *_, least in counts))
    x, drawn = 0.0, []
    for verdict, n, colour, least in counts:
        wide = least + free * n / counted.total()
        drawn.append(f'<rect x="{x:.1f}" y="{y}" width="{wide - 1:.1f}" height="{HEIGHT}" '
                     f'fill="{colour}"><title>{n} {verdict}</title></rect>'
                     f'<text x="{x + wide / 2 - 0.5:.1f}" y="{y + 14}" '
                     f'text-anchor="middle">{n}</text>')
        x += wide
    return "".join(drawn)


def cells(paper: Paper, counted: Count, judgements: Sequence[Judgement]) -> list[str]:
    """The cells of a paper's row, in the columns of :data:`HEAD`."""
    base, about = f"papers/{paper.name}", paper.about
    said = html.escape("; ".join(counted.words))
    figures = f"{base}/figures"
    return [f'<a href="{html.escape(f"{figures}/{about.picture}.svg")}">'
            f'<img src="{figures}/{PICTURE}.svg" width="{PIXELS}" alt="{paper.name}"></a>',
            "<br>".join([
                f"**{linked(about.title, f'{base}/README.md')}**",
                *lines(f"{about.authors} {about.year}"),
                *lines(result(paper, judgements) or about.shows),
                f'<img src="{figures}/{STRIP}.svg" width="{WIDTH}" alt="{said}">',
                *lines(f"{MINUTES}: {cost(paper).words}"), f"[report]({base}/REPORT.md)"])]


def lines(text: str) -> list[str]:
    """Text as lines of Markdown: as few as :data:`LETTERS` allows, and about equally long."""
    def wrapped(width: int) -> list[str]:
        return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)

    few = len(wrapped(LETTERS))
    least = next(w for w in range(1, LETTERS + 1) if len(wrapped(w)) == few)
    return [escaped(line) for line in wrapped(least)]
