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
