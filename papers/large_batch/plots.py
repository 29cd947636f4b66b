"""The figures of the report: the line between two minima, their sharpness, and the answers."""

from __future__ import annotations

from collections.abc import Iterator

from matplotlib.figure import Figure

from common.evidence.paper import Paper
from common.evidence.plotting import figure


def draw(paper: Paper) -> Iterator[tuple[str, str, Figure]]:
    """Yield (name, caption, figure) of every figure."""
    made, _ = figure(2)
    yield "line", "Fig. 3(a).", made
