"""Verdicts: deciding a claim from its runs' values, its band and the planned number of runs.

The band with its reason, the way of judging, and the number of runs are fixed before the first run.
There are three ways to judge several runs:

``mean`` (unless a claim says otherwise)
    Student's interval of the mean over seeds. For quantities that scatter about a centre: errors,
    accuracies, losses, fractions of many networks.
``median``
    The distribution-free interval of the median, from order statistics. For quantities that are
    skewed or occasionally infinite: times until an event, regrets. It needs at least six runs,
    because the extremes of fewer enclose the median in less than 95 % of cases.
``share``
    The exact (Clopper–Pearson) interval of a probability, from the fraction of a run's ``trials``
    that succeed. For events that happen or do not: networks that learn, starts that end in a
    memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field
from scipy import special  # scipy.stats takes half a second to import

from common.typed import Model

ENOUGH_SEEDS = 3
"""The least number of runs for *reproduced*; with fewer a claim can only be *consistent*."""

CONFIDENCE = 0.95

Way = Literal["mean", "median", "share", "one"]
"""The values of ``judge: {by: …}``."""

VERDICTS: dict[str, str] = {
    "reproduced": f"the {100 * CONFIDENCE:g} % interval over all planned seeds, at least "
                  f"{ENOUGH_SEEDS}, lies inside the band fixed beforehand; an exact fact holds",
    "consistent": "fewer runs than planned, and they lie inside the band",
    "undecided": "the interval straddles an edge of the band, or too few runs lie outside it",
    "not reproduced": "the interval lies outside the band; an exact fact does not hold",
    "not run": "no run has measured it; the reason or the command is given",
    "stale": "the results were made with a configuration or code that is no longer the "
             "experiment's",
}
"""Every verdict and what it means."""

Interval = tuple[float, float]


MOST_TRIALS = 1_000_000_000
"""The largest number of trials in a run."""


class Judge(Model):
    """The ``judge`` of a claim.

    Attributes:
        within: lower and upper distance from the published value.
        at_least, at_most: bounds.
        exactly: a tolerance around the published value, for a value that no seed can change.
        sd: the spread of single runs, known beforehand; used with fewer than three seeds.
        why: the reason for the band's width.
        by: how several runs are judged.
        trials: number of trials in a run, for ``by: share``.
    """

    within: list[float] | None = Field(None, min_length=2, max_length=2)
    at_least: float | None = None
    at_most: float | None = None
    exactly: float | None = Field(None, ge=0)
    sd: float | None = Field(None, ge=0)
    why: str = ""
    by: Way = "mean"
    trials: int | None = Field(None, gt=0, le=MOST_TRIALS)


def decide(values: Sequence[float], band: Interval, judge: Judge | None = None,
           plan: Sequence[int] = (ENOUGH_SEEDS,)) -> tuple[str, Interval | None]:
    """Decide the verdict from the values of several runs.

    Args:
        values: one per seed, at least one.
        band: lowest and highest value that agree with the claim.
        judge: the claim's ``judge``.
        plan: how many runs were planned; if the number was raised after a look at the verdict, all
            numbers in order. The confidence is divided among the looks (Bonferroni).

    Returns:
        The verdict, and the interval it rests on (None if there are too few runs).
    """
    judge = judge or Judge()
    low, high = band
    inside = all(low <= v <= high for v in values)
    if any(math.isnan(v) or (judge.by == "mean" and math.isinf(v)) for v in values):
        return "undecided", None  # there is no mean, and no other way of judging was fixed
    if judge.exactly is not None:
        return ("reproduced" if inside else "not reproduced"), None
    complete = len(values) >= max(plan[-1], ENOUGH_SEEDS)
    interval = interval_of(values, judge, confidence(plan))
    if interval is None:
        return "consistent" if inside and not complete else "undecided", None
    if low <= interval[0] and interval[1] <= high:
        return ("reproduced" if complete else "consistent"), interval
    if (interval[1] < low or high < interval[0]) and (
            complete or judge.sd is not None):
        return "not reproduced", interval
    return "undecided", interval


def confidence(plan: Sequence[int]) -> float:
    """The confidence level of each look, so that all looks together have :data:`CONFIDENCE`."""
    return 1 - (1 - CONFIDENCE) / len(plan)


def interval_of(values: Sequence[float], judge: Judge, level: float) -> Interval | None:
    """The interval that a verdict rests on; None if there are too few values."""
    if judge.trials is not None:  # by share, and only there
        return of_share(sum(values) * judge.trials, len(values) * judge.trials, level)
    if judge.by == "median":
        return of_median(values, level)
    if len(values) >= ENOUGH_SEEDS:
        return of_mean(values, level)
    return None if judge.sd is None else of_few(values, judge.sd, level)


def of_mean(values: Sequence[float], level: float = CONFIDENCE) -> Interval:
    """Student's interval of the mean."""
    n, mean = len(values), float(np.mean(values))
    half = float(np.std(values, ddof=1) / math.sqrt(n) * special.stdtrit(n - 1, (1 + level) / 2))
    return mean - half, mean + half


def of_few(values: Sequence[float], sd: float, level: float = CONFIDENCE) -> Interval:
    """The normal interval of the mean with a spread known beforehand.

    If the values' own standard deviation is larger, it is used instead.
    """
    n, mean = len(values), float(np.mean(values))
    seen = float(np.std(values, ddof=1)) if n > 1 else 0.0
    half = max(sd, seen) / math.sqrt(n) * float(special.ndtri((1 + level) / 2))
    return mean - half, mean + half


def of_median(values: Sequence[float], level: float = CONFIDENCE) -> Interval | None:
    """The narrowest symmetric pair of order statistics that encloses the median at this level.

    The median lies between the k-th smallest and the k-th largest of n values with probability
    1 − 2 P(B < k), B ~ binomial(n, ½). None if not even the extremes reach the level.
    """
    ordered, n = sorted(values), len(values)
    chosen = None
    for k in range(1, n // 2 + 1):
        if 1 - 2 * special.bdtr(k - 1, n, 0.5) >= level:
            chosen = ordered[k - 1], ordered[-k]
    return chosen


def of_share(successes: float, trials: int, level: float = CONFIDENCE) -> Interval:
    """Clopper and Pearson's exact interval of a probability."""
    k, α = round(successes), 1 - level
    low = float(special.betaincinv(k, trials - k + 1, α / 2)) if k else 0.0
    high = float(special.betaincinv(k + 1, trials - k, 1 - α / 2)) if k < trials else 1.0
    return low, high
