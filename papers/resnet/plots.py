"""The figures of the report: Fig. 6 and Fig. 7 of the paper, published beside measured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from common.evidence.legends import legend
from common.evidence.lookup import Lookup
from common.evidence.paper import Paper
from common.evidence.plotting import COLOURS, figure, gallery_figure, legend_below
from papers.resnet.facts import responses

DEPTHS = {20: COLOURS[4], 32: COLOURS[5], 44: COLOURS[2], 56: COLOURS[1], 110: COLOURS[0]}


def by_network(paper: Paper, name: str) -> dict[str, Lookup[float]]:
    """A table of ``published/``: row by network, then column by name."""
    table = paper.published(name, text=("net",))
    nets = table.pop("net")
    return {net: Lookup({k: float(v[i]) for k, v in table.items()}, table.where, "column")
            for i, net in enumerate(nets)}


def draw(paper: Paper) -> Iterator[tuple[str, str, Figure]]:
    """Yield (name, caption, figure) of every figure."""
    yield curves(paper)
    yield layer_responses(paper)


def gallery(paper: Paper) -> Figure:
    """The paper's picture for README's gallery: the error at the end against the depth."""
    fig, axes = gallery_figure()
    points = by_network(paper, "fig6")
    for family, sign, style, label, side in (("plain", "s", "--", "plain, published", "left"),
                                             ("resnet", "o", "-", "residual, published", "right")):
        known = [d for d in DEPTHS if f"{family}{d}" in points]
        ends = [points[f"{family}{d}"]["test_end"] for d in known]
        axes.plot(known, ends, sign + style, color="grey", mfc="white", lw=1, ms=5, label=label)
        axes.annotate(label, (known[-1], ends[-1]), (0, 8), textcoords="offset points", ha=side,
                      color="grey")
        for depth, colour in DEPTHS.items():
            if runs := paper.results.get(f"{family}{depth}"):
                axes.plot(depth, np.mean([r.at("error", None) for r in runs]), sign, color=colour,
                          markeredgecolor="black", ms=7, label="ours")
                if family == "resnet":
                    axes.text(depth, 5.6, "ours", ha="center", color=colour)
    axes.set(xlabel="layers", ylabel="test error (%)", xlim=(10, 115), ylim=(0, 15.5),
             xticks=list(DEPTHS), yticks=(0, 5, 10, 15))
    return fig


def curves(paper: Paper) -> tuple[str, str, Figure]:
    fig, panels = figure(2, sharey=True)
    points = by_network(paper, "fig6")
    for axes, family in zip(panels, ("plain", "resnet"), strict=True):
        for depth, colour in DEPTHS.items():
            name = f"{family}{depth}"
            for run in paper.results.get(name, []):
                for metric, style in (("error", "-"), ("train_error", "--")):
                    steps, error = run.curves[metric]
                    axes.plot(steps / 1000, error, style, color=colour, lw=1)
            if name in points:
                mark(axes, points[name], colour)
        axes.axvline(32, color="grey", lw=0.5, ls=":")
        axes.axvline(48, color="grey", lw=0.5, ls=":")
        axes.set(xlabel="steps (thousands)", ylim=(0, 24), xlim=(0, 66),
                 title={"plain": "plain networks", "resnet": "residual networks"}[family])
    panels[0].set(ylabel="error on CIFAR-10 (%)")
    legend_below(fig, *((f"{depth} layers", {"color": c, "lw": 3}) for depth, c in DEPTHS.items()),
                 ("test", {"color": "black"}), ("training batches", {"color": "black", "ls": "--"}),
                 ("published, test", {"color": "black", "marker": "o", "ls": ""}),
                 ("published, training", {"color": "black", "marker": "o", "ls": "",
                                          "markerfacecolor": "none"}), columns=5)
    return "fig6", (
        "Fig. 6: error on CIFAR-10 during training, test (solid) and augmented training batches "
        "(dashed), one line a seed. Circles: what the paper's figure shows just before the first "
        "drop of the learning rate and at the end (test, filled; training, open)."), fig


def mark(axes: Axes, point: dict[str, float], colour: str) -> None:
    """Put a network's published values into a panel of Fig. 6."""
    # errors near 0 lie on the axis, whose frame would cut their circles
    whole: dict[str, Any] = {"ms": 5, "clip_on": False, "zorder": 3}
    axes.plot([32, 64], [point["test_before_drop"], point["test_end"]], "o", color=colour,
              markeredgecolor="black", markeredgewidth=0.5, **whole)
    axes.plot([64], [point["train_end"]], "o", color=colour, markerfacecolor="none", **whole)


def layer_responses(paper: Paper) -> tuple[str, str, Figure]:
    fig, (left, right) = figure(2, sharey=True)
    points = by_network(paper, "fig7")
    for family, kind, style in (("plain", "plain", "--"), ("resnet", "ResNet", "-")):
        for depth, colour in DEPTHS.items():
            name, called = f"{family}{depth}", f"{kind}-{depth}"
            for run in paper.results.get(name, [])[:1]:
                std = responses(run)
                layers = range(1, len(std) + 1)
                left.plot(layers, std, style, color=colour, label=f"{called}, measured")
                right.plot(layers, sorted(std, reverse=True), style, color=colour)
            if name in points:
                right.plot([(6 * ((depth - 2) // 6) + 2) / 2], [points[name]["median"]],
                           "s" if family == "plain" else "o", color=colour, ms=5,
                           markeredgecolor="black", markeredgewidth=0.5,
                           label=f"{called}, published median")
    left.set(xlabel="layer", ylabel="standard deviation", title="in order of depth")
    right.set(xlabel="layer, sorted", title="sorted by magnitude")
    left.locator_params(axis="x", integer=True)
    for axes in (left, right):
        if axes.get_legend_handles_labels()[0]:
            legend(axes)
    return "fig7", (
        "Fig. 7: standard deviation of the responses of each 3×3 layer, after BN and before ReLU "
        "or addition, over the test set; residual networks solid, plain ones dashed. Markers: "
        "medians read off the paper's figure."), fig
