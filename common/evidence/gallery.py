"""README's table of papers: a picture of each, beside what came out and a strip of its verdicts.

The picture is drawn for this table by the paper's ``plots.py`` and leads to the headline figure.

A code host shows README in 830 to 1,010 pixels, and shrinks the pictures of a table whose texts ask
for more. So there are two columns, and the text of the second is broken into short lines.
"""

from __future__ import annotations

import html
import textwrap

from common.evidence import plotting
from common.evidence.counting import Count, cost
from common.evidence.paper import Paper
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
"""Width and height of a strip, and the least width of a part, enough for two digits; in pixels."""

LETTERS = 58
"""The largest number of characters in a line of text, about as wide as a strip."""

NOT_RUN = "#d5dade"
"""The colour of verdicts without a mark in :data:`common.evidence.picture.MARKS`."""


def parts(counted: Count) -> list[tuple[str, int, str]]:
    """Verdict, number and colour of each part of a strip, in the order of :data:`VERDICTS`."""
    return [(v, n, MARKS[v][1] if v in MARKS else NOT_RUN)
            for v in VERDICTS if (n := counted.statements[v])]


def strip(counted: Count) -> str:
    """An SVG of the verdicts on a paper's statements: a bar divided in proportion to their counts.

    Each part shows its count. A line below says how many formulas hold, and how many rows of
    published tables agree.
    """
    more = [f"{counted.hold} of {counted.formulas} formulas"] if counted.formulas else []
    if counted.tables:
        agree, rows = (sum(getattr(t, k) for t in counted.tables) for k in ("agree", "rows"))
        more.append(f"{agree} of {rows} rows of tables")
    shares = parts(counted)
    free, total = WIDTH - LEAST * len(shares), counted.statements.total()
    x, drawn = 0.0, []
    for verdict, n, colour in shares:
        width = LEAST + free * n / total
        drawn.append(f'<rect x="{x:.1f}" width="{width - 1:.1f}" height="{HEIGHT}" fill="{colour}">'
                     f'<title>{n} {verdict}</title></rect><text x="{x + width / 2 - 0.5:.1f}" '
                     f'y="14" text-anchor="middle">{n}</text>')
        x += width
    below = (f'<text y="{HEIGHT + 14}" fill="#7a828a">{html.escape(", ".join(more))}</text>'
             if more else "")
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT + 19}" '
            f'viewBox="0 0 {WIDTH} {HEIGHT + 19}" font-family="sans-serif" font-size="12">'
            f'{"".join(drawn)}{below}</svg>\n')


def cells(paper: Paper, counted: Count) -> list[str]:
    """The cells of a paper's row, in the columns of :data:`HEAD`."""
    base, about = f"papers/{paper.name}", paper.about
    said = html.escape("; ".join(counted.words))
    figures = f"{base}/figures"
    return [f'<a href="{html.escape(f"{figures}/{about.picture}.svg")}">'
            f'<img src="{figures}/{PICTURE}.svg" width="{PIXELS}" alt="{paper.name}"></a>',
            "<br>".join([
                f"**{linked(about.title, f'{base}/README.md')}**",
                *lines(f"{about.authors} {about.year}"), *lines(result(paper) or about.shows),
                f'<img src="{figures}/{STRIP}.svg" width="{WIDTH}" alt="{said}">',
                *lines(f"{MINUTES}: {cost(paper).words}"), f"[report]({base}/REPORT.md)"])]


def lines(text: str) -> list[str]:
    """Text as lines of Markdown: as few as :data:`LETTERS` allows, and about equally long."""
    def wrapped(width: int) -> list[str]:
        return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)

    few = len(wrapped(LETTERS))
    least = next(w for w in range(1, LETTERS + 1) if len(wrapped(w)) == few)
    return [escaped(line) for line in wrapped(least)]
