"""The figures of the report: modes, a saddle, depth, spectra, the edge of chaos."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from common.evidence.legends import legend, legend_of_all
from common.evidence.paper import Paper
from common.evidence.plotting import COLOURS, explain, figure, gallery_figure
from common.experiments import Experiments
from papers.deep_linear.model import (
    curvature,
    deep_learning_time,
    infinite_learning_time,
    strength,
    variance_at,
)
from papers.deep_linear.modes import ModesRecipe
from papers.deep_linear.random_networks import ChaosRecipe, ProductRecipe
from papers.deep_linear.settings import Config

ORTHOGONAL, GAUSSIAN = COLOURS[0], COLOURS[1]


def draw(paper: Paper) -> Iterator[tuple[str, str, Figure]]:
    """Yield (name, caption, figure) of every figure."""
    yield modes(paper)
    yield saddle()
    yield depth(paper)
    yield spectra()
    yield chaos(paper)


def gallery(paper: Paper) -> Figure:
    """The paper's picture for README's gallery: modes learned one after another, and theory."""
    fig, axes = gallery_figure()
    learned(axes, paper, "random", lw=4)
    axes.set(ylabel="strength", ylim=(-0.1, 4.9))
    axes.set_xticks((0, 3000, 6000), ("0", "3,000", "6,000"))
    legend(axes, loc="upper left")
    return fig


R = TypeVar("R")


def recipe(name: str, make: Callable[[Config], R], **overrides: Any) -> R:
    """An experiment of this paper with its keys overridden."""
    experiments = Experiments(Config, Path(__file__).with_name("config.yaml"))
    return make(experiments.resolve(name, 0, {
        k.replace("__", "."): v for k, v in overrides.items()}))


def modes(paper: Paper) -> tuple[str, str, Figure]:
    fig, panels = figure(2, width=3.9, sharey=True)
    for axes, name, title in zip(panels, ("modes", "random"),
                                 ("decoupled start", "small random weights"), strict=True):
        learned(axes, paper, name)
        axes.set_title(title)
    panels[0].set_ylabel("strength of the mode, u")
    panels[0].set_ylim(-0.1, 4.9)
    legend(panels[0], loc="upper left")
    return "modes", ("Four modes learned by a linear network with one hidden layer (colours) and "
                     "theory (dashed), from the invariant set and from small random weights: "
                     "plateaus and jumps, the strongest mode first."), fig


def learned(axes: Axes, paper: Paper, name: str, lw: float = 3.2) -> None:
    """The strength of every mode over the updates, in lines of width ``lw``, and theory."""
    for run in paper.results.get(name, [])[:1]:
        s, λ = run.config["model.strengths"], run.config["optim.lr"]
        u0s = recipe(name, ModesRecipe).growing()
        updates = run.config["optim.updates"]
        for k, colour in zip(range(len(s)), COLOURS, strict=False):
            steps, u = run.curves[f"u_{k}"]
            t = np.linspace(0, steps[-1] * updates, 400)
            u0 = run.config["model.u0"] if name == "modes" else u0s[k]
            axes.plot(steps * updates, u, color=colour, lw=lw, alpha=0.45)
            axes.annotate(f"s = {s[k]:.0f}", (6900, s[k]), (0, 4), ha="right", color=colour,
                          textcoords="offset points", fontsize=8)
            axes.plot(t, strength(t, s[k], u0, 1 / λ), color="black", lw=0.9, ls="--")
    axes.plot([], [], color="grey", lw=lw, alpha=0.45, label="network")
    axes.plot([], [], color="black", lw=0.9, ls="--", label="theory, eq. (12)")
    axes.set(xlabel="updates of gradient descent", xlim=(0, 7000))


def path(a: float, b: float, s: float, λ: float = 0.01, updates: int = 3000) -> np.ndarray:
    """Gradient descent on ½ (s − ab)², (points, 2)."""
    points = [(a, b)]
    for _ in range(updates):
        e = s - a * b
        a, b = a + λ * b * e, b + λ * a * e
        points.append((a, b))
    return np.array(points)


def saddle() -> tuple[str, str, Figure]:
    s, end = 1.0, 2.1
    fig, (plane, losses) = figure(2, width=3.9, height=3.4)
    x = np.linspace(-end, end, 80)
    a, b = np.meshgrid(x, x)
    plane.contourf(a, b, np.log10(0.5 * (s - a * b) ** 2 + 1e-3), 14, cmap="Greys_r", alpha=0.75)
    branch = np.linspace(s / end, end, 200)
    for sign in (1, -1):
        plane.plot(sign * branch, sign * s / branch, color=COLOURS[2], lw=2.2,
                   label="minima, ab = s" if sign == 1 else None)
    plane.plot(x, -x, ":", color="black", lw=1.2, label="b = −a")
    starts = [(1.2, -1.18), (-1.6, 1.58), (0.02, 0.02), (1.7, 0.05), (-0.05, -1.4)]
    for (p, q), colour in zip(starts, [COLOURS[1], COLOURS[3], COLOURS[0], COLOURS[4],
                                       COLOURS[5]], strict=True):
        at = path(p, q, s)
        plane.plot(*at[::10].T, color=colour, lw=1.7)
        plane.plot(p, q, "o", color=colour, ms=4)
        losses.plot(0.5 * (s - at[:701].prod(1)) ** 2, color=colour)
    plane.plot(0, 0, "X", color="black", ms=8, label="saddle")
    plane.set(xlabel="a, first layer", ylabel="b, second layer", xlim=(-end, end),
              ylim=(-end, end), aspect="equal")
    plane.grid(False)
    explain(plane, ("a path from its start", {"marker": "o", "ms": 4, "color": "grey"}))
    losses.set(xlabel="updates of gradient descent", ylabel="error ½ (s − ab)²", xlim=(0, 700),
               ylim=(0, 1.6))
    losses.axhline(0.5 * s * s, color="grey", lw=0.8, ls="--")
    losses.annotate("at the saddle", (690, 0.5 * s * s), (0, 3), textcoords="offset points",
                    ha="right", fontsize=8, color="grey")
    legend_of_all(fig)
    return "saddle", ("One mode, two layers. Left: the error over their shares a and b (dark is "
                      "low) and paths of gradient descent, hyperbolas of constant a² − b²; those "
                      "that begin near a = −b are drawn into the saddle before they turn. Right: "
                      "their errors, with a plateau for each path that passes the saddle."), fig


def depth(paper: Paper) -> tuple[str, str, Figure]:
    fig, (theory, images) = figure(2, width=3.9)
    layers = np.unique(np.geomspace(3, 1000, 60).astype(int))
    for u0, colour in ((0.1, COLOURS[0]), (0.2, COLOURS[2]), (0.05, COLOURS[1])):
        line = [curvature(int(n), 1.0) * deep_learning_time(int(n), 1.0, u0, 0.9) for n in layers]
        theory.plot(layers, line, color=colour, label=f"from {u0}")
        theory.axhline(infinite_learning_time(1.0, u0, 0.9), color=colour, lw=0.8, ls="--")
    found = [(r.config["model.layers"], r.metrics["time_0"] * r.config["optim.lr"])
             for n in (3, 11, 51, 101) for r in paper.results.get(f"optimal_{n}", [])[:1]]
    if found:
        theory.plot(*zip(*found, strict=True), "o", color=COLOURS[0], ms=5, label="networks, 0.1")
    explain(theory, ("infinite depth", {"ls": "--", "lw": 0.8, "color": "grey"}))
    theory.set(xscale="log", xlabel="layers, $N_l$", ylim=(0, 33), title="one mode, equal shares",
               ylabel="learning time\nat the optimal rate, in c")
    legend(theory, loc="upper left")
    sweep(images, paper)
    return "depth", ("Left: learning time of one mode of strength s = 1 from 0.05, 0.1 or 0.2 to "
                     "0.9 against depth, in units of c = 1/(rate × largest curvature), since the "
                     "rate is scaled by the curvature: theory (lines), its limit of infinite depth "
                     "(dashed), trained networks (dots). Right: linear networks of width 100 on "
                     "MNIST, the best of 20 rates, every seed and their median."), fig


def sweep(axes: Axes, paper: Paper) -> None:
    """Learning times on MNIST against depth."""
    for name, colour in (("orthogonal", ORTHOGONAL), ("Gaussian", GAUSSIAN)):
        runs = paper.results.get(f"mnist_{name.lower()}", [])
        if not runs:
            continue
        depths = runs[0].config["sweep.depths"]
        times = np.array([[r.metrics[f"time_{n}"] for n in depths] for r in runs])
        axes.plot(depths, np.median(times, 0), color=colour, label=f"{name} start")
        for k, n in enumerate(depths):
            axes.plot([n] * len(times), times[:, k], "o", ms=3, color=colour, alpha=0.5)
            if np.isinf(times[:, k]).any():
                budget = runs[0].config["sweep.budget"]
                axes.plot(n, budget, "^", color=colour,
                          label=f"not within {budget:,} updates")
    explain(axes, ("a seed", {"marker": "o", "ms": 3, "ls": "", "color": "grey"}))
    axes.set(xscale="log", yscale="log", xlabel="layers, $N_l$", ylabel="updates to the threshold",
             title="MNIST")
    axes.set_yticks([20, 50, 100, 200, 500, 1000, 2000], minor=False)
    axes.set_xticks([3, 10, 30, 100])
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:.0f}")
        axis.set_minor_locator(NullLocator())
    axes.set_ylim(15, 3000)
    legend(axes, loc="upper left")


def spectra() -> tuple[str, str, Figure]:
    width, factors = 300, (1, 5, 20, 100)
    fig, (products, jacobians) = figure(2, width=3.9)
    rank = (np.arange(width) + 0.5) / width
    for name, style in (("gaussian", "-"), ("orthogonal", "--")):
        r = recipe(f"product_{name}", ProductRecipe, model__width=width, train__steps=100)
        for k in range(max(factors)):
            r.step(k)
            if k + 1 in factors:
                σ = drawn(torch.linalg.svdvals(r.model.map).numpy())
                colour = "black" if name == "orthogonal" else COLOURS[factors.index(k + 1)]
                if name == "gaussian" or k + 1 == max(factors):
                    label = f"{k + 1} Gaussian" if name == "gaussian" else "100 orthogonal"
                    products.plot(rank, σ, style, color=colour, label=label)
    products.set(title="products of matrices")
    for g, colour in zip((0.9, 1.0, 1.1), COLOURS, strict=False):
        r = recipe("chaos_1.0", ChaosRecipe, model__gain=g, model__width=width)
        for k in range(100):
            r.step(k)
        σ = drawn(torch.linalg.svdvals(r.model.map).numpy())
        jacobians.plot(rank, σ, color=colour, label=f"g = {g}")
    jacobians.set(title="100 tanh layers, orthogonal")
    for axes in (products, jacobians):
        axes.set(yscale="log", ylim=(1e-7, 1e4), xlabel="rank, as a fraction",
                 ylabel="singular value")
        legend(axes, loc="upper right")
    return "spectra", (f"Singular values, largest first, N = {width}. Left: of products of random "
                       "matrices; Gaussian factors lose almost every direction, orthogonal ones "
                       "none. Right: of the Jacobian of 100 tanh layers below, at and above the "
                       "edge of chaos."), fig


def drawn(σ: np.ndarray) -> np.ndarray:
    """Singular values to three decimals of their logarithm; what rounding has made is left out.

    Deep in a spectrum, and far beyond the edge of chaos, the last digits depend on the machine; a
    figure is the same everywhere.
    """
    known = np.where(σ > 1e-7, σ, np.nan)
    return 10 ** np.round(np.log10(known), 3)


def chaos(paper: Paper) -> tuple[str, str, Figure]:
    fig, axes = figure()
    gains = np.linspace(0.5, 2.1, 81)
    axes.plot(gains, [variance_at(2000, 1.0, g) for g in gains], color="black",
              label="theory, infinite depth")
    axes.plot(gains, [variance_at(30, 1.0, g) for g in gains], ":", color="black",
              label="theory, layer 30")
    found = [(r.config["model.gain"], r.at("q", 30)) for g in (0.9, 1.0, 1.1, 1.5, 2.0)
             for r in paper.results.get(f"chaos_{g}", [])]
    if found:
        axes.plot(*zip(*found, strict=True), "o", ms=4, color=COLOURS[0], alpha=0.7,
                  label="networks, layer 30")
    axes.axvline(1, color="grey", lw=0.8, ls="--", label="edge of chaos, g = 1")
    axes.set(xlabel="gain g", ylabel="variance of the layer's inputs, q")
    legend(axes)
    return "chaos", ("Variance of a tanh network's activity against the gain of its random "
                     "orthogonal weights: it dies out below g = 1."), fig
