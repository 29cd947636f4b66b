"""Legends that cover neither data nor guide lines: inside the axes if there is room, or below."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import Collection, PathCollection
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.path import Path
from matplotlib.text import Text
from matplotlib.transforms import Bbox, ScaledTranslation

INSIDE = ("upper right", "upper left", "lower left", "lower right", "center right", "center left",
          "upper center", "lower center", "center")
"""Locations inside the axes, in the order in which they are tried."""


def legend(axes: Axes, loc: str = "", **options: Any) -> Legend:
    """Add a legend where it covers no data, or else below the axes in as many columns as fit.

    Call it last, after limits and panels have their final values.

    Args:
        axes: the axes with labelled lines.
        loc: the preferred location, used if it covers no data there; empty: no preference.
        options: passed to the legend; below the axes ``ncols`` is its largest number of columns.
    """
    fig = whole(axes)
    fig.draw_without_rendering()  # once is enough: a legend inside does not move the axes
    for where in (loc, *INSIDE) if loc else INSIDE:
        placed = axes.legend(**options | {"loc": where})
        box = placed.get_window_extent()
        if axes.bbox.height > box.height and axes.bbox.width > box.width and not covered(placed):
            return placed
    under, beside = axes.xaxis.get_tightbbox(), axes.yaxis.get_tightbbox()
    depth = axes.bbox.y0 - under.y0 if under else 0.0
    left = axes.bbox.x0 - beside.x0 if beside else 0.0  # the space under the y label is free
    below = axes.transAxes + ScaledTranslation(
        -left / 2 / fig.dpi, -depth / fig.dpi - 3 / 72, fig.dpi_scale_trans)
    return fitted(axes, axes.bbox.width + left, options.pop("ncols", 8), loc="upper center",
                  bbox_to_anchor=(0.5, 0), bbox_transform=below, **options)


def fitted(owner: Axes | Figure, room: float, columns: int = 8, **options: Any) -> Legend:
    """Add a legend in as many columns as fit.

    Args:
        owner: the axes or figure to add it to.
        room: the available width in pixels.
        columns: the largest number of columns.
        options: passed to the legend.
    """
    for ncols in range(columns, 0, -1):
        placed = owner.legend(ncols=ncols, columnspacing=1.2, **options)
        with warnings.catch_warnings():  # a legend far too wide leaves no room for the panels
            warnings.simplefilter("ignore", UserWarning)
            whole(owner).draw_without_rendering()
        if placed.get_window_extent().width <= room or ncols == 1:
            break
        if isinstance(owner, Figure):
            placed.remove()
    return placed


def legend_of_all(fig: Figure, *signs: tuple[str, dict[str, Any]], columns: int = 8) -> Legend:
    """Add one legend for all panels, below them, with each label once.

    Args:
        fig: a figure with labelled lines in its panels.
        signs: further entries: the text of each, and the options of the line shown beside it.
        columns: the largest number of columns.
    """
    named: dict[str, Any] = {}
    for axes in fig.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            named.setdefault(label, handle)
    named |= {text: Line2D([], [], **options) for text, options in signs}
    return fitted(fig, fig.bbox.width, columns, handles=list(named.values()),
                  labels=list(named), loc="outside lower center")


def whole(owner: Axes | Figure | Legend) -> Figure:
    """The figure that contains an artist."""
    fig = owner.get_figure(root=True)
    assert isinstance(fig, Figure)
    return fig


def covered(placed: Legend) -> list[Artist]:
    """The data and guide lines that a legend covers in its figure, which must have been drawn."""
    box = placed.get_window_extent()
    return [artist for axes in whole(placed).axes for artist in (*data(axes), *guides(axes))
            if touches(artist, axes, box)]


def data(axes: Axes) -> Iterator[Artist]:
    """The artists that show data in some axes, not guide lines or shading across the axes."""
    for artist in (*axes.lines, *axes.patches, *axes.collections):
        if artist.get_visible() and in_data_coordinates(artist, axes):
            yield artist
    yield from axes.images
    yield from (text for text in axes.texts if text.get_text())


def guides(axes: Axes) -> Iterator[Line2D]:
    """The lines across the whole axes that mark one value, as ``axvline`` draws them."""
    yield from (line for line in axes.lines
                if line.get_visible() and not in_data_coordinates(line, axes))


def in_data_coordinates(artist: Artist, axes: Axes) -> bool:
    """Whether both coordinates of an artist are values on the axes."""
    if isinstance(artist, Collection):
        scattered = isinstance(artist, PathCollection) or len(np.asarray(artist.get_offsets())) > 1
        moved = artist.get_offset_transform() if scattered else None
        return axes.transData in (moved, artist.get_transform())
    moved = artist.get_data_transform() if isinstance(artist, Patch) else artist.get_transform()
    return all(moved.contains_branch_seperately(axes.transData))


def touches(artist: Artist, axes: Axes, box: Bbox) -> bool:
    """Whether an artist is visible inside a box, given in pixels."""
    if isinstance(artist, Text):
        return bool(box.overlaps(artist.get_window_extent()))
    seen = Bbox.intersection(box, axes.bbox)
    if seen is None or seen.width < 1 or seen.height < 1:
        return False
    if isinstance(artist, Line2D):
        path = artist.get_path().transformed(artist.get_transform())
        if artist.get_linestyle() != "None":
            return bool(path.intersects_bbox(seen, filled=False))
        return holds(seen.padded(artist.get_markersize() / 2), path.vertices)
    if isinstance(artist, Patch):
        path = artist.get_path().transformed(artist.get_transform())
        return bool(path.intersects_bbox(seen, filled=artist.get_fill()))
    if isinstance(artist, Collection):
        offsets = np.asarray(artist.get_offsets())
        if len(offsets) > 1 or isinstance(artist, PathCollection):
            around = radius(artist) * whole(axes).dpi / 72
            return holds(seen.padded(around), artist.get_offset_transform().transform(offsets))
        filled = len(np.asarray(artist.get_facecolor())) > 0
        paths: list[Path] = [p.transformed(artist.get_transform()) for p in artist.get_paths()]
        return any(p.intersects_bbox(seen, filled=filled) for p in paths if np.size(p.vertices))
    return True  # an image fills its axes


def radius(artist: Collection) -> float:
    """Half of the largest marker's size in points, as of a scatter plot; 0 if it has no sizes."""
    sizes = artist.get_sizes() if isinstance(artist, PathCollection) else np.zeros(0)
    return float(np.sqrt(np.max(sizes, initial=0.0))) / 2


def holds(box: Bbox, points: Any) -> bool:
    """Whether any of some points, (n, 2), lies in a box."""
    x, y = np.asarray(points, dtype=float).T
    return bool(((box.x0 <= x) & (x <= box.x1) & (box.y0 <= y) & (y <= box.y1)).any())
