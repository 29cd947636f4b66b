"""README's table of papers: of each a line, with a strip of its verdicts and a picture."""

from __future__ import annotations

import html
from collections.abc import Sequence

from common.evidence.counting import Count, cost, count
from common.evidence.paper import Judgement, Paper
from common.evidence.picture import MARKS
from common.evidence.verdicts import VERDICTS

NAME = "strip"
"""Of the strip's file."""

HEAD = ("paper", "what it says", "verdicts", "minutes on two cores", "picture")

WIDTH, HEIGHT, LEAST = 260, 18, 20
"""Of a strip, and of its narrowest part, in which two digits fit; in pixels."""

NOT_RUN = "#d5dade"


def strip(counted: Count) -> str:
    """The verdicts on a paper's statements as one bar of their proportions, an SVG.

    Each part bears its number; parts stand in the order of :data:`VERDICTS`. Below: how many
    formulas hold, and how many rows of published tables agree.
    """
    parts = [(v, n) for v in VERDICTS if (n := counted.statements[v])]
    more = [f"{counted.hold} of {counted.formulas} formulas"] if counted.formulas else []
    if counted.tables:
        agree, rows = (sum(getattr(t, k) for t in counted.tables) for k in ("agree", "rows"))
        more.append(f"{agree} of {rows} rows of tables")
    free = WIDTH - LEAST * len(parts)
    total, x, drawn = sum(n for _, n in parts), 0.0, []
    for verdict, n in parts:
        width = LEAST + free * n / total
        colour = MARKS.get(verdict, ("", NOT_RUN))[1]
        drawn.append(f'<rect x="{x:.1f}" width="{width - 1:.1f}" height="{HEIGHT}" fill="{colour}">'
                     f'<title>{n} {verdict}</title></rect><text x="{x + width / 2 - 0.5:.1f}" '
                     f'y="13" text-anchor="middle">{n}</text>')
        x += width
    below = (f'<text y="{HEIGHT + 14}" fill="#7a828a">{html.escape(", ".join(more))}</text>'
             if more else "")
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT + 19}" '
            f'viewBox="0 0 {WIDTH} {HEIGHT + 19}" font-family="sans-serif" font-size="12">'
            f'{"".join(drawn)}{below}</svg>\n')


def cells(paper: Paper, judgements: Sequence[Judgement]) -> list[str]:
    """A paper's line, see :data:`HEAD`."""
    base, about = f"papers/{paper.name}", paper.about
    said = html.escape("; ".join(count(judgements).words))
    picture = f"{base}/figures/{about['picture']}.svg"
    return [f"[{about['title']}]({base}/README.md), {about['authors']} {about['year']}",
            about["shows"],
            f'<img src="{base}/figures/{NAME}.svg" width="{WIDTH}" alt="{said}"><br>'
            f"[report]({base}/REPORT.md)", cost(paper).words,
            f'<a href="{picture}"><img src="{picture}" width="320" alt="{paper.name}"></a>']
