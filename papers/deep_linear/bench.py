"""An update by products from the narrow side, compared with automatic differentiation."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from common.running.bench import Contender
from papers.deep_linear.model import descend

STEPS = 5


def automatic(net: nn.Sequential, x: Tensor, y: Tensor) -> None:
    """Updates of gradient descent on ½ E|y − W x|² over all examples."""
    optimizer = torch.optim.SGD(net.parameters(), 1e-3)
    for _ in range(STEPS):
        optimizer.zero_grad()
        (0.5 * (net(x) - y).square().sum() / len(x)).backward()
        optimizer.step()


def benches() -> Iterator[tuple[str, list[Contender]]]:
    """Yield (title, contenders) of each comparison."""
    for layers in (3, 30):
        g = torch.Generator().manual_seed(0)
        sizes = [784, *[100] * (layers - 2), 10]
        weights = [torch.randn(above, below, generator=g) / below**0.5
                   for below, above in itertools.pairwise(sizes)]
        net = nn.Sequential(*(nn.Linear(below, above, False)
                              for below, above in itertools.pairwise(sizes)))
        x, y = torch.randn(6000, 784, generator=g), torch.randn(6000, 10, generator=g)
        Σ31, Σ11 = y.T @ x / len(x), x.T @ x / len(x)

        def by_products(weights: list[Tensor] = weights, Σ31: Tensor = Σ31,
                        Σ11: Tensor = Σ11) -> None:
            for _ in range(STEPS):
                descend(weights, 1e-3, Σ31, Σ11)
        yield f"an update of {layers} layers of 100 units on 6,000 images", [
            Contender("autograd on the images",
                      functools.partial(automatic, net, x, y), STEPS),
            Contender("products with Σ¹¹", by_products, STEPS)]
