"""The figures of the report: both phases, Table 1's rows, and the gradients in between."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from common.evidence.legends import legend
from common.evidence.paper import Paper
from common.evidence.plotting import (
    COLOURS,
    dots,
    empty,
    explain,
    figure,
    gallery_figure,
    published_bar,
)
from common.evidence.results import Result

HALF, RANDOM, WARM, SHRUNK = COLOURS[6], COLOURS[1], COLOURS[0], COLOURS[2]
ARMS = (("random", "random weights", RANDOM), ("warm", "warm start", WARM),
        ("shrunk", "shrunk, perturbed", SHRUNK))


NETWORKS = {"tenth": "3,333 images to fit", "mlp": "33,333 images to fit"}


def draw(paper: Paper) -> Iterator[tuple[str, str, Figure]]:
    """Yield (name, caption, figure) of every figure."""
    yield phases(paper, "tenth", "tenth")
    if paper.results.get("mlp_half"):  # there is nothing to see before
        yield phases(paper, "mlp", "phases")
    yield table1(paper)
    yield gradients(paper)


def gallery(paper: Paper) -> Figure:
    """The paper's picture for README's gallery: Table 1's MLP from three beginnings."""
    fig, axes = gallery_figure()
    for k, (arm, _, colour) in enumerate(ARMS):
        column(axes, paper, "mlp", arm, k, colour)
    axes.set_xticks(range(3), [label.replace(" ", "\n", 1) for _, label, _ in ARMS], fontsize=9)
    axes.set(ylabel="test accuracy (%)", xlim=(-0.6, 2.6), ylim=(35, 43))
    explain(axes, ("a run here", {"marker": "o", "ls": "", "color": "grey", "ms": 4.5}))
    legend(axes, loc="lower right")
    return fig


def column(axes: Axes, paper: Paper, network: str, arm: str, at: float, colour: str,
           ) -> list[float]:
    """A network's accuracies from one beginning, and the published one; returns our values."""
    values = [100 * r.at("accuracy", None) for r in paper.results.get(f"{network}_{arm}", [])]
    dots(axes, at, values, colour, spread=0.15, ms=4.5)
    claims = {c.id: c for c in paper.claims}
    claim = claims.get(f"table1-{network.replace('_', '-')}-{arm}")
    if claim and claim.published:
        published_bar(axes, at, 100 * claim.published)
    return values


def way(run: Result) -> tuple[np.ndarray, np.ndarray]:
    """Epochs and test accuracy in %, up to where training stopped."""
    steps, accuracy = run.curves["accuracy"]
    end = run.at("epochs", None)
    inside = steps < end
    last = min(end, steps[-1])
    return (np.append(steps[inside], last),
            100 * np.append(accuracy[inside], run.at("accuracy", None)))


def phases(paper: Paper, network: str, name: str) -> tuple[str, str, Figure]:
    """The first phase, then the second one from three beginnings; a line a seed, as Fig. 1."""
    fig, (first, second) = figure(2, width=4.1, height=3.3, sharey=True)
    for axes, arms in ((first, (("half", "half of the images", HALF),)), (second, ARMS)):
        for arm, label, colour in arms:
            for k, run in enumerate(paper.results.get(f"{network}_{arm}", [])):
                epochs, accuracy = way(run)
                axes.plot(epochs, accuracy, color=colour, lw=0.9, alpha=0.7,
                          label=label if k == 0 else None)
                axes.plot(epochs[-1:], accuracy[-1:], "o", color=colour, ms=4)
        if axes.lines:
            legend(axes)
        else:
            empty(axes)
        axes.set(xlabel="epoch", xlim=(0, None))
    first.set(title="first phase, half of the images", ylabel="accuracy, images held out (%)")
    second.set(title="second phase, all images")
    return name, (
        f"The MLP with Adam on CIFAR-10, {NETWORKS[network]}: first half of them until 99 % are "
        "learned (dot), then all of them, from random weights, from those of the first phase, and "
        "from those shrunk by 0.4 and perturbed by 0.1. A line is a seed."), fig


def table1(paper: Paper) -> tuple[str, str, Figure]:
    """Table 1's columns that were run: a dot a seed, published means and deviations as bars."""
    fig, axes = figure(width=6.4, height=3.3)
    ticks, labels = [], []
    for g, (network, title) in enumerate((("mlp", "MLP, Adam"), ("logistic", "logistic, Adam"),
                                          ("logistic_sgd", "logistic, SGD"))):
        for a, (arm, label, colour) in enumerate(ARMS):
            if arm == "shrunk" and network != "mlp":
                continue
            at = 3.6 * g + a
            ticks.append(at)
            values = column(axes, paper, network, arm, at, colour)
            labels.append(label.replace(" ", "\n", 1) + ("" if values else "\n(not run)"))
        axes.annotate(title, (3.6 * g + (1 if network == "mlp" else 0.5), 1.01),
                      xycoords=("data", "axes fraction"), ha="center", va="bottom")
    axes.set_xticks(ticks, labels, fontsize=8)
    axes.set_ylabel("accuracy on the held-out third (%)")
    explain(axes, ("a run here", {"marker": "o", "ls": "", "color": "grey", "ms": 4.5}))
    legend(axes, loc="lower left")
    return "table1", (
        "Table 1, CIFAR-10: what a network that was first trained on half of the images reaches "
        "when it goes on with all of them, beside one that began with all of them. A dot is a "
        "seed, bars are the published means."), fig


def gradients(paper: Paper) -> tuple[str, str, Figure]:
    """The gradient of the images seen before and of the new ones, where the second phase begins."""
    begun = {network: title for network, title in NETWORKS.items()
             if paper.results.get(f"{network}_warm")} or {"tenth": NETWORKS["tenth"]}
    fig, rows = figure(len(begun), width=3.9 if len(begun) > 1 else 5.2, sharey=True,
                        squeeze=False)
    panels = rows[0]
    for axes, (network, title) in zip(panels, begun.items(), strict=True):
        for k, (arm, _, colour) in enumerate(ARMS):
            for run in paper.results.get(f"{network}_{arm}", []):
                pair = [run.at("gradient_old", None), run.at("gradient_new", None)]
                axes.plot([k - 0.2, k + 0.2], pair, "-", color=colour, lw=0.8)
                axes.plot([k - 0.2], pair[:1], "o", color=colour, ms=5)
                axes.plot([k + 0.2], pair[1:], "s", color=colour, ms=5, fillstyle="none")
        axes.set_xticks(range(3), [label.replace(" ", "\n", 1) for _, label, _ in ARMS])
        axes.set(title=title, xlim=(-0.6, 2.6))
        if axes.lines:
            axes.set_yscale("log")
        else:
            empty(axes)
    explain(panels[0], *((label, {"marker": marker, "ls": "", "color": "grey", "fillstyle": fill})
                         for marker, fill, label in (("o", "full", "images seen before"),
                                                     ("s", "none", "new images"))))
    legend(panels[0])
    panels[0].set_ylabel("norm of the mean loss's gradient")
    return "gradients", (
        "As Fig. 5, before the first step of the second phase: a warm start has learned the "
        "images it has seen, so new ones alone drive it; shrinking makes both count again. A line "
        "joins the two of a seed."), fig
