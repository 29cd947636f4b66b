"""A step length that fulfils the strong Wolfe conditions, as Liu & Nocedal's experiments ask for.

Along a direction p let φ(α) = f(x + α p). The search is for an α > 0 with

    φ(α) ≤ φ(0) + c₁ α φ′(0)        sufficient decrease
    |φ′(α)| ≤ c₂ |φ′(0)|            curvature

First α grows until an interval holds one, then the interval shrinks (Nocedal & Wright, Numerical
Optimization, 2nd edition, algorithms 3.5 and 3.6).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Point:
    """φ at one α.

    Attributes:
        α: the step length.
        φ: f there.
        slope: φ′ there.
        payload: what else was computed there, such as the gradient.
    """

    α: float
    φ: float
    slope: float
    payload: Any = None


def cubic(a: Point, b: Point) -> float:
    """The minimiser of the cubic through both values and slopes; not finite where it has none."""
    d1 = a.slope + b.slope - 3 * (a.φ - b.φ) / (a.α - b.α)
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return math.nan
    d2 = math.copysign(math.sqrt(square), b.α - a.α)
    denominator = b.slope - a.slope + 2 * d2
    return b.α - (b.α - a.α) * (b.slope + d2 - d1) / denominator if denominator else math.nan


def inside(α: float, a: float, b: float, margin: float) -> float:
    """α where it lies in [a, b] away from both ends, else the middle."""
    low, high = min(a, b), max(a, b)
    room = margin * (high - low)
    return α if low + room <= α <= high - room else (low + high) / 2


def height(p: Point) -> float:
    """φ at a point, infinite where φ or its slope is not finite."""
    return p.φ if math.isfinite(p.φ) and math.isfinite(p.slope) else math.inf


def strong_wolfe(φ: Callable[[float], Point], start: Point, first: float, c1: float = 1e-4,
                 c2: float = 0.9, most: int = 30, growth: float = 4.0) -> Point:
    """Search along one direction.

    Args:
        φ: evaluates a step length.
        start: φ at 0, with a negative slope.
        first: the first α to try.
        c1, c2: the constants of both conditions.
        most: evaluations at most.
        growth: how much α grows at a time while φ still falls steeply.

    Returns:
        A point that fulfils both conditions; else, where evaluations ran out or rounding hides
        them, the lowest one found; ``start`` if none was lower.
    """
    def decreases(p: Point) -> bool:
        return p.φ <= start.φ + c1 * p.α * start.slope

    def flat(p: Point) -> bool:
        return abs(p.slope) <= -c2 * start.slope

    best, before, α, used = start, start, first, 0
    while used < most:
        now = φ(α)
        used += 1
        if math.isinf(height(now)):
            α = before.α + (α - before.α) / 10  # beyond where f is defined
            growth = 1.5
            continue
        best = min(best, now, key=height)
        if not decreases(now) or (before.α > 0 and now.φ >= before.φ):
            return shrink(φ, before, now, start, decreases, flat, most - used, best)
        if flat(now):
            return now
        if now.slope >= 0:
            return shrink(φ, now, before, start, decreases, flat, most - used, best)
        before, α = now, growth * α
    return best


def shrink(φ: Callable[[float], Point], low: Point, high: Point, start: Point,
           decreases: Callable[[Point], bool], flat: Callable[[Point], bool], most: int,
           best: Point) -> Point:
    """Algorithm 3.6: ``low`` is the lowest end that decreases f enough, ``high`` the other end."""
    for _ in range(most):
        if abs(high.α - low.α) <= 1e-14 * max(high.α, low.α):
            break
        now = φ(inside(cubic(low, high), low.α, high.α, 0.1))
        best = min(best, now, key=height)
        if math.isinf(height(now)) or not decreases(now) or now.φ >= low.φ:
            high = now
            continue
        if flat(now):
            return now
        if now.slope * (high.α - low.α) >= 0:
            high = low
        low = now
    return best
