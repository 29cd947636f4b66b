"""The networks that are pruned, by configuration; residual ones are those of papers/resnet."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import torch
from torch import nn

from common.errors import UserError
from papers.filter_pruning.model import VGG16, plan
from papers.filter_pruning.settings import ModelConfig, PlanConfig


def found(function: str) -> Callable[..., nn.Module]:
    """A function of ``papers/resnet/model.py``, looked for when a run asks for it.

    Raises:
        UserError: there is none.
    """
    try:
        return getattr(importlib.import_module(".resnet.model", "papers"), function)
    except (ImportError, AttributeError) as e:
        raise UserError(f"model.kind=resnet: expected papers/resnet with its {function}") from e


def build(config: ModelConfig, channels: int, classes: int) -> nn.Module:
    """A whole network, with torch's own initial weights.

    Raises:
        UserError: a depth that there is not.
    """
    if config.kind == "vgg16":
        return VGG16(channels, classes, config.width)
    try:
        return found("cifar_resnet")(config.depth, "A", channels, classes)
    except ValueError as e:
        raise UserError(f"model.depth={config.depth}: {e}") from e


def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """The residual networks' own initial weights, He et al.'s, for all convolutions and linear."""
    found("initialise")(network, generator)


def left(network: nn.Module, config: PlanConfig) -> dict[int, int]:
    """Filters that stay in a whole network by a configured plan, by layer number.

    Raises:
        UserError: the plan does not fit the network.
    """
    try:
        return plan(network, config.shares, config.skip)
    except ValueError as e:
        raise UserError(f"plan.shares={config.shares}, plan.skip={config.skip}: {e}") from e
