"""The networks that are pruned, by configuration; residual ones are those of papers/resnet."""

from __future__ import annotations

import importlib

import torch
from torch import nn

from common.errors import UserError
from papers.filter_pruning.model import VGG16, plan
from papers.filter_pruning.settings import ModelConfig, PlanConfig


def build(config: ModelConfig, channels: int, classes: int) -> nn.Module:
    """A whole network, with torch's own initial weights.

    Raises:
        UserError: a depth that there is not, or no folder papers/resnet.
    """
    if config.kind == "vgg16":
        return VGG16(channels, classes, config.width)
    try:
        make = importlib.import_module(".resnet.model", "papers").cifar_resnet
        return make(config.depth, "A", channels, classes)
    except ImportError as e:
        raise UserError("model.kind=resnet: expected the networks of papers/resnet") from e
    except ValueError as e:
        raise UserError(f"model.depth={config.depth}: {e}") from e


@torch.no_grad()
def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """N(0, 2/fan_in) for weights of convolutions and linear layers, as papers/resnet; biases 0."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def left(network: nn.Module, config: PlanConfig) -> dict[int, int]:
    """Filters that stay in a whole network by a configured plan, by layer number.

    Raises:
        UserError: the plan does not fit the network.
    """
    try:
        return plan(network, config.shares, config.skip)
    except ValueError as e:
        raise UserError(f"plan.shares={config.shares}, plan.skip={config.skip}: {e}") from e
