"""What keeps a drawn figure from being read: small, cut or covered texts, signs without a name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex, to_rgb, to_rgba
from matplotlib.container import Container
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle
from matplotlib.patches import Patch
from matplotlib.path import Path
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from common.evidence import plotting
from common.evidence.legends import covered, data

NAMES = {"o": ("circle", "dot", "ring"), ".": ("dot", "circle"), ",": ("dot",), "x": ("cross",),
         "X": ("cross",), "+": ("(+)", "plus"), "s": ("square",), "*": ("star",), "|": ("stroke",),
         "^": ("triangle",), "v": ("triangle",),
         "<": ("triangle", "arrow"), ">": ("triangle", "arrow"),
         "_": ("bar",), "D": ("diamond",), "d": ("diamond",),
         "--": ("dashed", "broken"), ":": ("dotted",), "-.": ("dash-dotted",)}
"""What a caption may call a marker or dashes."""

OPEN = ("open", "ring", "hollow", "empty")
"""What a caption may call markers that are not filled, where a figure has filled ones, too."""

STROKES = ("line", "curve", "path", "bar", "stroke")
"""What a caption may call a line that is not broken."""

UNKNOWN = "a shape of its own"
"""The marker of a scatter plot that is none of :data:`NAMES`; nothing can name it."""


def small(made: Figure, widest: float) -> list[str]:
    """Texts whose letters are smaller than eight points where the figure is shown."""
    shown = min(1, widest / made.get_figwidth())
    return [f"{t.get_fontsize() * shown:.1f} points: {t.get_text()!r}" for t in written(made)
            if t.get_fontsize() * shown < plotting.SMALLEST - 0.01]


def written(made: Figure) -> Iterator[Text]:
    """What a reader sees of a figure's texts: those of ticks beyond an axis's ends are hidden."""
    hidden: set[int] = set()
    for axis in (axis for axes in made.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        slack = 1e-9 * (high - low)
        away = not (axis.get_visible() and axis.axes.axison)
        hidden |= {id(text) for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks())
                   for text in (tick.label1, tick.label2)
                   if away or not low - slack <= tick.get_loc() <= high + slack}
        hidden |= {id(axis.label)} if away else set()
    yield from (text for text in made.findobj(Text) if text.get_text().strip()
                and text.get_visible() and id(text) not in hidden)


def cut(made: Figure) -> list[str]:
    """Texts that the figure's edge cuts."""
    edge = made.bbox.padded(1)
    return [f"cut: {t.get_text()!r}" for t in written(made)
            if not (edge.contains(*(box := t.get_window_extent()).min) and edge.contains(*box.max))]


def overlapping(made: Figure) -> list[str]:
    """Texts that stand over one another; slanted ones are left out, whose boxes are too large."""
    level = [(t, t.get_window_extent()) for t in written(made) if t.get_rotation() % 90 == 0]
    return [f"overlap: {one.get_text()!r} and {other.get_text()!r}"
            for k, (one, box) in enumerate(level) for other, its in level[k + 1:]
            if (both := Bbox.intersection(box, its)) and min(both.width, both.height) > 1]


def legends(made: Figure) -> list[Legend]:
    """All legends of a drawn figure and of its axes."""
    return [*made.legends, *(axes.get_legend() for axes in made.axes if axes.get_legend())]


def over_data(made: Figure) -> list[str]:
    """Legends that stand over data."""
    return [f"legend {[t.get_text() for t in placed.get_texts()]} over {len(under)}: {under[0]}"
            for placed in legends(made) if (under := covered(placed))]


def labels(made: Figure) -> Iterator[tuple[str, bool]]:
    """The label of each series of a figure, and whether it is named where a reader sees it."""
    named = {t.get_text() for placed in legends(made) for t in placed.get_texts()}
    named |= {t.get_text() for axes in made.axes for t in (*axes.texts, axes.title)}
    for axes in made.axes:
        for one in (*axes.lines, *axes.collections, *axes.patches, *axes.containers):
            label = str(one.get_label())
            if label and not label.startswith("_"):
                yield label, label in named


def unnamed(made: Figure) -> list[str]:
    """Labelled series that are in no legend, and no text of the figure either."""
    return sorted({label for label, there in labels(made) if not there})


def signs(artist: Artist) -> set[str]:
    """Markers and dashes of a line, or the markers of a scatter plot."""
    if isinstance(artist, PathCollection):
        hollow = all(transparent(colour) for colour in artist.get_facecolor())
        return {kind(marker_of(path), hollow) for path in artist.get_paths()}
    if not isinstance(artist, Line2D):
        return set()
    found = {kind(str(artist.get_marker()), transparent(artist.get_markerfacecolor()))}
    found -= {"None", "", " ", "none"}
    if artist.get_linestyle() not in ("-", "None", "", " "):
        found.add(str(artist.get_linestyle()))
    return found


def transparent(colour: Any) -> bool:
    """Whether a marker of this face is open: without a colour, or white as the page."""
    return to_rgba(colour)[3] == 0 or to_hex(colour) == "#ffffff"


def kind(marker: str, hollow: bool) -> str:
    """A marker, with a word before it if it is open; crosses and strokes have nothing to fill."""
    filled = marker in Line2D.filled_markers
    return f"open {marker}" if hollow and filled else marker


def marker_of(path: Path) -> str:
    """The marker that a scatter plot draws as this path; the plot itself no longer knows."""
    for marker in (name for name in NAMES if len(name) == 1 and name != ":"):
        style = MarkerStyle(marker)
        its = style.get_path().transformed(style.get_transform())
        if its.vertices.shape == path.vertices.shape and np.allclose(its.vertices, path.vertices):
            return marker
    return UNKNOWN


def in_words(caption: str, names: Iterable[str]) -> bool:
    """Whether a caption has one of these names, in the singular or the plural."""
    return bool(re.search(rf"(?<!\w)({'|'.join(map(re.escape, names))})(s|es)?(?!\w)",
                          caption.lower()))


def explained(made: Figure, caption: str) -> set[str]:
    """Markers and dashes that a legend shows, the caption names, or a text that is their label."""
    shown = {sign for placed in legends(made) for handle in placed.legend_handles
             for sign in signs(handle)}
    shown |= {sign for axes in made.axes for one in axes.containers
              if isinstance(one, Container) and not str(one.get_label()).startswith("_")
              for line in one.get_children() for sign in signs(line)}
    texts = {t.get_text() for axes in made.axes for t in axes.texts}
    shown |= {sign for axes in made.axes for one in (*axes.lines, *axes.collections)
              if one.get_label() in texts for sign in signs(one)}
    shown |= {sign for sign, names in NAMES.items() if in_words(caption, names)}
    return shown | ({f"open {sign}" for sign in shown} if in_words(caption, OPEN) else set())


def unexplained(made: Figure, caption: str) -> list[str]:
    """Markers and dashes that no legend shows, no caption names, and no text has for its label."""
    known = explained(made, caption)
    used = {sign for axes in made.axes for one in data(axes)
            if points(one) and id(one) not in of_containers(made) for sign in signs(one)}
    known |= {sign for sign in used if sign[5:] in known and sign[5:] not in used}
    return sorted(used - known)


def of_containers(made: Figure) -> set[int]:
    """The parts of bars and error bars: their container's label speaks for them."""
    return {id(part) for axes in made.axes for one in axes.containers
            for part in one.get_children()}


def points(artist: Artist) -> int:
    """How many points a line or a scatter plot has."""
    if isinstance(artist, Line2D):
        return len(artist.get_xdata())
    return len(artist.get_offsets()) if isinstance(artist, PathCollection) else 0


def strokes(artist: Artist) -> set[str]:
    """The colours of the unbroken lines that an artist draws, but for thin grey ones.

    Those are guides: they lead the eye and are no data, as a grid or an axis is none.
    """
    if isinstance(artist, LineCollection):
        drawn = zip(artist.get_colors(), np.resize(artist.get_linewidths(),
                                                   len(artist.get_colors())), strict=True)
    elif isinstance(artist, Line2D) and points(artist) > 1 and artist.get_linestyle() == "-":
        drawn = [(artist.get_color(), artist.get_linewidth())]
    else:
        return set()
    return {to_hex(colour) for colour, wide in drawn
            if not (wide <= 1 and np.ptp(to_rgb(colour)) < 0.05 and min(to_rgb(colour)) > 0.2)}


def known_colours(made: Figure) -> set[str]:
    """Colours of lines that a reader can name: of a legend's signs, of words, of named series.

    Words in black are none: every axis has some, and they name no line by their colour.
    """
    named = {t.get_text() for axes in made.axes for t in (*axes.texts, axes.title)}
    signs = [h for placed in legends(made) for h in placed.legend_handles]
    signs += [one for axes in made.axes for one in (*axes.lines, *axes.collections)
              if one.get_label() in named]
    found = {to_hex(h.get_color()) for h in signs if isinstance(h, Line2D)}
    found |= {to_hex(h.get_facecolor()) for h in signs if isinstance(h, Patch)}
    found |= {colour for h in signs if isinstance(h, LineCollection) for colour in strokes(h)}
    found |= {to_hex(t.get_color()) for axes in made.axes
              for t in (*axes.texts, axes.title, axes.xaxis.label, axes.yaxis.label)
              if to_hex(t.get_color()) != "#000000"}
    return found


def lines_without_words(made: Figure, caption: str) -> list[str]:
    """Colours of unlabelled lines that nothing on a figure, nor its caption, tells a reader.

    A legend's grey line stands for lines of any colour. The only colour of a panel is what its
    title or its axis says. What has a label is held by :func:`unnamed`; a colour bar has none.
    """
    grey = any(np.ptp(to_rgb(h.get_color())) == 0 and h.get_linestyle() == "-"
               and to_hex(h.get_color()) != "#000000" for placed in legends(made)
               for h in placed.legend_handles if isinstance(h, Line2D))
    if grey or in_words(caption, STROKES):
        return []
    known, found = known_colours(made), set()
    for axes in (a for a in made.axes if a.get_label() != "<colorbar>"):
        drawn = [(one, strokes(one)) for one in data(axes) if id(one) not in of_containers(made)]
        said = axes.get_title() or axes.get_ylabel()
        if said and len(set().union(*(colours for _, colours in drawn))) == 1:
            continue
        for one, colours in drawn:
            if str(one.get_label()).startswith("_"):
                found |= colours - known
    return sorted(found)


def faults(made: Figure, caption: str, widest: float = plotting.WIDEST) -> list[str]:
    """All that keeps a drawn figure from being read where it is shown so wide, in inches."""
    wide = made.get_figwidth() > widest + 0.01
    return [*(["wider than it is shown"] if wide else []), *small(made, widest), *over_data(made),
            *cut(made), *overlapping(made),
            *(f"in no legend: {label}" for label in unnamed(made)),
            *(f"not explained: {sign}" for sign in unexplained(made, caption)),
            *(f"a line that nothing names: {c}" for c in lines_without_words(made, caption))]
