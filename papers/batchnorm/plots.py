"""The figures of the report: Fig. 1 of the paper, published over measured, and the sweep."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from common.evidence.legends import legend
from common.evidence.paper import Paper
from common.evidence.plotting import (
    COLOURS,
    explain,
    figure,
    gallery_figure,
    legend_below,
    over_seeds,
)
from common.evidence.results import Result

ARMS = [("plain", "without BN", COLOURS[1]), ("bn", "with BN", COLOURS[0])]


def curves(runs: list[Result], metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps, and one row of values per seed."""
    return runs[0].curves[metric][0], np.stack([r.curves[metric][1] for r in runs])


def draw(paper: Paper) -> Iterator[tuple[str, str, Figure]]:
    """Yield (name, caption, figure) of every figure."""
    yield accuracy(paper)
    yield percentiles(paper)
    yield sweep(paper)


def gallery(paper: Paper) -> Figure:
    """The paper's picture for README's gallery: Fig. 1(a) with one learning rate for both."""
    fig, axes = gallery_figure()
    accuracies(axes, paper, "", named=False)
    for (_, label, colour), (x, y) in zip(ARMS, ((9.5, 0.87), (1.5, 0.983)), strict=True):
        axes.text(x, y, label, color=colour)
    explain(axes, ("ours", {"color": "grey"}), ("published", {"color": "grey", "ls": "--"}))
    legend(axes, loc="lower right")
    return fig


def accuracy_panel(axes: Axes, paper: Paper, suffix: str, title: str) -> None:
    """Fig. 1(a) with the arms of one choice of learning rates, and a legend."""
    accuracies(axes, paper, suffix)
    axes.set_title(title)
    legend(axes, loc="lower right")


def accuracies(axes: Axes, paper: Paper, suffix: str, named: bool = True) -> None:
    """Test accuracies of one choice of learning rates, ours and published ones."""
    for arm, label, colour in ARMS:
        runs = paper.results.get(arm + suffix, [])
        if runs:
            steps, values = curves(runs, "accuracy")
            lr = runs[0].config["optim.lr"]
            over_seeds(axes, steps / 1000, values, f"{label}, lr {lr:g}" if named else "_", colour)
        name = "fig1a_with_bn" if arm == "bn" else "fig1a_without_bn"
        line = paper.published(name)
        axes.plot(line["steps_thousand"], line["test_accuracy"], "--", color=colour, lw=1,
                  label=f"{label}, published" if named else "_")
    axes.set(xlabel="training steps (thousands)", ylabel="test accuracy", ylim=(0.7, 1.0))


def accuracy(paper: Paper) -> tuple[str, str, Figure]:
    fig, (left, right) = figure(2)
    accuracy_panel(left, paper, "", "one learning rate for both")
    accuracy_panel(right, paper, "_best", "each network's best learning rate")
    return "fig1a", (
        "Fig. 1(a): test accuracy on MNIST, mean over seeds with the band from the lowest to the "
        "highest, over the curves read off the paper's figure (dashed)."), fig


def percentiles(paper: Paper) -> tuple[str, str, Figure]:
    fig, axes = figure(2, sharey=True)
    for panel, (arm, label, _) in zip(axes, ARMS, strict=True):
        for q, colour in (("p85", COLOURS[5]), ("p50", COLOURS[6]), ("p15", COLOURS[2])):
            runs = paper.results.get(arm, [])
            if runs:
                steps, values = curves(runs, q)
                over_seeds(panel, steps / 500, values, "_", colour)
            line = paper.published("fig1bc")
            panel.plot(100 * line["fraction"], line[f"{arm}_{q}"], "--.", color=colour, lw=1,
                       ms=4)
        panel.set(xlabel="training (%)", title=label)
    axes[0].set(ylabel="input of a sigmoid\nin the last hidden layer")
    legend_below(fig, *((f"{q}th percentile", {"color": colour}) for q, colour in (
        (85, COLOURS[5]), (50, COLOURS[6]), (15, COLOURS[2]))),
        ("published", {"color": "black", "ls": "--", "marker": ".", "lw": 1}))
    return "fig1bc", (
        "Fig. 1(b, c): {15, 50, 85}th percentiles of the input of one unit of the last hidden "
        "layer, mean and range over seeds, over the values read off the paper's figure (dashed). "
        "Each seed has a unit of its own, so the bands without BN also show how much units "
        "differ."), fig


def searched(paper: Paper, bn: bool) -> list[Result]:
    """The runs of the search with or without BN, by initial scale and learning rate."""
    runs = [r for e, rs in paper.results.items() if e.startswith("sweep") for r in rs
            if r.config["model.bn"] == bn]
    return sorted(runs, key=lambda r: (r.config["model.init_std"], r.config["optim.lr"]))


def sweep(paper: Paper) -> tuple[str, str, Figure]:
    fig, (left, right) = figure(2)
    line = paper.published("fig1a_without_bn")
    for arm, label, colour in ARMS:
        runs = searched(paper, arm == "bn")
        for scale, marker in zip((0.05, 0.065, 0.08, 0.095), "osvD", strict=True):
            some = [r for r in runs if r.config["model.init_std"] == scale]
            if not some:
                continue
            rates = [r.config["optim.lr"] for r in some]
            look = dict(marker=marker, ms=4, color=colour, lw=1, label=f"{label}, σ = {scale:g}")
            left.plot(rates, [r.at("accuracy", None) for r in some], **look)
            if arm == "plain":
                right.plot(rates, [distance(r, line) for r in some], **look)
    left.set(ylabel="validation accuracy, step 50,000")
    right.set(yscale="log", ylabel="rms distance to Fig. 1(a) without BN")
    right.set_yticks([0.02, 0.03, 0.05, 0.1], ["0.02", "0.03", "0.05", "0.1"])
    for axes in (left, right):
        axes.set(xscale="log", xlabel="learning rate")
        axes.set_xticks([0.03, 0.1, 0.3, 1, 3], ["0.03", "0.1", "0.3", "1", "3"])
        axes.minorticks_off()
    legend(left)
    return "sweep", (
        "The search for the unstated learning rate and initial scale σ on 10,000 held-out "
        "training images, one seed: final accuracy of both networks (left), and how far the plain "
        "network's validation curve is from the published curve without BN (right), which chose "
        "the scale and the shared rate."), fig


def distance(run: Result, line: dict[str, np.ndarray]) -> float:
    """Root mean square distance of a run's accuracy to a published curve, over its points."""
    steps, accuracy = run.curves["accuracy"]
    measured = np.interp(1000 * line["steps_thousand"], steps, accuracy)
    return float(np.sqrt(np.mean((measured - line["test_accuracy"]) ** 2)))


def chosen(paper: Paper) -> dict[str, tuple[float, float]]:
    """What the search says, as (initial scale, learning rate).

    ``shared``: the plain network closest to the published curve without BN; ``plain`` and
    ``bn``: the highest final validation accuracy at that scale.
    """
    line = paper.published("fig1a_without_bn")
    best = min(searched(paper, False), key=lambda r: distance(r, line)).config
    found = {"shared": (best["model.init_std"], best["optim.lr"])}
    for arm in ("plain", "bn"):
        runs = [r for r in searched(paper, arm == "bn")
                if r.config["model.init_std"] == best["model.init_std"]]
        top = max(runs, key=lambda r: r.at("accuracy", None)).config
        found[arm] = (top["model.init_std"], top["optim.lr"])
    return found
