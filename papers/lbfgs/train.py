"""L-BFGS (Liu & Nocedal, 1989) and its kin on the problems of Moré, Garbow & Hillstrom (1981).

    python papers/lbfgs/train.py experiment=quick      # softmax regression on bundled digits
    python papers/lbfgs/train.py experiment=lbfgs_5    # 48 problems to their published minima
    python papers/lbfgs/train.py                       # every method on all problems, minutes
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import ClassVar, Literal, NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

from common import problems
from common.conditions import NEVER, Not
from common.config import Config as BaseConfig
from common.config import key
from common.data import generator
from common.errors import UserError, exit_with
from common.problems import Problem
from common.running.cli import main
from common.training.recipe import Recipe, Supervised
from common.training.worklist import Worklist
from papers.lbfgs.model import BFGS, LBFGS, LineSearch, SteepestDescent
from papers.lbfgs.newton import Newton

SETS: dict[str, list[tuple[str, dict[str, int]]]] = {
    "published": [*((name, {}) for name in problems.PROBLEMS), ("watson", {"n": 9}),
                  ("watson", {"n": 12}), ("rosenbrock", {"n": 10}), ("powell_singular", {"n": 12}),
                  ("penalty_1", {"n": 10}), ("penalty_2", {"n": 10}),
                  *(("chebyquad", {"n": n}) for n in (1, 2, 3, 4, 5, 6, 7, 9, 10))],
    "large": [(name, {"n": 1000}) for name in (
        "rosenbrock", "powell_singular", "penalty_1", "variably_dimensioned", "trigonometric",
        "broyden_tridiagonal", "broyden_banded", "discrete_boundary_value")],
}
"""Problems by name and size: those with published minima, and large ones as limited memory is made
for."""

FIRST_ORDER = ("momentum", "nesterov", "adam")
RATES = [10.0**-k for k in range(9)]
"""A method without line search takes the best of these on each problem; only that run counts."""

SOLVED = 1e-5
"""A problem is solved when f is this close to a minimum, as a fraction of the way there."""


DIGITS = {"task.name": "digits"}
PROBLEMS = {"task.name": Not("digits")}


@dataclass
class TaskConfig:
    name: Literal["published", "large", "digits"] = key(
        "published", "which problems, or softmax regression on digits")
    budget: int = key(2000, "evaluations of f and its derivatives on a problem at most", least=1,
                      only=PROBLEMS)
    tolerance: float = key(1e-9, "a problem ends when ‖g‖ ≤ tolerance · max(1, ‖x‖)", least=0,
                           only=PROBLEMS)


@dataclass
class OptimConfig:
    method: Literal["lbfgs", "bfgs", "modified", "damped", "saddle_free", "descent", "momentum",
                    "nesterov", "adam"] = key("lbfgs", "modified, damped, saddle_free: Newton's")
    m: int = key(5, "pairs that L-BFGS keeps", least=1, only={"optim.method": "lbfgs"})
    momentum: float = key(0.9, "of momentum and nesterov", least=0, below=1,
                          only={"optim.method": ("momentum", "nesterov")})


@dataclass
class Config(BaseConfig):
    honoured: ClassVar = {  # everything is float64
        "data.name": DIGITS, "data.evaluate_on": DIGITS, "train.batch_size": NEVER,
        "train.compile": DIGITS, "train.precision": NEVER, "start_from": DIGITS}
    task: TaskConfig = field(default_factory=TaskConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)


class Outcome(NamedTuple):
    """How a method fared on a problem.

    Attributes:
        f, gradient: f and ‖g‖ at the end.
        iterations, evaluations: made.
        solved_at: evaluations when f was first within :data:`SOLVED` of a minimum, or −1.
    """

    f: float
    gradient: float
    iterations: int
    evaluations: int
    solved_at: int


def label(problem: Problem) -> str:
    """Its name in metrics: ``watson_9``."""
    return f"{problem.name}_{problem.n}"


def optimiser(config: OptimConfig, params: Iterable[Tensor]) -> LineSearch:
    """The method a configuration names, where it has a line search, for a fixed function."""
    if config.method == "lbfgs":
        return LBFGS(params, config.m, fixed=True)
    if config.method == "bfgs":
        return BFGS(params, fixed=True)
    if config.method == "descent":
        return SteepestDescent(params, fixed=True)
    return Newton(params, config.method, fixed=True)  # type: ignore[arg-type]  # those left


def closeness(problem: Problem) -> Callable[[float], bool]:
    """Tells whether a value of f counts as solved."""
    f0, minima = problem.f(problem.x()).item(), problem.minima or (0.0,)
    return lambda f: any(abs(f - v) <= SOLVED * (f0 - v) for v in minima)


def by_line_search(problem: Problem, c: Config) -> Outcome:
    """Minimise from the published start by a method with a line search."""
    x, close = problem.x().requires_grad_(), closeness(problem)
    optimizer = optimiser(c.optim, [x])
    iterations, solved_at, f, size = 0, -1, math.inf, math.inf
    while optimizer.evaluations < c.task.budget and not optimizer.stalled:
        optimizer.step(lambda: problem.f(x))
        iterations += 1
        f, g = (v.tolist() if v.dim() == 0 else v for v in optimizer.memory["now"])
        size = g.norm().item()
        if solved_at < 0 and close(f):
            solved_at = optimizer.evaluations
        if size <= c.task.tolerance * max(1.0, x.detach().norm().item()):
            break
    return Outcome(f, size, iterations, optimizer.evaluations, solved_at)


def by_rate(problem: Problem, c: Config, rate: float) -> Outcome:
    """Minimise from the published start with a fixed rate; f is infinite if that diverges."""
    x, close = problem.x().requires_grad_(), closeness(problem)
    if c.optim.method == "adam":
        optimizer: torch.optim.Optimizer = torch.optim.Adam([x], rate)
    else:
        optimizer = torch.optim.SGD([x], rate, c.optim.momentum,
                                    nesterov=c.optim.method == "nesterov")
    solved_at, f, size = -1, math.inf, math.inf
    for k in range(1, c.task.budget + 1):
        optimizer.zero_grad()
        loss = problem.f(x)
        loss.backward()
        assert x.grad is not None
        f, size = loss.item(), x.grad.norm().item()
        if not (math.isfinite(f) and math.isfinite(size)):
            return Outcome(math.inf, math.inf, k, k, -1)
        if solved_at < 0 and close(f):
            solved_at = k
        if size <= c.task.tolerance * max(1.0, x.detach().norm().item()):
            break
        optimizer.step()
    return Outcome(f, size, k, k, solved_at)


def minimise(problem: Problem, c: Config) -> Outcome:
    """Minimise by the configured method; one without line search at its best rate."""
    if c.optim.method not in FIRST_ORDER:
        return by_line_search(problem, c)
    tried = [by_rate(problem, c, rate) for rate in RATES]
    solved = [o for o in tried if o.solved_at >= 0]
    return min(solved, key=lambda o: o.solved_at) if solved else min(tried, key=lambda o: o.f)


class MinimaRecipe(Worklist):
    """A step solves the next problem, from its published start to its end."""

    config: Config
    columns, loss_name = Outcome._fields, "log₁₀ of evaluations"
    collection = "moré, garbow & hillstrom"

    def listed(self) -> list[Problem]:
        return [problems.problem(name, **sizes) for name, sizes in SETS[self.config.task.name]]

    def start_of(self, job: Problem) -> Tensor:
        return job.x()

    def name_of(self, k: int, job: Problem) -> str:
        return label(job)

    def do(self, job: Problem) -> Outcome:
        return minimise(job, self.config)

    def summary(self, row: Outcome) -> float:  # type: ignore[override]  # of do()
        """log₁₀ of a problem's evaluations."""
        return math.log10(row.evaluations)

    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """``solved``: how many problems so far; finally of each ``f_<problem>_<n>``, and likewise
        ``gradient``, ``iterations``, ``evaluations`` and ``solved_at``, see :class:`Outcome`."""
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
