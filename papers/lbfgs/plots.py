"""The figures of the report: paths over contours, performance profiles, how much memory helps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from torch import Tensor

from common.evidence.legends import legend
from common.evidence.paper import Paper
from common.evidence.plotting import (
    COLOURS,
    figure,
    gallery_figure,
    legend_below,
    performance_profile,
)
from common.problems import problem
from papers.lbfgs.model import BFGS, LBFGS, SteepestDescent
from papers.lbfgs.newton import Newton
from papers.lbfgs.train import SETS, label

PEOPLE = ("rosenbrock", "powell", "broyden")
METHODS = {"lbfgs_5": "L-BFGS, m = 5", "bfgs": "BFGS", "modified": "Newton, modified",
           "damped": "Newton, damped", "saddle_free": "Newton, saddle-free",
           "descent": "steepest descent", "momentum": "momentum", "nesterov": "Nesterov",
           "adam": "Adam"}
STEPS = 200
"""Longest path drawn."""


def draw(paper: Paper) -> Iterator[tuple[str, str, Figure]]:
    """Yield (name, caption, figure) of every figure."""
    yield paths()
    yield profile(paper)
    yield memory(paper)


def gallery(paper: Paper) -> Figure:
    """The paper's picture for README's gallery: curvature or not, in Rosenbrock's valley."""
    fig, axes = gallery_figure()
    _, f, start, _, rate = LANDSCAPES[0]
    valley(axes, LANDSCAPES[0])
    for name, colour, lw, at in (("L-BFGS", PALETTE[0], 3.5, (0.75, -0.5)),
                                 ("steepest descent", PALETTE[4], 1.5, (-1.7, -0.5))):
        points = path(f, start, with_rate(LINES[name], rate))
        said = f"{name}\n{len(points) - 1} steps"
        axes.plot(*points.T, ".-", color=colour, lw=lw, ms=2 * lw, label=said)
        axes.text(*at, said, color=colour, path_effects=RIM)
    for sign, said, at in zip(axes.lines, ("minimum", "start"), ((0.16, 0.95), (-1.68, 0.95)),
                              strict=False):
        sign.set_label(said)
        axes.text(*at, said, path_effects=RIM)
    return fig


RIM = [withStroke(linewidth=3, foreground="white")]
"""Around words on contours."""


# ---- Paths over contours


def himmelblau(x: Tensor) -> Tensor:
    """Four minima of 0."""
    return (x[0] ** 2 + x[1] - 11) ** 2 + (x[0] + x[1] ** 2 - 7) ** 2


def ravine(x: Tensor) -> Tensor:
    """A quadratic a hundred times as steep across as along."""
    return 0.5 * (x[0] ** 2 + 100 * x[1] ** 2)


def saddle(x: Tensor) -> Tensor:
    """A saddle at 0, minima at (0, ±1)."""
    return x[0] ** 2 - x[1] ** 2 + 0.5 * x[1] ** 4


Landscape = tuple[str, Callable[[Tensor], Tensor], tuple[float, float], tuple[float, ...], float]
LANDSCAPES: list[Landscape] = [  # title, f, start, window (x from, to, y from, to), rate
    ("Rosenbrock", problem("rosenbrock").f, (-1.2, 1.0), (-1.8, 1.6, -0.7, 1.9), 1e-3),
    ("Beale", problem("beale").f, (1.0, 1.0), (-0.5, 4.0, -0.9, 1.4), 1e-2),
    ("Himmelblau", himmelblau, (-0.5, -0.8), (-5.0, 5.0, -5.0, 5.0), 5e-3),
    ("ravine", ravine, (-2.0, 0.35), (-2.3, 1.0, -0.55, 0.55), 1e-2),
    ("saddle", saddle, (0.8, 1e-3), (-1.0, 1.0, -1.4, 1.4), 5e-2)]
"""The rates are of descent, momentum and Nesterov; Adam has 0.1 everywhere."""

MINIMA: dict[str, list[tuple[float, float]]] = {
    "Rosenbrock": [(1.0, 1.0)], "Beale": [(3.0, 0.5)], "ravine": [(0.0, 0.0)],
    "Himmelblau": [(3.0, 2.0), (-2.805118, 3.131313), (-3.77931, -3.283186),
                   (3.584428, -1.848127)],
    "saddle": [(0.0, 1.0), (0.0, -1.0)]}
"""Where they are lowest."""

LINES: dict[str, Callable[[Tensor, float], torch.optim.Optimizer]] = {
    "L-BFGS": lambda x, rate: LBFGS([x]),
    "BFGS": lambda x, rate: BFGS([x]),
    "Newton, damped": lambda x, rate: Newton([x], "damped"),
    "Newton, saddle-free": lambda x, rate: Newton([x], "saddle_free"),
    "steepest descent": lambda x, rate: SteepestDescent([x]),
    "gradient descent": lambda x, rate: torch.optim.SGD([x], rate),
    "momentum": lambda x, rate: torch.optim.SGD([x], rate, 0.9),
    "Nesterov": lambda x, rate: torch.optim.SGD([x], rate, 0.9, nesterov=True),
    "Adam": lambda x, rate: torch.optim.Adam([x], 0.1),
}


def with_rate(make: Callable[[Tensor, float], torch.optim.Optimizer], rate: float
              ) -> Callable[[Tensor], torch.optim.Optimizer]:
    """What makes an optimiser, with the rate given."""
    return lambda x: make(x, rate)


def path(f: Callable[[Tensor], Tensor], start: tuple[float, float],
         make: Callable[[Tensor], torch.optim.Optimizer]) -> np.ndarray:
    """The points (steps, 2) an optimiser passes, until it rests or :data:`STEPS` are made."""
    x = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    optimizer, points = make(x), [x.detach().clone()]

    def closure() -> Any:  # torch's types call it a float
        optimizer.zero_grad()
        loss = f(x)
        if not isinstance(optimizer, Newton):
            loss.backward()
        return loss
    for _ in range(STEPS):
        optimizer.step(closure)
        points.append(x.detach().clone())
        if (points[-1] - points[-2]).norm() < 1e-6:
            break
    return torch.stack(points).numpy().round(5)  # the same figure on every processor


def paths() -> tuple[str, str, Figure]:
    fig, panels = figure(2, len(LANDSCAPES), width=3.8, height=2.4, sharex="row", sharey="row")
    signs: list[tuple[str, dict[str, Any]]] = [
        (name, {"marker": ".", "ms": 2, "color": colour, "lw": wide, "ls": dashes,
                "zorder": 2 - wide / 100 if dashes == "-" else 2.1}
         | (ON_TOP if name == "Newton, saddle-free" else {}))
        for name, colour, wide, dashes in zip(LINES, PALETTE, WIDTHS, DASHES, strict=True)]
    for row, (title, f, start, window, rate) in zip(panels, LANDSCAPES, strict=True):
        for k, (make, (_, look)) in enumerate(zip(LINES.values(), signs, strict=True)):
            points = path(f, start, with_rate(make, rate))
            axes = row[int(k >= SECOND_ORDER)]
            axes.plot(*points.T, **look)
            axes.plot(*points[-1], color=look["color"], zorder=4, **END)
            if len(met := at_the_frame(points, window)):
                axes.plot(*met.T, color=look["color"], zorder=6, clip_on=False, **LEAVES)
        for axes, kind in zip(row, ("second order", "first order"), strict=True):
            valley(axes, (title, f, start, window, rate))
            axes.set_title(f"{title}, {kind}")
    legend_below(fig, *signs, ("start", START), ("minimum", STAR),
                 ("end of a path", END | {"color": "grey"}),
                 ("leaves or comes back", LEAVES | {"color": "grey"}), columns=5)
    return "paths", (f"Paths of every method, up to {STEPS} steps, from one start: at left "
                     "those that estimate or know the curvature, at right those of gradients "
                     "alone; where some coincide the wider ones lie below, and at left those above "
                     "are dashed; a diamond is a step of saddle-free Newton. Crosses: where a "
                     "path leaves the picture or comes back. At the saddle most first go right to "
                     "it; they differ in how soon they leave. Ours: the papers draw no paths."), fig


ON_TOP: dict[str, Any] = {"marker": "D", "ms": 4.5, "mec": "white", "mew": 0.4, "zorder": 3,
                          "path_effects": [withStroke(linewidth=2.4, foreground="white")]}
"""The saddle-free path runs on others almost everywhere: a diamond a step, and a white rim."""

START: dict[str, Any] = {"marker": "s", "ls": "", "ms": 4.5, "color": "black"}
"""How the start of all paths is drawn."""

END: dict[str, Any] = {"marker": "o", "ls": "", "ms": 6.5, "mec": "white", "mew": 0.8}
"""How the end of a path is drawn; at a minimum the star covers it."""

LEAVES: dict[str, Any] = {"marker": "x", "ls": "", "ms": 6, "mew": 1.6}
"""How it is marked that a path leaves the picture, or comes back."""


def at_the_frame(points: np.ndarray, window: tuple[float, ...]) -> np.ndarray:
    """Where a path of points, (n, 2), crosses the frame of a window: (crossings, 2)."""
    low, high = np.array(window[::2]), np.array(window[1::2])
    inside = np.all((low <= points) & (points <= high), axis=1)
    found = []
    for k in np.flatnonzero(inside[1:] != inside[:-1]):
        within, without = points[k:k + 2] if inside[k] else points[k:k + 2][::-1]
        step = without - within
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = (np.where(step > 0, high, low) - within) / step
        found.append(within + step * shares[step != 0].min())
    return np.array(found).round(5)


def valley(axes: Axes, landscape: Landscape) -> None:
    """A function's contours, its minima and the start of the paths."""
    title, f, start, window, _ = landscape
    contours(axes, f, window)
    axes.plot(*np.transpose(MINIMA[title]), zorder=5, **STAR)
    axes.plot(*start, zorder=5, **START)
    axes.set(xlim=window[:2], ylim=window[2:])
    axes.locator_params(nbins=5)
    axes.grid(False)


STAR: dict[str, Any] = {"marker": "*", "ls": "", "ms": 11, "color": "gold",
                        "markeredgecolor": "black"}
"""How a minimum is drawn."""

SECOND_ORDER = 4
"""So many of :data:`LINES`, the first ones, use curvature."""

PALETTE = [*COLOURS[:6], "#999999", "#8B4513", "#000000"]
WIDTHS = [4.5, 1.6, 2.6, 1.6, 3.0, 5.0, 0.9, 0.9, 0.9]
DASHES: list[Any] = ["-", (0, (3, 4)), "-", (3.5, (3, 4)), *["-"] * 5]
"""Paths that coincide are seen: those drawn first are the widest, and those upon them broken."""


def contours(axes: Axes, f: Callable[[Tensor], Tensor], window: tuple[float, ...]) -> None:
    """Contours of f, evenly spaced in log(f − lowest)."""
    left, right, low, high = window
    X, Y = np.meshgrid(np.linspace(left, right, 90), np.linspace(low, high, 90))
    grid = torch.tensor(np.stack([X.ravel(), Y.ravel()], 1))
    Z = torch.func.vmap(f)(grid).numpy().reshape(X.shape)
    Z = np.log10(Z - Z.min() + 1e-2 * np.ptp(Z) / 10)
    axes.contour(X, Y, Z.round(6), 14, colors="grey", linewidths=0.4, linestyles="solid")


# ---- Over the whole collection


def profile(paper: Paper) -> tuple[str, str, Figure]:
    fig, axes = figure(width=5.6, height=3.6)
    names = [label(problem(name, **sizes)) for name, sizes in SETS["published"]]
    costs = {}
    for method, title in METHODS.items():
        for run in paper.results.get(method, [])[:1]:
            at = [run.metrics[f"solved_at_{n}"] for n in names]
            costs[title] = [a if a >= 0 else math.inf for a in at]
    if costs:
        performance_profile(axes, costs)
    return "profile", (f"Performance profiles over {len(names)} problems: the fraction solved "
                       "within a factor of the fewest evaluations any method needed. Solved: f "
                       "within 1e-5 of the way from the start to a minimum. A Hessian counts as "
                       "one evaluation; momentum, Nesterov and Adam count only their best of "
                       "nine rates. Ours: the papers print no profiles, and Liu & Nocedal's "
                       "tables are not at hand."), fig


def in_words(name: str) -> str:
    """A problem's name as a reader writes it: ``powell_singular`` is "Powell singular"."""
    return " ".join(word.title() if word in PEOPLE else word for word in name.split("_"))


def memory(paper: Paper) -> tuple[str, str, Figure]:
    fig, axes = figure(width=5.2)
    for k, (name, sizes) in enumerate(SETS["large"]):
        key = label(problem(name, **sizes))
        runs = [(m, run) for m in (3, 5, 7, 9, 17, 29)
                for run in paper.results.get(f"large_lbfgs_{m}", [])[:1]]
        points = [(m, run.metrics[f"evaluations_{key}"]) for m, run in runs
                  if run.metrics[f"evaluations_{key}"] < run.config["task.budget"]]
        if points:
            axes.plot(*zip(*points, strict=True), "o-", ms=3.5, color=PALETTE[k],
                      label=in_words(name))
    axes.set(xscale="log", yscale="log", xlabel="pairs kept, m", ylabel="evaluations to the end",
             xticks=[3, 5, 7, 9, 17, 29], xticklabels=["3", "5", "7", "9", "17", "29"])
    axes.set_yticks([20, 50, 100, 200, 500], ["20", "50", "100", "200", "500"])
    axes.set_ylim(18, 600)
    axes.minorticks_off()
    legend(axes)
    return "memory", ("How many evaluations L-BFGS needs until ‖g‖ ≤ 1e-9 max(1, ‖x‖), on problems "
                      "of 1,000 unknowns, by the number of pairs it keeps; what the budget of "
                      "2,000 ended is left out."), fig
