"""The networks to prune, by configuration; residual networks are those of papers/resnet."""

from __future__ import annotations

import importlib

import torch
from torch import nn

from common.errors import UserError
from papers.filter_pruning.model import VGG16, plan
from papers.filter_pruning.settings import ModelConfig, PlanConfig


def build(config: ModelConfig, channels: int, classes: int) -> nn.Module:
    """An unpruned network, with torch's own initialisation.

    Raises:
        UserError: there is no network of this depth, or no folder papers/resnet.
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
    """Draw weights from N(0, 2/fan_in), as papers/resnet does, and set biases to 0."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def left(network: nn.Module, config: PlanConfig) -> dict[int, int]:
    """The number of filters that remain by a configured plan, by layer number.

    Raises:
        UserError: the plan does not fit the network.
    """
    try:
        return plan(network, config.shares, config.skip)
    except ValueError as e:
        raise UserError(f"plan.shares={config.shares}, plan.skip={config.skip}: {e}") from e
