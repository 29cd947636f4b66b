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

os.environ["MPLBACKEND"] = "agg"  # figures go to files; a notebook's backend may not exist here

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
"""Okabe and Ito's palette, which colour-blind readers can distinguish."""

WIDEST = 738 / 96
"""The largest width in inches: a page shows 738 pixels of 1/96 inch and shrinks wider figures."""

GALLERY = 320 / 96
"""The width in inches of a paper's picture in README's gallery, which shows it in full size."""

SMALLEST = 8
"""The smallest font size, in points."""

STYLE: dict[Any, Any] = {  # matplotlib's type lists every key
    "svg.hashsalt": "papers-to-code", "svg.fonttype": "path", "font.family": "DejaVu Sans",
    "font.size": 9, "xtick.labelsize": SMALLEST, "ytick.labelsize": SMALLEST,
    "legend.fontsize": SMALLEST, "legend.title_fontsize": SMALLEST,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25,
    "legend.frameon": False, "axes.titlesize": 10, "lines.linewidth": 1.4,
    "axes.prop_cycle": cycler(color=COLOURS), "path.simplify": False,
}


@contextmanager
def style() -> Iterator[None]:
    """A context with the repository's style, whatever the user's matplotlib settings."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def figure(columns: int = 1, rows: int = 1, width: float = 4.6, height: float = 3.1,
           **options: Any) -> tuple[Figure, Any]:
    """Create a figure with axes; sizes are in inches per panel. No display is needed.

    The figure is never wider than a page, so its text keeps its font size.
    """
    size = min(width * columns, WIDEST), height * rows
    fig = Figure(figsize=size, layout="constrained")
    return fig, fig.subplots(rows, columns, **options)


def gallery_figure(columns: int = 1, height: float = 2.2, **options: Any) -> tuple[Figure, Any]:
    """Create a figure with axes for README's gallery; options as those of :func:`figure`."""
    return figure(columns, width=GALLERY / columns, height=height, **options)


def svg(fig: Figure) -> bytes:
    """The figure as SVG; the same content always gives the same bytes."""
    buffer = io.BytesIO()
    fig.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    lines = buffer.getvalue().decode().splitlines()
    return ("\n".join(line.rstrip() for line in lines) + "\n").encode()


def alike(one: bytes, other: bytes) -> bool:
    """Whether two SVGs are the same picture, to a hundredth of a point.

    The last digits of coordinates may differ between processors.
    """
    if one == other:
        return True
    (words, numbers), (words_too, numbers_too) = taken_apart(one), taken_apart(other)
    return words == words_too and np.allclose(numbers, numbers_too, rtol=0, atol=0.01)


def taken_apart(picture: bytes) -> tuple[list[str], list[float]]:
    """Split an SVG into its decimal numbers and the text between them.

    Generated names are replaced by their order of appearance.
    """
    names: dict[str, str] = {}
    text = re.sub(r"\b[a-zA-Z][0-9a-f]{10}\b",
                  lambda m: names.setdefault(m[0], f"name{len(names)}"), picture.decode())
    parts = re.split(r"(-?\d+\.\d+)", text)
    return parts[::2], [float(p) for p in parts[1::2]]


def png(fig: Figure, dpi: int = 130) -> bytes:
    """The figure as PNG."""
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def over_seeds(axes: Axes, steps: np.ndarray, values: np.ndarray, label: str,
               colour: str) -> None:
    """Draw the mean over seeds as a line, and their range as an area behind it.

    Args:
        axes: where to draw.
        steps: shape (points,).
        values: shape (seeds, points).
        label: the legend's text, to which the number of seeds is added.
        colour: the colour of line and area.
    """
    n = len(values)
    axes.plot(steps, values.mean(0), color=colour,
              label=f"{label} ({n} seed{'s' if n > 1 else ''})")
    if n > 1:
        axes.fill_between(steps, values.min(0), values.max(0), color=colour, alpha=0.2, lw=0)


PLACES = [(5, 0, "left", "center"), (-5, 0, "right", "center"), (0, 5, "center", "bottom"),
          (0, -5, "center", "top"), (5, 5, "left", "bottom"), (5, -5, "left", "top"),
          (-5, 5, "right", "bottom"), (-5, -5, "right", "top")]
"""Positions of a label beside its point: offsets in points of 1/72 inch, and alignment."""


def label_points(axes: Axes, points: Sequence[tuple[float, float, str]],
                 size: float = SMALLEST) -> None:
    """Write a label beside each point, where it covers no other point or label.

    Call it last, after limits and layout have their final values. If no position is free, the label
    is placed to the right of its point.

    Args:
        axes: where the points are drawn.
        points: (x, y, label) of each.
        size: the font size, in points.
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
    """Write into empty axes that there is no run yet."""
    axes.text(0.5, 0.5, "no run yet", ha="center", va="center", transform=axes.transAxes)


def dots(axes: Axes, x: float, values: Sequence[float], colour: str, marker: str = "o",
         spread: float = 0.0, **options: Any) -> None:
    """Draw the values of several runs as a column of dots; without runs draw nothing.

    Args:
        axes: where to draw.
        x: the column's middle.
        values: one value per run.
        colour, marker, options: the style of the dots.
        spread: how far the dots extend to each side, in order; 0: all at x.
    """
    if values:
        sides = np.linspace(-spread, spread, len(values)) if len(values) > 1 else 0.0
        axes.plot(np.full(len(values), x) + sides, values, marker=marker, ls="", color=colour,
                  **options)


def published_bar(axes: Axes, x: float, value: float, half: float = 0.35) -> None:
    """Draw a published value as a bar across a column of dots; only the first enters the legend.

    Args:
        axes: where to draw.
        x: the column's middle.
        value: the published value.
        half: half of the bar's width.
    """
    seen = "published" in axes.get_legend_handles_labels()[1]
    axes.plot([x - half, x + half], [value] * 2, color="black", lw=2,
              label=None if seen else "published")


def explain(axes: Axes, *signs: tuple[str, dict[str, Any]]) -> None:
    """Add legend entries for marks that have no label of their own.

    Args:
        axes: the axes with the legend.
        signs: the text of each entry, and the options of the line shown beside it.
    """
    for text, options in signs:
        axes.plot([], [], label=text, **options)


def legend_below(fig: Figure, *signs: tuple[str, dict[str, Any]], columns: int = 4) -> None:
    """Add a legend of the whole figure below its panels, where it covers no data.

    Args:
        fig: a figure created by :func:`figure`.
        signs: the text of each entry, and the options of the line shown beside it.
        columns: the largest number of columns.
    """
    handles = [Line2D([], [], label=text, **options) for text, options in signs]
    fitted(fig, fig.bbox.width, columns, handles=handles, loc="outside lower center")


def performance_profile(axes: Axes, costs: dict[str, list[float]]) -> None:
    """Draw what fraction of problems each method solves within a factor of the cheapest method.

    A performance profile, as defined by Dolan & Moré (2002).

    Args:
        axes: where to draw.
        costs: for each method, its cost on every problem, in the same order; infinite if unsolved.
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
    """Wrap a long name into lines of at most ``width`` characters."""
    return "\n".join(textwrap.wrap(text, width, break_on_hyphens=False))


def learning_curves(curves: dict[str, dict[str, list[list[float]]]], metrics: Sequence[str],
                    path: Path, loss_name: str = "training loss") -> Path:
    """Draw the losses and some metrics of several runs to a PNG file.

    Args:
        curves: the curves of each run by its name, see :func:`common.evidence.results.curves`.
        metrics: the metrics to draw in the second panel.
        path: the file to write.
        loss_name: the axis label of the losses.
    """
    with style():
        fig, (left, right) = figure(2)
        for name, run in curves.items():
            if "train_loss" in run:
                left.plot(*run["train_loss"], label=folded(name))
            for metric in metrics:
                if metric in run:
                    right.plot(*run[metric], marker="." if len(run[metric][0]) < 3 else "",
                               label=folded(name if len(metrics) == 1 else f"{name}: {metric}"))
        left.set(xlabel="step", ylabel=loss_name)
        right.set(xlabel="step", ylabel=", ".join(metrics).replace("_", " "))
        if 0 < len(right.lines) <= 10:
            legend(right)
        write_atomic(path, png(fig))
    return path
