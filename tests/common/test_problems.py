"""The collection against MINPACK's solver: published minima are where they should be."""

import numpy as np
import pytest
import torch
from scipy.optimize import leastsq
from torch.func import jacfwd

from common.errors import UserError
from common.problems import PROBLEMS, problem

SIZES = [("watson", {"n": 9}), ("watson", {"n": 12}), ("penalty_1", {"n": 10}),
         ("penalty_2", {"n": 10}), ("chebyquad", {"n": 9}), ("chebyquad", {"n": 10}),
         ("rosenbrock", {"n": 10}), ("powell_singular", {"n": 12})]
ALL = [(name, {}) for name in PROBLEMS] + SIZES


@pytest.mark.parametrize(("name", "sizes"), ALL, ids=lambda v: str(v) if v else "")
def test_the_published_minimum_is_found(name, sizes):
    p = problem(name, **sizes)
    x = p.x()
    assert x.shape == (p.n,) and p.residuals(x).shape == (p.m,)
    found, *_ = leastsq(lambda x: p.residuals(torch.from_numpy(x)).numpy(), x.numpy(),
                        Dfun=lambda x: jacfwd(p.residuals)(torch.from_numpy(x)).numpy(),
                        full_output=True, ftol=1e-13, xtol=1e-11, maxfev=3000)
    f = p.f(torch.from_numpy(found)).item()
    known = p.minima or (0.0, 2.79506e-5)  # trigonometric: none published, this one is known
    assert any(f == pytest.approx(v, rel=1e-5, abs=1e-15) for v in known), f


def test_every_number_of_the_paper_is_there_once():
    numbers = [problem(name).number for name in PROBLEMS]
    assert sorted([*numbers, 21, 22]) == list(range(1, 36))
    assert problem("rosenbrock", n=4).number == 21 and problem("powell_singular", n=8).number == 22


def test_pairs_of_rosenbrock_are_independent():
    two, six = problem("rosenbrock"), problem("rosenbrock", n=6)
    x = torch.randn(6, dtype=torch.float64)
    expected = sum(two.f(pair) for pair in x.reshape(3, 2))
    torch.testing.assert_close(six.f(x), expected)


def test_starts_are_scaled_as_minpack_scales_them():
    assert problem("rosenbrock").x(10).tolist() == [-12.0, 10.0]
    assert problem("watson").x(10).tolist() == [10.0] * 6, "zeros cannot be scaled"
    assert problem("watson").x().tolist() == [0.0] * 6


def test_a_helix_closes():
    p = problem("helical_valley")
    quarter = [p.residuals(torch.tensor(x, dtype=torch.float64))[0].item() for x in
               ([1.0, 1e-12, 0.0], [-1.0, 1e-12, 0.0], [1e-12, 1.0, 0.0], [1e-12, -1.0, 0.0])]
    np.testing.assert_allclose(quarter, [0, -50, -25, 25], atol=1e-9)


def test_bad_names_and_sizes():
    with pytest.raises(UserError, match=r"unknown problem 'rosenbrok'.*rosenbrock"):
        problem("rosenbrok")
    with pytest.raises(UserError, match="problem 'wood' has no n to choose"):
        problem("wood", n=8)
