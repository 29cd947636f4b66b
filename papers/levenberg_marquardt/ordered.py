"""Sums, norms, triangular systems, rotations and reflections in one fixed order of operations.

BLAS and LAPACK add in an order that depends on the processor, and some processors multiply and add
with one rounding. Here every product is rounded and every sum goes from its first term to its last,
as in MINPACK's own code: the same bits on every machine.
"""

from __future__ import annotations

import math

import numpy as np


def total(terms: np.ndarray) -> np.ndarray:
    """The sum along the first axis, in order."""
    return np.cumsum(terms, axis=0)[-1]


def norm(v: np.ndarray) -> float:
    """‖v‖; entries whose squares would vanish or overflow are summed in units of the largest."""
    tiny, huge = 3.834e-20, 1.304e19 / len(v)
    high = low = above = middle = below = 0.0  # units, and sums of squares
    for a in np.abs(v).tolist():
        if tiny < a < huge:
            middle += a * a
        elif a > tiny:
            above = above + (a / high) * (a / high) if a <= high else (
                1 + above * ((high / a) * (high / a)))
            high = max(high, a)
        elif a:
            below = below + (a / low) * (a / low) if a <= low else (
                1 + below * ((low / a) * (low / a)))
            low = max(low, a)
        elif a != a:
            return math.nan
    if above:
        return high * math.sqrt(above + middle / high / high)
    if middle == 0:
        return low * math.sqrt(below)
    if middle >= low:
        return math.sqrt(middle * (1 + (low / middle) * (low * below)))
    return math.sqrt(low * (middle / low + low * below))


def back_by_columns(R: np.ndarray, c: np.ndarray) -> np.ndarray:
    """R⁻¹ c for an upper triangular R (n, n), c (n,): each solved entry is subtracted at once."""
    z = c.copy()
    for j in reversed(range(len(z))):
        z[j] /= R[j, j]
        z[:j] -= R[:j, j] * z[j]
    return z


def back_by_rows(R: np.ndarray, c: np.ndarray) -> np.ndarray:
    """The same, a row at a time."""
    z = c.copy()
    for j in reversed(range(len(z))):
        if j + 1 < len(z):
            z[j] -= total(R[j, j + 1:] * z[j + 1:])
        z[j] /= R[j, j]
    return z


def forward_by_columns(R: np.ndarray, c: np.ndarray) -> np.ndarray:
    """R⁻ᵀ c for an upper triangular R (n, n), c (n,): each solved entry is subtracted at once."""
    z = c.copy()
    for j in range(len(z)):
        z[j] /= R[j, j]
        z[j + 1:] -= R[j, j + 1:] * z[j]
    return z


def forward_by_rows(R: np.ndarray, c: np.ndarray) -> np.ndarray:
    """The same, an unknown at a time."""
    z = c.copy()
    for j in range(len(z)):
        if j:
            z[j] -= total(R[:j, j] * z[:j])
        z[j] /= R[j, j]
    return z


def rotation(a: float, b: float) -> tuple[float, float]:
    """cos and sin with −sin·a + cos·b = 0, from the tangent or cotangent, whichever is below 1."""
    if abs(a) < abs(b):
        sin = 0.5 / math.sqrt(0.25 + 0.25 * ((a / b) * (a / b)))
        return sin * (a / b), sin
    cos = 0.5 / math.sqrt(0.25 + 0.25 * ((b / a) * (b / a)))
    return cos, cos * (b / a)


def reflect(A: np.ndarray) -> None:
    """Reflect all columns of A, in place, so that its first keeps only its first entry.

    With w the first column, scaled to length 1 and its first entry raised by 1 in size, a column a
    becomes a − w (w·a)/w₁.
    """
    length = math.copysign(norm(A[:, 0]), A[0, 0])
    if length == 0:
        return
    w = A[:, 0] / length
    w[0] += 1
    if A.shape[1] > 1:
        A[:, 1:] -= w[:, None] * (total(w[:, None] * A[:, 1:]) / w[0])
    A[:, 0] = 0
    A[0, 0] = -length
