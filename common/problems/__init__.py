"""The test problems of Moré, Garbow & Hillstrom (1981), a common benchmark of minimisers.

"Testing unconstrained optimization software", ACM TOMS 7, 17-41: 35 sums of squares
f(x) = Σ_i r_i(x)², each with the standard starting point. Residuals are written in torch, so that
autograd gives derivatives of any order; numbers and symbols are the paper's.
"""

from __future__ import annotations

from collections.abc import Callable

from common.errors import UserError, nearest
from common.problems import fixed, sized
from common.problems.one import Problem

__all__ = ["PROBLEMS", "Problem", "problem"]

PROBLEMS: dict[str, Callable[..., Problem]] = {make.__name__: make for make in (
    sized.rosenbrock, fixed.freudenstein_roth, fixed.powell_badly_scaled, fixed.brown_badly_scaled,
    fixed.beale, fixed.jennrich_sampson, fixed.helical_valley, fixed.bard, fixed.gaussian,
    fixed.meyer, fixed.gulf, fixed.box, sized.powell_singular, fixed.wood, fixed.kowalik_osborne,
    fixed.brown_dennis, fixed.osborne_1, fixed.biggs, fixed.osborne_2, sized.watson,
    sized.penalty_1, sized.penalty_2, sized.variably_dimensioned, sized.trigonometric,
    sized.brown_almost_linear, sized.discrete_boundary_value, sized.discrete_integral,
    sized.broyden_tridiagonal, sized.broyden_banded, sized.linear_full_rank, sized.linear_rank_1,
    sized.linear_rank_1_zeros, sized.chebyquad)}
"""Functions that make the problems, by name; those of variable size take ``n``, some ``m``."""


def problem(name: str, **sizes: int) -> Problem:
    """Make a problem by its name, with ``n`` unknowns and ``m`` residuals where it has a choice.

    Raises:
        UserError: there is no such problem, or not in that size.
    """
    if name not in PROBLEMS:
        raise UserError(f"unknown problem {name!r}{nearest(name, PROBLEMS)}")
    try:
        return PROBLEMS[name](**sizes)
    except TypeError as e:
        raise UserError(f"problem {name!r} has no {' and '.join(sizes)} to choose") from e
