"""The figures of the report."""

from __future__ import annotations

from collections.abc import Iterator

from matplotlib.figure import Figure

from common.evidence.paper import Paper


def draw(paper: Paper) -> Iterator[tuple[str, str, Figure]]:
    """Yield (name, caption, figure) of every figure."""
    yield from ()
