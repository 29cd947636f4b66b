"""MINPACK's 53 published runs, and the experiment that makes them again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from common import problems
from common.errors import UserError
from common.evidence.claims import read_table
from common.training.worklist import Worklist
from papers.levenberg_marquardt.formulas import FORMULAS
from papers.levenberg_marquardt.model import EPSILON, Solution, damped, levenberg_marquardt
from papers.levenberg_marquardt.settings import Config

PUBLISHED = Path(__file__).with_name("published") / "minpack.csv"
TOLERANCE = math.sqrt(EPSILON)
"""ftol and xtol of the published runs."""


@dataclass(frozen=True)
class PublishedRun:
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


def minpack_runs() -> list[PublishedRun]:
    """The 53 published runs in their order."""
    sized = {"linear_full_rank": "nm", "linear_rank_1": "nm", "linear_rank_1_zeros": "nm",
             "chebyquad": "nm", "watson": "n", "brown_almost_linear": "n"}
    return [PublishedRun(problems.problem(row["problem"], **{
        k: int(row[k]) for k in sized.get(row["problem"], "")}), float(row["factor"]))
        for row in read_table(PUBLISHED)]


class MinpackRecipe(Worklist):
    """Each step makes one of MINPACK's runs, from its start to its end.

    Metrics: ``evaluations`` so far; finally of each run k ``nfev_<k>``, ``njev_<k>``,
    ``info_<k>`` and ``norm_<k>``, as MINPACK names them.
    """

    config: Config
    columns, loss_name = ("nfev", "njev", "info", "norm"), "norm of the residuals"
    collection = "moré, garbow & hillstrom"

    def listed(self) -> list[PublishedRun]:
        return minpack_runs()

    def start_of(self, job: PublishedRun) -> Tensor:
        return job.problem.x(job.factor)

    def build(self) -> None:
        super().build()
        method = self.config.optim.method
        if method not in ("more", "plain", "marquardt"):
            raise UserError(f"optim.method={method}: expected more, plain or marquardt for "
                            "task.name=minpack")

    def do(self, job: PublishedRun) -> list[float]:
        o = self.config.optim
        s = job.solve(o.method, o.damping, o.factor)
        # LMDER1, which the published runs called, reports 8 as 4
        return [s.evaluations, s.jacobians, 4 if s.info == 8 else s.info, s.norm]

    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        evaluations = self.model.values[:, 0].sum().item()
        return {"evaluations": evaluations} | super().evaluate(step, final)
