"""The figures of the report."""

from __future__ import annotations

from collections.abc import Iterator

from matplotlib.figure import Figure

from common.evidence.paper import Paper
from common.evidence.plotting import figure


def draw(paper: Paper) -> Iterator[tuple[str, str, Figure]]:
    """Yield (name, caption, figure) of every figure."""
    made, _ = figure()
    yield "signals", "Signals.", made
