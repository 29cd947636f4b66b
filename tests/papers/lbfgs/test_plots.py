"""Where the figures say that a path leaves the picture."""

import numpy as np
import pytest

from papers.lbfgs.plots import at_the_frame


@pytest.mark.parametrize(("points", "met"), [
    ([(0, 0), (1, 1)], []),
    ([(0, 0), (4, 0)], [(2, 0)]),
    ([(0, 0), (0, -3), (0, 0)], [(0, -1), (0, -1)]),  # away and back
    ([(0, 0), (4, 4)], [(1, 1)]),  # over the nearer side
    ([(3, 0), (3, 5)], [])])  # outside all the time
def test_a_path_is_marked_where_it_crosses_the_frame(points, met):
    found = at_the_frame(np.array(points, dtype=float), (-2, 2, -1, 1))
    assert [tuple(p) for p in found] == met
