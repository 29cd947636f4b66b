"""The figures of the report: networks by all methods, wider networks, MINPACK's runs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from common.evidence.legends import legend, legend_of_all
from common.evidence.paper import Paper
from common.evidence.plotting import (
    COLOURS,
    explain,
    figure,
    gallery_figure,
    performance_profile,
)
from papers.levenberg_marquardt.facts import PENALTY, cost

METHODS = {"lm": "Levenberg-Marquardt", "bfgs": "BFGS", "lbfgs": "L-BFGS", "adam": "Adam",
           "sgd": "momentum", "cg": "conjugate gradients", "gdx": "variable rate"}
TASKS = {"period": "one period of a sine\n1-5-1", "sine": "sine\n1-15-1",
         "sinc": "sin(r)/r\n2-15-1", "diabetes": "diabetes\n10-10-1",
         "product": "product of four\n4-50-1"}
MINPACK = {"minpack": "Moré's trust region", "minpack_plain": "plain, μ I",
           "minpack_marquardt": "plain, μ diag JᵀJ"}


def draw(paper: Paper) -> Iterator[tuple[str, str, Figure]]:
    """Yield (name, caption, figure) of every figure."""
    yield networks(paper)
    yield width(paper)
    yield profile(paper)


def gallery(paper: Paper) -> Figure:
    """The paper's picture for README's gallery: the lead of small networks, lost in wide ones."""
    fig, axes = gallery_figure()
    widths(axes, paper, named=False)
    for method, y in (("lm", 0.01), ("lbfgs", 0.8), ("adam", 3)):
        axes.text(150, y, METHODS[method], color=WIDE[method])
    axes.set(xlim=(50, 5000), ylim=(0.005, 100))
    legend(axes, loc="upper right")
    return fig


def networks(paper: Paper) -> tuple[str, str, Figure]:
    fig, (left, right) = figure(2, width=5.2)
    for axes, metric in ((left, "iterations"), (right, "seconds")):
        for k, (method, name) in enumerate(METHODS.items()):
            for row, task in enumerate(TASKS):
                found = paper.results.get(f"{task}_{method}", [])
                y = row + 0.11 * (3 - k)
                for reached in (True, False):
                    x = [max(r.metrics[metric], 1e-9) for r in found
                         if bool(r.metrics["reached"]) == reached]
                    axes.plot(x, [y] * len(x), "o" if reached else "x", ms=3.5, alpha=0.6,
                              color=COLOURS[k])
            axes.plot([], [], "o", ms=4, color=COLOURS[k], label=name)
        axes.set(xscale="log", xlabel=f"{metric} to the goal", yticks=range(len(TASKS)),
                 yticklabels=TASKS.values() if axes is left else [])
        axes.grid(axis="y", visible=False)
    signs: list[tuple[str, dict[str, Any]]] = [
        ("goal reached", {"marker": "o", "ls": "", "color": "grey"}),
        ("not reached", {"marker": "x", "ls": "", "color": "grey"})]
    if ours := [cost(r, "seconds") for r in paper.results.get("period_lm", [])]:
        right.plot(4 * np.median(ours), 0, **FOURFOLD)
        signs.append(("published: the next fastest", FOURFOLD))
    legend_of_all(fig, *signs, columns=5)
    return "networks", ("Iterations and seconds until the mean square error is at its goal, five "
                        "initialisations (dots), the same for every method; crosses did not reach "
                        "it. Seconds of the processor, one thread, compiled; methods of a rate at "
                        "the best one found. Open diamond: on 1-5-1 MATLAB's guide has the next "
                        "fastest method at four times Levenberg-Marquardt's seconds, here of our "
                        "median. The paper's own tables are not at hand."), fig


FOURFOLD: dict[str, Any] = {"marker": "D", "mfc": "none", "mec": "black", "mew": 1.4, "ms": 7,
                            "ls": "", "zorder": 3}
"""How the published lead is drawn."""


WIDE = {"lm": COLOURS[0], "lbfgs": COLOURS[2], "adam": COLOURS[3]}
"""The methods that train wider networks, and their colours."""


def widths(axes: Axes, paper: Paper, named: bool = True) -> None:
    """Seconds to the goal against weights, every seed and medians."""
    for method, colour in WIDE.items():
        points = sorted((r.metrics["weights"], cost(r, "seconds"))
                        for h in (15, 30, 60, 120, 240, 480, 960)
                        for r in paper.results.get(f"width_{method}_{h}", []))
        if not points:
            continue
        weights = sorted({w for w, _ in points})
        axes.plot([w for w, _ in points], [s for _, s in points], ".", color=colour, alpha=0.5)
        axes.plot(weights, [np.median([s for w, s in points if w == at]) for at in weights],
                  color=colour, label=METHODS[method] if named else "_")
    axes.set(xscale="log", yscale="log", xlabel="weights", ylabel="seconds to the goal")
    explain(axes, ("a seed", {"marker": ".", "ls": "", "color": "grey"}))


def width(paper: Paper) -> tuple[str, str, Figure]:
    fig, axes = figure()
    widths(axes, paper)
    legend(axes)
    return "width", ("Seconds until networks of more and more hidden units fit sin(r)/r to a mean "
                     "square error of 0.001, seeds and their medians; a run that did not get there "
                     f"counts {PENALTY:.0f} times."), fig


def profile(paper: Paper) -> tuple[str, str, Figure]:
    fig, axes = figure()
    costs = {}
    lowest = {k: min((r.metrics[f"norm_{k}"] for name in MINPACK
                      for r in paper.results.get(name, [])[:1]), default=math.nan)
              for k in range(53)}
    for name, label in MINPACK.items():
        for run in paper.results.get(name, [])[:1]:
            costs[label] = [
                run.metrics[f"nfev_{k}"] if run.metrics[f"norm_{k}"] <= 1.001 * low + 1e-6
                else math.inf for k, low in lowest.items()]
    if costs:
        performance_profile(axes, costs)
        table = paper.published("minpack", text=("problem", "because"))
        best = np.min(list(costs.values()), axis=0)
        printed = [n / best[k] for k, (n, norm) in enumerate(
            zip(table["nfev"], table["norm"], strict=True)) if norm <= 1.001 * lowest[k] + 1e-6]
        ratios, many = np.unique(printed, return_counts=True)
        axes.plot(ratios, np.cumsum(many) / len(best), "o", mfc="none", mec="black", ms=6,
                  clip_on=False, label="published: MINPACK's printed runs")
        legend(axes)
    return "profile", ("MINPACK's 53 runs by evaluations of F: fraction that ends at the lowest "
                       "norm any of the three found, within a factor of the cheapest. Rings: the "
                       "same from the evaluations and norms that MINPACK's driver printed. Plain: "
                       "no trust region; μ times the unit matrix I or the diagonal of JᵀJ is "
                       "added."), fig
