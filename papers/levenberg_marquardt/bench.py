"""Iterations a second on 1-15-1 with 40 points: one network, and 100 side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from common.data import generator
from common.running.bench import Contender
from common.training.compiling import compile_apart
from papers.levenberg_marquardt.optim import Weights, iterate
from papers.levenberg_marquardt.tasks import network, sine


def iterations(networks: int, times: int, compiled: bool) -> Callable[[], None]:
    """Makes a number of iterations from fixed initial weights, in every block the same."""
    x, t = sine(0)
    start = [network(1, 15, 1, generator(seed, "init")) for seed in range(networks)]
    f = Weights(start[0])
    θ = torch.stack([Weights(n).flat() for n in start])
    step = compile_apart(iterate) if compiled else iterate

    @torch.no_grad()
    def run() -> None:
        now, μ, ν, D = θ, θ.new_full((networks,), 0.01), θ.new_full((networks,), 2.0), None
        for _ in range(times):
            now, μ, ν, D, _ = step(f, now, μ, ν, D, x, t)
    return run


def benches() -> Iterator[tuple[str, list[Contender]]]:
    """Yield (title, contenders) of each comparison."""
    yield "Levenberg-Marquardt, 1-15-1 on 40 points", [
        Contender("one network, compiled", iterations(1, 2000, True), 2000, "iterations"),
        Contender("one network, eager", iterations(1, 200, False), 200, "iterations"),
        Contender("100 networks, compiled", iterations(100, 200, True), 200, "iterations")]
