"""The figures of the report: the line between two minima, their sharpness, and the answers."""

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
    legend_below,
    published_bar,
)
from common.evidence.results import Result

SMALL, LARGE, LOSS, ACCURACY = COLOURS[0], COLOURS[1], COLOURS[6], COLOURS[2]
ARMS = (("sb", "batches of 256", SMALL), ("lb", "batches of 6,000", LARGE))
MODES = (("batch", "o"), ("moving", "s"))
EPSILONS = (("0.001", "10⁻³"), ("0.0005", "5·10⁻⁴"))
HIGHEST = 2.5
"""Where the picture of the line ends: a little above the loss of guessing, log 10."""
ANSWERS = (("sb", "batches\nof {small}"), ("lb", "batches\nof {large}"), ("lr", "+ larger\nrate"),
           ("gbn", "+ ghost\nbatches"), ("ra", "+ more\nupdates"))
"""The columns of Hoffer et al.'s Table 1: SB, LB, +LR, +GBN and +RA."""


def draw(paper: Paper) -> Iterator[tuple[str, str, Figure]]:
    """Yield (name, caption, figure) of every figure."""
    yield between(paper)
    yield sharpness(paper)
    yield answers(paper)


def gallery(paper: Paper) -> Figure:
    """The paper's picture for README's gallery: loss between the minima, and their sharpness."""
    fig, (line, sharp) = gallery_figure(2, width_ratios=(3, 2))
    profile(line, paper, "loss", 1, {"train": ("-", "_")})
    losses = [drawn.get_data() for drawn in line.lines]
    claims = {c.id: c for c in paper.claims}
    for at, ((arm, _, colour), word) in enumerate(zip(ARMS, ("flat", "sharp"), strict=True)):
        for α, loss in losses:
            line.plot(at, np.interp(at, α, loss), "o", color=colour, ms=6, label=word)
            line.text(at, 0.2, word, color=colour, ha="right")
        values = [r.at("sharpness_full_0.001_batch", None)
                  for r in paper.results.get(f"f1_{arm}", [])]
        dots(sharp, at, values, colour, spread=0.15, ms=4.5, label="ours")
        if (published := claims[f"table3-f1-{arm}-1e-3"].published) is not None:
            published_bar(sharp, at, published, 0.4)
    line.set(ylim=(-0.1, HIGHEST), xlim=(-1, 2), xlabel="0: batches of 256,\n1: of 6,000")
    line.set_title("loss between two minima", fontsize=9)
    sharp.set_title("sharpness (%)", fontsize=9)
    sharp.set(yscale="log", xlabel="batch size", xlim=(-0.6, 1.6), ylim=(0.5, 1500))
    sharp.text(-0.4, 0.6, "published")
    sharp.text(-0.4, 60, "ours" if losses else "")
    sharp.set_xticks((0, 1), ("256", "6,000"))
    return fig


WAYS = {"train": ("-", "training"), "test": ("--", "test")}
"""The style and name of each split's lines."""


def profile(axes: Axes, paper: Paper, metric: str, scale: float,
            ways: dict[str, tuple[str, str]]) -> None:
    """A metric of some splits on the line, mean and range, and both minima."""
    colour = LOSS if metric == "loss" else ACCURACY
    runs = paper.results.get("f1_lb", [])
    for split, (style, label) in ways.items():
        if runs:
            values = scale * np.stack([on_line(r, split, metric) for r in runs])
            α = np.linspace(-1, 2, values.shape[1])
            axes.plot(α, values.mean(0), style, color=colour, label=label)
            axes.fill_between(α, values.min(0), values.max(0), color=colour, alpha=0.15, lw=0)
    if not runs:
        empty(axes)


def on_line(run: Result, split: str, metric: str) -> np.ndarray:
    """A metric at every point of the line, (points,)."""
    points = sum(name.startswith(f"line_{split}_{metric}_") for name in run.curves)
    return np.array([run.at(f"line_{split}_{metric}_{k}", None) for k in range(points)])


def between(paper: Paper) -> tuple[str, str, Figure]:
    """Fig. 3(a), all seeds: loss above, accuracy below."""
    fig, (above, below) = figure(1, 2, width=6.2, height=2.6, sharex=True)
    runs = paper.results.get("f1_lb", [])
    profile(above, paper, "loss", 1, WAYS)
    profile(below, paper, "accuracy", 100, WAYS)
    for at, (_, label, colour), word in zip((0, 1), ARMS, ("flat", "sharp"), strict=True):
        for axes in (above, below):
            axes.axvline(at, color=colour, lw=1.2)
        above.annotate(f"{label}: {word}", (at, 1.01), xycoords=("data", "axes fraction"),
                       ha="center", va="bottom", color=colour)
    if runs:
        legend(above)
    above.set(ylabel="cross-entropy", ylim=(0, HIGHEST))
    below.set(ylabel="accuracy (%)", xlim=(-1, 2), xlabel="α on the line from small batches (0) "
                                                          "to large ones (1)")
    return "line", (
        "Fig. 3(a): F1 on MNIST along the line through the minima of batches of 256 and 6,000, "
        f"mean and range of {len(runs)} pair{'s' * (len(runs) != 1)} with the same first weights: "
        "about the small batches' minimum nothing happens, a quarter of the way beyond the large "
        "batches' the network is lost. Loss (it goes on beyond the picture) and accuracy of 5,000 "
        "training images and of the test images, batch normalisation by their statistics."), fig


def sharpness(paper: Paper) -> tuple[str, str, Figure]:
    """Tables 3 and 4 and the largest eigenvalue: a dot a seed, published means as bars."""
    fig, panels = figure(3, width=2.6, height=3.2, width_ratios=(3, 3, 2))
    claims = {c.id: c for c in paper.claims}
    for axes, space, number, title in zip(panels, ("full", "random", ""), "34 ",
                                          ("full space (Table 3)", "100 directions (Table 4)",
                                           "largest eigenvalue"), strict=True):
        groups = EPSILONS if space else (("", ""),)
        for g, (ε, _) in enumerate(groups):
            for a, (arm, _, colour) in enumerate(ARMS):
                for m, (mode, marker) in enumerate(MODES):
                    at = 2.6 * g + a + 0.3 * m - 0.15
                    name = f"sharpness_{space}_{ε}_{mode}" if space else f"eigenvalue_{mode}"
                    values = [r.at(name, None) for r in paper.results.get(f"f1_{arm}", [])]
                    dots(axes, at, values, colour, marker, ms=4.5,
                         fillstyle="full" if mode == "batch" else "none")
                short = "1e-3" if ε == "0.001" else "5e-4"
                claim = claims.get(f"table{number}-f1-{arm}-{short}")
                if space and claim and claim.published:
                    published_bar(axes, 2.6 * g + a, claim.published, 0.4)
        if not axes.lines:
            empty(axes)
        axes.set_xlabel("batch size", labelpad=14)  # below each pair's ε
        axes.set(yscale="log", title=title, xlim=(-0.7, 2.6 * (len(groups) - 1) + 1.7))
        axes.set_xticks([2.6 * g + a for g in range(len(groups)) for a in (0, 1)],
                        ["256", "6,000"] * len(groups))
        for g, (_, ε) in enumerate(EPSILONS if space else ()):
            axes.annotate(f"ε = {ε}", (2.6 * g + 0.5, 0), (0, -17), ha="center", va="top",
                          xycoords=("data", "axes fraction"), textcoords="offset points",
                          fontsize=8)
    panels[0].set_ylabel("sharpness (%)")
    panels[2].set_ylabel("eigenvalue of ∇²f")
    panels[2].set_yticks([0.2, 0.3, 0.5, 1], ["0.2", "0.3", "0.5", "1"])
    panels[2].minorticks_off()
    legend_below(fig, ("published", {"color": "black", "lw": 2}),
                 *((label, {"marker": marker, "ls": "", "color": "grey", "fillstyle": fill})
                   for marker, label, fill in (("o", "ours, batch statistics", "full"),
                                               ("s", "ours, moving averages", "none"))))
    return "sharpness", (
        "F1's minima after batches of 256 and of 6,000: metric (3) in the full space and in random "
        "directions, and the largest eigenvalue of the Hessian. A dot is a seed; full ones by "
        "statistics of the images, as the authors' program evaluates, open ones by moving "
        "averages; bars are the published means."), fig


def answers(paper: Paper) -> tuple[str, str, Figure]:
    """F1's row of Hoffer et al.'s Table 1, and the same with a tenth of the images."""
    fig, panels = figure(2, width=3.9)
    claims = {c.id: c for c in paper.claims}
    for axes, name, title, large in zip(panels, ("hoffer", "tenth"), (
            "60,000 images", "6,000 images"), ("4,096", "1,024"), strict=True):
        for k, (arm, _) in enumerate(ANSWERS):
            values = [100 * r.at("accuracy", None)
                      for r in paper.results.get(f"{name}_{arm}", [])]
            colour = SMALL if arm == "sb" else LARGE
            dots(axes, k, values, colour, ms=4.5)
            if values:
                axes.plot([k - 0.25, k + 0.25], [np.mean(values)] * 2, color=colour)
            claim = claims.get(f"{name}-f1-{arm}")
            if claim and claim.published is not None:
                published_bar(axes, k, 100 * claim.published)
        axes.set_xticks(range(5), [label.format(small="128", large=large) for _, label in ANSWERS])
        explain(axes, ("a run", {"marker": "o", "ls": "", "color": "grey", "ms": 4.5}),
                ("mean of runs", {"color": "grey"}))
        axes.set(title=title, xlim=(-0.6, 4.6), ylabel="test accuracy (%)")
        if axes.get_legend_handles_labels()[0]:
            legend(axes, loc="lower right")
        if not axes.lines:
            empty(axes)
    return "answers", (
        "Hoffer et al.'s answers to the gap: small batches, large ones for as many epochs, then "
        "one after another a rate that grows with the root of the batch, batch normalisation over "
        "parts of 128 images (ghosts), and as many updates as small batches make. Left F1's row of "
        "their Table 1 (no dot: not run), right the same regime with a tenth of MNIST's training "
        "images."), fig
