"""Warm starts, random ones, and what lies between: θ ← λ θ + p (section 4).

The networks of Table 1 are a multilayer perceptron, logistic regression, which is one without
hidden layers, and ResNet-18.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from common.errors import UserError

ACTIVATIONS = {"tanh": torch.tanh, "relu": torch.relu}


class MLP(nn.Module):
    """Fully connected layers with an activation between them; none hidden: logistic regression.

    Args:
        inputs: number of pixels times channels.
        hidden: units of each hidden layer.
        classes: number of classes.
        activation: of the hidden units, one of :data:`ACTIVATIONS`.
        bias: whether layers have biases; Proposition 1 is about networks without.

    Shapes: (n, …) → (n, classes), the logits.
    """

    def __init__(self, inputs: int, hidden: Sequence[int], classes: int, activation: str = "tanh",
                 bias: bool = True):
        super().__init__()
        widths = [inputs, *hidden, classes]
        self.layers = nn.ModuleList(nn.Linear(a, b, bias) for a, b in pairwise(widths))
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for k, layer in enumerate(self.layers):
            x = layer(self.activation(x) if k else x)
        return x


def resnet18(channels: int, classes: int) -> nn.Module:
    """ResNet-18 for small images, of ``papers/resnet``: 64 to 512 channels, projections.

    Raises:
        UserError: that folder is not there.
    """
    try:
        there = importlib.import_module(".resnet.model", "papers")
    except ImportError as e:
        raise UserError("model.kind=resnet18: expected the networks of papers/resnet") from e
    return there.ResNet(there.BasicBlock, [2, 2, 2, 2], 64, "B", channels, classes)


@torch.no_grad()
def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Draw every weight and bias from U(−1/√fan_in, 1/√fan_in), torch's own choice.

    Scales and shifts of batch normalisation stay at 1 and 0.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            bound = layer.weight[0].numel() ** -0.5
            for p in layer.parameters():
                p.uniform_(-bound, bound, generator=generator)


@torch.no_grad()
def shrink_perturb(network: nn.Module, λ: float, σ: float, fresh: Sequence[Tensor]) -> None:
    """θ_i ← λ θ_i + σ θ'_i of every parameter, in place (section 4; the authors' program).

    λ = 1, σ = 0 is a warm start and λ = 0, σ = 1 a random one.

    Args:
        network: whose parameters θ are shrunk.
        λ: what remains of them.
        σ: the scale of the noise.
        fresh: θ', the parameters of a network with random initial weights, so that the noise in
            every layer is of the size of its initial weights.
    """
    for p, noise in zip(network.parameters(), fresh, strict=True):
        p.mul_(λ).add_(noise, alpha=σ)


def gradient_norm(network: nn.Module, x: Tensor, y: Tensor, chunk: int = 1000) -> float:
    """‖∇_θ of the mean cross-entropy over the examples given‖ (what Fig. 5 compares).

    Args:
        network: left as it is, in training mode.
        x, y: inputs and labels.
        chunk: how many at a time.
    """
    parameters = [p for p in network.parameters() if p.requires_grad]
    total = [torch.zeros_like(p) for p in parameters]
    for part, labels in zip(x.split(chunk), y.split(chunk), strict=True):
        loss = nn.functional.cross_entropy(network(part), labels, reduction="sum") / len(x)
        for sums, g in zip(total, torch.autograd.grad(loss, parameters), strict=True):
            sums += g
    return torch.stack([g.square().sum() for g in total]).sum().sqrt().item()
