"""What the networks learn, and the networks."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from einops import rearrange
from sklearn.datasets import load_diabetes
from torch import Tensor, nn

from common.data import generator


def sine(seed: int) -> tuple[Tensor, Tensor]:
    """40 points of ½ + ¼ sin 3πx on [−1, 1]; inputs (40, 1), targets (40, 1)."""
    x = torch.linspace(-1, 1, 40, dtype=torch.float64)[:, None]
    return x, 0.5 + 0.25 * torch.sin(3 * math.pi * x)


def period(seed: int) -> tuple[Tensor, Tensor]:
    """41 points of one period of a sine, sin πx on [−1, 1]."""
    x = torch.linspace(-1, 1, 41, dtype=torch.float64)[:, None]
    return x, torch.sin(math.pi * x)


def sinc(seed: int) -> tuple[Tensor, Tensor]:
    """sin(r)/r on a 17 × 17 grid of [−8, 8]², inputs scaled to [−1, 1]²."""
    line = torch.linspace(-1, 1, 17, dtype=torch.float64)
    x = rearrange(torch.stack(torch.meshgrid(line, line, indexing="ij")), "d a b -> (a b) d")
    return x, torch.sinc(8 * x.norm(dim=1, keepdim=True) / math.pi)


def product(seed: int) -> tuple[Tensor, Tensor]:
    """400 points of sin(2πx₁) x₂² x₃³ x₄⁴ exp(−x₁−x₂−x₃−x₄) in [−1, 1]⁴; scaled to sd 1."""
    x = torch.rand(400, 4, generator=generator(seed, "points"), dtype=torch.float64) * 2 - 1
    x1, x2, x3, x4 = x.T[:, :, None]
    y = torch.sin(2 * math.pi * x1) * x2**2 * x3**3 * x4**4 * torch.exp(-x.sum(1, keepdim=True))
    return x, y / y.std()


def diabetes(seed: int) -> tuple[Tensor, Tensor]:
    """scikit-learn's 442 patients, ten columns, all of mean 0 and sd 1."""
    columns, target = load_diabetes(return_X_y=True)
    x, y = torch.tensor(columns), torch.tensor(target)[:, None]
    return (x - x.mean(0)) / x.std(0), (y - y.mean()) / y.std()


TASKS: dict[str, Callable[[int], tuple[Tensor, Tensor]]] = {
    "sine": sine, "period": period, "sinc": sinc, "product": product, "diabetes": diabetes}
SEED_OF_POINTS = 0
"""Every run has the same points; its own seed chooses only the initial weights."""


def network(inputs: int, hidden: int, outputs: int, draw: torch.Generator) -> nn.Sequential:
    """inputs-hidden-outputs with tanh, double precision; weights N(0, 1/fan-in), biases N(0, 1)."""
    layers = nn.Linear(inputs, hidden), nn.Linear(hidden, outputs)
    made = nn.Sequential(layers[0], nn.Tanh(), layers[1]).double()
    with torch.no_grad():
        for layer in layers:
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=draw,
                                           dtype=torch.float64) / math.sqrt(layer.in_features))
            layer.bias.copy_(torch.randn(layer.bias.shape, generator=draw, dtype=torch.float64))
    return made
