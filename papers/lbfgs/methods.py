"""One problem minimised by one method, from its published start to its end."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from common.problems import Problem
from papers.lbfgs.model import BFGS, LBFGS, LineSearch, SteepestDescent
from papers.lbfgs.newton import Newton
from papers.lbfgs.settings import Config, OptimConfig

FIRST_ORDER = ("momentum", "nesterov", "adam")
"""The methods without a line search."""

RATES = [10.0**-k for k in range(9)]
"""The rates these methods are run with on each problem; only the best run counts."""

SOLVED = 1e-5
"""A problem is solved once f is this close to a minimum, as a fraction of its first distance."""


class Outcome(NamedTuple):
    """How a method fared on a problem.

    Attributes:
        f, gradient: f and ‖g‖ at the end.
        iterations, evaluations: how many were made.
        solved_at: evaluations when f was first within :data:`SOLVED` of a minimum, or −1.
    """

    f: float
    gradient: float
    iterations: int
    evaluations: int
    solved_at: int


def optimiser(config: OptimConfig, params: Iterable[Tensor]) -> LineSearch:
    """The configuration's method, which has a line search, for a function that stays the same."""
    if config.method == "lbfgs":
        return LBFGS(params, config.m, fixed=True)
    if config.method == "bfgs":
        return BFGS(params, fixed=True)
    if config.method == "descent":
        return SteepestDescent(params, fixed=True)
    return Newton(params, config.method, fixed=True)  # type: ignore[arg-type]  # those left


def closeness(problem: Problem) -> Callable[[float], bool]:
    """A function that says whether a value of f counts as solved."""
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
    """Minimise by the configuration's method, without a line search at its best rate."""
    if c.optim.method not in FIRST_ORDER:
        return by_line_search(problem, c)
    tried = [by_rate(problem, c, rate) for rate in RATES]
    solved = [o for o in tried if o.solved_at >= 0]
    return min(solved, key=lambda o: o.solved_at) if solved else min(tried, key=lambda o: o.f)
