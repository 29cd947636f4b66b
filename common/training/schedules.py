"""Learning rates as pure functions of the step, so that they can be known ahead of time."""

from __future__ import annotations

from collections.abc import Sequence


def divided(lr: float, milestones: Sequence[int], step: int, factor: float = 0.1) -> float:
    """The rate of update ``step`` (from 0): ``lr``, times ``factor`` from each milestone on.

    The same numbers as ``torch.optim.lr_scheduler.MultiStepLR``, which multiplies again and again.

    Args:
        lr: the first rate.
        milestones: numbers of updates made, in any order; one that stands twice counts twice.
        step: updates made before this one.
        factor: what a milestone multiplies with.
    """
    for _ in range(sum(m <= step for m in milestones)):
        lr *= factor
    return lr


def linear(first: float, last: float, steps: int, step: int) -> float:
    """From ``first`` in a straight line to ``last``, reached at ``steps`` and held from then on."""
    return first + (last - first) * min(step / steps, 1.0)


def triangle(stepsize: int, step: int) -> tuple[float, int]:
    """Where ``step`` stands in its cycle: the height, 0 … 1 … 0, and how many cycles went before.

    Args:
        stepsize: steps of half a cycle.
        step: updates made before this one.
    """
    cycle = step // (2 * stepsize)
    return 1 - abs(step / stepsize - 2 * cycle - 1), cycle


def triangular(base: float, top: float, stepsize: int, step: int) -> float:
    """Cycles between ``base`` and ``top``, up and down in straight lines (Smith, 2017).

    Args:
        base, top: the lowest and the highest rate; a cycle begins and ends with the lowest.
        stepsize: steps of half a cycle.
        step: updates made before this one.
    """
    return base + (top - base) * triangle(stepsize, step)[0]


def triangular2(base: float, top: float, stepsize: int, step: int) -> float:
    """:func:`triangular`, with half the height in every further cycle."""
    height, cycle = triangle(stepsize, step)
    return base + (top - base) * height / 2**cycle


def exponential(lr: float, gamma: float, step: int) -> float:
    """``lr``, times ``gamma`` with every step."""
    return lr * gamma**step


def exp_range(base: float, top: float, stepsize: int, gamma: float, step: int) -> float:
    """:func:`triangular`, both of whose bounds are multiplied with ``gamma`` in every step.

    torch's ``CyclicLR`` of that name multiplies the height alone and leaves ``base`` as it is.
    """
    return exponential(triangular(base, top, stepsize, step), gamma, step)
