"""What a step of L-BFGS costs beside torch's own, on 100,000 unknowns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from common.problems import problem
from common.running.bench import Contender
from papers.lbfgs.model import LBFGS


def iterations(make: Callable[[torch.Tensor], torch.optim.Optimizer], n: int,
               times: int) -> Callable[[], None]:
    """Makes a number of iterations on the extended Rosenbrock function from its start."""
    p = problem("rosenbrock", n=n)

    def run() -> None:
        x = p.x().requires_grad_()
        optimizer = make(x)

        def closure() -> Any:  # torch's types call it a float
            optimizer.zero_grad()
            loss = p.f(x)
            loss.backward()
            return loss
        for _ in range(times):
            optimizer.step(closure)
    return run


def benches() -> Iterator[tuple[str, list[Contender]]]:
    """Yield (title, contenders) of each comparison."""
    yield "L-BFGS, 5 pairs, 100,000 unknowns, 30 iterations", [
        Contender("torch.optim.LBFGS", iterations(
            lambda x: torch.optim.LBFGS([x], max_iter=1, max_eval=26, history_size=5,
                                        line_search_fn="strong_wolfe"), 100_000, 30),
            30, "iterations"),
        Contender("papers.lbfgs", iterations(lambda x: LBFGS([x], 5), 100_000, 30), 30,
                  "iterations")]
