"""Functions behind the claims: exact facts computed from the code, and measures over curves."""

from __future__ import annotations

import math

import numpy as np
import torch

from common.evidence.results import Result
from papers.NAME.model import Network


def parameters() -> float:
    """Parameters of the paper's network, in thousands."""
    with torch.device("meta"):
        return sum(p.numel() for p in Network(784, 100, 10).parameters()) / 1000


def steps_to(runs: dict[str, Result], accuracy: float) -> float:
    """The first evaluation at or above an accuracy; infinite if there is none."""
    (run,) = runs.values()
    steps, measured = run.curves["accuracy"]
    reached = np.flatnonzero(measured >= accuracy)
    return float(steps[reached[0]]) if len(reached) else math.inf
