"""Legends stand where they cover no data, inside the axes or below them."""

import pytest

from common.evidence import plotting
from common.evidence.legends import covered, legend, legend_of_all


def axes_with(*lines):
    made, axes = plotting.figure(width=4, height=3)
    for k, (x, y) in enumerate(lines):
        axes.plot(x, y, label=f"line {k}")
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="x", ylabel="y")
    return made, axes


def box(made, placed):
    made.draw_without_rendering()
    return placed.get_window_extent()


def test_a_legend_stands_where_it_is_wanted_if_it_covers_nothing_there():
    made, axes = axes_with(([0, 1], [0, 1]))
    wanted = box(made, legend(axes, "lower right"))
    assert wanted.x0 > axes.bbox.x0 + axes.bbox.width / 2
    assert wanted.y1 < axes.bbox.y0 + axes.bbox.height / 2


def test_it_goes_elsewhere_if_it_covers_something():
    made, axes = axes_with(([0, 1], [0, 1]))
    moved = legend(axes, "upper right")
    inside = box(made, moved)
    assert not covered(moved) and axes.bbox.contains(*inside.min)
    assert inside.x1 < axes.bbox.x0 + axes.bbox.width / 2  # upper left


def test_it_goes_below_the_axes_if_there_is_no_room_in_them():
    made, axes = axes_with(*(([0, 1], [k / 12] * 2) for k in range(13)))
    below = box(made, legend(axes))
    assert below.y1 <= axes.xaxis.get_tightbbox().y0
    assert made.bbox.x0 <= below.x0 and below.x1 <= made.bbox.x1 and below.y0 >= 0
    assert len(axes.get_legend().get_texts()) == 13


def test_all_panels_share_a_legend_with_each_label_once():
    made, panels = plotting.figure(2)
    for axes in panels:
        axes.plot([0, 1], [0, 1], label="both")
    panels[1].plot([0, 1], [1, 0], label="right")
    placed = legend_of_all(made, ("sign", {"marker": "o", "ls": ""}))
    assert [t.get_text() for t in placed.get_texts()] == ["both", "right", "sign"]
    assert made.legends == [placed]
    assert box(made, placed).y1 < min(axes.bbox.y0 for axes in panels)


@pytest.mark.parametrize("labels", [2, 9])
def test_a_legend_takes_as_many_columns_as_fit(labels):
    made, _ = axes_with(*(([0, 1], [0, 1]) for _ in range(labels)))
    shared = box(made, legend_of_all(made))
    assert shared.width <= made.bbox.width
    assert (shared.height > 20 * made.dpi / 72) == (labels == 9)  # more than a row


def test_columns_asked_for_are_kept_below_the_axes():
    made, axes = axes_with(*(([0, 1], [k / 12] * 2) for k in range(13)))
    placed = legend(axes, ncols=2)
    assert box(made, placed).y1 <= axes.xaxis.get_tightbbox().y0 and placed._ncols == 2
