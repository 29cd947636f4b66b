"""The paper's method, in its symbols and with its equation numbers."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn


class Network(nn.Module):
    """y = W₂ f(W₁ x + b₁) + b₂, eq. (1).

    Args:
        inputs: number of pixels.
        hidden: number of hidden units.
        classes: number of classes.
        generator: source of the initial weights N(0, 1/fan_in); biases start at zero.

    Shapes: (n, c, h, w) → (n, classes), the logits.
    """

    def __init__(self, inputs: int, hidden: int, classes: int,
                 generator: torch.Generator | None = None):
        super().__init__()
        self.layer1, self.layer2 = nn.Linear(inputs, hidden), nn.Linear(hidden, classes)
        for layer in (self.layer1, self.layer2):
            nn.init.normal_(layer.weight, 0.0, layer.in_features**-0.5, generator=generator)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = rearrange(x, "n c h w -> n (c h w)")
        return self.layer2(torch.relu(self.layer1(x)))
