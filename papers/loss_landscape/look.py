"""Pictures of planes and lines, from the folders of runs, finished or not.

    python papers/loss_landscape/look.py runs/loss_landscape/surface_resnet20/seed0
    python papers/loss_landscape/look.py FOLDER FOLDER        # side by side, in one scale

The picture is written to ``landscape.png`` in the first folder.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from common.entry import exit_with

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from safetensors import SafetensorError
from safetensors.numpy import load_file

from common.errors import UserError, asks_for_help
from common.evidence.legends import legend_of_all
from common.evidence.plotting import COLOURS, figure, folded, png, style
from common.files import shown, write_atomic
from common.training import checkpoint
from papers.loss_landscape.model import grid

MAP = "viridis"
KINDS = (("loss", {"color": "grey"}), ("accuracy", {"color": "grey", "ls": "--", "lw": 1}))
"""Legend entries of both kinds of lines."""

HIGHEST = 100.0
"""Higher losses have the colour of this one."""


@dataclass(frozen=True)
class View:
    """The values that a run has computed.

    Attributes:
        at: coordinates of the grid, (points,).
        columns: loss and accuracy, or smallest and largest eigenvalue: (points,) or
            (points, points) each, rows along α; NaN at points not computed yet.
    """

    at: np.ndarray
    columns: dict[str, np.ndarray]


EXPECTED = "expected the folder of a run with task.name=surface or curvature"


def of_folder(folder: Path) -> View | None:
    """Read the values in the checkpoint of a run; None if there is no checkpoint.

    Raises:
        UserError: the checkpoint belongs to another kind of run.
    """
    saved = checkpoint.of_run(folder)
    if saved is None:
        return None
    try:
        config, table = saved.config, saved.recipe["table"].double()
        points, task = config["view.points"], config["task.name"]
        table[saved.step:] = float("nan")
        shape = [points] * (config["view.dimensions"] if task == "surface" else 2)
        names = ("loss", "accuracy") if task == "surface" else ("smallest", "largest")
        return View(grid(points, config["view.reach"]).numpy(),
                    {n: c.reshape(shape).numpy() for n, c in zip(names, table.T, strict=True)})
    except (TypeError, KeyError, RuntimeError) as e:
        raise UserError(f"{shown(folder)}: {EXPECTED}") from e


def of_file(path: Path) -> View | None:
    """Read the file that a recorded run wrote beside its result; None if there is none."""
    try:
        tensors = load_file(path)
        return View(tensors.pop("coordinates").astype(float), tensors)
    except (OSError, SafetensorError, KeyError):
        return None


RATIO = "|most negative / largest eigenvalue|"
"""What a map of curvature shows."""

CONTOURS = (0.1, 0.5, 1, 2, 4, 8, 16, 32)


def plane(axes: Axes, view: View, low: float, high: float,
          at: tuple[float, ...] = CONTOURS, centre: str = "+") -> Any:
    """Draw the loss on a plane as colour, on a logarithmic scale from low to high, and contours.

    Args:
        axes: where to draw.
        view: the losses.
        low, high: the ends of the scale.
        at: the contours.
        centre: the marker of the trained weights.

    Returns:
        The image, for a colour bar.
    """
    f = np.clip(view.columns["loss"].T, low, high)  # β upwards
    levels = np.geomspace(low, high, 25)
    image = axes.contourf(view.at, view.at, np.ma.masked_invalid(f), levels, cmap=MAP,
                          norm=LogNorm(low, high))
    lines = axes.contour(view.at, view.at, np.ma.masked_invalid(f),
                         [v for v in at if low < v < high],
                         colors="white", linewidths=0.8)
    axes.clabel(lines, fontsize=8, fmt="%g")
    axes.plot(0, 0, centre, color="white", ms=8)
    axes.set(xlabel="α", ylabel="β", aspect="equal")
    axes.grid(False)
    return image


def ratios(axes: Axes, view: View) -> Any:
    """Draw |λ_min/λ_max| as colour, from 0.001 to 1; returns the image, for a colour bar."""
    smallest, largest = (view.columns[k].T for k in ("smallest", "largest"))
    ratio = np.clip(np.abs(np.minimum(smallest, 0)) / np.abs(largest), 1e-3, 1)
    image = axes.pcolormesh(view.at, view.at, np.ma.masked_invalid(ratio), cmap=MAP,
                            norm=LogNorm(1e-3, 1), shading="nearest")
    axes.set(xlabel="α", ylabel="β", aspect="equal")
    axes.grid(False)
    return image


def bar(panels: np.ndarray, image: Any, label: str) -> None:
    """Add a colour bar beside some panels, with ticks at powers of ten."""
    fig = panels.flat[0].figure.colorbar(image, ax=list(panels.flat), label=label)
    low, high = image.norm.vmin, image.norm.vmax
    fig.set_ticks([t for t in (0.001, 0.01, 0.1, 1, 10, 100) if low <= t <= high])
    fig.ax.set_yticklabels([f"{t:g}" for t in fig.get_ticks()])
    fig.minorticks_off()


def line(axes: Axes, other: Axes, x: np.ndarray, loss: np.ndarray, accuracy: np.ndarray,
         label: str, colour: str) -> None:
    """Draw the loss along a line, and the accuracy dashed on a second axis."""
    axes.plot(x, loss, color=colour, label=label)
    other.plot(x, 100 * accuracy, color=colour, ls="--", lw=1)


def second(axes: Axes, named: bool = True) -> Axes:
    """Add a second axis for accuracies, with a label if ``named``."""
    other = axes.twinx()
    other.set(ylabel="accuracy (%), dashed" if named else "", ylim=(0, 101))
    other.grid(False)
    other.spines["right"].set_visible(True)
    return other


def draw(views: dict[str, View], path: Path) -> Path:
    """Draw runs of one kind side by side into a PNG file.

    Raises:
        UserError: they are of several kinds.
    """
    kinds = {(*v.columns, next(iter(v.columns.values())).ndim) for v in views.values()}
    if len(kinds) > 1:
        raise UserError("expected runs of one kind: planes, lines or maps of curvature")
    (kind,) = kinds
    with style():
        if kind[-1] == 1:
            fig, axes = figure()
            other = second(axes)
            for (name, v), colour in zip(views.items(), COLOURS, strict=False):
                line(axes, other, v.at, v.columns["loss"], v.columns["accuracy"], name, colour)
            axes.set(xlabel="α", ylabel="loss")
            legend_of_all(fig, *KINDS)
        else:
            fig, panels = figure(len(views), squeeze=False)
            for axes, (name, v) in zip(panels[0], views.items(), strict=True):
                image = ratios(axes, v) if kind[0] == "smallest" else plane(
                    axes, v, *bounds(views))
                axes.set_title(folded("/".join(Path(name).parts[-2:])))
            bar(panels, image, RATIO if kind[0] == "smallest" else "loss")
        write_atomic(path, png(fig))
    return path


def bounds(views: dict[str, View]) -> tuple[float, float]:
    """The lowest and highest loss of a common scale for several planes."""
    lowest = min(np.nanmin(v.columns["loss"]) for v in views.values())
    highest = max(np.nanmax(v.columns["loss"]) for v in views.values())
    low = max(lowest, 1e-3)
    return low, max(min(highest, HIGHEST), 2 * low)


def main(argv: list[str]) -> int:
    """The command line; see the module's docstring."""
    if asks_for_help(argv, __doc__):
        return 0
    if not argv:
        raise UserError("expected the folder of a run, such as "
                        "runs/loss_landscape/surface_resnet20/seed0; --help says more")
    folders = [Path(a) for a in argv]
    found = {f: of_folder(f) for f in folders}
    begun = {f: v for f, v in found.items() if v is not None}
    if not begun:
        raise UserError(f"{shown(folders[0])}: {EXPECTED}")
    for f in found:
        if f not in begun:
            print(f"{shown(f)}: no checkpoint yet, left out")
    views = {shown(f): v for f, v in begun.items()}
    for name, v in views.items():
        first = next(iter(v.columns.values()))
        if there := np.isnan(first).sum():
            print(f"{name}: {first.size - there} of {first.size} points")
    print(f"picture: {shown(draw(views, next(iter(begun)) / 'landscape.png'))}")
    return 0


if __name__ == "__main__":
    exit_with(lambda: main(sys.argv[1:]))
