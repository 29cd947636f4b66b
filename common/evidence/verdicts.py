"""How a claim is decided: from the values of its runs, the band fixed beforehand, and the plan.

What may be concluded is written down before the first run: the band and its reason, how the runs
are judged together, and how many there will be. Three ways to judge them:

``mean`` (unless a claim says otherwise)
    Student's interval of the mean over seeds. For quantities that scatter about a middle: errors,
    accuracies, losses, fractions of many networks.
``median``
    the interval of the median from the order of the values, whatever their distribution. For
    quantities that are skewed or now and then infinite: times until something happens, regrets.
    At least six runs, for the extremes of fewer do not hold the median in 95 % of cases.
``share``
    the exact (Clopper–Pearson) interval of a probability, from how many of all ``trials`` of a run
    succeeded. For what happens or does not: networks that learn, starts that end in a memory.
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
"""With fewer runs a claim can be consistent with the paper, not reproduced."""

CONFIDENCE = 0.95

Way = Literal["mean", "median", "share", "one"]
"""What ``judge: {by: …}`` may say."""

VERDICTS: dict[str, str] = {
    "reproduced": f"the {CONFIDENCE:.0%} interval over all planned seeds, at least "
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


class Judge(Model):
    """What ``judge`` of a claim may say.

    Attributes:
        within: lower and upper distance from the published value.
        at_least, at_most: bounds.
        exactly: the tolerance around the published value where no seed can change a run.
        sd: the spread of single runs known beforehand, for fewer than three seeds.
        why: the reason for the band's width.
        by: what is judged.
        trials: of a run, by share.
    """

    within: list[float] | None = Field(None, min_length=2, max_length=2)
    at_least: float | None = None
    at_most: float | None = None
    exactly: float | None = Field(None, ge=0)
    sd: float | None = Field(None, ge=0)
    why: str = ""
    by: Way = "mean"
    trials: int | None = Field(None, gt=0)


def decide(values: Sequence[float], band: Interval, judge: Judge | None = None,
           plan: Sequence[int] = (ENOUGH_SEEDS,)) -> tuple[str, Interval | None]:
    """The verdict on what several runs measured.

    Args:
        values: one per seed, at least one.
        band: lowest and highest value that agree with the claim.
        judge: of the claim.
        plan: how many runs were planned; where that was raised after a look at the verdict, every
            number in turn. Each look costs its share of the confidence (Bonferroni).

    Returns:
        The verdict, and the interval it rests on (None for too few runs).
    """
    judge = judge or Judge()
    low, high = band
    inside = all(low <= v <= high for v in values)
    if any(math.isnan(v) or (judge.by == "mean" and math.isinf(v)) for v in values):
        return "undecided", None  # there is no mean, and another judgement was not agreed upon
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
    """Of one look, so that all looks together have :data:`CONFIDENCE`."""
    return 1 - (1 - CONFIDENCE) / len(plan)


def interval_of(values: Sequence[float], judge: Judge, level: float) -> Interval | None:
    """The interval a verdict rests on; None where there are too few values for one."""
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
    """The normal interval of the mean by a spread known beforehand.

    Where the values themselves lie further apart than that, their own spread counts.
    """
    n, mean = len(values), float(np.mean(values))
    seen = float(np.std(values, ddof=1)) if n > 1 else 0.0
    half = max(sd, seen) / math.sqrt(n) * float(special.ndtri((1 + level) / 2))
    return mean - half, mean + half


def of_median(values: Sequence[float], level: float = CONFIDENCE) -> Interval | None:
    """The narrowest symmetric pair of ordered values that holds the median often enough.

    The median lies between the k-th smallest and the k-th largest of n values with probability
    1 − 2 P(B < k), B ~ binomial(n, ½). None where not even the extremes suffice.
    """
    ordered, n = sorted(values), len(values)
    chosen = None
    for k in range(1, n // 2 + 1):
        if 1 - 2 * special.bdtr(k - 1, n, 0.5) >= level:
            chosen = ordered[k - 1], ordered[-k]
    return chosen


def of_share(successes: float, trials: int, level: float = CONFIDENCE) -> Interval:
    """Clopper and Pearson's interval of a probability."""
    k, α = round(successes), 1 - level
    low = float(special.betaincinv(k, trials - k + 1, α / 2)) if k else 0.0
    high = float(special.betaincinv(k + 1, trials - k, 1 - α / 2)) if k < trials else 1.0
    return low, high
