"""Gradients in a random network by eq. (2), compared with automatic differentiation."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from common.data import generator
from common.running.bench import Contender
from papers.initialisation.model import Network

STEPS = 20


def automatic(net: Network, x: Tensor, labels: Tensor) -> None:
    """∂Cost/∂s of every layer by autograd."""
    for _ in range(STEPS):
        s, _ = net.activities(x)
        torch.autograd.grad(F.cross_entropy(s[-1], labels, reduction="sum"), s)


@torch.no_grad()
def by_hand(net: Network, x: Tensor, labels: Tensor) -> None:
    """The same by eq. (2), without a graph."""
    for _ in range(STEPS):
        s, _ = net.activities(x)
        net.gradients(s, labels)


def benches() -> Iterator[tuple[str, list[Contender]]]:
    """Yield (title, contenders) of each comparison."""
    g = generator(0, "bench")
    for width in (100, 500):
        net = Network([784, *[width] * 5, 10], "tanh", "normalised", g)
        x, labels = torch.rand(300, 784, generator=g), torch.arange(300) % 10
        yield f"gradients of five layers of {width} units on 300 images", [
            Contender("autograd", functools.partial(automatic, net, x, labels), STEPS),
            Contender("eq. (2)", functools.partial(by_hand, net, x, labels), STEPS)]
