"""The problems of variable size: nos. 20 to 35 of the paper, which include nos. 1 and 13."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from common.problems.one import Problem, check_size, count


def rosenbrock(n: int = 2) -> Problem:
    """Nos. 1 and 21: a curved valley for every pair of unknowns."""
    check_size("rosenbrock", 2, 2, n=n)

    def r(x: Tensor) -> Tensor:
        odd, even = x[0::2], x[1::2]
        return torch.stack([10 * (even - odd**2), 1 - odd], 1).flatten()
    return Problem("rosenbrock", 1 if n == 2 else 21, r, (-1.2, 1.0) * (n // 2), n, (0.0,))


def powell_singular(n: int = 4) -> Problem:
    """Nos. 13 and 22: at the minimum the Jacobian has only half its full rank."""
    check_size("powell_singular", 4, 4, n=n)

    def r(x: Tensor) -> Tensor:
        x1, x2, x3, x4 = x.reshape(-1, 4).T
        return torch.stack([x1 + 10 * x2, math.sqrt(5) * (x3 - x4), (x2 - 2 * x3) ** 2,
                            math.sqrt(10) * (x1 - x4) ** 2], 1).flatten()
    start = (3.0, -1.0, 0.0, 1.0) * (n // 4)
    return Problem("powell_singular", 13 if n == 4 else 22, r, start, n, (0.0,))


def watson(n: int = 6) -> Problem:
    """No. 20: a polynomial that solves a differential equation."""
    check_size("watson", 2, most=31, n=n)

    def r(x: Tensor) -> Tensor:
        j = count(0, n - 1, x)
        powers = (count(1, 29, x) / 29)[:, None] ** j
        slope = powers[:, :-1] @ (j[1:] * x[1:])
        return torch.cat([slope - (powers @ x) ** 2 - 1,
                          torch.stack([x[0], x[1] - x[0] ** 2 - 1])])
    known = {6: (2.28767e-3,), 9: (1.39976e-6,), 12: (4.72238e-10,)}
    return Problem("watson", 20, r, (0.0,) * n, 31, known.get(n, ()))


def penalty_1(n: int = 4) -> Problem:
    """No. 23: the first penalty function."""
    check_size("penalty_1", n=n)

    def r(x: Tensor) -> Tensor:
        return torch.cat([math.sqrt(1e-5) * (x - 1), (x.square().sum() - 0.25)[None]])
    known = {4: (2.24997e-5,), 10: (7.08765e-5,)}
    return Problem("penalty_1", 23, r, tuple(map(float, range(1, n + 1))), n + 1, known.get(n, ()))


def penalty_2(n: int = 4) -> Problem:
    """No. 24: the second penalty function."""
    check_size("penalty_2", n=n)

    def r(x: Tensor) -> Tensor:
        a, i, e = math.sqrt(1e-5), count(2, n, x), torch.exp(x / 10)
        y = torch.exp(i / 10) + torch.exp((i - 1) / 10)
        j = count(1, n, x)
        return torch.cat([(x[0] - 0.2)[None], a * (e[1:] + e[:-1] - y),
                          a * (e[1:] - math.exp(-0.1)),
                          (((n - j + 1) * x.square()).sum() - 1)[None]])
    known = {4: (9.37629e-6,), 10: (2.93660e-4,)}
    return Problem("penalty_2", 24, r, (0.5,) * n, 2 * n, known.get(n, ()))


def variably_dimensioned(n: int = 10) -> Problem:
    """No. 25: two residuals more than unknowns, in which all unknowns are summed."""
    check_size("variably_dimensioned", n=n)

    def r(x: Tensor) -> Tensor:
        s = (count(1, n, x) * (x - 1)).sum()
        return torch.cat([x - 1, torch.stack([s, s**2])])
    return Problem("variably_dimensioned", 25, r, tuple(1 - j / n for j in range(1, n + 1)), n + 2,
                   (0.0,))


def trigonometric(n: int = 10) -> Problem:
    """No. 26: has many minima besides f = 0, such as 2.79506e-5 for n = 10."""
    check_size("trigonometric", n=n)

    def r(x: Tensor) -> Tensor:
        return n - torch.cos(x).sum() + count(1, n, x) * (1 - torch.cos(x)) - torch.sin(x)
    return Problem("trigonometric", 26, r, (1 / n,) * n, n, (0.0,))


def brown_almost_linear(n: int = 10) -> Problem:
    """No. 27: linear except for one product; has a second minimum, f = 1."""
    check_size("brown_almost_linear", n=n)

    def r(x: Tensor) -> Tensor:
        return torch.cat([x[:-1] + x.sum() - (n + 1), (torch.prod(x) - 1)[None]])
    return Problem("brown_almost_linear", 27, r, (0.5,) * n, n, (0.0, 1.0))


def discrete_boundary_value(n: int = 10) -> Problem:
    """No. 28: a discretised differential equation with fixed boundary values."""
    check_size("discrete_boundary_value", n=n)

    def r(x: Tensor) -> Tensor:
        h = 1 / (n + 1)
        t, held = h * count(1, n, x), x.new_zeros(1)
        return (2 * x - torch.cat([held, x[:-1]]) - torch.cat([x[1:], held])
                + h**2 * (x + t + 1) ** 3 / 2)
    start = tuple(j / (n + 1) * (j / (n + 1) - 1) for j in range(1, n + 1))
    return Problem("discrete_boundary_value", 28, r, start, n, (0.0,))


def discrete_integral(n: int = 10) -> Problem:
    """No. 29: the same differential equation as a discretised integral equation."""
    check_size("discrete_integral", n=n)

    def r(x: Tensor) -> Tensor:
        h = 1 / (n + 1)
        t = h * count(1, n, x)
        below = t[:, None] >= t[None]
        kernel = torch.where(below, (1 - t)[:, None] * t[None], t[:, None] * (1 - t)[None])
        return x + h / 2 * kernel @ (x + t + 1) ** 3
    start = tuple(j / (n + 1) * (j / (n + 1) - 1) for j in range(1, n + 1))
    return Problem("discrete_integral", 29, r, start, n, (0.0,))


def broyden_tridiagonal(n: int = 10) -> Problem:
    """No. 30: every residual depends on neighbouring unknowns only."""
    check_size("broyden_tridiagonal", n=n)

    def r(x: Tensor) -> Tensor:
        held = x.new_zeros(1)
        return ((3 - 2 * x) * x - torch.cat([held, x[:-1]]) - 2 * torch.cat([x[1:], held]) + 1)
    return Problem("broyden_tridiagonal", 30, r, (-1.0,) * n, n, (0.0,))


def broyden_banded(n: int = 10) -> Problem:
    """No. 31: a banded Jacobian with five subdiagonals and one superdiagonal."""
    check_size("broyden_banded", n=n)

    def r(x: Tensor) -> Tensor:
        i = count(1, n, x)
        away = i[None] - i[:, None]
        near = ((away >= -5) & (away <= 1) & (away != 0)).to(x.dtype)
        return x * (2 + 5 * x**2) + 1 - near @ (x * (1 + x))
    return Problem("broyden_banded", 31, r, (-1.0,) * n, n, (0.0,))


def linear_full_rank(n: int = 5, m: int = 10) -> Problem:
    """No. 32: linear residuals whose matrix has full rank."""
    check_size("linear_full_rank", m=m)
    check_size("linear_full_rank", most=m, n=n)

    def r(x: Tensor) -> Tensor:
        return torch.cat([x, x.new_zeros(m - n)]) - 2 / m * x.sum() - 1
    return Problem("linear_full_rank", 32, r, (1.0,) * n, m, (float(m - n),))


def linear_rank_1(n: int = 5, m: int = 10) -> Problem:
    """No. 33: linear residuals whose matrix has rank 1."""
    check_size("linear_rank_1", m=m)
    check_size("linear_rank_1", most=m, n=n)

    def r(x: Tensor) -> Tensor:
        return count(1, m, x) * (count(1, n, x) * x).sum() - 1
    return Problem("linear_rank_1", 33, r, (1.0,) * n, m, (m * (m - 1) / (2 * (2 * m + 1)),))


def linear_rank_1_zeros(n: int = 5, m: int = 10) -> Problem:
    """No. 34: the same, with rows and columns of zeros."""
    check_size("linear_rank_1_zeros", 3, m=m)
    check_size("linear_rank_1_zeros", 3, most=m, n=n)

    def r(x: Tensor) -> Tensor:
        s = (count(2, n - 1, x) * x[1:-1]).sum()
        return torch.cat([x.new_zeros(1), count(1, m - 2, x) * s, x.new_zeros(1)]) - 1
    known = (m * m + 3 * m - 6) / (2 * (2 * m - 3))
    return Problem("linear_rank_1_zeros", 34, r, (1.0,) * n, m, (known,))


def chebyquad(n: int = 8, m: int | None = None) -> Problem:
    """No. 35: the abscissae of a quadrature rule, by shifted Chebyshev polynomials."""
    m = n if m is None else m
    check_size("chebyquad", n=n)
    check_size("chebyquad", m=m)
    check_size("chebyquad", most=m, n=n)

    def r(x: Tensor) -> Tensor:
        before, now = torch.ones_like(x), 2 * x - 1
        twice, rows = 2 * now, []
        for i in range(1, m + 1):
            integral = -1 / (i * i - 1) if i % 2 == 0 else 0.0
            rows.append(now.sum() / n - integral)
            before, now = now, twice * now - before
        return torch.stack(rows)
    known = {8: (3.51687e-3,), 10: (6.50395e-3,)} | dict.fromkeys((*range(1, 8), 9), (0.0,))
    return Problem("chebyquad", 35, r, tuple(j / (n + 1) for j in range(1, n + 1)), m,
                   known.get(n, ()) if m == n else ())
