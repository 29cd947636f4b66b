"""Figures are the same bytes for the same content."""

import numpy as np

from common import plotting


def draw(values):
    with plotting.style():
        made, axes = plotting.figure()
        plotting.band(axes, np.arange(3), values, "arm", plotting.COLOURS[0])
        axes.legend()
        return plotting.svg(made)


def test_svg_is_deterministic_and_follows_the_data():
    values = np.random.default_rng(0).random((2, 3))
    assert draw(values) == draw(values)
    assert draw(values) != draw(values + 0.1)


def test_learning_curves_are_a_png(tmp_path):
    run = {"train_loss": [[1, 2], [0.5, 0.4]], "accuracy": [[2], [0.9]]}
    path = plotting.learning_curves({"a": run}, "accuracy", tmp_path / "c.png")
    assert path.read_bytes().startswith(b"\x89PNG")
