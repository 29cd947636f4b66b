"""The figures of the report: landscapes, lines, paths, straight lines and curvature."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from safetensors import SafetensorError
from safetensors.numpy import load_file

from common.evidence.legends import legend, legend_of_all
from common.evidence.paper import Paper
from common.evidence.plotting import COLOURS, empty, figure, gallery_figure
from common.evidence.results import Result
from papers.loss_landscape import facts, look
from papers.loss_landscape.model import Normalisation, grid

ARMS = {"sb_wd0": "batch 128", "lb_wd0": "batch 8192", "sb_wd": "batch 128, decay",
        "lb_wd": "batch 8192, decay"}
TWENTY = {"resnet20": "ResNet-20", "plain20": "without shortcuts"}


def draw(paper: Paper) -> Iterator[tuple[str, str, Figure]]:
    """Yield (name, caption, figure) of every figure."""
    yield landscapes(paper)
    yield lines(paper)
    yield curvature(paper)
    yield batches(paper)
    yield f1(paper)
    yield paths(paper)
    yield straight(paper)
    yield invariance()


def gallery(paper: Paper) -> Figure:
    """The paper's picture for README's gallery: a plane of the loss, and two minima's widths."""
    fig, (plane, lines) = gallery_figure(2)
    found = views(paper, "surface")
    if "resnet20" in found:
        look.plane(plane, found["resnet20"], *look.bounds(found), at=(1, 8, 32), centre="")
    else:
        empty(plane)
    plane.set(xticks=(-1, 0, 1), yticks=(-1, 0, 1))
    plane.set_title("loss of ResNet-20", fontsize=9)
    for name, label, colour, y in (("sb_wd", "batch 128", COLOURS[0], -0.32),
                                   ("lb_wd", "batch 8192", COLOURS[1], 0.75)):
        for run in paper.results.get(name, [])[:1]:
            loss = curve(run, "filter_loss")
            lines.plot(grid(len(loss), 1.0).numpy(), loss, color=colour)
            lines.text(0, y, label, color=colour, ha="center")
    if not lines.lines:
        empty(lines)
    lines.set_title("loss on MNIST", fontsize=9)
    lines.set(xlabel="α", ylim=(-0.45, 2.6), yticks=(0, 1, 2))
    return fig


def missing(axes: Axes, experiment: str) -> None:
    """Say in an empty panel how it is filled."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, f"not run:\nexperiment={experiment}", ha="center", va="center",
              transform=axes.transAxes, fontsize=8)


def views(paper: Paper, task: str) -> dict[str, look.View]:
    """The recorded planes or maps of both networks of 20 layers, where there are any."""
    found = {}
    for name in TWENTY:
        folder: Path = paper.folder / "results" / f"{task}_{name}"
        if (view := look.of_file(folder / f"{task}0.safetensors")) is not None:
            found[name] = view
    return found


def two_planes(paper: Paper, task: str, label: str,
               one: Callable[[Axes, look.View, dict[str, look.View]], object]) -> Figure:
    """Both networks of 20 layers side by side, in one scale."""
    fig, panels = figure(2, width=3.6, height=3.4)
    found, image = views(paper, task), None
    for axes, (name, title) in zip(panels, TWENTY.items(), strict=True):
        if name in found:
            image = one(axes, found[name], found)
        else:
            missing(axes, f"{task}_{name}")
        axes.set_title(title)
    if image is not None:
        look.bar(panels, image, label)
    return fig


def landscapes(paper: Paper) -> tuple[str, str, Figure]:
    fig = two_planes(paper, "surface", "training loss",
                      lambda axes, v, every: look.plane(axes, v, *look.bounds(every)))
    fig.suptitle("with 20 layers shortcuts hardly change the picture", fontsize=10)
    return "landscapes", (
        "The training loss on a plane of two filter-normalised random directions through the "
        "trained weights (+), 20 layers with and without shortcuts, the same colours: two bowls of "
        "one width, as in the paper, to which the effect with 20 layers is fairly unnoticeable. "
        "Its message is its Fig. 1, of 56 layers, whose weights are not here; it prints no numbers "
        "of these planes."), fig


def curvature(paper: Paper) -> tuple[str, str, Figure]:
    fig = two_planes(paper, "curvature", look.RATIO,
                      lambda axes, v, every: look.ratios(axes, v))
    return "curvature", (
        "Section 6: how large the Hessian's most negative eigenvalue is beside its largest, on the "
        "same planes, by Lanczos' method. The paper's maps have no numbers; of its DenseNet it "
        "says below 0.01 over a large region."), fig


def lines(paper: Paper) -> tuple[str, str, Figure]:
    fig, axes = figure(width=5.2)
    other = look.second(axes)
    for (name, title), colour in zip(TWENTY.items(), COLOURS, strict=False):
        if not (runs := paper.results.get(f"line_{name}", [])):
            continue
        loss, accuracy = (np.stack([curve(r, k) for r in runs]) for k in ("loss", "accuracy"))
        α = grid(loss.shape[1], 1.0).numpy()
        look.line(axes, other, α, np.median(loss, 0), np.median(accuracy, 0), title, colour)
        axes.fill_between(α, loss.min(0), loss.max(0), color=colour, alpha=0.2, lw=0)
    axes.set(xlabel="α, along a filter-normalised random direction", ylabel="training loss",
             yscale="log")
    if axes.lines:
        legend_of_all(fig, *look.KINDS)
    return "lines", ("Loss (median and range of three random directions) and accuracy (dashed, the "
                     "median) on lines through the weights of both networks of 20 layers."), fig


def curve(run: Result, name: str) -> np.ndarray:
    """The numbered metrics ``name_0``, ``name_1``, … of a run as one array."""
    found: list[float] = []
    while f"{name}_{len(found)}" in run.metrics:
        found.append(run.metrics[f"{name}_{len(found)}"])
    return np.array(found)


def batches(paper: Paper) -> tuple[str, str, Figure]:
    fig, panels = figure(2, 2, width=4.4, height=2.8, sharex="col")
    for row, decay in zip(panels, ("wd0", "wd"), strict=True):
        for axes, how in zip(row, ("none", "filter"), strict=True):
            other = look.second(axes, how == "filter")
            for (name, title), colour in zip(
                    ((n, t) for n, t in ARMS.items() if n.endswith(f"_{decay}")), COLOURS,
                    strict=False):
                for run in paper.results.get(name, [])[:1]:
                    loss = curve(run, f"{how}_loss")
                    reach = 1.0 if how == "filter" else run.config["view.distance"]
                    look.line(axes, other, grid(len(loss), reach).numpy(), loss,
                              curve(run, f"{how}_accuracy"),
                              title.removesuffix(", decay"), colour)
            if how == "none":
                axes.set_ylabel("training loss" + (", decay" if decay == "wd" else ""))
    for axes, title in zip(panels[0], ("distance, no normalisation", "filter-normalised"),
                           strict=True):
        axes.set_title(title)
    for axes, label, edge in zip(panels[1], ("distance", "α"), (10, 1), strict=True):
        axes.set_xlabel(label)
        axes.set_xticks([-edge, -edge / 2, 0, edge / 2, edge])
    legend_of_all(fig, *look.KINDS)
    return "batches", (
        "Small and large batch on MNIST, without (above) and with weight decay (below): loss, and "
        "accuracy dashed, on the first seed's random line. Left every direction has the same "
        "length, right its filters have the norms of the weights'. "
        "The paper draws such lines of VGG-9 and prints no numbers of them."), fig


def f1(paper: Paper) -> tuple[str, str, Figure]:
    fig, panels = figure(2, width=4.4, height=2.8)
    for axes, kind in zip(panels, ("raw", "line"), strict=True):
        other = look.second(axes, kind == "line")
        for (arm, title), colour in zip(
                (("sb", "batches of 256"), ("lb", "batches of 6,000")), COLOURS, strict=False):
            for k, run in enumerate(paper.results.get(f"{kind}_f1_{arm}", [])):
                loss = curve(run, "loss")
                look.line(axes, other, grid(len(loss), run.config["view.reach"]).numpy(), loss,
                          curve(run, "accuracy"), "" if k else title, colour)
    for axes, edge in zip(panels, (10, 1), strict=True):
        axes.set_xticks([-edge, -edge / 2, 0, edge / 2, edge])
    panels[0].set(title="distance, no normalisation", xlabel="distance", ylabel="training loss")
    panels[1].set(title="filter-normalised", xlabel="α")
    if panels[0].lines:
        legend_of_all(fig, *look.KINDS)
    return "f1", (
        "F1's minima of papers/large_batch, both of the first seed: loss, and accuracy dashed, on "
        "three random lines through each."), fig


def paths(paper: Paper) -> tuple[str, str, Figure]:
    fig, panels = figure(2, 2, width=3.8, height=3.2)
    for axes, (name, title) in zip(panels.flat, ARMS.items(), strict=True):
        axes.set_title(title)
        try:
            found = load_file(paper.folder / "results" / name / "path0.safetensors")
        except (OSError, SafetensorError):
            missing(axes, name)
            continue
        loss = np.maximum(found["loss"].T, 1e-4)
        levels = np.geomspace(loss.min(), loss.max(), 18)
        contours = axes.contour(found["x"], found["y"], loss, levels, cmap=look.MAP,
                                linewidths=0.9, norm="log")
        axes.clabel(contours, contours.levels[::3], fontsize=8, fmt="%.2g")
        axes.set_title(f"{title}: {100 * found['shares'][:2].sum():.0f} % in this plane")
        axes.plot(*found["path"].T, ".-", color="black", lw=0.8, ms=4)
        axes.plot(*found["path"][-1], "*", color=COLOURS[1], ms=9)
        axes.set(xlabel=f"first component, {100 * found['shares'][0]:.0f} %",
                 ylabel=f"second, {100 * found['shares'][1]:.0f} %")
        axes.grid(False)
    return "paths", (
        "Section 7: the path of training, a dot an epoch, in the plane of its two principal "
        "directions, with contours of the training loss there (equal steps of its logarithm); "
        "star: the end. Percentages: shares of the path's variation, of which the paper has 40 to "
        "90 in the plane."), fig


def straight(paper: Paper) -> tuple[str, str, Figure]:
    fig, axes = figure(width=5.2)
    other, drawn = look.second(axes), False
    for kind, colour in zip(("relu", "sigmoid", "maxout"), COLOURS, strict=False):
        for k, run in enumerate(paper.results.get(f"line_{kind}", [])):
            name = "ReLU" if kind == "relu" else kind
            loss = curve(run, "line_loss")
            look.line(axes, other, np.linspace(0, 1, len(loss)), loss,
                      curve(run, "line_accuracy"), "" if k else name, colour)
            drawn = True
    axes.set(xlabel="α: 0 initial weights, 1 trained weights", ylabel="training loss")
    if drawn:
        legend_of_all(fig, *look.KINDS)
    return "straight", ("Goodfellow, Vinyals & Saxe (2015): loss, and accuracy dashed, on the "
                        "straight line from the start of training to its end, every seed."), fig


def invariance() -> tuple[str, str, Figure]:
    fig, panels = figure(2, width=3.6, height=2.8, sharey=True)
    ways: list[tuple[Normalisation, str]] = [("none", "no normalisation"),
                                             ("filter", "filter-normalised")]
    for axes, (how, title) in zip(panels, ways, strict=True):
        reach, both = facts.pictures(False, how)
        x = torch.linspace(-reach, reach, len(both[0]))
        axes.plot(x, both[0], color=COLOURS[0], lw=3, alpha=0.5, label="a network")
        axes.plot(x, both[1], color=COLOURS[1], ls="--", label="one layer × 10, the next / 10")
        axes.set(title=title, xlabel="α", yscale="log")
        axes.set_yticks([2, 5, 10, 20], ["2", "5", "10", "20"])
        axes.yaxis.set_minor_formatter("")
        legend(axes)
    panels[0].set_ylabel("loss")
    return "invariance", (
        "Section 3: two sets of weights that are one function, along the same Gaussian numbers. "
        "Computed anew with every report."), fig
