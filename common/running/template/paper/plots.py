"""The figures of the report: published beside measured values."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from common.evidence.legends import legend
from common.evidence.paper import Paper
from common.evidence.plotting import COLOURS, figure, over_seeds


def draw(paper: Paper) -> Iterator[tuple[str, str, Figure]]:
    """Yield (name, caption, figure) of every figure."""
    made, axes = figure()
    axes.plot([5000, 10000], [0.97, 0.975], "o", color="black", label="published")
    for arm, colour in zip(("narrow", "wide"), COLOURS, strict=False):
        runs = paper.results.get(arm, [])
        if runs:
            steps = runs[0].curves["accuracy"][0]
            over_seeds(axes, steps, np.stack([r.curves["accuracy"][1] for r in runs]), arm, colour)
    axes.set(xlabel="step", ylabel="test accuracy", ylim=(0.9, 1.0))
    legend(axes)
    yield "accuracy", "Test accuracy, mean and range over seeds, and the published values.", made
