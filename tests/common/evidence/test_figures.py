"""Every committed figure can be read at the size at which a report shows it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from matplotlib.axes import Axes
from matplotlib.container import Container
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from common.evidence import picture, plotting
from common.evidence.generated import for_gallery
from common.evidence.legends import covered, data
from common.evidence.paper import Paper, paper_names, papers
from common.running import forms

NAMES = {"o": ("circle", "dot", "ring"), ".": ("dot", "circle"), ",": ("dot",), "x": ("cross",),
         "X": ("cross",), "+": ("(+)", "plus"), "s": ("square",), "*": ("star",), "|": ("stroke",),
         "^": ("triangle",), "v": ("triangle",),
         "<": ("triangle", "arrow"), ">": ("triangle", "arrow"),
         "_": ("bar",), "D": ("diamond",), "d": ("diamond",),
         "--": ("dashed", "broken"), ":": ("dotted",), "-.": ("dash-dotted",)}
"""What a caption may call a marker or dashes."""


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


def signs(line: Line2D) -> set[str]:
    """Markers and dashes of a line."""
    found = {str(line.get_marker())} - {"None", "", " ", "none"}
    if line.get_linestyle() not in ("-", "None", "", " "):
        found.add(str(line.get_linestyle()))
    return found


def explained(made: Figure, caption: str) -> set[str]:
    """Markers and dashes that a legend shows, the caption names, or a text that is their label."""
    shown = {sign for placed in legends(made) for handle in placed.legend_handles
             for line in ([handle] if isinstance(handle, Line2D) else [])
             for sign in signs(line)}
    shown |= {sign for axes in made.axes for one in axes.containers
              if isinstance(one, Container) and not str(one.get_label()).startswith("_")
              for line in one.get_children() if isinstance(line, Line2D) for sign in signs(line)}
    texts = {t.get_text() for axes in made.axes for t in axes.texts}
    shown |= {sign for axes in made.axes for line in axes.lines if line.get_label() in texts
              for sign in signs(line)}
    return shown | {sign for sign, names in NAMES.items()
                    if re.search(rf"(?<!\w)({'|'.join(map(re.escape, names))})(s|es)?(?!\w)",
                                 caption.lower())}


def unexplained(made: Figure, caption: str) -> list[str]:
    """Markers and dashes that no legend shows, no caption names, and no text has for its label."""
    known = explained(made, caption)
    of_bars = {id(line) for axes in made.axes for one in axes.containers
               for line in one.get_children()}
    return sorted({sign for axes in made.axes for line in data(axes)
                   if isinstance(line, Line2D) and len(line.get_xdata()) and id(line) not in of_bars
                   for sign in signs(line) - known})


def faults(made: Figure, caption: str, widest: float = plotting.WIDEST) -> list[str]:
    """All that keeps a drawn figure from being read where it is shown so wide, in inches."""
    wide = made.get_figwidth() > widest + 0.01
    return [*(["wider than it is shown"] if wide else []), *small(made, widest), *over_data(made),
            *cut(made), *overlapping(made),
            *(f"in no legend: {label}" for label in unnamed(made)),
            *(f"not explained: {sign}" for sign in unexplained(made, caption))]


def drawn(**line) -> tuple[Figure, Axes]:
    """A figure with one line from corner to corner."""
    made, axes = plotting.figure(width=4, height=3)
    axes.plot([0, 1], [0, 1], **line)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    return made, axes


def small_letters():
    made, axes = drawn()
    axes.set_title("small", fontsize=7)
    return made


def small_where_shown():
    made, _ = drawn()
    made.set_figwidth(12)
    return made


def cut_label():
    made, axes = drawn()
    axes.set_ylabel("a label that is much longer than the axes beside which it stands are high")
    return made


def one_text_over_another():
    made, axes = drawn()
    axes.text(0.5, 0.2, "one text")
    axes.text(0.52, 0.2, "another")
    return made


def legend_over(draw):
    made, axes = plotting.figure(width=4, height=3)
    draw(axes)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.plot([], [], label="a")
    axes.legend(loc="center")
    return made


def label_without_legend():
    return drawn(label="a")[0]


def marker_without_label():
    return drawn(marker="o", ls="")[0]


def dashes_without_label():
    return drawn(ls="--")[0]


@pytest.mark.parametrize(("make", "said"), [
    (small_letters, "7.0 points: 'small'"), (small_where_shown, "wider than it is shown"),
    (cut_label, "cut: 'a label"), (one_text_over_another, "overlap: 'one text' and 'another'"),
    (lambda: legend_over(lambda axes: axes.plot([0, 1], [0, 1])), "legend ['a'] over 1"),
    (lambda: legend_over(lambda axes: axes.plot([0.5], [0.5], "o")), "legend ['a'] over 1"),
    (lambda: legend_over(lambda axes: axes.bar([0.5], [1], 0.01)), "legend ['a'] over 1"),
    (lambda: legend_over(lambda axes: axes.scatter([0, 0.5], [0, 0.5])), "legend ['a'] over 1"),
    (lambda: legend_over(lambda axes: axes.fill_between([0, 1], 0, 1)), "legend ['a'] over 1"),
    (lambda: legend_over(lambda axes: axes.vlines([0.5], 0, 1)), "legend ['a'] over 1"),
    (lambda: legend_over(lambda axes: axes.axvline(0.5)), "legend ['a'] over 1"),
    (lambda: legend_over(lambda axes: axes.text(0.5, 0.5, "direct")), "legend ['a'] over 1"),
    (label_without_legend, "in no legend: a"), (marker_without_label, "not explained: o"),
    (dashes_without_label, "not explained: --")])
def test_a_fault_is_found(make, said):
    with plotting.style():
        made = make()
        made.draw_without_rendering()
    assert [fault for fault in faults(made, "no sign is named here") if fault.startswith(said)]


def test_what_can_be_read_has_no_fault():
    with plotting.style():
        made, axes = drawn(ls="--", marker="o", label="a")
        axes.axvline(0.8, ls=":")  # a guide
        axes.plot([0.2], [0.1], "s")
        axes.legend(loc="upper left")
        made.draw_without_rendering()
    assert faults(made, "Squares: what was published.") == []


def test_a_label_written_beside_a_line_explains_it():
    with plotting.style():
        made, axes = drawn(ls="--", marker="o", label="a line")
        axes.text(0.1, 0.8, "a line")
        made.draw_without_rendering()
    assert faults(made, "") == []


def test_the_picture_of_exports_can_be_read():
    made = forms.picture(forms.recorded())
    with plotting.style():
        made.draw_without_rendering()
    assert faults(made, "") == []


def without_runs(paper: Paper, folder: Path) -> Paper:
    """The paper as it was before its first run, its tables in a folder without results."""
    (folder / "published").symlink_to(paper.folder / "published")
    paper.folder, paper.results = folder, {}
    return paper


@pytest.mark.parametrize("runs", ["with its runs", "before the first"])
@pytest.mark.parametrize("name", paper_names())
def test_the_gallerys_pictures_can_be_read(name, runs, tmp_path):
    """As wide as README shows them, and of one height."""
    (paper,) = papers([name])
    if runs == "before the first":
        paper = without_runs(paper, tmp_path)
    with plotting.style():
        made = for_gallery(paper)
        made.draw_without_rendering()
    assert tuple(made.get_size_inches()) == pytest.approx((plotting.GALLERY, 2.2))
    assert faults(made, "", plotting.GALLERY) == []
    assert any([*data(axes)] for axes in made.axes), "there is something to see"


@pytest.mark.slow
@pytest.mark.parametrize("name", paper_names())
def test_figures_can_be_read_where_they_are_shown(name):
    (paper,) = papers([name])
    found = {}
    with plotting.style():
        judgements = paper.judgements()
        every = picture.draw(judgements)
        verdicts = [(picture.NAME, picture.caption(judgements), every)] if every else []
        for figure, caption, made in (*verdicts, *paper.module("plots").draw(paper)):
            made.draw_without_rendering()
            found[figure] = faults(made, caption)
    assert {figure: bad for figure, bad in found.items() if bad} == {}
