"""The figures of the report: Fig. 1 and Fig. 4 of the letter, distributions, and the plateau."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import NullFormatter
from safetensors.torch import load_file

from common.evidence.legends import legend
from common.evidence.paper import Paper
from common.evidence.plotting import COLOURS, empty, figure, gallery_figure, legend_below
from papers.backprop.facts import sweeps
from papers.backprop.model import Loss
from papers.backprop.tasks import ENGLISH, ITALIAN, symmetry

PUBLISHED = {"symmetry": (1425, "symmetry, 6-2-1"), "xor_one": (558, "XOR, one hidden unit"),
             "parity": (2825, "parity of four bits"), "xor_two": (None, "XOR, two hidden units"),
             "encoder": (None, "8-3-8 encoder")}


def draw(paper: Paper) -> Iterator[tuple[str, str, Figure]]:
    """Yield (name, caption, figure) of every figure."""
    yield fig1(paper)
    yield fig4(paper)
    yield histograms(paper)
    yield plateau(paper)


def gallery(paper: Paper) -> Figure:
    """The paper's picture for README's gallery: the weights of a solved symmetry network."""
    fig, axes = gallery_figure()
    grid = symmetry_weights(paper)
    axes.set(yticks=range(3), yticklabels=["hidden 1", "hidden 2", "output"])
    if grid is None:
        empty(axes)
        return fig
    hinton(axes, grid, np.abs(grid).max())
    least, *more = sorted(np.abs(grid[0, :3]))
    ratio = " : ".join(f"{w / least:.1f}" for w in more)
    axes.set_title("weights: white positive, black negative", fontsize=9)
    axes.set(xticks=range(7), xticklabels=[*"123456", "bias"],
             xlabel=f"weights from the inputs 1 : {ratio}\npublished 1 : 2 : 4")
    axes.tick_params(length=0)
    return fig


def symmetry_weights(paper: Paper) -> np.ndarray | None:
    """Weights and biases of a solved symmetry network: a row for each unit, (3, 7)."""
    state = solved_weights(paper, "symmetry")
    if state is None:
        return None
    grid = np.zeros((3, 7))
    grid[:2, :6], grid[:2, 6] = state["w.0-1"], state["b.1"]
    grid[2, :2], grid[2, 6] = state["w.1-2"][0], state["b.2"][0]
    return grid


def hinton(axes: Axes, weights: np.ndarray, scale: float) -> None:
    """Squares with the area of a weight, white for positive and black for negative."""
    axes.set_facecolor("0.65")
    for (row, column), w in np.ndenumerate(weights):
        side = 0.9 * math.sqrt(min(abs(w) / scale, 1))
        axes.add_patch(Rectangle((column - side / 2, row - side / 2), side, side,
                                 color="white" if w > 0 else "black", lw=0))
    axes.set(xlim=(-0.5, weights.shape[1] - 0.5), ylim=(weights.shape[0] - 0.5, -0.5))
    axes.set_aspect("equal")
    axes.grid(False)


def solved_weights(paper: Paper, experiment: str) -> dict[str, np.ndarray] | None:
    """The weights of the first solved network of a run's first seed."""
    path = paper.folder / "results" / experiment / "weights0.safetensors"
    if not path.exists():
        return None
    state = {k: v.numpy() for k, v in load_file(path).items()}
    done = np.flatnonzero(state["sweeps"] >= 0)
    k = int(done[0]) if len(done) else 0
    return {name: v[k] for name, v in state.items()}


def fig1(paper: Paper) -> tuple[str, str, Figure]:
    fig, axes = figure(width=7.6, height=3.2)
    grid = symmetry_weights(paper)
    axes.set(yticks=range(3), yticklabels=["hidden 1", "hidden 2", "output"])
    if grid is not None:
        hinton(axes, grid, np.abs(grid).max())
        for (row, column), w in np.ndenumerate(grid):
            if w:
                note = f"\nfrom\nhidden {column + 1}" if row == 2 and column < 2 else ""
                axes.text(column, row, f"{w:.1f}{note}".replace("-", "−"), fontsize=8,
                          ha="center", va="center", color=COLOURS[1], weight="bold")
        published_ratio(axes, grid)
        legend_below(fig, ("published: 1 : 2 : 4 times the smallest weight of each side", FRAME | {
            "marker": "s", "ms": 9, "mfc": "none", "mew": 1.2, "ls": ""}))
        axes.set(xticks=range(7), xticklabels=[*(f"input {i}" for i in range(1, 7)), "bias"])
    return "fig1", (
        "Fig. 1: the weights of the first solved symmetry network of seed 0 after 15,000 sweeps; "
        "white positive, black negative, area proportional to magnitude. Mirror inputs have equal "
        "and opposite weights, in the letter in the ratio 1 : 2 : 4 in some order: frames, "
        "as large as the smallest weight of each side and that ratio make them. The letter's "
        "hidden biases are negative and its output's is positive."), fig


FRAME: dict[str, Any] = {"color": COLOURS[1]}
"""The colour of what the letter gives."""


def published_ratio(axes: Axes, grid: np.ndarray) -> None:
    """Frames of the letter's ratio, from the smallest weight of each side of each hidden unit."""
    for row in range(2):
        for side in (range(3), range(3, 6)):
            order = sorted(side, key=lambda k: abs(grid[row, k]))
            least = abs(grid[row, order[0]])
            for times, column in zip((1, 2, 4), order, strict=True):
                edge = 0.9 * math.sqrt(times * least / np.abs(grid).max())
                axes.add_patch(Rectangle((column - edge / 2, row - edge / 2), edge, edge,
                                         fill=False, lw=1.2, **FRAME))


def fig4(paper: Paper) -> tuple[str, str, Figure]:
    fig, axes = figure(1, 6, width=6.2, height=1.05, sharex=True)
    state = solved_weights(paper, "family_learns")
    for unit, panel in enumerate(axes):
        panel.set(yticks=[0, 1], yticklabels=["English", "Italian"], xticks=range(12),
                  ylabel=f"unit {unit + 1}")
        if state is not None:
            w = state["w.0-2"][unit].reshape(2, 12)
            hinton(panel, w, np.abs(state["w.0-2"]).max())
    axes[-1].set_xticklabels([f"{e}\n{i}" for e, i in zip(ENGLISH, ITALIAN, strict=True)],
                             rotation=45, ha="right", fontsize=8)
    square: dict[str, Any] = {"marker": "s", "ls": "", "ms": 8, "mec": "black", "mew": 0.6}
    legend_below(fig, ("positive weight", square | {"color": "white"}),
                 ("negative weight; a square's area is its weight's size",
                  square | {"color": "black"}))
    return "fig4", (
        "Fig. 4: weights from the 24 persons to the six units that learn to represent them, in a "
        "network that solved the family trees (changed recipe, seed 0). A unit whose two rows have "
        "opposite colours encodes nationality; one whose rows are alike encodes what the trees "
        "share, such as generation or branch."), fig


def histograms(paper: Paper) -> tuple[str, str, Figure]:
    fig, panels = figure(2, 3, width=3.8, height=2.1)
    for axes, (experiment, (published, title)) in zip(panels.flat, PUBLISHED.items(),
                                                      strict=False):
        found = [s for r in paper.results.get(experiment, []) for s in sweeps(r)]
        solved = [s for s in found if math.isfinite(s)]
        if solved:
            bins = np.geomspace(max(min(solved), 10), max(solved) + 1, 30)
            axes.hist(solved, bins=bins, color=COLOURS[0])
            title += f": {len(solved)} of {len(found)} solved"
        if published:
            axes.axvline(published, color=COLOURS[1])
            title += f"\npublished: {published:,} sweeps (line)"
        axes.set(xscale="log", title=title, xlabel="sweeps", ylabel="networks", xlim=(50, 2e4))
        axes.set_xticks([100, 1000, 10_000], ["100", "1,000", "10,000"])
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes = panels.flat[5]
    hidden, means = [], []
    for n in (2, 4, 8, 16, 32):
        found = [s for r in paper.results.get(f"xor_hidden_{n}", []) for s in sweeps(r)
                 if math.isfinite(s)]
        if found:
            hidden.append(n)
            means.append(np.mean(found))
    axes.plot(hidden, means, "o-", label="mean of our networks")
    axes.plot([2, 32], [280 - 33, 280 - 33 * 5], "--", color=COLOURS[1],
              label="published: 280 − 33 log2 H")
    axes.set(title="XOR, H hidden units", xlabel="H", ylabel="sweeps")
    axes.set_xscale("log", base=2)
    axes.set_xticks([2, 4, 8, 16, 32], ["2", "4", "8", "16", "32"])
    legend(axes)
    return "sweeps", (
        "Sweeps until every case is right, over all networks of all seeds, on one scale, with the "
        "one published run of a task where its sweeps are known: of XOR with two hidden units and "
        "the encoder they are not."), fig


STARTS = [(0.3, -3.0), (0.1, -1.0)]
DOTS = [0, 10, 100, 1000]
"""Where the paths on the plateau begin, as scales of hidden and output weights, and its dots."""


RIM = [withStroke(linewidth=2.5, foreground="black")]
"""Around the paths, to be seen on any colour."""


def ideal_error(a: torch.Tensor, v: torch.Tensor, loss: str) -> torch.Tensor:
    """E of symmetry networks of the ideal pattern; scales a, v and E in float64, (networks,)."""
    task = symmetry()
    # in double precision, so that the order of a sum cannot move a contour
    pattern = torch.tensor([1.0, 2.0, 4.0, -4.0, -2.0, -1.0], dtype=torch.float64)
    x = task.groups[0].double() @ pattern  # zero for symmetric vectors
    a, v = a[:, None], v[:, None]
    h1, h2 = (torch.sigmoid(s * a * x - a / 2) for s in (1, -1))
    y = torch.sigmoid(v / 2 - v * (h1 + h2))
    return Loss(loss).error(y[..., None], task.targets.double())


def descent(start: tuple[float, float], loss: str, rate: float = 0.01) -> torch.Tensor:
    """Both scales, (updates + 1, 2), as gradient descent changes them and nothing else."""
    scales, points = torch.tensor(start, dtype=torch.float64), []
    for _ in range(DOTS[-1] + 1):
        points.append(scales)
        at = scales.clone().requires_grad_()
        (g,) = torch.autograd.grad(ideal_error(at[:1], at[1:], loss).sum(), at)
        scales = scales - rate * g
    return torch.stack(points)


def plateau(paper: Paper) -> tuple[str, str, Figure]:
    """E of the ideal symmetry network against the scale of its weights, for both losses."""
    fig, panels = figure(2, width=4.2)
    hidden, output = (torch.linspace(low, high, 66, dtype=torch.float64)
                      for low, high in ((-0.5, 6), (-4, 14)))
    a, v = torch.meshgrid(hidden, output, indexing="ij")
    for axes, name in zip(panels, ("squared", "cross_entropy"), strict=True):
        e = ideal_error(a.flatten(), v.flatten(), name).reshape(a.shape)
        levels = np.linspace(0, float(e.max()), 15) if name == "squared" else np.geomspace(
            1, float(e.max()), 15)
        drawn = axes.contourf(hidden, output, e.T, levels=levels, cmap="viridis", extend="min")
        fig.colorbar(drawn, ax=axes, label="E", format="%g",
                     ticks=[0, 5, 10, 15, 20] if name == "squared" else [1, 3, 10, 30, 100])
        for start, colour in zip(STARTS, ("white", COLOURS[1]), strict=True):
            points = descent(start, name).numpy().round(4)  # the same figure on every processor
            axes.plot(*points.T, color=colour, lw=1.5, path_effects=RIM)
            axes.plot(*points[DOTS].T, "o", color=colour, ms=4, path_effects=RIM)
        axes.set(xlabel="scale of the hidden weights", ylabel="scale of the output's weights",
                 title=name.replace("_", "-"), xlim=(-0.5, 6), ylim=(-4, 14))
        axes.grid(False)
    legend_below(fig, ("a start that arrives", {"color": "white", "path_effects": RIM}),
                 ("one that ends on the level", {"color": COLOURS[1], "path_effects": RIM}),
                 ("after 0, 10, 100, 1,000 updates", {
                     "color": "white", "marker": "o", "ms": 4, "ls": "", "path_effects": RIM}))
    return "plateau", (
        "The error of a network with the ideal pattern 1 : 2 : 4 : −4 : −2 : −1, against the "
        "scales of its hidden and output weights; contour steps are equal on the left and "
        "logarithmic on the right. While hidden weights are small the best an output can say is no "
        "to every vector: under squared error that is the level plain at the left, E ≈ 4 (8 "
        "of 64 cases wrong), where failed networks sit; under cross-entropy it is E ≈ 24, and the "
        "way to the solution at the upper right goes on falling long after squared error is flat. "
        "Paths: gradient descent on the two scales alone, at a rate of 0.01, from two starts; dots "
        "after 0, 10, 100 and 1,000 updates. The white one arrives; the other ends on the level."
    ), fig
