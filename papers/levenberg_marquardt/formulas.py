"""Residuals and Jacobians of MINPACK's test problems in plain numbers.

Counts of evaluations depend on rounding where a problem is ill-conditioned: on the order of every
sum, and on whether a processor multiplies and adds in one operation. So the formulas of the
problems are written here once more, a number at a time and in the order of operations of MINPACK's
test driver: the same bits on every machine whose exp, sin and atan give the same. The readable
form, in tensors, is common/problems/, and the tests hold one against the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from common.problems import fixed

Numbers = list[float]
Residuals = Callable[[Numbers, int], Numbers]
"""From x (n numbers) and m to m residuals."""
Jacobian = Callable[[Numbers, int], list[Numbers]]
"""From x (n numbers) and m to m rows of n derivatives."""


def exp(x: float) -> float:
    """eˣ, ∞ where it overflows."""
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


def dot(a: Numbers, b: Numbers) -> float:
    """Σ a b, from the first to the last."""
    total = 0.0
    for p, q in zip(a, b, strict=True):
        total += p * q
    return total


def integers(n: int) -> Numbers:
    """1, 2, …, n."""
    return [float(k) for k in range(1, n + 1)]


def linear_full_rank(x: Numbers, m: int) -> Numbers:
    shift = 2 * dot([1.0] * len(x), x) / m + 1
    return [-shift + x[i] if i < len(x) else -shift for i in range(m)]


def linear_full_rank_jacobian(x: Numbers, m: int) -> list[Numbers]:
    return [[-(2 / m) + (i == j) for j in range(len(x))] for i in range(m)]


def linear_rank_1(x: Numbers, m: int) -> Numbers:
    s = dot(integers(len(x)), x)
    return [i * s - 1 for i in integers(m)]


def linear_rank_1_jacobian(x: Numbers, m: int) -> list[Numbers]:
    return [[i * j for j in integers(len(x))] for i in integers(m)]


def linear_rank_1_zeros(x: Numbers, m: int) -> Numbers:
    s = dot(integers(len(x))[1:-1], x[1:-1])
    return [(i - 1) * s - 1 for i in integers(m - 1)] + [-1.0]


def linear_rank_1_zeros_jacobian(x: Numbers, m: int) -> list[Numbers]:
    n = len(x)
    return [[(i - 1) * j if 1 < i < m and 1 < j < n else 0.0 for j in integers(n)]
            for i in integers(m)]


def rosenbrock(x: Numbers, m: int) -> Numbers:
    return [10 * (x[1] - x[0] * x[0]), 1 - x[0]]


def rosenbrock_jacobian(x: Numbers, m: int) -> list[Numbers]:
    return [[-20 * x[0], 10.0], [-1.0, 0.0]]


def helical_valley(x: Numbers, m: int) -> Numbers:
    x1, x2, x3 = x
    if x1 == 0:
        turn = -0.25 if x2 < 0 else 0.25
    else:
        turn = math.atan(x2 / x1) / (8 * math.atan(1.0)) + (0.5 if x1 < 0 else 0.0)
    return [10 * (x3 - 10 * turn), 10 * (math.sqrt(x1 * x1 + x2 * x2) - 1), x3]


def helical_valley_jacobian(x: Numbers, m: int) -> list[Numbers]:
    x1, x2, _ = x
    squared = x1 * x1 + x2 * x2
    around, r = 8 * math.atan(1.0) * squared, math.sqrt(squared)
    return [[100 * x2 / around, -100 * x1 / around, 10.0], [10 * x1 / r, 10 * x2 / r, 0.0],
            [0.0, 0.0, 1.0]]


def powell_singular(x: Numbers, m: int) -> Numbers:
    a, b = x[1] - 2 * x[2], x[0] - x[3]
    return [x[0] + 10 * x[1], math.sqrt(5) * (x[2] - x[3]), a * a, math.sqrt(10) * (b * b)]


def powell_singular_jacobian(x: Numbers, m: int) -> list[Numbers]:
    a, b = 2 * (x[1] - 2 * x[2]), 2 * math.sqrt(10) * (x[0] - x[3])
    return [[1.0, 10.0, 0.0, 0.0], [0.0, 0.0, math.sqrt(5), -math.sqrt(5)], [0.0, a, -2 * a, 0.0],
            [b, 0.0, 0.0, -b]]


def freudenstein_roth(x: Numbers, m: int) -> Numbers:
    return [-13 + x[0] + ((5 - x[1]) * x[1] - 2) * x[1],
            -29 + x[0] + ((1 + x[1]) * x[1] - 14) * x[1]]


def freudenstein_roth_jacobian(x: Numbers, m: int) -> list[Numbers]:
    return [[1.0, x[1] * (10 - 3 * x[1]) - 2], [1.0, x[1] * (2 + 3 * x[1]) - 14]]


def bard(x: Numbers, m: int) -> Numbers:
    return [y - (x[0] + u / (x[1] * (16 - u) + x[2] * min(u, 16 - u)))
            for u, y in zip(integers(15), fixed.BARD, strict=True)]


def bard_jacobian(x: Numbers, m: int) -> list[Numbers]:
    rows = []
    for u in integers(15):
        v, w = 16 - u, min(u, 16 - u)
        below = x[1] * v + x[2] * w
        squared = below * below
        rows.append([-1.0, u * v / squared, u * w / squared])
    return rows


def kowalik_osborne(x: Numbers, m: int) -> Numbers:
    return [y - x[0] * (u * (u + x[1])) / (u * (u + x[2]) + x[3])
            for u, y in zip(fixed.KOWALIK_U, fixed.KOWALIK_Y, strict=True)]


def kowalik_osborne_jacobian(x: Numbers, m: int) -> list[Numbers]:
    rows = []
    for u in fixed.KOWALIK_U:
        below = u * (u + x[2]) + x[3]
        first, second = -(u * (u + x[1])) / below, -u * x[0] / below
        rows.append([first, second, first * second, first * second / u])
    return rows


def meyer(x: Numbers, m: int) -> Numbers:
    return [x[0] * exp(x[1] / (5 * i + 45 + x[2])) - y
            for i, y in zip(integers(16), fixed.MEYER, strict=True)]


def meyer_jacobian(x: Numbers, m: int) -> list[Numbers]:
    rows = []
    for i in integers(16):
        below = 5 * i + 45 + x[2]
        power = x[1] / below
        second = x[0] * exp(power) / below
        rows.append([exp(power), second, -power * second])
    return rows


def powers(t: float, n: int) -> Numbers:
    """1, t, …, tⁿ⁻¹ by repeated products."""
    made = [1.0]
    while len(made) < n:
        made.append(t * made[-1])
    return made


def watson(x: Numbers, m: int) -> Numbers:
    n, out = len(x), []
    for i in integers(29):
        t = powers(i / 29, n)
        slope, value = dot([j * p for j, p in zip(integers(n - 1), t[:-1], strict=True)],
                           x[1:]), dot(t, x)
        out.append(slope - value * value - 1)
    return [*out, x[0], x[1] - x[0] * x[0] - 1]


def watson_jacobian(x: Numbers, m: int) -> list[Numbers]:
    n, rows = len(x), []
    for i in integers(29):
        t = i / 29
        twice, power, row = 2 * t * dot(powers(t, n), x), 1 / t, []
        for j in range(n):
            row.append(power * (j - twice))
            power = t * power
        rows.append(row)
    rest = [0.0] * (n - 2)
    return [*rows, [1.0, 0.0, *rest], [-2 * x[0], 1.0, *rest]]


def box(x: Numbers, m: int) -> Numbers:
    return [exp(-(i / 10) * x[0]) - exp(-(i / 10) * x[1]) + (exp(-i) - exp(-(i / 10))) * x[2]
            for i in integers(m)]


def box_jacobian(x: Numbers, m: int) -> list[Numbers]:
    return [[-t * exp(-t * x[0]), t * exp(-t * x[1]), exp(-i) - exp(-t)]
            for i, t in ((i, i / 10) for i in integers(m))]


def jennrich_sampson(x: Numbers, m: int) -> Numbers:
    return [2 + 2 * i - exp(i * x[0]) - exp(i * x[1]) for i in integers(m)]


def jennrich_sampson_jacobian(x: Numbers, m: int) -> list[Numbers]:
    return [[-i * exp(i * x[0]), -i * exp(i * x[1])] for i in integers(m)]


def brown_dennis_parts(x: Numbers, t: float) -> tuple[float, float]:
    return x[0] + t * x[1] - exp(t), x[2] + math.sin(t) * x[3] - math.cos(t)


def brown_dennis(x: Numbers, m: int) -> Numbers:
    parts = [brown_dennis_parts(x, i / 5) for i in integers(m)]
    return [a * a + b * b for a, b in parts]


def brown_dennis_jacobian(x: Numbers, m: int) -> list[Numbers]:
    rows = []
    for t in (i / 5 for i in integers(m)):
        a, b = brown_dennis_parts(x, t)
        rows.append([2 * a, t * (2 * a), 2 * b, math.sin(t) * (2 * b)])
    return rows


def chebyquad(x: Numbers, m: int) -> Numbers:
    n, out = len(x), [0.0] * m
    for v in x:
        before, now = 1.0, 2 * v - 1
        twice = 2 * now
        for i in range(m):
            out[i] += now
            before, now = now, twice * now - before
    return [1 / n * s + (1 / (i * i - 1) if i % 2 == 0 else 0.0)
            for i, s in zip(range(1, m + 1), out, strict=True)]


def chebyquad_jacobian(x: Numbers, m: int) -> list[Numbers]:
    n, columns = len(x), []
    for v in x:
        before, now, slope_before, slope = 1.0, 2 * v - 1, 0.0, 2.0
        twice, column = 2 * now, []
        for _ in range(m):
            column.append(1 / n * slope)
            slope_before, slope = slope, 4 * now + twice * slope - slope_before
            before, now = now, twice * now - before
        columns.append(column)
    return [list(row) for row in zip(*columns, strict=True)]


def brown_almost_linear(x: Numbers, m: int) -> Numbers:
    total, product = -float(len(x) + 1), 1.0
    for v in x:
        total, product = total + v, v * product
    return [v + total for v in x[:-1]] + [product - 1]


def brown_almost_linear_jacobian(x: Numbers, m: int) -> list[Numbers]:
    n, product, last = len(x), 1.0, []
    for v in x:
        product = v * product
    for j, v in enumerate(x):
        if v:
            last.append(product / v)
        else:
            last.append(math.prod(x[:j] + x[j + 1:]))
    return [[1.0 + (i == j) for j in range(n)] for i in range(n - 1)] + [last]


def osborne_1(x: Numbers, m: int) -> Numbers:
    return [y - (x[0] + x[1] * exp(-x[3] * (10 * i)) + x[2] * exp(-x[4] * (10 * i)))
            for i, y in enumerate(fixed.OSBORNE_1)]


def osborne_1_jacobian(x: Numbers, m: int) -> list[Numbers]:
    rows = []
    for t in (10.0 * i for i in range(33)):
        a, b = exp(-x[3] * t), exp(-x[4] * t)
        rows.append([-1.0, -a, -b, t * x[1] * a, t * x[2] * b])
    return rows


def osborne_2_parts(x: Numbers, t: float) -> Numbers:
    bells = [exp(-x[k + 4] * ((t - x[k + 7]) * (t - x[k + 7]))) for k in (1, 2, 3)]
    return [exp(-x[4] * t), *bells]


def osborne_2(x: Numbers, m: int) -> Numbers:
    out = []
    for i, y in enumerate(fixed.OSBORNE_2):
        a, b, c, d = osborne_2_parts(x, i / 10)
        out.append(y - (x[0] * a + x[1] * b + x[2] * c + x[3] * d))
    return out


def osborne_2_jacobian(x: Numbers, m: int) -> list[Numbers]:
    rows = []
    for t in (i / 10 for i in range(65)):
        parts = osborne_2_parts(x, t)
        away = [t - x[k + 7] for k in (1, 2, 3)]
        rows.append([*(-p for p in parts), t * x[0] * parts[0],
                     *(x[k] * (away[k - 1] * away[k - 1]) * parts[k] for k in (1, 2, 3)),
                     *(-2 * x[k] * x[k + 4] * away[k - 1] * parts[k] for k in (1, 2, 3))])
    return rows


FORMULAS: dict[str, tuple[Residuals, Jacobian]] = {f.__name__: (f, J) for f, J in (
    (linear_full_rank, linear_full_rank_jacobian), (linear_rank_1, linear_rank_1_jacobian),
    (linear_rank_1_zeros, linear_rank_1_zeros_jacobian), (rosenbrock, rosenbrock_jacobian),
    (helical_valley, helical_valley_jacobian), (powell_singular, powell_singular_jacobian),
    (freudenstein_roth, freudenstein_roth_jacobian), (bard, bard_jacobian),
    (kowalik_osborne, kowalik_osborne_jacobian), (meyer, meyer_jacobian), (watson, watson_jacobian),
    (box, box_jacobian), (jennrich_sampson, jennrich_sampson_jacobian),
    (brown_dennis, brown_dennis_jacobian), (chebyquad, chebyquad_jacobian),
    (brown_almost_linear, brown_almost_linear_jacobian), (osborne_1, osborne_1_jacobian),
    (osborne_2, osborne_2_jacobian))}
"""Residuals and Jacobian of every problem of MINPACK's test driver, by the problem's name."""
