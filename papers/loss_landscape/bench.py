"""The cost of the extreme eigenvalues at a point: the Lanczos method and the dense Hessian."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F

from common.running.bench import Contender
from papers.loss_landscape.model import MLP, hessian_product, lanczos


def benches() -> Iterator[tuple[str, list[Contender]]]:
    """Yield (title, contenders) of each comparison."""
    draw = torch.Generator().manual_seed(0)
    network = MLP(16, [8, 8], 10, draw=draw)
    x, y = torch.randn(200, 16, generator=draw), torch.randint(0, 10, (200,), generator=draw)
    θ = {name: p.detach().clone().requires_grad_() for name, p in network.named_parameters()}
    names, sizes = list(θ), [p.numel() for p in θ.values()]
    start = torch.randn(sum(sizes), generator=draw)

    def loss(*weights: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(torch.func.functional_call(
            network, dict(zip(names, weights, strict=True)), (x,)), y)

    def dense() -> None:
        H = torch.autograd.functional.hessian(loss, tuple(p.detach() for p in θ.values()))
        torch.linalg.eigvalsh(torch.cat([torch.cat([
            block.reshape(n, m) for block, m in zip(row, sizes, strict=True)], 1)
            for row, n in zip(H, sizes, strict=True)]))

    def by_lanczos() -> None:
        lanczos(hessian_product(loss(*θ.values()), list(θ.values())), start, 12)

    yield f"extreme eigenvalues of a network of {sum(sizes):,} weights", [
        Contender("dense Hessian", dense, 1, "points"),
        Contender("Lanczos, 12 products", by_lanczos, 1, "points"),
        Contender("the loss alone", lambda: loss(*θ.values()), 1, "points")]
