"""A sweep that keeps overlaps, compared with one by the matrix of couplings."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import torch

from common.running.bench import Contender
from papers.hopfield.model import asynchronous, asynchronous_by_overlaps, hebb


def benches() -> Iterator[tuple[str, list[Contender]]]:
    """Yield (title, contenders) of each comparison."""
    for n, p in ((1000, 100), (5000, 500)):
        g = torch.Generator().manual_seed(0)
        ξ = torch.randint(0, 2, (p, n), generator=g).float() * 2 - 1
        S, order, J = ξ[:50].clone(), torch.randperm(n, generator=g), hebb(ξ)
        yield f"a sweep of 50 trials from stored patterns, N = {n}, p = {p}", [
            Contender("couplings", functools.partial(asynchronous, J, S, order), 1, "sweeps"),
            Contender("overlaps", functools.partial(asynchronous_by_overlaps, ξ, S, order), 1,
                      "sweeps")]
