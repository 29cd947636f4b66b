"""The figures of the report: published beside measured values."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from common.evidence.legends import legend
from common.evidence.paper import Paper
from common.evidence.plotting import COLOURS, figure, gallery_figure, over_seeds


def draw(paper: Paper) -> Iterator[tuple[str, str, Figure]]:
    """Yield (name, caption, figure) of every figure."""
    fig, axes = figure()
    accuracy(axes, paper)
    yield "accuracy", "Test accuracy, mean and range over seeds, and the published values.", fig


def gallery(paper: Paper) -> Figure:
    """The paper's picture for README's gallery: what it is about and what came out, at a glance."""
    fig, axes = gallery_figure()
    accuracy(axes, paper)
    return fig


def accuracy(axes: Axes, paper: Paper) -> None:
    """Test accuracy while training, and the published values."""
    axes.plot([5000, 10000], [0.97, 0.975], "o", color="black", label="published")
    for arm, colour in zip(("narrow", "wide"), COLOURS, strict=False):
        runs = paper.results.get(arm, [])
        if runs:
            steps = runs[0].curves["accuracy"][0]
            over_seeds(axes, steps, np.stack([r.curves["accuracy"][1] for r in runs]), arm, colour)
    axes.set(xlabel="step", ylabel="test accuracy", ylim=(0.9, 1.0))
    legend(axes)
