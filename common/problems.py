"""The test problems of Moré, Garbow & Hillstrom (1981), on which many papers measure minimisers.

"Testing unconstrained optimization software", ACM TOMS 7, 17-41: 35 sums of squares
f(x) = Σ_i r_i(x)², each with the start from which results are published. Residuals are written in
torch, so that derivatives of any order come from autograd; numbers and symbols are the paper's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from common.errors import UserError, nearest


@dataclass(frozen=True)
class Problem:
    """One problem with its sizes chosen.

    Attributes:
        name: its key in :data:`PROBLEMS`.
        number: its number in the paper.
        residuals: r, from x (n,) to (m,), in the precision of x.
        start: the published start, (n,).
        m: how many residuals.
        minima: known values of f at its minima, the lowest first; empty where the paper gives none.
    """

    name: str
    number: int
    residuals: Callable[[Tensor], Tensor]
    start: tuple[float, ...]
    m: int
    minima: tuple[float, ...] = ()

    @property
    def n(self) -> int:
        """How many unknowns."""
        return len(self.start)

    def f(self, x: Tensor) -> Tensor:
        """Σ r², a scalar."""
        return self.residuals(x).square().sum()

    def x(self, factor: float = 1.0) -> Tensor:
        """The start in double precision, times ``factor``.

        A start of zeros cannot be scaled; it becomes ``factor`` in every place, as in MINPACK's
        tests.
        """
        x = torch.tensor(self.start, dtype=torch.float64)
        return x if factor == 1 else torch.full_like(x, factor) if not x.any() else factor * x


def count(first: int, last: int, like: Tensor) -> Tensor:
    """first, first + 1, …, last."""
    return torch.arange(first, last + 1, dtype=like.dtype, device=like.device)


def rosenbrock(n: int = 2) -> Problem:
    """Nos. 1 and 21: a curved valley for every pair of unknowns."""
    def r(x: Tensor) -> Tensor:
        odd, even = x[0::2], x[1::2]
        return torch.stack([10 * (even - odd**2), 1 - odd], 1).flatten()
    return Problem("rosenbrock", 1 if n == 2 else 21, r, (-1.2, 1.0) * (n // 2), n, (0.0,))


def freudenstein_roth() -> Problem:
    """No. 2: a second minimum far from the first."""
    def r(x: Tensor) -> Tensor:
        x1, x2 = x
        return torch.stack([-13 + x1 + ((5 - x2) * x2 - 2) * x2,
                            -29 + x1 + ((x2 + 1) * x2 - 14) * x2])
    return Problem("freudenstein_roth", 2, r, (0.5, -2.0), 2, (0.0, 48.9842))


def powell_badly_scaled() -> Problem:
    """No. 3: x₁ ≈ 10⁻⁵ and x₂ ≈ 9."""
    def r(x: Tensor) -> Tensor:
        x1, x2 = x
        return torch.stack([1e4 * x1 * x2 - 1, torch.exp(-x1) + torch.exp(-x2) - 1.0001])
    return Problem("powell_badly_scaled", 3, r, (0.0, 1.0), 2, (0.0,))


def brown_badly_scaled() -> Problem:
    """No. 4: x₁ = 10⁶ and x₂ = 2·10⁻⁶."""
    def r(x: Tensor) -> Tensor:
        x1, x2 = x
        return torch.stack([x1 - 1e6, x2 - 2e-6, x1 * x2 - 2])
    return Problem("brown_badly_scaled", 4, r, (1.0, 1.0), 3, (0.0,))


def beale() -> Problem:
    """No. 5."""
    def r(x: Tensor) -> Tensor:
        x1, x2 = x
        return x.new_tensor([1.5, 2.25, 2.625]) - x1 * (1 - x2 ** count(1, 3, x))
    return Problem("beale", 5, r, (1.0, 1.0), 3, (0.0,))


def jennrich_sampson(m: int = 10) -> Problem:
    """No. 6."""
    def r(x: Tensor) -> Tensor:
        i = count(1, m, x)
        return 2 + 2 * i - (torch.exp(i * x[0]) + torch.exp(i * x[1]))
    return Problem("jennrich_sampson", 6, r, (0.3, 0.4), m, (124.362,))


def helical_valley() -> Problem:
    """No. 7: a valley along a helix around the third axis."""
    def r(x: Tensor) -> Tensor:
        x1, x2, x3 = x
        θ = torch.atan(x2 / x1) / (2 * math.pi) + torch.where(x1 < 0, 0.5, 0.0)
        return torch.stack([10 * (x3 - 10 * θ), 10 * (torch.sqrt(x1**2 + x2**2) - 1), x3])
    return Problem("helical_valley", 7, r, (-1.0, 0.0, 0.0), 3, (0.0,))


BARD = (0.14, 0.18, 0.22, 0.25, 0.29, 0.32, 0.35, 0.39, 0.37, 0.58, 0.73, 0.96, 1.34, 2.10, 4.39)


def bard() -> Problem:
    """No. 8."""
    def r(x: Tensor) -> Tensor:
        u = count(1, 15, x)
        v = 16 - u
        return x.new_tensor(BARD) - (x[0] + u / (v * x[1] + torch.minimum(u, v) * x[2]))
    return Problem("bard", 8, r, (1.0, 1.0, 1.0), 15, (8.214877e-3,))


GAUSSIAN = (0.0009, 0.0044, 0.0175, 0.0540, 0.1295, 0.2420, 0.3521, 0.3989)
"""The first eight of fifteen values, which are symmetric."""


def gaussian() -> Problem:
    """No. 9: a bell curve fitted to its own values, rounded."""
    def r(x: Tensor) -> Tensor:
        y = x.new_tensor(GAUSSIAN + GAUSSIAN[-2::-1])
        t = (8 - count(1, 15, x)) / 2
        return x[0] * torch.exp(-x[1] * (t - x[2]) ** 2 / 2) - y
    return Problem("gaussian", 9, r, (0.4, 1.0, 0.0), 15, (1.12793e-8,))


MEYER = (34780, 28610, 23650, 19630, 16370, 13720, 11540, 9744, 8261, 7030, 6005, 5147, 4427, 3820,
         3307, 2872)


def meyer() -> Problem:
    """No. 10: an exponential that fits best with 0.0056, 6181 and 345."""
    def r(x: Tensor) -> Tensor:
        t = 45 + 5 * count(1, 16, x)
        return x[0] * torch.exp(x[1] / (t + x[2])) - x.new_tensor(MEYER)
    return Problem("meyer", 10, r, (0.02, 4000.0, 250.0), 16, (87.9458,))


def gulf(m: int = 99) -> Problem:
    """No. 11."""
    def r(x: Tensor) -> Tensor:
        t = count(1, m, x) / 100
        y = 25 + (-50 * torch.log(t)) ** (2 / 3)
        return torch.exp(-(y - x[1]).abs() ** x[2] / x[0]) - t
    return Problem("gulf", 11, r, (5.0, 2.5, 0.15), m, (0.0,))


def box(m: int = 10) -> Problem:
    """No. 12: Box's problem in three unknowns."""
    def r(x: Tensor) -> Tensor:
        t = count(1, m, x) / 10
        return (torch.exp(-t * x[0]) - torch.exp(-t * x[1])
                - x[2] * (torch.exp(-t) - torch.exp(-10 * t)))
    return Problem("box", 12, r, (0.0, 10.0, 20.0), m, (0.0,))


def powell_singular(n: int = 4) -> Problem:
    """Nos. 13 and 22: the Jacobian at the minimum has half the rank."""
    def r(x: Tensor) -> Tensor:
        x1, x2, x3, x4 = x.reshape(-1, 4).T
        return torch.stack([x1 + 10 * x2, math.sqrt(5) * (x3 - x4), (x2 - 2 * x3) ** 2,
                            math.sqrt(10) * (x1 - x4) ** 2], 1).flatten()
    start = (3.0, -1.0, 0.0, 1.0) * (n // 4)
    return Problem("powell_singular", 13 if n == 4 else 22, r, start, n, (0.0,))


def wood() -> Problem:
    """No. 14."""
    def r(x: Tensor) -> Tensor:
        x1, x2, x3, x4 = x
        return torch.stack([10 * (x2 - x1**2), 1 - x1, math.sqrt(90) * (x4 - x3**2), 1 - x3,
                            math.sqrt(10) * (x2 + x4 - 2), (x2 - x4) / math.sqrt(10)])
    return Problem("wood", 14, r, (-3.0, -1.0, -3.0, -1.0), 6, (0.0,))


KOWALIK_U = (4.0, 2.0, 1.0, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625)
KOWALIK_Y = (0.1957, 0.1947, 0.1735, 0.1600, 0.0844, 0.0627, 0.0456, 0.0342, 0.0323, 0.0235, 0.0246)


def kowalik_osborne() -> Problem:
    """No. 15; besides its minimum f falls towards 1.02734e-3 at infinity."""
    def r(x: Tensor) -> Tensor:
        u, y = x.new_tensor(KOWALIK_U), x.new_tensor(KOWALIK_Y)
        return y - x[0] * (u * (u + x[1])) / (u * (u + x[2]) + x[3])
    return Problem("kowalik_osborne", 15, r, (0.25, 0.39, 0.415, 0.39), 11,
                   (3.07505e-4, 1.02734e-3))


def brown_dennis(m: int = 20) -> Problem:
    """No. 16: residuals of a hundred thousand far from the minimum."""
    def r(x: Tensor) -> Tensor:
        t = count(1, m, x) / 5
        return ((x[0] + t * x[1] - torch.exp(t)) ** 2
                + (x[2] + x[3] * torch.sin(t) - torch.cos(t)) ** 2)
    return Problem("brown_dennis", 16, r, (25.0, 5.0, -5.0, -1.0), m, (85822.2,))


OSBORNE_1 = (
    0.844, 0.908, 0.932, 0.936, 0.925, 0.908, 0.881, 0.850, 0.818, 0.784, 0.751, 0.718, 0.685,
    0.658, 0.628, 0.603, 0.580, 0.558, 0.538, 0.522, 0.506, 0.490, 0.478, 0.467, 0.457, 0.448,
    0.438, 0.431, 0.424, 0.420, 0.414, 0.411, 0.406)


def osborne_1() -> Problem:
    """No. 17: two exponentials."""
    def r(x: Tensor) -> Tensor:
        t = 10 * count(0, 32, x)
        return x.new_tensor(OSBORNE_1) - (
            x[0] + x[1] * torch.exp(-x[3] * t) + x[2] * torch.exp(-x[4] * t))
    return Problem("osborne_1", 17, r, (0.5, 1.5, -1.0, 0.01, 0.02), 33, (5.46489e-5,))


def biggs(m: int = 13) -> Problem:
    """No. 18: six unknowns in three exponentials."""
    def r(x: Tensor) -> Tensor:
        t = count(1, m, x) / 10
        y = torch.exp(-t) - 5 * torch.exp(-10 * t) + 3 * torch.exp(-4 * t)
        return (x[2] * torch.exp(-t * x[0]) - x[3] * torch.exp(-t * x[1])
                + x[5] * torch.exp(-t * x[4]) - y)
    return Problem("biggs", 18, r, (1.0, 2.0, 1.0, 1.0, 1.0, 1.0), m, (0.0, 5.65565e-3))


OSBORNE_2 = (
    1.366, 1.191, 1.112, 1.013, 0.991, 0.885, 0.831, 0.847, 0.786, 0.725, 0.746, 0.679, 0.608,
    0.655, 0.616, 0.606, 0.602, 0.626, 0.651, 0.724, 0.649, 0.649, 0.694, 0.644, 0.624, 0.661,
    0.612, 0.558, 0.533, 0.495, 0.500, 0.423, 0.395, 0.375, 0.372, 0.391, 0.396, 0.405, 0.428,
    0.429, 0.523, 0.562, 0.607, 0.653, 0.672, 0.708, 0.633, 0.668, 0.645, 0.632, 0.591, 0.559,
    0.597, 0.625, 0.739, 0.710, 0.729, 0.720, 0.636, 0.581, 0.428, 0.292, 0.162, 0.098, 0.054)


def osborne_2() -> Problem:
    """No. 19: an exponential and three bells."""
    def r(x: Tensor) -> Tensor:
        t = count(0, 64, x) / 10
        bells = sum(x[k] * torch.exp(-x[k + 4] * (t - x[k + 7]) ** 2) for k in (1, 2, 3))
        return x.new_tensor(OSBORNE_2) - (x[0] * torch.exp(-t * x[4]) + bells)
    start = (1.3, 0.65, 0.65, 0.7, 0.6, 3.0, 5.0, 7.0, 2.0, 4.5, 5.5)
    return Problem("osborne_2", 19, r, start, 65, (4.01377e-2,))


def watson(n: int = 6) -> Problem:
    """No. 20: a polynomial that solves a differential equation."""
    def r(x: Tensor) -> Tensor:
        j = count(0, n - 1, x)
        powers = (count(1, 29, x) / 29)[:, None] ** j
        slope = powers[:, :-1] @ (j[1:] * x[1:])
        return torch.cat([slope - (powers @ x) ** 2 - 1,
                          torch.stack([x[0], x[1] - x[0] ** 2 - 1])])
    known = {6: (2.28767e-3,), 9: (1.39976e-6,), 12: (4.72238e-10,)}
    return Problem("watson", 20, r, (0.0,) * n, 31, known.get(n, ()))


def penalty_1(n: int = 4) -> Problem:
    """No. 23."""
    def r(x: Tensor) -> Tensor:
        return torch.cat([math.sqrt(1e-5) * (x - 1), (x.square().sum() - 0.25)[None]])
    known = {4: (2.24997e-5,), 10: (7.08765e-5,)}
    return Problem("penalty_1", 23, r, tuple(map(float, range(1, n + 1))), n + 1, known.get(n, ()))


def penalty_2(n: int = 4) -> Problem:
    """No. 24."""
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
    """No. 25."""
    def r(x: Tensor) -> Tensor:
        s = (count(1, n, x) * (x - 1)).sum()
        return torch.cat([x - 1, torch.stack([s, s**2])])
    return Problem("variably_dimensioned", 25, r, tuple(1 - j / n for j in range(1, n + 1)), n + 2,
                   (0.0,))


def trigonometric(n: int = 10) -> Problem:
    """No. 26."""
    def r(x: Tensor) -> Tensor:
        return n - torch.cos(x).sum() + count(1, n, x) * (1 - torch.cos(x)) - torch.sin(x)
    return Problem("trigonometric", 26, r, (1 / n,) * n, n)


def brown_almost_linear(n: int = 10) -> Problem:
    """No. 27: linear but for one product; 1 is the value of a second minimum."""
    def r(x: Tensor) -> Tensor:
        return torch.cat([x[:-1] + x.sum() - (n + 1), (torch.prod(x) - 1)[None]])
    return Problem("brown_almost_linear", 27, r, (0.5,) * n, n, (0.0, 1.0))


def discrete_boundary_value(n: int = 10) -> Problem:
    """No. 28: a differential equation with both ends held."""
    def r(x: Tensor) -> Tensor:
        h = 1 / (n + 1)
        t, held = h * count(1, n, x), x.new_zeros(1)
        return (2 * x - torch.cat([held, x[:-1]]) - torch.cat([x[1:], held])
                + h**2 * (x + t + 1) ** 3 / 2)
    start = tuple(j / (n + 1) * (j / (n + 1) - 1) for j in range(1, n + 1))
    return Problem("discrete_boundary_value", 28, r, start, n, (0.0,))


def discrete_integral(n: int = 10) -> Problem:
    """No. 29: the same as an integral equation."""
    def r(x: Tensor) -> Tensor:
        h = 1 / (n + 1)
        t = h * count(1, n, x)
        below = t[:, None] >= t[None]
        kernel = torch.where(below, (1 - t)[:, None] * t[None], t[:, None] * (1 - t)[None])
        return x + h / 2 * kernel @ (x + t + 1) ** 3
    start = tuple(j / (n + 1) * (j / (n + 1) - 1) for j in range(1, n + 1))
    return Problem("discrete_integral", 29, r, start, n, (0.0,))


def broyden_tridiagonal(n: int = 10) -> Problem:
    """No. 30."""
    def r(x: Tensor) -> Tensor:
        held = x.new_zeros(1)
        return ((3 - 2 * x) * x - torch.cat([held, x[:-1]]) - 2 * torch.cat([x[1:], held]) + 1)
    return Problem("broyden_tridiagonal", 30, r, (-1.0,) * n, n, (0.0,))


def broyden_banded(n: int = 10) -> Problem:
    """No. 31: five unknowns below and one above every diagonal."""
    def r(x: Tensor) -> Tensor:
        i = count(1, n, x)
        away = i[None] - i[:, None]
        near = ((away >= -5) & (away <= 1) & (away != 0)).to(x.dtype)
        return x * (2 + 5 * x**2) + 1 - near @ (x * (1 + x))
    return Problem("broyden_banded", 31, r, (-1.0,) * n, n, (0.0,))


def linear_full_rank(n: int = 5, m: int = 10) -> Problem:
    """No. 32."""
    def r(x: Tensor) -> Tensor:
        return torch.cat([x, x.new_zeros(m - n)]) - 2 / m * x.sum() - 1
    return Problem("linear_full_rank", 32, r, (1.0,) * n, m, (float(m - n),))


def linear_rank_1(n: int = 5, m: int = 10) -> Problem:
    """No. 33: only one combination of the unknowns matters."""
    def r(x: Tensor) -> Tensor:
        return count(1, m, x) * (count(1, n, x) * x).sum() - 1
    return Problem("linear_rank_1", 33, r, (1.0,) * n, m, (m * (m - 1) / (2 * (2 * m + 1)),))


def linear_rank_1_zeros(n: int = 5, m: int = 10) -> Problem:
    """No. 34: the same, with columns and rows of zeros."""
    def r(x: Tensor) -> Tensor:
        s = (count(2, n - 1, x) * x[1:-1]).sum()
        return torch.cat([x.new_zeros(1), count(1, m - 2, x) * s, x.new_zeros(1)]) - 1
    known = (m * m + 3 * m - 6) / (2 * (2 * m - 3))
    return Problem("linear_rank_1_zeros", 34, r, (1.0,) * n, m, (known,))


def chebyquad(n: int = 8, m: int | None = None) -> Problem:
    """No. 35: abscissae of a quadrature, by the shifted Chebyshev polynomials."""
    m = n if m is None else m

    def r(x: Tensor) -> Tensor:
        before, now = torch.ones_like(x), 2 * x - 1
        twice, rows = 2 * now, []
        for i in range(1, m + 1):
            integral = -1 / (i * i - 1) if i % 2 == 0 else 0.0
            rows.append(now.sum() / n - integral)
            before, now = now, twice * now - before
        return torch.stack(rows)
    known = {(8, 8): (3.51687e-3,), (9, 9): (0.0,), (10, 10): (6.50395e-3,)}
    return Problem("chebyquad", 35, r, tuple(j / (n + 1) for j in range(1, n + 1)), m,
                   known.get((n, m), ()))


PROBLEMS: dict[str, Callable[..., Problem]] = {make.__name__: make for make in (
    rosenbrock, freudenstein_roth, powell_badly_scaled, brown_badly_scaled, beale, jennrich_sampson,
    helical_valley, bard, gaussian, meyer, gulf, box, powell_singular, wood, kowalik_osborne,
    brown_dennis, osborne_1, biggs, osborne_2, watson, penalty_1, penalty_2, variably_dimensioned,
    trigonometric, brown_almost_linear, discrete_boundary_value, discrete_integral,
    broyden_tridiagonal, broyden_banded, linear_full_rank, linear_rank_1, linear_rank_1_zeros,
    chebyquad)}
"""Every problem's maker by name; those of any size take ``n``, some ``m``."""


def problem(name: str, **sizes: int) -> Problem:
    """A problem by name.

    Raises:
        UserError: there is no such problem, or it does not come in that size.
    """
    if name not in PROBLEMS:
        raise UserError(f"unknown problem {name!r}{nearest(name, PROBLEMS)}")
    try:
        return PROBLEMS[name](**sizes)
    except TypeError as e:
        raise UserError(f"problem {name!r} has no {' and '.join(sizes)} to choose") from e
