"""The figures of the report: load, retrieval of digits, energy, basins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from common.evidence.legends import legend
from common.evidence.paper import Paper
from common.evidence.plotting import COLOURS, figure, gallery_figure
from common.experiments import Experiments
from papers.hopfield.facts import critical, critical_load, load_of, mean_field_overlap
from papers.hopfield.model import asynchronous, energy, whole_hebb
from papers.hopfield.train import Config, HopfieldRecipe

SIZES = (500, 1000, 2000, 5000)
LOADS = (0.05, 0.1, 0.12, 0.13, 0.138, 0.15, 0.16, 0.2)


def draw(paper: Paper) -> Iterator[tuple[str, str, Figure]]:
    """Yield (name, caption, figure) of every figure."""
    yield load(paper)
    yield digits()
    yield trajectories()
    yield basin(paper)
    yield recall(paper)


def gallery(paper: Paper) -> Figure:
    """The paper's picture for README's gallery: recall collapses at a load of 0.138."""
    fig, axes = gallery_figure()
    theory(axes)
    overlaps(axes, paper, (500, 1000, 5000))
    axes.text(critical_load() - 0.003, 0.5, f"{critical_load():.3f}", ha="right", color="grey")
    axes.set(xlabel="patterns a neuron", ylabel="overlap after recall", ylim=(0, 1.03),
             xticks=(0.05, 0.1, 0.15, 0.2))
    legend(axes, loc="lower left")
    return fig


def means(paper: Paper, names: list[str], metric: str) -> tuple[list[int], list[float]]:
    """Means over seeds of a metric, of those experiments that have results."""
    values = [[r.metrics[metric] for r in paper.results.get(n, [])] for n in names]
    found = [(k, float(np.mean(v))) for k, v in enumerate(values) if v]
    return [k for k, _ in found], [v for _, v in found]


def theory(axes: Axes) -> None:
    """The overlap in mean-field theory, up to the critical load."""
    loads = np.linspace(0.02, critical_load(), 200, endpoint=False)
    axes.plot(loads, [mean_field_overlap(a) for a in loads], color="black", label="theory")


def overlaps(axes: Axes, paper: Paper, sizes: Sequence[int]) -> None:
    """The overlap that networks of some of :data:`SIZES` keep, and the critical load."""
    for n, colour in zip(SIZES, COLOURS, strict=False):
        if n not in sizes:
            continue
        at, m = means(paper, [f"load_{n}_{a}" for a in LOADS], "overlap")
        if at:
            axes.plot([LOADS[k] for k in at], m, "o-", ms=3, lw=0.8, color=colour,
                      label=f"N = {n}")
    axes.axvline(critical_load(), color="grey", lw=0.8, ls="--")


def load(paper: Paper) -> tuple[str, str, Figure]:
    fig, axes = figure()
    theory(axes)
    unstable = np.linspace(0.9, critical(), 60)
    axes.plot([load_of(y) for y in unstable], [float(torch.erf(torch.tensor(y))) for y in unstable],
              ":", color="black", lw=1, label="theory, unstable")
    overlaps(axes, paper, SIZES)
    axes.set(xlabel="load α = p/N", ylabel="overlap with the pattern, m", ylim=(0, 1.03))
    legend(axes)
    return "load", ("Overlap after relaxing from a stored pattern against the load, means over "
                    "trials and seeds; lines: mean-field theory, dashed α_c = 0.138."), fig


def recipe(name: str, **overrides: Any) -> HopfieldRecipe:
    """An experiment of this paper with its keys overridden."""
    experiments = Experiments(Config, Path(__file__).with_name("config.yaml"))
    return HopfieldRecipe(experiments.resolve(name, 0, {
        k.replace("__", "."): v for k, v in overrides.items()}))


def digits() -> tuple[str, str, Figure]:
    shown, sweeps = (0, 3, 5, 8), 3
    fig, panels = figure(sweeps + 2, len(shown), width=0.95, height=0.95)
    r = recipe("quick_pseudo_inverse", start__flipped=0.15)
    states = [r.own, r.model.S.clone()]
    order = torch.arange(r.ξ.shape[1])
    assert r.J is not None
    for _ in range(sweeps):
        states.append(asynchronous(r.J, states[-1], order))
    for row, k in zip(panels, shown, strict=True):
        for axes, S in zip(row, states, strict=True):
            axes.imshow(S[k].reshape(8, 8), cmap="gray_r", vmin=-1, vmax=1)
            axes.set_axis_off()
    for axes, title in zip(panels[0], ["stored", "start", *(f"sweep {k + 1}" for k in
                                                            range(sweeps))], strict=True):
        axes.set_title(title, fontsize=8)
    return "digits", ("Ten stored digits of 64 pixels, pseudo-inverse couplings: four of them with "
                      "15 % of their pixels turned, sweep by sweep."), fig


def trajectories() -> tuple[str, str, Figure]:
    fig, axes = figure()
    for a, colour in zip((0.05, 0.138, 0.3), COLOURS, strict=False):
        r = recipe("load_500_0.1", model__load=a, start__flipped=0.3, start__trials=5)
        ξ, S = r.ξ.double(), r.model.S.double()
        n = S.shape[1]
        J = whole_hebb(ξ)  # the same on every machine
        order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
        curve = [energy(J, S) / n**2]
        for chunk in torch.cat([order] * 4).split(25):
            S = asynchronous(J, S, chunk)
            curve.append(energy(J, S) / n**2)
        lines = torch.stack(curve)
        x = np.arange(len(lines)) * 25 / n
        axes.plot(x, lines, color=colour, lw=0.9)
        axes.plot([], [], color=colour, label=f"load {a}")
    axes.set(xlabel="sweeps", ylabel="energy per neuron, E/N")
    legend(axes)
    return "energy", ("Energy along asynchronous trajectories, N = 500, five patterns each with "
                      "30 % of their bits turned at the start: it never rises."), fig


def basin(paper: Paper) -> tuple[str, str, Figure]:
    fig, axes = figure()
    flipped = (0.1, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45)
    at, m = means(paper, [f"basin_{f}" for f in flipped], "retrieved")
    axes.plot([100 * flipped[k] for k in at], m, "o-", ms=4, color=COLOURS[0],
              label="mean over trials and seeds")
    axes.set(xlabel="% of bits turned at the start", ylabel="fraction retrieved",
             ylim=(-0.03, 1.03), xlim=(5, 50))
    legend(axes)
    return "basin", ("How much of a pattern may be wrong at the start: fraction of trials that end "
                     "within 5 % of it, N = 1000, load 0.1."), fig


def recall(paper: Paper) -> tuple[str, str, Figure]:
    """The letter's probability of the nearest memory against the distance to it."""
    fig, axes = figure()
    flipped = (0.1, 0.16667, 0.23333, 0.3, 0.4)
    for name, label, colour in (("recall_30", "neurons 0 and 1", COLOURS[0]),
                                ("recall_30_symmetric", "neurons ±1", COLOURS[1])):
        at, m = means(paper, [f"{name}_{f}" for f in flipped], "returned")
        axes.plot([round(30 * flipped[k]) for k in at], m, "o-", ms=4, color=colour, label=label)
    axes.plot([0, 5], [0.9, 0.9], "--", color="black", label="letter: more than 0.9")
    axes.plot([12], [0.2], "s", ms=5, color="black", label="letter: 0.2")
    axes.set(xlabel="bits between start and nearest memory", ylabel="fraction that ends in it",
             ylim=(-0.03, 1.03), xlim=(0, 13))
    legend(axes)
    return "recall", ("N = 30, five patterns: how often the memory nearest to the start is "
                      "reached exactly, against its distance, means over matrices; the letter of "
                      "1982 gives two of these values."), fig
