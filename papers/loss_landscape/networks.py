"""The networks that can be looked at, by configuration.

Those of other folders and of users are found by name when a run asks for them: nothing here needs
them to be there.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence

import torch
from torch import nn

from common.config import one_line
from common.errors import UserError
from papers.loss_landscape.model import MLP
from papers.loss_landscape.settings import ModelConfig

RESNET = ".resnet.model:cifar_resnet"
"""Called with depth, kind of shortcut, channels and classes."""


def build(config: ModelConfig, image: Sequence[int], classes: int,
          draw: torch.Generator) -> nn.Module:
    """A network with initial weights.

    Args:
        config: which one.
        image: its shape, (c, h, w).
        classes: number of classes.
        draw: makes the initial weights of an MLP; those of others are as torch makes them.

    Raises:
        UserError: a depth that there is not, or ``model.own`` makes no network.
    """
    if config.kind == "mlp":
        inputs = torch.Size(image).numel()
        return MLP(inputs, config.hidden, classes, config.activation, config.bn, draw)
    if config.kind == "resnet":
        make = found(RESNET, "model.kind=resnet")
        try:
            return make(config.depth, config.shortcut, image[0], classes)
        except ValueError as e:
            raise UserError(f"model.depth={config.depth}: {e}") from e
    where = f"model.own={config.own}"
    try:
        network = found(config.own, where)(tuple(image), classes)
    except UserError:
        raise
    except Exception as e:  # whatever its code raises
        raise UserError(f"{where}: called with {tuple(image)} and {classes} it ended in "
                        f"{type(e).__name__}: {one_line(e)[:160]}") from e
    if not isinstance(network, nn.Module):
        raise UserError(f"{where}: expected a torch.nn.Module, it made a "
                        f"{type(network).__name__}")
    return network


def found(name: str, where: str) -> Callable[..., nn.Module]:
    """A function by ``module:function``; a module that begins with a dot is one of this package's.

    Raises:
        UserError: there is none; ``where`` says who asked.
    """
    module, _, function = name.partition(":")
    try:
        return getattr(importlib.import_module(module, "papers"), function)
    except Exception as e:  # whatever a module does when it is imported
        raise UserError(f"{where}: expected module:function that makes a network: "
                        f"{one_line(e)[:160]}") from e
