"""The Levenberg-Marquardt algorithm of Moré (1978), and the plain damping it improves on.

Minimise ‖F(x)‖ for F from Rⁿ to Rᵐ. Every iteration solves

    min ‖J p + F‖  subject to  ‖D p‖ ≤ Δ                                            (trust region)

whose solution is p(α) = −(JᵀJ + α DᵀD)⁻¹ Jᵀ F for the α ≥ 0 with α = 0 or ‖D p(α)‖ = Δ. Section
numbers are those of J. J. Moré, "The Levenberg-Marquardt algorithm: implementation and theory",
Numerical Analysis, Lecture Notes in Mathematics 630 (1978). Everything is in double precision, and
every sum is taken from its first term to its last, without BLAS or LAPACK, whose order changes with
the processor: the same bits everywhere, in MINPACK's own order of operations.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from papers.levenberg_marquardt.ordered import (
    back_by_columns,
    back_by_rows,
    forward_by_columns,
    forward_by_rows,
    norm,
    reflect,
    rotation,
    total,
)

EPSILON = float(np.finfo(float).eps)
TINY = float(np.finfo(float).tiny)

REASONS = {
    1: "both actual and predicted reduction of ‖F‖² are at most ftol",
    2: "the trust region is at most xtol ‖D x‖",
    3: "1 and 2 at once",
    4: "F is orthogonal to the columns of J up to gtol",
    5: "the allowed evaluations are used up",
    6: "ftol is too small: ‖F‖ cannot be reduced further",
    7: "xtol is too small: x cannot be improved further",
    8: "gtol is too small: F is orthogonal to the columns of J to working precision",
}
"""Why a minimisation stopped, by MINPACK's ``info``."""


@dataclass
class Solution:
    """Where a minimisation ended.

    Attributes:
        x: (n,).
        norm: ‖F(x)‖.
        evaluations: of F.
        jacobians: evaluations of J.
        info: why it stopped, a key of :data:`REASONS`.
        norms: ‖F‖ after every accepted step, the start first.
    """

    x: np.ndarray
    norm: float
    evaluations: int
    jacobians: int
    info: int
    norms: list[float] = field(default_factory=list)


@dataclass
class Linearised:
    """J P = Q R by Householder reflections with column pivoting (section 3).

    Attributes:
        R: (n, n), upper triangular.
        order: P as the new order of the columns, (n,).
        c: the first n entries of Qᵀ F.
        columns: the norms of J's columns, (n,).
    """

    R: np.ndarray
    order: np.ndarray
    c: np.ndarray
    columns: np.ndarray

    @classmethod
    def at(cls, J: np.ndarray, F: np.ndarray) -> Linearised:
        """Factorise J (m, n) for the residuals F (m,)."""
        n = J.shape[1]
        A, order = np.column_stack([J, F]), np.arange(n)
        columns = np.array([norm(column) for column in J.T])
        left, exact = columns.copy(), columns.copy()  # norms of what is left of each column
        for j in range(n):
            k = j + int(np.argmax(left[j:]))
            for swapped in (A.T, order, left, exact):
                swapped[[j, k]] = swapped[[k, j]]
            reflect(A[j:, j:])
            there = left[j + 1:] != 0
            shrink = np.divide(A[j, j + 1:n], left[j + 1:], out=np.zeros(n - j - 1), where=there)
            left[j + 1:] *= np.sqrt(np.maximum(1 - shrink * shrink, 0))
            kept = np.divide(left[j + 1:], exact[j + 1:], out=np.ones(n - j - 1), where=there)
            for i in j + 1 + np.flatnonzero(0.05 * (kept * kept) <= EPSILON):  # cancellation
                left[i] = exact[i] = norm(A[j + 1:, i]) if j + 1 < len(A) else 0.0
        return cls(np.triu(A[:n, :n]), order, A[:n, n].copy(), columns)

    def unpivoted(self, v: np.ndarray) -> np.ndarray:
        """P v."""
        out = np.empty_like(v)
        out[self.order] = v
        return out

    def gauss_newton(self) -> tuple[np.ndarray, bool]:
        """p for α = 0, (n,), and whether R has full rank; if not, the other entries of p are 0."""
        diagonal = np.diagonal(self.R)
        rank = len(diagonal) if diagonal.all() else int(np.argmin(diagonal != 0))
        z = np.zeros_like(self.c)
        z[:rank] = back_by_columns(self.R[:rank, :rank], self.c[:rank])
        return self.unpivoted(-z), rank == len(z)

    def damped(self, α: float, D: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """p(α), and the triangular S with Pᵀ(JᵀJ + α D²)P = SᵀS (section 3).

        Plane rotations take R over √α D to S, row by row: they preserve small entries of R, which
        reflections would lose in rounding.
        """
        n = len(self.c)
        S = np.column_stack([self.R, self.c])
        for j in range(n):
            row = np.zeros(n + 1)
            row[j] = math.sqrt(α) * D[self.order[j]]
            for k in range(j, n):
                if row[k]:
                    cos, sin = rotation(S[k, k], row[k])
                    S[k, k:], row[k:] = (cos * S[k, k:] + sin * row[k:],
                                         cos * row[k:] - sin * S[k, k:])
        return self.unpivoted(-back_by_rows(S[:, :n], S[:, n])), S[:, :n]


def parameter(L: Linearised, D: np.ndarray, Δ: float, α: float) -> tuple[float, np.ndarray]:
    """Section 5: the α whose step has length Δ within a tenth, and that step p.

    Hebden's iteration: φ(α) = ‖D p(α)‖ − Δ is nearly a hyperbola a/(b + α) less Δ, whose root one
    formula gives; safeguarded by bounds l ≤ α ≤ u.

    Args:
        L: J in factors.
        D: (n,), the diagonal scaling.
        Δ: the trust region's radius.
        α: the previous iteration's, to start from.
    """
    p, full_rank = L.gauss_newton()
    length = norm(D * p)
    φ = length - Δ
    if φ <= 0.1 * Δ:
        return 0.0, p
    lower = 0.0
    if full_rank:  # −φ(0)/φ′(0)
        steep = norm(forward_by_rows(L.R, direction(L, D, p, length)))
        lower = φ / Δ / steep / steep
    g = norm(total(L.R * L.c[:, None]) / D[L.order])
    upper = g / Δ or TINY / min(Δ, 0.1)
    α = min(max(α, lower), upper)
    if α == 0:
        α = g / length
    for iteration in range(10):
        if α == 0:
            α = max(TINY, 0.001 * upper)
        p, S = L.damped(α, D)
        length = norm(D * p)
        before, φ = φ, length - Δ
        too_short = lower == 0 and φ <= before and before < 0
        if abs(φ) <= 0.1 * Δ or too_short or iteration == 9:
            break
        steep = norm(forward_by_columns(S, direction(L, D, p, length)))  # √ −φ′(α)/‖D p‖
        correction = φ / Δ / steep / steep
        lower, upper = (max(lower, α), upper) if φ > 0 else (lower, min(upper, α))
        α = max(lower, α + correction)
    return float(α), p


def direction(L: Linearised, D: np.ndarray, p: np.ndarray, length: float) -> np.ndarray:
    """Pᵀ D² p/‖D p‖: ‖S⁻ᵀ of it‖² is −φ′(α)/‖D p‖ for the triangular factor S of α."""
    return D[L.order] * ((D * p)[L.order] / length)


def levenberg_marquardt(F: Callable[[np.ndarray], np.ndarray],
                        J: Callable[[np.ndarray], np.ndarray], x: np.ndarray, ftol: float,
                        xtol: float, gtol: float = 0.0, factor: float = 100.0,
                        max_evaluations: int | None = None) -> Solution:
    """Moré's algorithm (7.1), with the details of sections 4 to 8.

    Args:
        F: residuals, from (n,) to (m,), m ≥ n.
        J: their Jacobian, from (n,) to (m, n).
        x: the start, (n,).
        ftol, xtol, gtol: when to stop, see :data:`REASONS` (section 8).
        factor: the first radius over ‖D x‖.
        max_evaluations: of F; 100 (n + 1) if None.

    Raises:
        ValueError: fewer residuals than unknowns.
    """
    x = np.array(x, dtype=float)
    f = F(x)
    if len(f) < len(x):
        raise ValueError(f"{len(f)} residuals of {len(x)} unknowns: expected at least as many")
    allowed = 100 * (len(x) + 1) if max_evaluations is None else max_evaluations
    size = norm(f)
    done = Solution(x, size, 1, 0, 0, [size])
    D, Δ, α, scaled = np.zeros_like(x), 0.0, 0.0, 0.0
    while True:
        L = Linearised.at(J(x), f)
        done.jacobians += 1
        first = done.jacobians == 1
        if first:
            D = np.where(L.columns == 0, 1.0, L.columns)
            scaled = norm(D * x)
            Δ = factor * scaled or factor
        cosine = largest_cosine(L, size)
        if cosine <= gtol:
            done.info = 4
            return done
        D = np.maximum(D, L.columns)  # section 6: scaling that never shrinks
        ratio = 0.0
        while ratio < 1e-4:
            α, p = parameter(L, D, Δ, α)
            length = norm(D * p)
            if first and len(done.norms) == 1:
                Δ = min(Δ, length)
            f_new = F(x + p)
            done.evaluations += 1
            size_new = norm(f_new)
            actual, predicted, directional = reductions(L, p, α, length, size, size_new)
            ratio = actual / predicted if predicted else 0.0
            Δ, α = radius(Δ, α, length, ratio, actual, directional, size_new, size)
            if ratio >= 1e-4:
                x, f, size = x + p, f_new, size_new
                scaled = norm(D * x)
                done.x, done.norm = x, size
                done.norms.append(size)
            done.info = stop(actual, predicted, ratio, Δ, scaled, ftol, xtol, cosine,
                             done.evaluations >= allowed)
            if done.info:
                return done


def reductions(L: Linearised, p: np.ndarray, α: float, length: float, size: float,
               size_new: float) -> tuple[float, float, float]:
    """Section 4: by how much a step lowers ‖F‖², relative to ‖F‖², so that nothing overflows.

    Args:
        L: J in factors.
        p: the step, (n,), of this α; ``length`` is ‖D p‖.
        size, size_new: ‖F‖ before and after it.

    Returns:
        The actual and the predicted reduction, and half the slope along the step.
    """
    actual = 1 - (size_new / size) * (size_new / size) if 0.1 * size_new < size else -1.0
    model = norm(total((L.R * p[L.order]).T)) / size
    damping = math.sqrt(α) * length / size
    predicted = model * model + 2 * (damping * damping)
    return actual, predicted, -(model * model + damping * damping)


def largest_cosine(L: Linearised, size: float) -> float:
    """The largest cosine of an angle between F, of this norm, and a column of J; 0 where F is 0."""
    if size == 0:
        return 0.0
    columns = L.columns[L.order]
    g = np.abs(total(L.R * (L.c / size)[:, None]))
    return float(np.max(g[columns > 0] / columns[columns > 0], initial=0.0))


def radius(Δ: float, α: float, length: float, ratio: float, actual: float, directional: float,
           norm_new: float, norm: float) -> tuple[float, float]:
    """Section 4: the next Δ, and α to start its iteration from."""
    if ratio <= 0.25:
        # the minimiser of the parabola through both norms with the slope at the old one
        shrink = 0.5 if actual >= 0 else 0.5 * directional / (directional + 0.5 * actual)
        if 0.1 * norm_new >= norm or shrink < 0.1:
            shrink = 0.1
        return shrink * min(Δ, length / 0.1), α / shrink
    if α == 0 or ratio >= 0.75:
        return 2 * length, α / 2
    return Δ, α


def stop(actual: float, predicted: float, ratio: float, Δ: float, scaled: float, ftol: float,
         xtol: float, cosine: float, used_up: bool) -> int:
    """Section 8: a key of :data:`REASONS`, or 0 to go on; ``scaled`` is ‖D x‖."""
    flat = [abs(actual) <= tol and predicted <= tol and ratio <= 2 for tol in (ftol, EPSILON)]
    short = [Δ <= tol * scaled for tol in (xtol, EPSILON)]
    if flat[0] or short[0]:
        return 3 if flat[0] and short[0] else 1 if flat[0] else 2
    if used_up:
        return 5
    return 6 if flat[1] else 7 if short[1] else 8 if cosine <= EPSILON else 0


def damped(F: Callable[[np.ndarray], np.ndarray], J: Callable[[np.ndarray], np.ndarray],
           x: np.ndarray, ftol: float, μ: float = 0.01, β: float = 10.0, μ_max: float = 1e10,
           scaled: bool = False, max_evaluations: int | None = None) -> Solution:
    """The plain rule: (JᵀJ + μ I) p = −Jᵀ F, μ ÷ β after a step that lowers ‖F‖, else × β.

    Hagan & Menhaj (1994); Marquardt (1963) has the diagonal of JᵀJ in place of I. Stops when a
    step's relative reduction of ‖F‖² is at most ``ftol`` (1), when μ passes ``μ_max`` (7), when F
    is 0 or ``max_evaluations`` of F, 100 (n + 1) if None, are used up (4, 5).

    Args:
        F, J, x: see :func:`levenberg_marquardt`.
        scaled: Marquardt's diagonal.
    """
    x = np.array(x, dtype=float)
    f = F(x)
    size = norm(f)
    allowed = 100 * (len(x) + 1) if max_evaluations is None else max_evaluations
    done = Solution(x, size, 1, 0, 0, [size])
    while not done.info:
        L = Linearised.at(J(x), f)
        done.jacobians += 1
        D = np.where(L.columns == 0, 1.0, L.columns) if scaled else np.ones_like(x)
        if size == 0:
            done.info = 4
        while not done.info:
            p, _ = L.damped(μ, D)
            f_new = F(x + p)
            size_new = norm(f_new)
            done.evaluations += 1
            if size_new < size:
                reduction = 1 - (size_new / size) ** 2
                x, f, size, μ = x + p, f_new, size_new, μ / β
                done.x, done.norm = x, size
                done.norms.append(size)
                done.info = 1 if reduction <= ftol else 5 if done.evaluations >= allowed else 0
                break
            μ *= β
            done.info = 7 if μ > μ_max else 5 if done.evaluations >= allowed else 0
    return done
