"""The figures of the report: errors, shifted biases, temperatures, and soft targets to look at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from safetensors.numpy import load_file

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
from papers.distillation.model import softened

ARMS = (
    ("teacher,\n2 × 1200", "teacher", "errors", "sec3-teacher", COLOURS[6]),
    ("student,\nlabels", "hard", "errors", "sec3-hard", COLOURS[1]),
    ("student,\nsoft targets", "soft", "errors", "sec3-soft", COLOURS[0]),
    ("soft targets,\nno 3 seen", "no3", "errors", "sec3-no3", COLOURS[3]),
    ("no 3 seen,\nbias raised", "no3", "errors_best", "sec3-no3-best", COLOURS[2]))
SHIFTS = (("no3", "no 3 in the transfer set", "bias of 3 raised by", 1),
          ("only78", "7s and 8s alone", "biases of 7 and 8 changed by", 100))
"""Experiment, title, label, and the unit: errors, or per cent of 10,000."""

WIDTHS = (("narrow", "30 units a layer", COLOURS[0], (2.5, 4.0)),
          ("wide", "300 units a layer", COLOURS[1], (8.0, 50.0)))
TEMPERATURES = {1: 1e-6, 4: 0.0, 20: 0.0}
"""T of the soft targets shown, and where the axis of their probabilities begins: above 0, a
logarithmic one."""


def draw(paper: Paper) -> Iterator[tuple[str, str, Figure]]:
    """Yield (name, caption, figure) of every figure."""
    yield errors(paper)
    yield bias(paper)
    yield temperatures(paper)
    yield knowledge(paper)


def gallery(paper: Paper) -> Figure:
    """The paper's picture for README's gallery: what soft targets save, and a 3 never seen."""
    fig, axes = gallery_figure()
    shown = (ARMS[1], ARMS[2], ARMS[4])
    columns(axes, paper, shown)
    explain(axes, ("a run (number: mean)", {"marker": "o", "ls": "", "color": "grey", "ms": 5}))
    axes.set_xticks(range(3), ["student,\nlabels", "student,\nsoft targets",
                               "no 3 seen,\nbias raised"])
    axes.set(ylabel="errors in 10,000", ylim=(0, 180), xlim=(-0.5, 2.8))
    legend(axes, loc="lower left", ncols=2)
    return fig


def columns(axes: Axes, paper: Paper, arms: Sequence[tuple[str, str, str, str, str]]) -> None:
    """A column for every one of some :data:`ARMS`: a dot a run, their mean, a published bar."""
    for k, (_, experiment, metric, claim, colour) in enumerate(arms):
        published_bar(axes, k, printed(paper, claim), 0.32)
        values = final(paper, experiment, metric)
        dots(axes, k, values, colour, spread=0.18, ms=5)
        if values:
            axes.annotate(f"{np.mean(values):.0f}", (k + 0.36, float(np.mean(values))),
                          va="center", color=colour, fontsize=9)


def printed(paper: Paper, claim: str) -> float:
    """The published value of a claim."""
    return next(c.published for c in paper.claims
                if c.id == claim and c.published is not None)


def final(paper: Paper, experiment: str, metric: str) -> list[float]:
    """A metric of all runs of an experiment."""
    return [r.at(metric, None) for r in paper.results.get(experiment, [])]


def errors(paper: Paper) -> tuple[str, str, Figure]:
    """The headline: a dot a run, published values as bars."""
    fig, axes = figure(width=6.6, height=3.4)
    columns(axes, paper, ARMS)
    explain(axes, ("a run here (number: their mean)",
                   {"marker": "o", "ls": "", "color": "grey", "ms": 5}))
    axes.set_xticks(range(len(ARMS)), [label for label, *_ in ARMS])
    axes.set(ylabel="errors on 10,000 test images", ylim=(0, None), xlim=(-0.6, len(ARMS) - 0.3))
    legend(axes, loc="upper left")
    return "errors", (
        "Section 3: a large network, a small one on the labels, the same on the large one's soft "
        "targets at T = 20, on those without a single 3, and with the bias of 3 raised by what is "
        "best on the test images, as the paper's was. A dot is a run, a bar the published single "
        "run."), fig


def bias(paper: Paper) -> tuple[str, str, Figure]:
    """Errors against the shift, a line a run, the published pairs as crosses."""
    fig, panels = figure(2, width=3.9, height=3.1)
    for axes, (name, title, label, unit) in zip(panels, SHIFTS, strict=True):
        config = paper.config(name).measure
        shifts = np.linspace(0, 2 * config.shift, config.points)
        for run in paper.results.get(name, []):
            counts = [run.at(f"errors_at_{k}", None) / unit for k in range(config.points)]
            axes.plot(shifts, counts, color=COLOURS[2], alpha=0.6)
            axes.plot(run.at("shift_best", None), run.at("errors_best", None) / unit, "o",
                      color=COLOURS[2], ms=4)
            axes.plot(run.at("shift_train", None), run.at("errors_train", None) / unit, "s",
                      color=COLOURS[1], ms=4, fillstyle="none")
        axes.plot([0, config.shift], [printed(paper, f"sec3-{name}"),
                                      printed(paper, f"sec3-{name}-shifted")], "kX", ms=7)
        if not paper.results.get(name):
            empty(axes)
        axes.set(xlabel=label, title=title, ylim=(0, None),
                 ylabel="test error (%)" if unit == 100 else "errors on 10,000 test images")
    panels[1].invert_xaxis()
    explain(panels[0], ("published", {"marker": "X", "ls": "", "color": "black"}),
            ("best on the test images", {"marker": "o", "ls": "", "color": COLOURS[2]}),
            ("found on training images", {"marker": "s", "ls": "", "color": COLOURS[1],
                                          "fillstyle": "none"}))
    legend(panels[0])
    return "bias", (
        "Test errors of students that have not seen some digits, against a shift of biases after "
        "training; a line is a run. Dots: the best shift on the test images, which is how the "
        "paper found its own; squares: the best on all training images, which needs no test "
        "image."), fig


def temperatures(paper: Paper) -> tuple[str, str, Figure]:
    """Errors against the temperature for both widths, mean and range over seeds."""
    fig, panels = figure(2, width=4.1)
    tried = sorted({paper.config(e).transfer.temperature
                    for name, *_ in WIDTHS for e in paper.experiments.expand(name)})
    for axes, (name, title, colour, said) in zip(panels, WIDTHS, strict=True):
        axes.axvspan(*said, color="black", alpha=0.08, lw=0)
        points = []
        for experiment in paper.experiments.expand(name):
            values = final(paper, experiment, "errors")
            if values:
                points.append((paper.config(experiment).transfer.temperature, values))
        for T, values in points:
            dots(axes, T, values, colour, ms=3, alpha=0.6)
        if points:
            axes.plot([T for T, _ in points], [np.mean(v) for _, v in points], color=colour)
        else:
            empty(axes)
        axes.set(xscale="log", xlabel="temperature T", title=title, xlim=(0.8, 50))
        axes.set_xticks(tried, [f"{T:g}" for T in tried])
        axes.minorticks_off()
        axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    same_span(panels)
    panels[0].set_ylabel("errors on 10,000 test images")
    return "temperatures", (
        "Temperature against width: students of 30 and of 300 units a layer. A dot is a run, the "
        "line their mean. Shaded is what section 3 says: 2.5 to 4 best for 30 units; all above 8 "
        "much alike for 300. An error is as high in both panels, which begin at others."), fig


def same_span(panels: Sequence[Axes]) -> None:
    """Give panels as much of the y axis each, about the middle of what they show."""
    limits = [axes.get_ylim() for axes in panels]
    half = max(high - low for low, high in limits) / 2
    for axes, (low, high) in zip(panels, limits, strict=True):
        axes.set_ylim((low + high) / 2 - half, (low + high) / 2 + half)


def knowledge(paper: Paper) -> tuple[str, str, Figure]:
    """A few training images and the teacher's soft targets at three temperatures."""
    path = paper.folder / "results" / "teacher" / "logits0.safetensors"
    if not path.exists():
        fig, axes = figure(width=6.6, height=3)
        axes.set(xticks=[], yticks=[])
        empty(axes)
        return "knowledge", KNOWLEDGE, fig
    stored = load_file(path)
    images, v = stored["images"], torch.from_numpy(stored["shown"])
    fig, panels = figure(1 + len(TEMPERATURES), len(images), width=1.9, height=1.2)
    for (T, low), axes in zip(TEMPERATURES.items(), panels[0, 1:], strict=True):
        axes.set_title(f"T = {T}" + (", logarithmic" if low else ""), fontsize=9)
    tops = {T: 1.3 * softened(v.double(), T).max().item() for T in TEMPERATURES}
    for row, image, z in zip(panels, images, v, strict=True):
        row[0].imshow(image, cmap="gray_r")
        row[0].set(xticks=[], yticks=[])
        row[0].grid(False)
        for axes, (T, low) in zip(row[1:], TEMPERATURES.items(), strict=True):
            p = 10 ** softened(z.double(), T).log10().numpy().round(3)  # the same on any processor
            axes.bar(range(len(p)), np.maximum(p - low, 0), bottom=low, color=[
                COLOURS[1] if k == p.argmax() else COLOURS[0] for k in range(len(p))])
            if low:
                axes.set_yscale("log")
                axes.set_yticks([1e-6, 1e-3, 1], ["10⁻⁶", "10⁻³", "1"])
            axes.set(ylim=(low, tops[T]), xlim=(-0.6, len(p) - 0.4))
            axes.set_xticks(range(len(p)))
            axes.minorticks_off()
    for axes in panels[-1, 1:]:
        axes.set_xlabel("digit", fontsize=8)
    for axes in panels[:, 1]:
        axes.set_ylabel("probability", fontsize=8)
    legend_below(fig, ("the digit with the largest probability",
                       {"marker": "s", "ls": "", "color": COLOURS[1]}),
                 ("the others", {"marker": "s", "ls": "", "color": COLOURS[0]}))
    return "knowledge", KNOWLEDGE, fig


KNOWLEDGE = (
    "What a teacher knows beside the label: of all training 2s the one most like a 3 and the one "
    "most like a 7 (by its logits), of all 7s the one most like a 2 and the one most like a 9, "
    "with their soft targets. At T = 1, on a logarithmic scale, the differences are there, but "
    "mostly too small for a cross-entropy to notice; at T = 20, on one from 0, they are a good "
    "part of each target.")
