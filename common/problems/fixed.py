"""The problems with a fixed number of unknowns: nos. 2 to 12 and 14 to 19 of the paper."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from common.problems.one import Problem, check_size, count


def freudenstein_roth() -> Problem:
    """No. 2: has a second minimum far from the first."""
    def r(x: Tensor) -> Tensor:
        x1, x2 = x
        return torch.stack([-13 + x1 + ((5 - x2) * x2 - 2) * x2,
                            -29 + x1 + ((x2 + 1) * x2 - 14) * x2])
    return Problem("freudenstein_roth", 2, r, (0.5, -2.0), 2, (0.0, 48.9842))


def powell_badly_scaled() -> Problem:
    """No. 3: badly scaled; at the minimum x₁ ≈ 10⁻⁵ and x₂ ≈ 9."""
    def r(x: Tensor) -> Tensor:
        x1, x2 = x
        return torch.stack([1e4 * x1 * x2 - 1, torch.exp(-x1) + torch.exp(-x2) - 1.0001])
    return Problem("powell_badly_scaled", 3, r, (0.0, 1.0), 2, (0.0,))


def brown_badly_scaled() -> Problem:
    """No. 4: badly scaled; at the minimum x₁ = 10⁶ and x₂ = 2·10⁻⁶."""
    def r(x: Tensor) -> Tensor:
        x1, x2 = x
        return torch.stack([x1 - 1e6, x2 - 2e-6, x1 * x2 - 2])
    return Problem("brown_badly_scaled", 4, r, (1.0, 1.0), 3, (0.0,))


def beale() -> Problem:
    """No. 5: Beale's function of two unknowns."""
    def r(x: Tensor) -> Tensor:
        x1, x2 = x
        return x.new_tensor([1.5, 2.25, 2.625]) - x1 * (1 - x2 ** count(1, 3, x))
    return Problem("beale", 5, r, (1.0, 1.0), 3, (0.0,))


def jennrich_sampson(m: int = 10) -> Problem:
    """No. 6: two exponentials."""
    check_size("jennrich_sampson", 2, m=m)

    def r(x: Tensor) -> Tensor:
        i = count(1, m, x)
        return 2 + 2 * i - (torch.exp(i * x[0]) + torch.exp(i * x[1]))
    return Problem("jennrich_sampson", 6, r, (0.3, 0.4), m,
                   (124.362,) if m == 10 else ())


def helical_valley() -> Problem:
    """No. 7: a valley along a helix around the third axis."""
    def r(x: Tensor) -> Tensor:
        x1, x2, x3 = x
        θ = torch.atan(x2 / x1) / (2 * math.pi) + torch.where(x1 < 0, 0.5, 0.0)
        return torch.stack([10 * (x3 - 10 * θ), 10 * (torch.sqrt(x1**2 + x2**2) - 1), x3])
    return Problem("helical_valley", 7, r, (-1.0, 0.0, 0.0), 3, (0.0,))


BARD = (0.14, 0.18, 0.22, 0.25, 0.29, 0.32, 0.35, 0.39, 0.37, 0.58, 0.73, 0.96, 1.34, 2.10, 4.39)


def bard() -> Problem:
    """No. 8: a rational function fitted to 15 points."""
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
    """No. 10: an exponential fit, badly scaled; the best parameters are 0.0056, 6181 and 345."""
    def r(x: Tensor) -> Tensor:
        t = 45 + 5 * count(1, 16, x)
        return x[0] * torch.exp(x[1] / (t + x[2])) - x.new_tensor(MEYER)
    return Problem("meyer", 10, r, (0.02, 4000.0, 250.0), 16, (87.9458,))


def gulf(m: int = 99) -> Problem:
    """No. 11: the Gulf Research and Development function."""
    check_size("gulf", 3, most=100, m=m)

    def r(x: Tensor) -> Tensor:
        t = count(1, m, x) / 100
        y = 25 + (-50 * torch.log(t)) ** (2 / 3)
        return torch.exp(-(y - x[1]).abs() ** x[2] / x[0]) - t
    return Problem("gulf", 11, r, (5.0, 2.5, 0.15), m, (0.0,))


def box(m: int = 10) -> Problem:
    """No. 12: Box's problem in three unknowns."""
    check_size("box", 3, m=m)

    def r(x: Tensor) -> Tensor:
        t = count(1, m, x) / 10
        return (torch.exp(-t * x[0]) - torch.exp(-t * x[1])
                - x[2] * (torch.exp(-t) - torch.exp(-10 * t)))
    return Problem("box", 12, r, (0.0, 10.0, 20.0), m, (0.0,))


def wood() -> Problem:
    """No. 14: Wood's function of four unknowns."""
    def r(x: Tensor) -> Tensor:
        x1, x2, x3, x4 = x
        return torch.stack([10 * (x2 - x1**2), 1 - x1, math.sqrt(90) * (x4 - x3**2), 1 - x3,
                            math.sqrt(10) * (x2 + x4 - 2), (x2 - x4) / math.sqrt(10)])
    return Problem("wood", 14, r, (-3.0, -1.0, -3.0, -1.0), 6, (0.0,))


KOWALIK_U = (4.0, 2.0, 1.0, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625)
KOWALIK_Y = (0.1957, 0.1947, 0.1735, 0.1600, 0.0844, 0.0627, 0.0456, 0.0342, 0.0323, 0.0235, 0.0246)


def kowalik_osborne() -> Problem:
    """No. 15: besides its minimum, f falls towards 1.02734e-3 at infinity."""
    def r(x: Tensor) -> Tensor:
        u, y = x.new_tensor(KOWALIK_U), x.new_tensor(KOWALIK_Y)
        return y - x[0] * (u * (u + x[1])) / (u * (u + x[2]) + x[3])
    return Problem("kowalik_osborne", 15, r, (0.25, 0.39, 0.415, 0.39), 11,
                   (3.07505e-4, 1.02734e-3))


def brown_dennis(m: int = 20) -> Problem:
    """No. 16: residuals of about 10⁵ far from the minimum."""
    check_size("brown_dennis", 4, m=m)

    def r(x: Tensor) -> Tensor:
        t = count(1, m, x) / 5
        return ((x[0] + t * x[1] - torch.exp(t)) ** 2
                + (x[2] + x[3] * torch.sin(t) - torch.cos(t)) ** 2)
    return Problem("brown_dennis", 16, r, (25.0, 5.0, -5.0, -1.0), m,
                   (85822.2,) if m == 20 else ())


OSBORNE_1 = (
    0.844, 0.908, 0.932, 0.936, 0.925, 0.908, 0.881, 0.850, 0.818, 0.784, 0.751, 0.718, 0.685,
    0.658, 0.628, 0.603, 0.580, 0.558, 0.538, 0.522, 0.506, 0.490, 0.478, 0.467, 0.457, 0.448,
    0.438, 0.431, 0.424, 0.420, 0.414, 0.411, 0.406)


def osborne_1() -> Problem:
    """No. 17: two exponentials fitted to 33 points."""
    def r(x: Tensor) -> Tensor:
        t = 10 * count(0, 32, x)
        return x.new_tensor(OSBORNE_1) - (
            x[0] + x[1] * torch.exp(-x[3] * t) + x[2] * torch.exp(-x[4] * t))
    return Problem("osborne_1", 17, r, (0.5, 1.5, -1.0, 0.01, 0.02), 33, (5.46489e-5,))


def biggs(m: int = 13) -> Problem:
    """No. 18: six unknowns in three exponentials.

    The paper gives only the minimum 5.65565e-3 (m = 13); f is 0 at (1, 10, 1, 5, 4, 3).
    """
    check_size("biggs", 6, m=m)

    def r(x: Tensor) -> Tensor:
        t = count(1, m, x) / 10
        y = torch.exp(-t) - 5 * torch.exp(-10 * t) + 3 * torch.exp(-4 * t)
        return (x[2] * torch.exp(-t * x[0]) - x[3] * torch.exp(-t * x[1])
                + x[5] * torch.exp(-t * x[4]) - y)
    known = (0.0, 5.65565e-3) if m == 13 else (0.0,)
    return Problem("biggs", 18, r, (1.0, 2.0, 1.0, 1.0, 1.0, 1.0), m, known)


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
