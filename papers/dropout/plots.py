"""The figures of the report: Fig. 4, 7, 8, 9, 10 and 11 of the paper, published beside measured."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from safetensors.numpy import load_file

from common.evidence.legends import legend
from common.evidence.paper import Paper
from common.evidence.plotting import COLOURS, explain, figure, gallery_figure, over_seeds
from common.evidence.results import Result
from papers.dropout.measures import BINS

ARMS = [("dropout", "with dropout", COLOURS[0]), ("standard", "without", COLOURS[1])]


def draw(paper: Paper) -> Iterator[tuple[str, str, Figure]]:
    """Yield (name, caption, figure) of every figure."""
    yield fig4(paper)
    yield tables(paper)
    yield fig7(paper)
    yield fig8(paper)
    yield fig9(paper)
    yield fig10(paper)
    yield fig11(paper)
    yield search(paper)


def gallery(paper: Paper) -> Figure:
    """The paper's picture for README's gallery: Fig. 4 with dropout and without."""
    fig, axes = gallery_figure()
    bands(axes, paper, ("_", "_"))
    for (arm, label, colour), name, y in zip(
            ARMS, ("table2_relu_maxnorm_1024", "standard"), (0.78, 1.97), strict=True):
        if runs := paper.results.get(name):
            errors(axes, runs, "_", colour)
        axes.text(980, y, label if arm == "dropout" else "without dropout", color=colour,
                  ha="right")
    axes.set(xlabel="weight updates (thousands)", ylabel="test error (%)", ylim=(0.7, 2.6))
    explain(axes, ("ours", {"color": "grey"}))
    axes.fill_between([], [], [], facecolor="none", edgecolor="grey", hatch="////", lw=0.8,
                      label="published")
    legend(axes, loc="upper right", ncols=2)
    return fig


def bands(axes: Axes, paper: Paper, labels: Sequence[str]) -> None:
    """Fig. 4's range of six architectures, with dropout and without."""
    points = paper.published("fig4")
    for (arm, _, colour), label in zip(ARMS, labels, strict=True):
        axes.fill_between(points["updates"] / 1000, points[f"{arm}_low"], points[f"{arm}_high"],
                          facecolor="none", edgecolor=colour, hatch="////", lw=0.8, alpha=0.5,
                          label=label)


def errors(axes: Axes, runs: list[Result], label: str, colour: str) -> None:
    """Test errors during training."""
    over_seeds(axes, runs[0].curves["error"][0] / 1000,
               np.stack([r.curves["error"][1] for r in runs]), label, colour)


def fig4(paper: Paper) -> tuple[str, str, Figure]:
    fig, axes = figure(width=6)
    bands(axes, paper, [f"{label}, six published nets" for _, label, _ in ARMS])
    for name, label, colour in (
            *((arm, f"{label}, 3×1024", colour) for arm, label, colour in ARMS),
            ("standard_slow", "without, a third of the rate", COLOURS[3]),
            ("table2_relu_maxnorm_1024", "with dropout, 3×1024 to 1,000,000", COLOURS[2])):
        if runs := paper.results.get(name):
            errors(axes, runs, label, colour)
    axes.set(xlabel="weight updates (thousands)", ylabel="test error on MNIST (%)", ylim=(0.8, 2.6))
    legend(axes)
    return "fig4", (
        "Fig. 4: test error during training. Hatched: the range of the paper's six architectures; "
        "lines: the 3×1024 ReLU network here, mean and range over seeds."), fig


def tables(paper: Paper) -> tuple[str, str, Figure]:
    rows = [j for j in paper.judgements() if j.claim.where in ("Table 2", "Table 9", "Table 10")
            and j.claim.measure and j.claim.measure.metric and j.claim.published is not None]
    fig, axes = figure(width=6.4, height=0.24 * len(rows) + 0.7)
    for y, j in enumerate(rows):
        apart = np.linspace(-0.15, 0.15, len(j.values)) if len(j.values) > 1 else 0.0
        drawn = (
            axes.plot(j.claim.published, y, "|", ms=10, mew=2, color="black")[0],
            axes.fill_betweenx([y - 0.3, y + 0.3], *j.claim.band, color="black", alpha=0.1, lw=0),
            axes.plot(sorted(j.values), np.full(len(j.values), y) + apart, "o", ms=4,
                      color=COLOURS[0])[0])
    legend(axes, handles=drawn, labels=("published", "its band", "measured"))
    axes.set_yticks(range(len(rows)), [
        f"{re.split('[:,] test error', j.claim.says)[0]} ({j.claim.where})" for j in rows],
        fontsize=8)
    axes.invert_yaxis()
    axes.set(xlabel="test error (%)")
    return "tables", (
        "Tables 2, 9 and 10: each dot is a run; rows without one have not been run."), fig


def fig7(paper: Paper) -> tuple[str, str, Figure]:
    fig, panels = figure(2, width=3.8, height=4.05)
    for axes, (arm, label, _) in zip(panels, ARMS, strict=True):
        path = paper.folder / "results" / f"autoencoder_{arm}" / "features0.safetensors"
        axes.set(title=f"{label} dropout" if arm == "standard" else label, xticks=[], yticks=[])
        axes.grid(False)
        if path.exists():
            features = load_file(path)["features"].astype(np.float32)[:100]
            features = features / np.abs(features).max(1, keepdims=True)
            tiles = np.pad(features.reshape(10, 10, 28, 28), ((0, 0), (0, 0), (1, 1), (1, 1)))
            axes.imshow(tiles.transpose(0, 2, 1, 3).reshape(300, 300), cmap="gray",
                        vmin=-1, vmax=1)
    return "fig7", (
        "Fig. 7: incoming weights of 100 of the 256 hidden units of an autoencoder on MNIST, each "
        "scaled to its largest weight, with dropout in the hidden layer and without."), fig


def fig8(paper: Paper) -> tuple[str, str, Figure]:
    fig, panels = figure(2)
    for axes, (name, title) in zip(panels, (("means", "mean activation of a unit"),
                                            ("activations", "activation")), strict=True):
        for arm, label, colour in ARMS:
            for run in paper.results.get(f"autoencoder_{arm}", [])[:1]:
                heights = [run.metrics[f"{name}_{b}"] for b in range(BINS)]
                axes.stairs(heights, np.arange(BINS + 1) / 10, color=colour, label=label)
        axes.set(xlabel=title, ylabel="fraction", yscale="log" if name == "activations" else
                 "linear")
        if axes.get_legend_handles_labels()[0]:
            legend(axes)
    return "fig8", (
        "Fig. 8: histograms of the hidden units' mean activations and activations over the test "
        "set, same autoencoders, before the factor p of test time. The last bin holds everything "
        "above."), fig


def curve(runs: list[Result], key: str, metric: str) -> tuple[list[float], list[float]]:
    """A final metric against a configuration key, means over seeds."""
    values: dict[float, list[float]] = {}
    for run in runs:
        values.setdefault(run.config[key], []).append(run.metrics[metric])
    keys = sorted(values)
    return keys, [float(np.mean(values[k])) for k in keys]


def starting(paper: Paper, prefix: str) -> list[Result]:
    """The runs of all experiments of a sweep."""
    return [r for e, rs in paper.results.items() if e.startswith(prefix) for r in rs]


def fig9(paper: Paper) -> tuple[str, str, Figure]:
    fig, panels = figure(2, sharey=True)
    points = paper.published("fig9")
    for axes, part, title in zip(panels, "ab", ("(a) n fixed", "(b) pn fixed"), strict=True):
        runs = starting(paper, f"fig9{part}_")
        for metric, column, colour in (("error", "test", COLOURS[0]),
                                       ("train_error", "train", COLOURS[1])):
            name = {"test": "test", "train": "training"}[column]
            axes.plot(points["p"], points[f"{part}_{column}"], "--o", ms=3, lw=1,
                      color=colour, label=f"{name}, published")
            if runs:
                axes.plot(*curve(runs, "model.p_hidden", metric), "-o", ms=3, color=colour,
                          label=f"{name}, measured")
        axes.set(xlabel="probability of retaining a unit, p", title=title)
    panels[0].set(ylabel="error (%)")
    legend(panels[0])
    return "fig9", ("Fig. 9: error against the retention probability; (a) 3×2048 units (measured: "
                    "3×512), (b) pn = 256, 256, 512 (measured: half of that). Measured points are "
                    "means of one to three runs."), fig


def fig10(paper: Paper) -> tuple[str, str, Figure]:
    fig, axes = figure()
    points = paper.published("fig10")
    for arm, label, colour in ARMS:
        bars = [points[arm] - points[f"{arm}_low"], points[f"{arm}_high"] - points[arm]]
        axes.errorbar(points["n"], points[arm], bars, fmt="--o", ms=3, lw=1, color=colour,
                      capsize=2, label=f"{label}, published")
        runs = starting(paper, f"fig10_{arm}_")
        if runs:
            axes.plot(*curve(runs, "measure.train_size", "error"), "-", color=colour,
                      label=f"{label}, measured")
            axes.plot([r.config["measure.train_size"] for r in runs],
                      [r.metrics["error"] for r in runs], "s", ms=3, color=colour)
    axes.set(xscale="log", yscale="log", xlabel="training images", ylabel="test error (%)")
    axes.set_xticks(points["n"], [f"{n:,.0f}" for n in points["n"]], fontsize=8)
    axes.set_yticks([1, 2, 5, 10, 20, 30], ["1", "2", "5", "10", "20", "30"])
    axes.minorticks_off()
    legend(axes)
    return "fig10", (
        "Fig. 10: test error against the number of training images, published with the figure's "
        "error bars. Measured: the mean of the runs, a square each, of 20,000 updates."), fig


def fig11(paper: Paper) -> tuple[str, str, Figure]:
    fig, axes = figure()
    points = paper.published("fig11")
    axes.plot(points["k"], points["error"], "--o", ms=3, lw=1, color="black",
              label="Monte-Carlo, published")
    axes.axhline(1.05, color="grey", lw=1, ls="--", label="weight scaling, published")
    for run in paper.results.get("dropout", []):
        ks = run.record.config["measure"]["samples"]
        colour = COLOURS[run.seed % len(COLOURS)]
        axes.errorbar(ks, [run.metrics[f"monte_carlo_{k}"] for k in ks],
                      [run.metrics[f"monte_carlo_{k}_sd"] for k in ks], fmt="-", capsize=2,
                      color=colour, label=f"Monte-Carlo, seed {run.seed}")
        axes.axhline(run.metrics["error"], color=colour, lw=0.8, ls=":",
                     label=f"weight scaling, seed {run.seed}")
    axes.set(xlabel="sampled networks, k", ylabel="test error (%)")
    legend(axes)
    return "fig11", (
        "Fig. 11: test error of the average of k sampled networks, its mean and standard deviation "
        "over draws; dotted: weight scaling of the same network. The published network was "
        "trained longer."), fig


def search(paper: Paper) -> tuple[str, str, Figure]:
    fig, grid = figure(2, 2, height=3.1)
    panels = grid.flat[:3]
    l2, radius, rate = "regulariser.l2", "regulariser.max_norm", "optim.lr"
    sweeps = [
        ("learning rate", "Fig. 4, Table 10",
         [("dropout", rate, "dropout and max-norm"), ("standard", rate, "neither"),
          ("gaussian", rate, "Gaussian noise, 2×1024")]),
        ("factor, or radius of max-norm", "Tables 9, 10",
         [("table9_l2", l2, "L2"), ("table9_l1", "regulariser.l1", "L1 beside L2"),
          ("table9_kl", "regulariser.kl", "KL beside L2"),
          ("table9_dropout_l2", l2, "L2 beside dropout"),
          ("table9_maxnorm", radius, "radius of max-norm"),
          ("table10_radius", radius, "radius, Gaussian noise")]),
        ("learning rate", "Fig. 9, small p",
         [(f"fig9_{p}", rate, f"p = {p}") for p in (0.1, 0.2, 0.3)])]
    for axes, (xlabel, title, members) in zip(panels, sweeps, strict=True):
        for (name, key, label), colour in zip(members, COLOURS, strict=False):
            runs = starting(paper, f"search_{name}_")
            if runs:
                x, errors = curve(runs, key, "error")
                axes.plot(x, errors, "-o", ms=3, color=colour, label=label)
                best = int(np.argmin(errors))
                axes.plot(x[best], errors[best], "o", ms=9, mfc="none", color=colour)
        axes.set(xscale="log", xlabel=xlabel, title=title)
    for axes in grid[:, 0]:
        axes.set(ylabel="error on 10,000\nheld-out images (%)")
    panels[2].set(yscale="log")
    panels[2].set_yticks([2, 5, 10, 20, 50, 90], ["2", "5", "10", "20", "50", "90"])
    for axes, rates in ((panels[0], (0.01, 0.03, 0.1, 0.3, 1)), (panels[2], (0.3, 1, 3))):
        axes.set_xticks(rates, [f"{r:g}" for r in rates])
        axes.minorticks_off()
    grid[1, 1].set_axis_off()
    explain(grid[1, 1], ("given to the arms",
                         {"marker": "o", "ms": 9, "mfc": "none", "ls": "", "color": "black"}))
    grid[1, 1].legend(loc="center")
    for axes in panels:
        if axes.get_legend_handles_labels()[0]:
            legend(axes)
    return "search", (
        "The searches on 10,000 held-out training images, 30,000 updates each for Fig. 4 and "
        "Table 10, 20,000 for Table 9, 10,000 for Fig. 9; circled: what the arms were given. Of "
        "10,000 images an error of 1.6 % is known to ±0.13 points."), fig
