"""Figures: one look for all papers, drawn deterministically."""

from __future__ import annotations

import io
import os
import re
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ["MPLBACKEND"] = "agg"  # figures go to files; what a notebook left there may not exist

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox

from common.evidence.legends import fitted, legend
from common.files import write_atomic

COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
"""Okabe and Ito's palette, told apart by colour-blind readers."""

WIDEST = 738 / 96
"""Inches: a page shows 738 pixels of 1/96 inch, and what is wider smaller than it was drawn."""

SMALLEST = 8
"""Points, of any letter."""

STYLE: dict[Any, Any] = {  # matplotlib has a type for the name of every key
    "svg.hashsalt": "papers-to-code", "svg.fonttype": "path", "font.family": "DejaVu Sans",
    "font.size": 9, "xtick.labelsize": SMALLEST, "ytick.labelsize": SMALLEST,
    "legend.fontsize": SMALLEST, "legend.title_fontsize": SMALLEST,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25,
    "legend.frameon": False, "axes.titlesize": 10, "lines.linewidth": 1.4,
    "axes.prop_cycle": cycler(color=COLOURS), "path.simplify": False,
}


@contextmanager
def style() -> Iterator[None]:
    """The repository's look, whatever the user's own matplotlib settings are."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def figure(columns: int = 1, rows: int = 1, width: float = 4.6, height: float = 3.1,
           **options: Any) -> tuple[Figure, Any]:
    """A figure with axes, sizes in inches per panel; no display is needed.

    It is never wider than a page shows, so that its letters have the size they are given.
    """
    size = min(width * columns, WIDEST), height * rows
    made = Figure(figsize=size, layout="constrained")
    return made, made.subplots(rows, columns, **options)


def svg(made: Figure) -> bytes:
    """The figure as SVG, the same bytes for the same content."""
    buffer = io.BytesIO()
    made.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    lines = buffer.getvalue().decode().splitlines()
    return ("\n".join(line.rstrip() for line in lines) + "\n").encode()


def alike(one: bytes, other: bytes) -> bool:
    """Whether two SVGs are the same picture to a hundredth of a point.

    What is computed while a figure is drawn ends in other last digits on another processor.
    """
    if one == other:
        return True
    (words, numbers), (words_too, numbers_too) = taken_apart(one), taken_apart(other)
    return words == words_too and np.allclose(numbers, numbers_too, rtol=0, atol=0.01)


def taken_apart(picture: bytes) -> tuple[list[str], list[float]]:
    """An SVG's text between its decimal numbers, and those; generated names become their order."""
    names: dict[str, str] = {}
    text = re.sub(r"\b[a-zA-Z][0-9a-f]{10}\b",
                  lambda m: names.setdefault(m[0], f"name{len(names)}"), picture.decode())
    parts = re.split(r"(-?\d+\.\d+)", text)
    return parts[::2], [float(p) for p in parts[1::2]]


def png(made: Figure, dpi: int = 130) -> bytes:
    """The figure as PNG."""
    buffer = io.BytesIO()
    made.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def band(axes: Axes, steps: np.ndarray, values: np.ndarray, label: str, colour: str) -> None:
    """The mean over seeds as a line, and the range between the extreme seeds as a band.

    Args:
        axes: where to draw.
        steps: shape (points,).
        values: shape (seeds, points).
        label: the legend's text; the number of seeds is added.
        colour: of line and band.
    """
    n = len(values)
    axes.plot(steps, values.mean(0), color=colour,
              label=f"{label} ({n} seed{'s' if n > 1 else ''})")
    if n > 1:
        axes.fill_between(steps, values.min(0), values.max(0), color=colour, alpha=0.2, lw=0)


PLACES = [(5, 0, "left", "center"), (-5, 0, "right", "center"), (0, 5, "center", "bottom"),
          (0, -5, "center", "top"), (5, 5, "left", "bottom"), (5, -5, "left", "top"),
          (-5, 5, "right", "bottom"), (-5, -5, "right", "top")]
"""Where a label may stand beside its point: offsets in points of 1/72 inch, and alignment."""


def label_points(axes: Axes, points: Sequence[tuple[float, float, str]],
                 size: float = SMALLEST) -> None:
    """Write a label beside each point, where it covers no other point and no other label.

    Call it last: limits and layout have to be what they will be. A label without a free place
    stands to the right of its point.

    Args:
        axes: where the points are drawn.
        points: (x, y, label) of each.
        size: of the letters, in points.
    """
    drawn = axes.get_figure(root=True)
    if drawn is None:
        return
    drawn.draw_without_rendering()
    around = size * drawn.dpi / 72 / 2
    taken = [Bbox.from_extents(x - around, y - around, x + around, y + around)
             for x, y in axes.transData.transform([p[:2] for p in points])]
    inside = axes.get_window_extent()
    for x, y, label in points:
        text = axes.annotate(label, (x, y), PLACES[0][:2], textcoords="offset points",
                             fontsize=size)
        for dx, dy, ha, va in [*PLACES, PLACES[0]]:
            text.set(position=(dx, dy), ha=ha, va=va)
            box = text.get_window_extent()
            if inside.x0 <= box.x0 and box.x1 <= inside.x1 and not box.count_overlaps(taken):
                break
        taken.append(box)


def empty(axes: Axes) -> None:
    """Say that nothing has been measured."""
    axes.text(0.5, 0.5, "no run yet", ha="center", va="center", transform=axes.transAxes)


def dots(axes: Axes, x: float, values: Sequence[float], colour: str, marker: str = "o",
         spread: float = 0.0, **options: Any) -> None:
    """Every run's value in a column of its own, none without runs.

    Args:
        axes: where to draw.
        x: the column's middle.
        values: of each run.
        colour, marker, options: of the dots.
        spread: how far to each side they stand, in their order; 0: above one another.
    """
    if values:
        sides = np.linspace(-spread, spread, len(values)) if len(values) > 1 else 0.0
        axes.plot(np.full(len(values), x) + sides, values, marker=marker, ls="", color=colour,
                  **options)


def published_bar(axes: Axes, x: float, value: float, half: float = 0.35) -> None:
    """A published value as a bar across the column of the runs; the legend names the first.

    Args:
        axes: where to draw.
        x: the column's middle.
        value: what was published.
        half: of the bar's width.
    """
    seen = "published" in axes.get_legend_handles_labels()[1]
    axes.plot([x - half, x + half], [value] * 2, color="black", lw=2,
              label=None if seen else "published")


def explain(axes: Axes, *signs: tuple[str, dict[str, Any]]) -> None:
    """Entries of the legend for signs that have none of their own.

    Args:
        axes: whose legend.
        signs: what each entry says, and the options of the line that stands for it.
    """
    for text, options in signs:
        axes.plot([], [], label=text, **options)


def legend_below(made: Figure, *signs: tuple[str, dict[str, Any]], columns: int = 4) -> None:
    """A legend of the whole figure under its panels, where it covers no data.

    Args:
        made: drawn by :func:`figure`.
        signs: what each entry says, and the options of the line that stands for it.
        columns: entries side by side, fewer where they do not fit.
    """
    handles = [Line2D([], [], label=text, **options) for text, options in signs]
    fitted(made, made.bbox.width, columns, handles=handles, loc="outside lower center")


def performance_profile(axes: Axes, costs: dict[str, list[float]]) -> None:
    """How many problems each method solves within a factor of the cheapest (Dolan & Moré, 2002).

    Args:
        axes: where to draw.
        costs: of each method, one for every problem, in the same order; infinite if unsolved.
    """
    best = np.min([np.asarray(c, dtype=float) for c in costs.values()], axis=0)
    ratios = {k: np.sort(np.asarray(c, dtype=float)[np.isfinite(best)] / best[np.isfinite(best)])
              for k, c in costs.items()}
    finite = np.concatenate([r[np.isfinite(r)] for r in ratios.values()])
    last = 1.1 * finite.max(initial=1.0)
    for k, (name, r) in enumerate(ratios.items()):
        solved = r[np.isfinite(r)]
        x = np.concatenate([[1.0], solved, [last]])
        y = np.concatenate([[0], np.arange(1, len(solved) + 1), [len(solved)]]) / len(best)
        axes.step(x, y, where="post", label=name, color=COLOURS[k % len(COLOURS)],
                  ls="-" if k < len(COLOURS) else "--")
    axes.set(xscale="log", xlabel="evaluations over the fewest of any method",
             ylabel="fraction of problems solved", xlim=(1, last), ylim=(0, 1.02))
    legend(axes)


def folded(text: str, width: int = 40) -> str:
    """A long name over several lines of so many letters at most."""
    return "\n".join(textwrap.wrap(text, width, break_on_hyphens=False))


def learning_curves(curves: dict[str, dict[str, list[list[float]]]], metrics: Sequence[str],
                    path: Path, loss_name: str = "training loss") -> Path:
    """Draw the losses and some metrics of several runs to a PNG file.

    Args:
        curves: run name to curves, see :func:`common.evidence.results.curves`.
        metrics: those of the second panel.
        path: the file to write.
        loss_name: what the losses are.
    """
    with style():
        made, (left, right) = figure(2)
        for name, run in curves.items():
            left.plot(*run["train_loss"], label=folded(name))
            for metric in metrics:
                if metric in run:
                    right.plot(*run[metric], marker="." if len(run[metric][0]) < 3 else "",
                               label=folded(name if len(metrics) == 1 else f"{name}: {metric}"))
        left.set(xlabel="step", ylabel=loss_name)
        right.set(xlabel="step", ylabel=", ".join(metrics).replace("_", " "))
        if len(curves) * len(metrics) <= 10:
            legend(right)
        write_atomic(path, png(made))
    return path
