"""Caffe's CIFAR-10 network, on which section 4.1.1 compares learning rates.

Names, sizes, initial weights and the multipliers of rate and decay are those of
``examples/cifar10/cifar10_full_train_test.prototxt`` in the Caffe distribution.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LOCAL_SIZE, α, β = 3, 5e-5, 0.75
"""Parameters of both normalisation layers."""

STD = {"conv1": 1e-4, "conv2": 0.01, "conv3": 0.01, "ip1": 0.01}
"""Standard deviations of the initial weights; biases start at zero."""

MULTIPLIERS = {"conv1.weight": (1, 1), "conv1.bias": (2, 1),
               "conv2.weight": (1, 1), "conv2.bias": (2, 1),
               "conv3.weight": (1, 1), "conv3.bias": (1, 1),
               "ip1.weight": (1, 250), "ip1.bias": (2, 0)}
"""Factors of the learning rate and of the weight decay for each parameter."""


def within_channel(x: Tensor, size: int = LOCAL_SIZE, α: float = α, β: float = β) -> Tensor:
    """Local response normalisation within a channel: x / (1 + α/n² · Σ x²)^β.

    The sum is over the n × n neighbourhood of a pixel in its own map, with zeros beyond the edge.

    Args:
        x: shape (b, c, h, w).
        size: n, odd.
        α, β: parameters of the normalisation.
    """
    mean = F.avg_pool2d(x * x, size, stride=1, padding=size // 2)  # divides by n² at edges, too
    scale = 1 + α * mean
    if β == 0.75:  # roots are much faster than the power scale^(−3/4)
        root = torch.rsqrt(scale)
        return x * (root * root.sqrt())
    return x * scale**-β


class Cifar10Full(nn.Module):
    """Three 5×5 convolutions, each followed by 3×3 pooling with stride 2, and a linear layer.

    Args:
        channels: channels of an image; 3 for CIFAR-10.
        size: height and width of an image; 32 for CIFAR-10.
        classes: number of classes; 10 for CIFAR-10.
        lrn: whether the outputs of the first two poolings are normalised, as in Caffe's file.
        generator: source of the initial weights.

    Shapes: (b, channels, size, size) → (b, classes), the logits.

    Raises:
        ValueError: the image is too small for three poolings.
    """

    def __init__(self, channels: int = 3, size: int = 32, classes: int = 10, lrn: bool = True,
                 generator: torch.Generator | None = None):
        super().__init__()
        if size < 8:
            raise ValueError(f"images of {size}×{size} pixels: expected at least 8×8, which three "
                             "poolings halve")
        self.lrn = lrn
        self.conv1 = nn.Conv2d(channels, 32, 5, padding=2)
        self.conv2 = nn.Conv2d(32, 32, 5, padding=2)
        self.conv3 = nn.Conv2d(32, 64, 5, padding=2)
        for _ in range(3):
            size = -(-(size - 3) // 2) + 1  # rounded up, as in Caffe's pooling
        self.ip1 = nn.Linear(64 * size * size, classes)
        for name, std in STD.items():
            layer = getattr(self, name)
            nn.init.normal_(layer.weight, 0.0, std, generator=generator)
            nn.init.zeros_(layer.bias)

    def normalised(self, x: Tensor) -> Tensor:
        """norm1 or norm2 of Caffe's file; the identity without ``lrn``."""
        return within_channel(x) if self.lrn else x

    def forward(self, x: Tensor) -> Tensor:
        x = self.normalised(F.relu(F.max_pool2d(self.conv1(x), 3, 2, ceil_mode=True)))
        x = self.normalised(F.avg_pool2d(F.relu(self.conv2(x)), 3, 2, ceil_mode=True))
        x = F.avg_pool2d(F.relu(self.conv3(x)), 3, 2, ceil_mode=True)
        return self.ip1(x.flatten(1))


def parameter_groups(network: Cifar10Full, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups with the same factors of rate and decay in Caffe's file."""
    groups: dict[tuple[int, int], list[Tensor]] = {}
    for name, p in network.named_parameters():
        groups.setdefault(MULTIPLIERS[name], []).append(p)
    return [{"params": params, "multiplier": float(rate), "weight_decay": weight_decay * decay}
            for (rate, decay), params in groups.items()]
