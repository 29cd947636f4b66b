"""The figures of the report: the range test, the policies, and Tables 1 and 3."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from common.evidence.legends import legend, legend_of_all
from common.evidence.paper import Paper
from common.evidence.plotting import COLOURS, explain, figure, gallery_figure, over_seeds
from papers.cyclical_lr import range_test
from papers.cyclical_lr.policies import rate

TABLE1 = {"fixed": (70, 81.4), "triangular2": (25, 81.4), "decay": (25, 78.5), "exp": (70, 79.1),
          "exp_range": (42, 82.2)}
"""Iterations in thousands and accuracy, as printed."""

OURS = {"decay_staged": COLOURS[5], "fixed_staged": COLOURS[6]}
"""Controls that are no rows of the paper."""

WORDS = {"decay_staged": "decay in stages (ours)", "fixed_staged": "fixed in stages (ours)"}
"""What figures call the controls; rows of the paper have its names."""

COLOUR = dict(zip(TABLE1, COLOURS, strict=False)) | OURS


def draw(paper: Paper) -> Iterator[tuple[str, str, Figure]]:
    """Yield (name, caption, figure) of every figure."""
    yield range_test_figure(paper)
    yield policies(paper)
    yield table1(paper)
    yield table3(paper)


def gallery(paper: Paper) -> Figure:
    """The paper's picture for README's gallery: one row of Table 1 with cycles, one without."""
    fig, axes = gallery_figure()
    for name, label, y in (("fixed", "a rate that falls twice", 74),
                           ("triangular2", "cycles", 83.5)):
        accuracy_curve(axes, paper, name, "_")
        axes.plot(*TABLE1[name], "o", color=COLOUR[name], ms=6, markeredgecolor="black",
                  markeredgewidth=0.8)
        axes.text(TABLE1[name][0], y, label, color=COLOUR[name], ha="right")
    axes.set(xlabel="iterations (thousands)", ylabel="test accuracy (%)", xlim=(0, 73),
             ylim=(60, 86))
    explain(axes, ("ours", {"color": "grey"}),
            ("published", {"color": "grey", "marker": "o", "ls": "", "markeredgecolor": "black"}))
    legend(axes, loc="lower right")
    return fig


def range_test_figure(paper: Paper) -> tuple[str, str, Figure]:
    fig, axes = figure(width=6.4, height=3.8)
    runs = paper.results.get("range_test", [])
    for run, colour in zip(runs, COLOURS, strict=False):
        rates, accuracies = run.curves["rate"][1], run.curves["accuracy"][1]
        found = range_test.edges(rates, accuracies) or ()
        named = " to ".join(f"{x:.2g}" for x in found) or "no edge"
        range_test.draw(axes, rates, accuracies, None, colour, f"seed {run.seed}: {named}")
        for x in found:
            axes.axvline(x, color=colour, ls="--", lw=1)
    axes.plot([0.001, 0.006], [0, 0], "^", color="black", ms=8, clip_on=False,
              label="the paper's bounds")
    axes.set(xlabel="learning rate, rising from 0 to 0.02 in 4,000 iterations",
             ylabel="accuracy on held-out images (%)", xlim=(0, 0.02), ylim=(0, 70),
             title="Range test: one short run names two rates")
    legend(axes, loc="lower right")
    return "range_test", (
        "Section 3.3: accuracy on held-out training images while the rate rises in a straight "
        "line. Dashed: where the accuracy starts to increase, which is the same rate for every "
        "seed, and where that ends, by the rule in range_test.py. Triangles: the bounds that the "
        "paper takes from its Fig. 3."), fig


def rates_of(axes: Axes, paper: Paper, name: str, iterations: int, label: str = "",
             **look: Any) -> None:
    """An experiment's learning rate against iterations."""
    steps = np.arange(0, iterations + 1, 25)
    schedule = paper.experiments.resolve(name).schedule
    axes.plot(steps / 1000, [rate(schedule, int(k)) for k in steps], label=label or name, lw=1.2,
              **look)


def policies(paper: Paper) -> tuple[str, str, Figure]:
    fig, (left, middle, right) = figure(3, width=3.9)
    rates_of(left, paper, "nesterov_triangular", 15_999, "triangular", color=COLOURS[5])
    for name in ("triangular2", "exp_range", "decay"):
        rates_of(left, paper, name, 15_999, color=COLOUR[name])
    for name in ("triangular2", "decay"):
        rates_of(middle, paper, name, 24_999, color=COLOUR[name])
    rates_of(middle, paper, "decay_staged", 24_999, WORDS["decay_staged"], ls="--",
             color=OURS["decay_staged"])
    for name in ("fixed", "exp", "exp_range"):
        rates_of(right, paper, name, 1000 * TABLE1[name][0] - 1, color=COLOUR[name])
    left.set(ylabel="learning rate", ylim=(0, 0.0075), title="cycles")
    middle.set(yscale="log", ylim=(8e-6, 1e-2), title="in stages")
    right.set(yscale="log", ylim=(8e-6, 1e-2), title="longer runs")
    for axes in (left, middle, right):
        axes.set(xlabel="iterations (thousands)")
    legend_of_all(fig)
    return "policies", (
        "The learning rate under every policy. Left: the first 16,000 iterations. Middle and "
        "right, on a logarithmic scale: the rows of Table 1, and the control that has "
        "triangular2's stages without a rise."), fig


def accuracy_curve(axes: Axes, paper: Paper, name: str, label: str) -> None:
    """Accuracy against iterations of an experiment's runs, where there are any."""
    runs = paper.results.get(name, [])
    if runs:
        steps = runs[0].curves["accuracy"][0]
        over_seeds(axes, steps / 1000, np.stack([r.curves["accuracy"][1] for r in runs]), label,
                   COLOUR[name])


def table1(paper: Paper) -> tuple[str, str, Figure]:
    panels = {"cycles, and falling rates": ("fixed", "triangular2", "decay", *OURS)}
    if paper.results.get("exp") or paper.results.get("exp_range"):
        panels["exponential policies"] = ("fixed", "exp", "exp_range")
    fig, every = figure(len(panels), sharey=True, width=3.8 if len(panels) > 1 else 6.4,
                        height=3.4, squeeze=False)
    for axes, (title, names) in zip(every[0], panels.items(), strict=True):
        for name in names:
            accuracy_curve(axes, paper, name, WORDS.get(name, name))
            if name in TABLE1 and paper.results.get(name):
                axes.plot(*TABLE1[name], color=COLOUR[name], **PUBLISHED)
        axes.set(title=title, xlabel="iterations (thousands)", xlim=(0, None), ylim=(60, 84))
    every[0, 0].set(ylabel="test accuracy (%)")
    legend_of_all(fig, ("published end", PUBLISHED | {"color": "grey"}), columns=4)
    return "table1", (
        "Table 1 as curves: test accuracy while training, mean over seeds with the range between "
        "them; circles are the paper's final accuracies. Left, policies of 25,000 iterations; "
        "those in stages are controls of ours, with triangular2's falls at 16,000 and 22,000 but "
        "without a rise. Right, policies whose rates or bounds fall a little at every step. The "
        "fixed rate of 70,000 iterations is in both panels."), fig


PUBLISHED: dict[str, Any] = {"marker": "o", "ls": "", "ms": 6, "markeredgecolor": "black",
                             "markeredgewidth": 0.8}
"""How a published final accuracy is drawn."""


def table3(paper: Paper) -> tuple[str, str, Figure]:
    claims = [c for c in paper.claims if c.id.startswith("table3-")]
    fig, axes = figure(width=7.0, height=3.8)
    places = np.arange(len(claims))[::-1]
    axes.plot([c.published for c in claims], places, "o", color=COLOURS[6], mfc="none",
              label="published")
    measured = [(y, r.metrics["accuracy"]) for y, c in zip(places, claims, strict=True)
                for r in paper.results.get(c.experiments[0], [])]
    if measured:
        axes.plot([a for _, a in measured], [y for y, _ in measured], "x", color=COLOURS[0],
                  label="measured")
    axes.set_yticks(places, [c.says.removesuffix(" iterations: test accuracy, %") for c in claims])
    axes.set(xlabel="final test accuracy (%)")
    legend(axes, loc="upper left")
    return "table3", "Table 3: every row's final accuracy, published and measured.", fig
