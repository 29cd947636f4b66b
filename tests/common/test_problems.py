"""The collection against MINPACK's solver: published minima are where they should be."""

import inspect
import re

import numpy as np
import pytest
import torch
from scipy.optimize import leastsq
from torch.func import jacfwd

from common.errors import UserError
from common.problems import PROBLEMS, problem

SIZES = [("watson", {"n": 9}), ("watson", {"n": 12}), ("penalty_1", {"n": 10}),
         ("penalty_2", {"n": 10}), *(("chebyquad", {"n": n}) for n in (1, 2, 3, 4, 5, 6, 7, 9, 10)),
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
    known = (*p.minima, 2.79506e-5) if name == "trigonometric" else p.minima  # a known other one
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


def test_minima_are_those_of_the_published_sizes():
    assert problem("biggs").minima == (0.0, 5.65565e-3) and problem("biggs", m=20).minima == (0.0,)
    at = torch.tensor([1, 10, 1, 5, 4, 3], dtype=torch.float64)
    assert problem("biggs", m=20).f(at).item() == pytest.approx(0, abs=1e-30)
    assert problem("trigonometric").f(torch.zeros(10, dtype=torch.float64)) == 0
    for other in (problem("jennrich_sampson", m=5), problem("brown_dennis", m=10),
                  problem("chebyquad", n=11), problem("chebyquad", n=7, m=9)):
        assert not other.minima


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_problem_has_its_size_or_says_which_it_can_have(name):
    sizes = [{k: v} for k in inspect.signature(PROBLEMS[name]).parameters
             for v in (-3, 0, *range(1, 14), 2.0, True, 200)]
    for size in sizes:
        try:
            p = problem(name, **size)
        except UserError as e:
            assert re.fullmatch(rf"problem '{name}' with [nm]=\S+: expected .*", str(e))
            continue
        r = p.residuals(p.x())
        assert r.shape == (p.m,) and r.isfinite().all(), size
        assert "n" not in size or p.n == size["n"]


@pytest.mark.parametrize(("name", "size", "expected"), [
    ("rosenbrock", {"n": 3}, r"'rosenbrock' with n=3: expected a multiple of 2 of at least 2"),
    ("powell_singular", {"n": 6}, "n=6: expected a multiple of 4 of at least 4"),
    ("watson", {"n": 32}, "n=32: expected a whole number from 2 to 31"),
    ("gulf", {"m": 101}, "m=101: expected a whole number from 3 to 100"),
    ("chebyquad", {"n": 8, "m": 7}, "n=8: expected a whole number from 1 to 7"),
    ("trigonometric", {"n": 2.5}, r"n=2\.5: expected a whole number of at least 1")])
def test_sizes_the_paper_does_not_have(name, size, expected):
    with pytest.raises(UserError, match=expected):
        problem(name, **size)


def test_bad_names_and_sizes():
    with pytest.raises(UserError, match=r"unknown problem 'rosenbrok'.*rosenbrock"):
        problem("rosenbrok")
    with pytest.raises(UserError, match="problem 'wood' has no n to choose"):
        problem("wood", n=8)
