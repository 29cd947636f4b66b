"""Measures over runs: how far one method is ahead, and how methods fare on MINPACK's runs."""

from __future__ import annotations

import math

from common.evidence.results import Result

PENALTY = 10.0
"""A run that does not reach its goal costs this many times what it spent."""


def cost(run: Result, metric: str) -> float:
    """``seconds``, ``iterations`` or ``evaluations`` to the goal."""
    spent = max(run.metrics[metric], 1e-9)
    return spent if run.metrics["reached"] else PENALTY * spent


def decades_ahead(runs: dict[str, Result], metric: str) -> float:
    """log₁₀ of a ratio of costs: the cheapest other run's over that of the run named first."""
    first, *others = (cost(run, metric) for run in runs.values())
    return math.log10(min(others) / first)


def advantage_lost(runs: dict[str, Result], metric: str) -> float:
    """:func:`decades_ahead` in the first half of the runs, less that in the second half."""
    names = list(runs)
    half = len(names) // 2
    first, second = ({k: runs[k] for k in part} for part in (names[:half], names[half:]))
    return decades_ahead(first, metric) - decades_ahead(second, metric)
