"""Learning-rate schedules as pure functions of the step, so that they can be planned ahead."""

from __future__ import annotations

from collections.abc import Sequence


def divided(lr: float, milestones: Sequence[int], step: int, factor: float = 0.1) -> float:
    """The rate of update ``step`` (from 0): ``lr``, multiplied by ``factor`` at each milestone.

    Bit for bit the same as ``torch.optim.lr_scheduler.MultiStepLR``, which multiplies repeatedly.

    Args:
        lr: the initial rate.
        milestones: numbers of updates, in any order; one that is listed twice counts twice.
        step: updates made before this one.
        factor: the factor at each milestone.
    """
    for _ in range(sum(m <= step for m in milestones)):
        lr *= factor
    return lr


def linear(first: float, last: float, steps: int, step: int) -> float:
    """Linear from ``first`` to ``last``, which is reached at ``steps`` and held from then on."""
    return first + (last - first) * min(step / steps, 1.0)


def triangle(stepsize: int, step: int) -> tuple[float, int]:
    """The position of ``step`` in a triangular cycle.

    Args:
        stepsize: number of steps in half a cycle.
        step: updates made before this one.

    Returns:
        The height, which rises from 0 to 1 and falls back, and the number of earlier cycles.
    """
    cycle = step // (2 * stepsize)
    return 1 - abs(step / stepsize - 2 * cycle - 1), cycle


def triangular(base: float, top: float, stepsize: int, step: int) -> float:
    """Triangular cycles between ``base`` and ``top`` (Smith, 2017).

    Args:
        base, top: the lowest and the highest rate; a cycle begins and ends with the lowest.
        stepsize: number of steps in half a cycle.
        step: updates made before this one.
    """
    return base + (top - base) * triangle(stepsize, step)[0]


def triangular2(base: float, top: float, stepsize: int, step: int) -> float:
    """:func:`triangular`, with the height halved after every cycle."""
    height, cycle = triangle(stepsize, step)
    return base + (top - base) * height / 2**cycle


def exponential(lr: float, gamma: float, step: int) -> float:
    """``lr``, multiplied by ``gamma`` at every step."""
    return lr * gamma**step


def exp_range(base: float, top: float, stepsize: int, gamma: float, step: int) -> float:
    """:func:`triangular`, with both bounds multiplied by ``gamma`` at every step.

    The mode of this name in torch's ``CyclicLR`` scales only the height and leaves ``base`` fixed.
    """
    return exponential(triangular(base, top, stepsize, step), gamma, step)
