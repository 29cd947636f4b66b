"""Every committed figure can be read at the size at which a report shows it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from common.evidence import picture, plotting
from common.evidence.generated import for_gallery
from common.evidence.legends import data
from common.evidence.paper import Paper, paper_names, papers
from common.files import ROOT
from common.running import forms
from tests.common.evidence.faults import UNKNOWN, faults
from tests.common.few import few_of


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


def scattered(x, marker="D", **options):
    """A figure with a line that its title names, and a scatter plot."""
    made, axes = drawn(color="C0")
    axes.set_title("a line")
    axes.scatter(x, x, marker=marker, color="red", **options)
    return made


def open_beside_filled():
    made, axes = drawn(marker="o", ls="", label="a")
    axes.plot([0, 1], [1, 0], "o", mfc="white")
    axes.legend(loc="upper center")
    return made


def line_without_label(**line):
    """A figure with a line that has a label, and one that has none."""
    made, axes = drawn(color="C0", label="a")
    axes.plot([0, 1], [1, 0], **{"color": "red"} | line)
    axes.text(0.7, 0.3, "a")
    return made


def strokes_without_label():
    made, axes = drawn(color="C0", label="a")
    axes.vlines([0.2, 0.4], 0, 1, color="red")
    axes.text(0.7, 0.3, "a")
    return made


@pytest.mark.parametrize(("make", "said"), [
    (small_letters, "7.0 points: 'small'"), (small_where_shown, "wider than it is shown"),
    (cut_label, "cut: 'a label"), (one_text_over_another, "overlap: 'one text' and 'another'"),
    (lambda: legend_over(lambda axes: axes.plot([0, 1], [0, 1])), "legend ['a'] over 1"),
    (lambda: legend_over(lambda axes: axes.plot([0.5], [0.5], "o")), "legend ['a'] over 1"),
    (lambda: legend_over(lambda axes: axes.bar([0.5], [1], 0.01)), "legend ['a'] over 1"),
    (lambda: legend_over(lambda axes: axes.scatter([0, 0.5], [0, 0.5])), "legend ['a'] over 1"),
    (lambda: legend_over(lambda axes: axes.scatter([0.5], [0.5])), "legend ['a'] over 1"),
    (lambda: legend_over(lambda axes: axes.scatter([0.5], [0.7], 8000)), "legend ['a'] over 1"),
    (lambda: legend_over(lambda axes: axes.fill_between([0, 1], 0, 1)), "legend ['a'] over 1"),
    (lambda: legend_over(lambda axes: axes.vlines([0.5], 0, 1)), "legend ['a'] over 1"),
    (lambda: legend_over(lambda axes: axes.axvline(0.5)), "legend ['a'] over 1"),
    (lambda: legend_over(lambda axes: axes.text(0.5, 0.5, "direct")), "legend ['a'] over 1"),
    (label_without_legend, "in no legend: a"), (marker_without_label, "not explained: o"),
    (dashes_without_label, "not explained: --"), (open_beside_filled, "not explained: open o"),
    (lambda: scattered([0.5]), "not explained: D"),
    (lambda: scattered([0, 0.5]), "not explained: D"),
    (lambda: scattered([0.5], label="b"), "in no legend: b"),
    (lambda: scattered([0.5], marker=(5, 2)), f"not explained: {UNKNOWN}"),
    (line_without_label, "a line that nothing names: #ff0000"),
    (lambda: line_without_label(color="black"), "a line that nothing names: #000000"),
    (lambda: line_without_label(color="grey"), "a line that nothing names: #808080"),
    (strokes_without_label, "a line that nothing names: #ff0000")])
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


@pytest.mark.parametrize(("make", "caption"), [
    (lambda: line_without_label(color="C0"), ""),  # the other line's label speaks for both
    (lambda: line_without_label(color="grey", lw=0.8), ""),  # a guide
    (line_without_label, "The lines cross."), (strokes_without_label, "Strokes: what was."),
    (open_beside_filled, "Open circles: published."),
    (lambda: drawn(marker="o", mfc="none", ls="")[0], "Circles: published."),
    (lambda: scattered([0.5]), "A line, and diamonds.")])
def test_what_is_named_needs_no_legend(make, caption):
    with plotting.style():
        made = make()
        made.draw_without_rendering()
    assert faults(made, caption) == []


def test_a_words_colour_or_a_grey_sign_names_lines_of_that_colour_or_any():
    for add in (lambda axes: axes.text(0.1, 0.7, "the other", color="red"),
                lambda axes: (axes.plot([], [], color="grey", label="each"),
                              axes.legend(loc="upper center"))):
        with plotting.style():
            made = line_without_label()
            axes, = made.axes
            axes.set_ylim(0, 2)
            add(axes)
            made.draw_without_rendering()
        assert faults(made, "") == []


def test_the_picture_of_exports_can_be_read():
    made = forms.picture(forms.recorded())
    with plotting.style():
        made.draw_without_rendering()
    (caption,) = re.findall(r"!\[(.*)\]\(exports.svg\)", (ROOT / "papers/STUDY.md").read_text())
    assert faults(made, caption) == []


def without_runs(paper: Paper, folder: Path) -> Paper:
    """The paper as it was before its first run, its tables in a folder without results."""
    (folder / "published").symlink_to(paper.folder / "published")
    paper.folder, paper.results = folder, {}
    return paper


@pytest.mark.parametrize("runs", ["with its runs", "before the first"])
@pytest.mark.parametrize("name", few_of(paper_names(), "batchnorm", "lbfgs"))
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
