"""The figures of the report: signals before learning, what layers do while they learn, SELU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from common.evidence.legends import legend, legend_of_all
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
from common.experiments import Experiments
from papers.initialisation.learning import BINS
from papers.initialisation.model import moments, plateau
from papers.initialisation.settings import Config
from papers.initialisation.signals import LayersRecipe, SurfaceRecipe

STARTS = (("standard", COLOURS[1]), ("normalised", COLOURS[0]))
ROWS = (("sigmoid", "sigmoid", 2.21, COLOURS[3]), ("tanh", "tanh", 1.76, COLOURS[1]),
        ("softsign", "softsign", 1.64, COLOURS[2]), ("tanh_n", "tanh, norm.", 1.64, COLOURS[0]),
        ("softsign_n", "softsign, norm.", 1.72, COLOURS[4]),
        ("relu", "rectifier, He", None, COLOURS[6]), ("selu", "SELU", None, COLOURS[5]))
"""Table 1's rows, and ours: experiment, label, printed test error on MNIST in %, colour."""


def draw(paper: Paper) -> Iterator[tuple[str, str, Figure]]:
    """Yield (name, caption, figure) of every figure."""
    yield signals(paper)
    yield histograms()
    yield depth(paper)
    yield selu(paper)
    yield sigmoids(paper)
    yield layers(paper)
    yield knees(paper)
    yield loss()
    yield errors(paper)
    yield deep(paper)


def gallery(paper: Paper) -> Figure:
    """The paper's picture for README's gallery: rectifiers before learning and while they learn."""
    fig, (before, learning) = gallery_figure(2)
    rectifiers(before, paper, "_", ls="", markevery=4, ms=4)
    before.set_title("signal, fresh weights", fontsize=9)
    before.set(xticks=(1, 10, 20, 29), yticks=(1e-8, 1e-4, 1), ylim=(1e-9, 10))
    deep_rectifiers(learning, paper, 30, "_")
    learning.set_title("test error (%)", fontsize=9)
    learning.set_xticks((0, 3000, 6000), ("0", "3,000", "6,000"))
    for label, x, y, colour in (("Xavier", 900, 68, COLOURS[1]), ("He", 2200, 22, COLOURS[0])):
        learning.text(x, y, label, color=colour)
    explain(before, ("ours", {"color": "grey", "marker": "o", "ms": 4, "ls": ""}),
            ("theory", {"color": "grey", "ls": "--", "lw": 0.9}))
    legend(before, loc="lower left", handlelength=1.2, borderaxespad=0.2)
    return fig


def over_layers(runs: list[Result], name: str) -> np.ndarray:
    """A metric of every hidden layer, mean over seeds, (layers,)."""
    ks = range(1, runs[0].config["model.depth"] + 1)
    return np.array([np.mean([r.metrics[f"{name}_{k}"] for r in runs]) for k in ks])


def signals(paper: Paper) -> tuple[str, str, Figure]:
    fig, panels = figure(3, width=3.1)
    k = np.arange(1, 6)
    for init, colour in STARTS:
        runs = paper.results.get(f"start_tanh_{init}", [])
        if not runs:
            continue
        n_var = 1 / 3 if init == "standard" else 1
        for axes, name, theory in zip(panels, ("var", "back", "weight"), (
                n_var ** (k - 1.0), n_var ** (5.0 - k), n_var ** (0.0 * k)), strict=True):
            v = over_layers(runs, name)
            axes.plot(k, v / (v[-1] if name != "var" else v[0]), "o-", color=colour, label=init)
            axes.plot(k, theory, "--", color=colour, lw=0.9)
    for axes, title in zip(panels, ("activations", "∂Cost/∂s", "∂Cost/∂w"), strict=True):
        axes.set(yscale="log", xlabel="hidden layer", title=title, ylim=(0.005, 5))
        axes.set_xticks(k)
    panels[0].set_ylabel("variance, relative")
    legend_of_all(fig, ("theory", {"color": "grey", "ls": "--", "lw": 0.9}))
    return "signals", ("Fresh tanh networks, 5 × 1000 units, on MNIST images: "
                       "variance of activations (over the first layer's), of back-propagated "
                       "gradients and of the weights' gradients (over the last layer's), and eqs. "
                       "(5), (13) and (14) of Glorot & Bengio (dashed)."), fig


R = TypeVar("R")


def recipe(name: str, make: Callable[[Config], R], **overrides: Any) -> R:
    """An experiment of this paper with its keys overridden."""
    experiments = Experiments(Config, Path(__file__).with_name("config.yaml"))
    return make(experiments.resolve(name, 0, {
        k.replace("__", "."): v for k, v in overrides.items()}))


def shares(values: torch.Tensor, end: float, bins: int = 81) -> np.ndarray:
    """Part of the values in each bin from −end to end, as drawn: to four decimals."""
    return np.round(np.histogram(values.numpy(), bins, (-end, end))[0] / values.numel(), 4)


def histograms() -> tuple[str, str, Figure]:
    fig, panels = figure(2, 2, width=3.9, height=2.5)
    for row, (init, _) in zip(panels, STARTS, strict=True):
        r = recipe(f"start_tanh_{init}", LayersRecipe, data__name="digits", measure__jacobians=0)
        with torch.no_grad():
            net = r.network(0).double()  # so that every machine fills the same bins
            s, z = net.activities(r.x.double())
            back = net.gradients(s, r.labels)
        for k in range(5):
            for axes, values, end in ((row[0], z[k + 1], 0.6), (row[1], back[k], 0.06)):
                axes.plot(np.linspace(-end, end, 81), shares(values, end), color=COLOURS[k],
                          label=f"layer {k + 1}")
        row[0].set(ylabel=f"{init}\npart of the values", xlim=(-0.6, 0.6), ylim=(0, 0.15))
        row[1].set(xlim=(-0.06, 0.06), ylim=(0, 0.15))
    panels[1, 0].set_xlabel("activation")
    panels[1, 1].set_xlabel("∂Cost/∂s")
    panels[0, 0].set_title("activations (Fig. 6)")
    panels[0, 1].set_title("∂Cost/∂s (Fig. 7)")
    legend(panels[0, 0])
    return "fig67", ("Figs. 6 and 7: activations and back-propagated gradients of one fresh tanh "
                     "network, 5 × 1000 units, on scikit-learn's digits. Standard: activations "
                     "crowd at 0 in higher layers, gradients in lower ones. Normalised: nearly "
                     "the same in all. (Bins of equal width; what leaves the frame is cut.)"), fig


def rectifiers(axes: Axes, paper: Paper, label: str, ms: float = 3,
               **look: Any) -> None:
    """The mean square that reaches each layer; start and factor are put into the label."""
    for init, kept, colour in (("xavier", 1, COLOURS[1]), ("he", 2, COLOURS[0])):
        runs = paper.results.get(f"start_relu_{init}", [])
        if runs:
            v = over_layers(runs, "s")
            k = np.arange(1, len(v) + 1)
            axes.plot(k, v / v[0], marker="o", ms=ms, color=colour,
                      label=label.format(init.capitalize(), kept), **look)
            axes.plot(k, (kept / 2) ** (k - 1), "--", color=colour, lw=0.9)
    axes.set(yscale="log", xlabel="layer")


def depth(paper: Paper) -> tuple[str, str, Figure]:
    fig, (relu, selus) = figure(2, width=3.9)
    rectifiers(relu, paper, "{}, {}/n")
    relu.set(ylabel="mean square of s, over layer 1's", title="500 rectifiers a layer")
    for name, start, colour in (("low", (-0.1, 0.8), COLOURS[2]), ("high", (0.1, 1.5),
                                                                   COLOURS[3])):
        runs = paper.results.get(f"start_selu_{name}", [])
        if runs:
            v = over_layers(runs, "var")
            theory = [start]
            for _ in v:
                theory.append(moments(*theory[-1]))
            k = np.arange(len(v) + 1)
            selus.plot(k[1:], v, "o", ms=3, color=colour, label=f"from {start}")
            selus.plot(k, [ν for _, ν in theory], "--", color=colour, lw=0.9)
    selus.axhline(1, color="grey", lw=0.8)
    selus.set(xlabel="layer", ylabel="variance of activations", title="256 SELUs a layer")
    for axes in (relu, selus):
        explain(axes, ("theory", {"color": "grey", "ls": "--", "lw": 0.9}))
        legend(axes)
    return "depth", ("Left: the mean square that reaches each of 29 layers of rectifiers, halved "
                     "by each with Xavier's weights, kept with He's (dashed: theory). Right: "
                     "variance in 32 layers of SELUs from two starts (mean, variance), and the "
                     "map of eqs. (4), (5) (dashed)."), fig


def selu(paper: Paper) -> tuple[str, str, Figure]:
    fig, axes = figure(1, width=5.2, height=3.9)
    for μ in np.linspace(-0.1, 0.1, 5):
        for ν in np.linspace(0.6, 1.6, 11):
            to = moments(μ, ν)
            axes.annotate("", to, (μ, ν), arrowprops={
                "arrowstyle": "->", "color": "grey", "lw": 0.7, "shrinkA": 0, "shrinkB": 0})
    for name, start, colour in (("low", (-0.1, 0.8), COLOURS[2]), ("high", (0.1, 1.5),
                                                                   COLOURS[3])):
        runs = paper.results.get(f"start_selu_{name}", [])
        if runs:
            path = np.stack([over_layers(runs, "mean"), over_layers(runs, "var")], 1)
            axes.plot(*np.vstack([start, path]).T, "o-", ms=3, color=colour,
                      label=f"32 layers of 256 units from {start}")
    axes.plot(0, 1, "*", ms=13, color="black", label="fixed point (0, 1)")
    axes.set(xlabel="mean μ", ylabel="variance ν", xlim=(-0.12, 0.12), ylim=(0.55, 1.8))
    legend(axes, loc="upper left")
    return "selu", ("Fig. 2 of Klambauer et al.: where a layer of SELUs takes mean and variance "
                    "(arrows, eqs. (4) and (5) with ω = 0, τ = 1), and networks on their way."
                    ), fig


def sigmoids(paper: Paper) -> tuple[str, str, Figure]:
    known = [n for n in (4, 5) if f"saturation_{n}" in paper.results]
    fig, panels = figure(len(known), width=3.9, sharey=True, squeeze=False)
    for axes, n in zip(panels[0], known, strict=True):
        for run in paper.results.get(f"saturation_{n}", [])[:1]:
            for k in range(1, n + 1):
                steps, mean = run.curves[f"mean_{k}"]
                std = run.curves[f"std_{k}"][1]
                axes.plot(steps / 1000, mean, color=COLOURS[k - 1], label=f"layer {k}")
                axes.fill_between(steps / 1000, mean - std, mean + std, color=COLOURS[k - 1],
                                  alpha=0.15, lw=0)
        axes.set(xlabel="updates (thousands)", title=f"{n} hidden layers", ylim=(0, 1))
    panels[0, 0].set_ylabel("activation,\nmean ± standard deviation")
    legend_of_all(fig)
    return "fig2", ("Fig. 2: sigmoid networks of 100 units a layer on MNIST, seed 0. The top "
                    "hidden layer is pushed to 0, where its slope is nearly none; at the first "
                    "evaluation, after 1,000 updates, it is half-way there from 0.5."), fig


def layers(paper: Paper) -> tuple[str, str, Figure]:
    fig, panels = figure(3, width=3.1, sharey=True)
    for axes, (name, title) in zip(panels, (("tanh", "tanh (Fig. 3, top)"), (
            "softsign", "softsign (Fig. 3, bottom)"), (
            "tanh_n", "tanh, normalised (Fig. 10)")), strict=True):
        for run in paper.results.get(name, [])[:1]:
            for k in range(1, 6):
                steps, std = run.curves[f"std_{k}"]
                axes.plot(steps / 1000, std, color=COLOURS[k - 1], label=f"layer {k}")
                axes.plot(steps[::3] / 1000, run.curves[f"p98_{k}"][1][::3], ".", ms=3,
                          color=COLOURS[k - 1])
        axes.set(xlabel="updates (thousands)", title=title, ylim=(0, 1.05))
    panels[0].set_ylabel("activation")
    legend_below(fig, *((f"layer {k}", {"color": COLOURS[k - 1]}) for k in range(1, 6)),
                 ("standard deviation", {"color": "black"}),
                 ("98th percentile", {"color": "black", "marker": ".", "ls": ""}), columns=7)
    return "fig3", ("Figs. 3 and 10: standard deviation (lines) and 98th percentile (dots) of "
                    "each hidden layer's activations, 100 units a layer on MNIST, seed 0."), fig


def knees(paper: Paper) -> tuple[str, str, Figure]:
    fig, panels = figure(2, width=3.9, sharey=True)
    at = (np.arange(BINS) + 0.5) * 2 / BINS - 1
    for axes, name in zip(panels, ("tanh", "softsign"), strict=True):
        runs = paper.results.get(name, [])
        for k in range(1, 6) if runs else ():
            part = np.mean([[r.metrics[f"hist_{k}_{b}"] for b in range(BINS)] for r in runs], 0)
            axes.plot(at, part, color=COLOURS[k - 1], label=f"layer {k}")
        for sign in (-1, 1):
            axes.axvspan(0.6 * sign, 0.8 * sign, color="grey", alpha=0.15, lw=0)
        axes.set(xlabel="activation", title=name, yscale="log", xlim=(-1, 1))
    panels[0].set_ylabel("part of the values")
    legend(panels[0])
    return "fig4", ("Fig. 4: activations at the end of learning, 100 units a layer on MNIST, mean "
                    "over seeds; grey: 0.6 to 0.8, softsign's knees."), fig


def loss() -> tuple[str, str, Figure]:
    fig, panels = figure(2, 2, width=3.9, height=3.1)
    for row, name, network in zip(panels, ("surface", "surface_trained"), (
            "fresh", "trained"), strict=True):
        r = recipe(name, SurfaceRecipe)
        number = 6 if network == "trained" else 0  # its difference is nearest to their mean
        entropy, quadratic, at = r.drawn(number, torch.float64)  # the same on every machine
        for axes, cost, title in zip(row, (entropy, quadratic), (
                "cross-entropy", "squared error"), strict=True):
            height = np.round(cost.double().numpy(), 4)
            low, high = height.min(), height.max()
            axes.contourf(at.numpy(), at.numpy(), (height - low) / (high - low), 10,
                          cmap="viridis")
            there = plateau(torch.from_numpy(height), float(at[1] - at[0]), r.config.measure.flat)
            axes.contourf(at.numpy(), at.numpy(), there.double().numpy(), [0.5, 1.5],
                          colors="none", hatches=["////"])
            axes.set_title(f"{title}, {network} network")
            axes.grid(False)
        row[0].set_ylabel("a weight of layer 1")
    for axes in panels[1]:
        axes.set_xlabel("a weight of layer 2")
    fig.legend(handles=[Patch(fill=False, hatch="////", lw=0, label="plateau")],
                loc="outside lower center")
    return "fig5", ("Fig. 5: both costs of a tanh network over a weight of each layer, fresh and "
                    "after 500 updates on the cross-entropy (dark is low, each from its lowest to "
                    "its highest). Hatched: plateaus, where the slope is less than a tenth of the "
                    "steepest and the cost above the middle. The trained network is about the mean "
                    "of a hundred, of which many have no plateau at all."), fig


def errors(paper: Paper) -> tuple[str, str, Figure]:
    fig, axes = figure(1, width=5.6, height=3.6)
    for name, label, printed, colour in ROWS:
        runs = paper.results.get(name, [])
        if runs:
            steps = runs[0].curves["error"][0]
            over_seeds(axes, steps / 1000, np.stack([r.curves["error"][1] for r in runs]),
                       f"{label}, ε = {runs[0].config['optim.lr']:g}", colour)
        if printed is not None:
            axes.plot(20.8 if name != "softsign" else 20.4, printed, "<", ms=5, color=colour)
    axes.set(yscale="log", xlabel="updates (thousands)", ylabel="test error (%)", xlim=(0, 21.2),
             ylim=(1.4, 100))
    explain(axes, ("Table 1, printed", {"marker": "<", "ls": "", "color": "grey", "ms": 5}))
    axes.set_yticks([2, 3, 5, 10, 20, 50, 100], minor=False)
    axes.yaxis.set_major_formatter("{x:.0f}")
    legend(axes)
    return "fig12", ("Test error on MNIST of five hidden layers of 100 units (sigmoid: the better "
                     "of four and five) at the best of four or five rates, mean and range over "
                     "seeds; triangles: Table 1, of 1000 units a layer and 250 times as many "
                     "updates."), fig


def deep(paper: Paper) -> tuple[str, str, Figure]:
    fig, panels = figure(2, width=3.9, sharey=True)
    for axes, n in zip(panels, (22, 30), strict=True):
        deep_rectifiers(axes, paper, n, "{}, ε = {:g}")
        axes.set_title(f"{n} layers (Fig. {2 if n == 22 else 3})")
        legend(axes)
    panels[0].set_ylabel("test error (%)")
    return "deep", ("Figs. 2 and 3 of He et al. with 100 rectifiers a layer, fully connected, on "
                    "MNIST: every seed."), fig


def deep_rectifiers(axes: Axes, paper: Paper, n: int, label: str) -> None:
    """Every run of n layers; start and rate are put into the label."""
    for init, colour in (("xavier", COLOURS[1]), ("he", COLOURS[0])):
        for k, run in enumerate(paper.results.get(f"deep_{n}_{init}", [])):
            axes.plot(*run.curves["error"], color=colour, lw=0.9, alpha=0.7,
                      label=None if k else label.format(init.capitalize(), run.config["optim.lr"]))
    axes.set(xlabel="updates", ylim=(0, 100))


def choices(paper: Paper) -> dict[str, tuple[float, int]]:
    """Rate and depth of every experiment for which they were searched, by validation error.

    Of equal ones the smallest rate, then the fewest layers.
    """
    found: dict[str, list[tuple[float, float, int]]] = {}
    for name, runs in paper.results.items():
        if name.startswith("sweep_"):
            row = name.removeprefix("sweep_").rsplit("_", 1)[0]
            row = "sigmoid" if row.startswith("sigmoid") else row  # its depth is searched too
            found.setdefault(row, []).extend((r.metrics["error"], r.config["optim.lr"],
                                              r.config["model.depth"]) for r in runs)
    return {row: min(tried)[1:] for row, tried in found.items()}
