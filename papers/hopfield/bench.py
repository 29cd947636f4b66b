"""A sweep by kept overlaps beside one by the matrix of couplings."""

from __future__ import annotations

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
            Contender("couplings", lambda S=S, J=J, o=order: asynchronous(J, S, o), 1, "sweeps"),
            Contender("overlaps", lambda S=S, ξ=ξ, o=order: asynchronous_by_overlaps(ξ, S, o), 1,
                      "sweeps")]
