"""Figures are the same bytes for the same content."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest

from common.evidence import plotting
from common.files import ROOT


def draw(values):
    with plotting.style():
        made, axes = plotting.figure()
        plotting.over_seeds(axes, np.arange(3), values, "arm", plotting.COLOURS[0])
        axes.legend()
        return plotting.svg(made)


def test_svg_is_deterministic_and_follows_the_data():
    values = np.random.default_rng(0).random((2, 3))
    assert draw(values) == draw(values)
    assert draw(values) != draw(values + 0.1)


def test_learning_curves_are_a_png(tmp_path):
    run = {"train_loss": [[1, 2], [0.5, 0.4]], "accuracy": [[2], [0.9]]}
    path = plotting.learning_curves({"a": run}, ["accuracy"], tmp_path / "c.png")
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("run", [{}, {"accuracy": [[2], [0.9]]}, {"train_loss": [[1], [0.5]]}])
def test_curves_that_are_not_there_are_left_out(run, tmp_path):
    path = plotting.learning_curves({"a": run}, ["accuracy"], tmp_path / "c.png")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_learning_curves_draw_what_they_are_asked_for_and_say_what_it_is(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(plotting, "png", lambda made: drawn.append(made) or b"")
    run = {"train_loss": [[1, 2], [0.5, 0.4]], "u_0": [[1, 2], [0, 1]], "u_1": [[1, 2], [0, 2]],
           "other": [[1, 2], [7, 7]]}
    plotting.learning_curves({"a": run}, ["u_0", "u_1"], tmp_path / "c.png", "part left")
    left, right = drawn[0].axes
    assert (left.get_ylabel(), right.get_ylabel()) == ("part left", "u 0, u 1")
    assert [(l.get_label(), *l.get_ydata()) for l in right.lines] == [
        ("a: u_0", 0, 1), ("a: u_1", 0, 2)]


def test_a_performance_profile_counts_solved_problems():
    _, axes = plotting.figure()
    plotting.performance_profile(axes, {"a": [10, 20, math.inf, math.inf],
                                        "b": [20, 10, 5, math.inf]})
    a, b = axes.lines
    np.testing.assert_allclose(a.get_xdata(), [1, 1, 2, 2.2])
    np.testing.assert_allclose(a.get_ydata(), [0, 0.25, 0.5, 0.5])
    np.testing.assert_allclose(b.get_ydata(), [0, 0.25, 0.5, 0.75, 0.75])


def test_labels_cover_neither_points_nor_each_other():
    made, axes = plotting.figure()
    points = [(0.5, 0.5, "first"), (0.52, 0.5, "second"), (0.5, 0.53, "third"), (0.98, 0.1, "edge")]
    for x, y, _ in points:
        axes.plot(x, y, "o", markersize=5)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    plotting.label_points(axes, points)
    made.draw_without_rendering()
    boxes = [t.get_window_extent() for t in axes.texts]
    assert [t.get_text() for t in axes.texts] == ["first", "second", "third", "edge"]
    for k, box in enumerate(boxes):
        assert not box.count_overlaps(boxes[k + 1:])
        assert not any(box.contains(*axes.transData.transform(p[:2])) for p in points)
        assert box.x1 <= axes.get_window_extent().x1


def test_a_notebooks_backend_in_the_environment_is_no_matter():
    done = subprocess.run(
        [sys.executable, "-c", "import common.evidence.plotting"], cwd=ROOT, capture_output=True,
        env=os.environ | {"MPLBACKEND": "module://there_is_no_such_backend"}, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")


def picture(y=0.5, colour="C0", label="a"):
    made, axes = plotting.figure(width=3, height=2)
    axes.plot([0, 1], [0, y], "o-", color=colour, label=label)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.legend()
    return plotting.svg(made)


def test_last_digits_make_no_other_picture():
    """They depend on the processor; so do the names that matplotlib makes of a path's digits."""
    assert picture() != picture(0.5 + 1e-6)
    assert plotting.alike(picture(), picture(0.5 + 1e-6))


@pytest.mark.parametrize("other", [{"y": 0.505}, {"colour": "C1"}, {"label": "b"}])
def test_what_a_reader_sees_does(other):
    assert not plotting.alike(picture(), picture(**other))


def test_dots_stand_in_a_column_side_by_side_or_above_one_another():
    _, axes = plotting.figure()
    plotting.dots(axes, 2, [5.0, 7.0, 6.0], "red", "s", spread=0.2, ms=3)
    plotting.dots(axes, 3, [1.0], "red", spread=0.2)
    plotting.dots(axes, 4, [1.0, 2.0], "red")
    plotting.dots(axes, 5, [], "red")
    three, one, above = axes.lines
    np.testing.assert_allclose(three.get_xdata(), [1.8, 2.0, 2.2])
    assert list(three.get_ydata()) == [5.0, 7.0, 6.0]
    assert (three.get_marker(), three.get_linestyle(), three.get_markersize()) == ("s", "None", 3)
    assert list(one.get_xdata()) == [3.0] and list(above.get_xdata()) == [4.0, 4.0]


def test_the_first_published_bar_stands_in_the_legend_of_its_axes():
    _, panels = plotting.figure(2)
    for axes in panels:
        for x, value in ((0, 5.0), (1, 6.0)):
            plotting.published_bar(axes, x, value, 0.3)
        assert axes.get_legend_handles_labels()[1] == ["published"]
        assert [list(line.get_xdata()) for line in axes.lines] == [[-0.3, 0.3], [0.7, 1.3]]
        assert list(axes.lines[1].get_ydata()) == [6.0, 6.0]


def test_signs_are_explained_without_being_drawn():
    _, axes = plotting.figure()
    plotting.explain(axes, ("a run", {"marker": "o", "ls": ""}), ("mean", {"color": "red"}))
    handles, labels = axes.get_legend_handles_labels()
    assert labels == ["a run", "mean"] and handles[0].get_marker() == "o"
    assert not any(len(h.get_xdata()) for h in handles) and handles[1].get_color() == "red"


def test_nothing_measured_is_said():
    _, axes = plotting.figure()
    plotting.empty(axes)
    assert [t.get_text() for t in axes.texts] == ["no run yet"]


def test_a_long_name_is_folded_and_leaves_the_panels_their_room(tmp_path, recwarn):
    name = ("loss_landscape/surface,start_from=papers/resnet/weights/resnet20.safetensors,"
            "view.points=31")
    run = {"train_loss": [[0, 1], [2.0, 1.0]], "accuracy": [[0, 1], [0.5, 0.9]]}
    plotting.learning_curves({name: run, name + "1": run}, ["accuracy"], tmp_path / "c.png")
    assert not [w for w in recwarn if "layout" in str(w.message)]
    assert plotting.folded(name).replace("\n", "") == name
    assert max(map(len, plotting.folded(name).splitlines())) <= 40
