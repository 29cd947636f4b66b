"""The networks that can be looked at, by configuration."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

import torch
from torch import nn

from common.config import one_line
from common.errors import UserError
from papers.loss_landscape.model import MLP
from papers.loss_landscape.settings import ModelConfig
from papers.resnet.model import cifar_resnet, initialise


def build(config: ModelConfig, image: Sequence[int], classes: int,
          draw: torch.Generator) -> nn.Module:
    """A network with initial weights.

    Args:
        config: which one.
        image: its shape, (c, h, w).
        classes: number of classes.
        draw: makes the initial weights; a network of one's own makes them itself.

    Raises:
        UserError: a depth that there is not, or ``model.own`` makes no network.
    """
    if config.kind == "mlp":
        inputs = torch.Size(image).numel()
        return MLP(inputs, config.hidden, classes, config.activation, config.bn, draw)
    if config.kind == "resnet":
        try:
            network = cifar_resnet(config.depth, config.shortcut, image[0], classes)
        except ValueError as e:
            raise UserError(f"model.depth={config.depth}: {e}") from e
        initialise(network, draw)
        return network
    return own(config.own, image, classes)


def own(name: str, image: Sequence[int], classes: int) -> nn.Module:
    """A network of somebody else's, from ``module:function`` called with (image, classes).

    Raises:
        UserError: there is no such function, or it makes no network.
    """
    module, _, function = name.partition(":")
    try:
        made = getattr(importlib.import_module(module), function)(tuple(image), classes)
    except Exception as e:  # whatever its code raises
        raise UserError(f"model.own={name}: expected module:function that makes a network: "
                        f"{one_line(e)[:160]}") from e
    if not isinstance(made, nn.Module):
        raise UserError(f"model.own={name}: expected a torch.nn.Module, it made a "
                        f"{type(made).__name__}")
    return made
