"""L-BFGS (Liu & Nocedal, 1989) and its kin on the problems of Moré, Garbow & Hillstrom (1981).

    python papers/lbfgs/train.py experiment=quick      # softmax regression on bundled digits
    python papers/lbfgs/train.py experiment=lbfgs_5    # 48 problems to their published minima
    python papers/lbfgs/train.py                       # every method on all problems, minutes
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from common.entry import exit_with

from einops import rearrange
from torch import Tensor, nn

from common import problems
from common.data import generator
from common.errors import UserError
from common.problems import Problem
from common.running.cli import main
from common.training.recipe import Recipe, Supervised
from common.training.worklist import Worklist
from papers.lbfgs.methods import FIRST_ORDER, Outcome, minimise, optimiser
from papers.lbfgs.model import LineSearch
from papers.lbfgs.settings import Config

SETS: dict[str, list[tuple[str, dict[str, int]]]] = {
    "published": [*((name, {}) for name in problems.PROBLEMS), ("watson", {"n": 9}),
                  ("watson", {"n": 12}), ("rosenbrock", {"n": 10}), ("powell_singular", {"n": 12}),
                  ("penalty_1", {"n": 10}), ("penalty_2", {"n": 10}),
                  *(("chebyquad", {"n": n}) for n in (1, 2, 3, 4, 5, 6, 7, 9, 10))],
    "large": [(name, {"n": 1000}) for name in (
        "rosenbrock", "powell_singular", "penalty_1", "variably_dimensioned", "trigonometric",
        "broyden_tridiagonal", "broyden_banded", "discrete_boundary_value")],
}
"""Problems by name and size: those with published minima, and large ones, which limited memory is
made for."""


def label(problem: Problem) -> str:
    """Its name in metrics: ``watson_9``."""
    return f"{problem.name}_{problem.n}"


class MinimaRecipe(Worklist):
    """Each step minimises one of the problems, from its published start to the end."""

    config: Config
    columns, loss_name = Outcome._fields, "log₁₀ of evaluations"
    collection = "moré, garbow & hillstrom"

    def listed(self) -> list[Problem]:
        return [problems.problem(name, **sizes) for name, sizes in SETS[self.config.task.name]]

    def start_of(self, job: Problem) -> Tensor:
        return job.x()

    def moved(self, job: Problem, move: Callable[[Tensor], Tensor]) -> Problem:
        return dataclasses.replace(job, start=tuple(move(job.x()).tolist()))

    def name_of(self, k: int, job: Problem) -> str:
        return label(job)

    def do(self, job: Problem) -> Outcome:
        return minimise(job, self.config)

    def summary(self, row: Outcome) -> float:  # type: ignore[override]  # of do()
        """log₁₀ of a problem's evaluations."""
        return math.log10(row.evaluations)

    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """``solved``: how many problems are solved so far.

        Finally of each problem ``f_<problem>_<n>``, and in the same way ``gradient``,
        ``iterations``, ``evaluations`` and ``solved_at``, see :class:`Outcome`.
        """
        at = self.columns.index("solved_at")
        solved = float((self.model.values[:step, at] >= 0).sum())
        return {"solved": solved} | super().evaluate(step, final)


class DigitsRecipe(Supervised):
    """Softmax regression on all training images at once; a step is one iteration."""

    float64 = True
    config: Config
    optimizer: LineSearch

    def prepare(self, images: Tensor) -> Tensor:
        return rearrange(images, "n c h w -> n (c h w)").double() / 255

    def build(self) -> None:
        self.model = nn.Linear(self.inputs.shape[1], self.data.classes).double()
        nn.init.normal_(self.model.weight, 0, 0.01, generator=generator(self.config.seed, "init"))
        nn.init.zeros_(self.model.bias)
        if self.config.optim.method in FIRST_ORDER:
            raise UserError(f"optim.method={self.config.optim.method}: expected a method with a "
                            "line search for task.name=digits")
        self.optimizer = optimiser(self.config.optim, self.model.parameters())

    def step(self, number: int) -> Tensor:
        """One iteration; returns the loss before it."""
        return self.optimizer.step(lambda: self.loss((self.inputs, self.labels), {}))


def recipe(config: Config) -> Recipe:
    """The recipe of a configuration's task."""
    return DigitsRecipe(config) if config.task.name == "digits" else MinimaRecipe(config)


if __name__ == "__main__":
    exit_with(lambda: main(recipe, Config, __file__))
