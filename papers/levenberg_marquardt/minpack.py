"""MINPACK's 53 published runs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common import problems
from common.evidence.claims import read_table
from papers.levenberg_marquardt.formulas import FORMULAS
from papers.levenberg_marquardt.model import EPSILON, Solution, damped, levenberg_marquardt

PUBLISHED = Path(__file__).with_name("published") / "minpack.csv"
TOLERANCE = math.sqrt(EPSILON)
"""ftol and xtol of the published runs."""


@dataclass(frozen=True)
class Run:
    """One published run: a problem in a size, started at ``factor`` times its published start."""

    problem: problems.Problem
    factor: float

    def F(self, x: np.ndarray) -> np.ndarray:
        """Residuals, (m)."""
        return np.array(FORMULAS[self.problem.name][0](x.tolist(), self.problem.m))

    def J(self, x: np.ndarray) -> np.ndarray:
        """Their exact Jacobian, (m, n)."""
        return np.array(FORMULAS[self.problem.name][1](x.tolist(), self.problem.m))

    def solve(self, method: str, μ: float = 0.01, β: float = 10.0) -> Solution:
        """By Moré's algorithm with MINPACK's tolerances, or by plain damping."""
        x = self.problem.x(self.factor).numpy()
        if method == "more":
            return levenberg_marquardt(self.F, self.J, x, TOLERANCE, TOLERANCE)
        return damped(self.F, self.J, x, TOLERANCE, μ, β, scaled=method == "marquardt")


def minpack_runs() -> list[Run]:
    """The 53 published runs in their order."""
    sized = {"linear_full_rank": "nm", "linear_rank_1": "nm", "linear_rank_1_zeros": "nm",
             "chebyquad": "nm", "watson": "n", "brown_almost_linear": "n"}
    return [Run(problems.problem(row["problem"], **{
        k: int(row[k]) for k in sized.get(row["problem"], "")}), float(row["factor"]))
        for row in read_table(PUBLISHED)]
