"""The networks whose loss can be studied, by configuration.

Networks of other papers and of users are imported by name when a run needs them; this module does
not depend on them.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from common.config import names_file, one_line
from common.errors import UserError, nearest
from common.evidence.paper import paper_names, papers
from common.files import ROOT
from common.training import weight_files
from common.training.recipe import Supervised
from papers.loss_landscape.model import MLP
from papers.loss_landscape.settings import ModelConfig

RESNET = ".resnet.model:cifar_resnet"
"""A function of depth, kind of shortcut, channels and classes."""

Prepare = Callable[[Tensor], Tensor]
"""A function from uint8 images (n, c, h, w) to a network's float inputs."""


def of_paper(name: str, data: str, seed: int) -> tuple[nn.Module, Prepare]:
    """The untrained network of an experiment in this repository, and its preparation of images.

    Args:
        name: paper/experiment.
        data: the data set's name; the preparation uses statistics of its training images.
        seed: the seed of the initial weights.

    Raises:
        UserError: there is no such experiment, or its network does not classify these images.
    """
    paper, _, experiment = name.partition("/")
    where = f"model.of={name}"
    if paper not in paper_names():
        raise UserError(f"{where}: expected paper/experiment, such as large_batch/f1_sb"
                        f"{nearest(paper, paper_names())}")
    (theirs,) = papers([paper])
    if experiment in theirs.experiments.groups:
        raise UserError(f"{where}: expected one experiment, of "
                        f"{', '.join(theirs.experiments.expand(experiment))}")
    try:
        recipe = theirs.module("train").recipe(theirs.experiments.resolve(
            experiment, seed, {"data.name": data, "train.device": "cpu"}))
    except UserError as e:
        raise UserError(f"{where} with data.name={data}: {e}") from e
    expected = f"{where}: expected a network that makes a logit of every class from images"
    if not isinstance(recipe, Supervised) or recipe.data.train.images.dim() != 4:
        raise UserError(expected)
    try:
        with torch.no_grad():
            logits = recipe.model.eval()(recipe.prepare(recipe.data.train.images[:2]))
        fits = logits.shape == (2, recipe.data.classes)
    except Exception as e:  # any error of a network that expects other inputs
        raise UserError(f"{expected}: {one_line(e)[:160]}") from e
    if not fits:
        raise UserError(f"{expected}; its outputs have the shape {tuple(logits.shape)}")
    return recipe.model, recipe.prepare


def own_preparation(name: str) -> Prepare | None:
    """The function ``prepare`` of the module that ``model.own`` names; None if it has none."""
    return getattr(sys.modules.get(name.partition(":")[0]), "prepare", None)


def build(config: ModelConfig, image: Sequence[int], classes: int,
          draw: torch.Generator) -> nn.Module:
    """A network with initial weights.

    Args:
        config: describes the network.
        image: the shape of an image, (c, h, w).
        classes: number of classes.
        draw: source of an MLP's initial weights; other networks initialise themselves.

    Raises:
        UserError: there is no network of this depth, or ``model.own`` does not make one.
    """
    if config.kind == "mlp":
        inputs = torch.Size(image).numel()
        return MLP(inputs, config.hidden, classes, config.activation, config.bn, draw)
    if config.kind == "resnet":
        make = load_function(RESNET, "model.kind=resnet")
        try:
            return make(config.depth, config.shortcut, image[0], classes)
        except ValueError as e:
            raise UserError(f"model.depth={config.depth}: {e}") from e
    where = f"model.own={config.own}"
    try:
        network = load_function(config.own, where)(tuple(image), classes)
    except UserError:
        raise
    except Exception as e:  # any error in the user's code
        raise UserError(f"{where}: called with {tuple(image)} and {classes} it ended in "
                        f"{type(e).__name__}: {one_line(e)[:160]}") from e
    if not isinstance(network, nn.Module):
        raise UserError(f"{where}: expected a torch.nn.Module, it made a "
                        f"{type(network).__name__}")
    return network


def load_function(name: str, where: str) -> Callable[..., nn.Module]:
    """Import a function given as ``module:function``.

    A module whose name begins with a dot is relative to the package ``papers``. Others are searched
    on Python's path and then in the current folder.

    Raises:
        UserError: it cannot be imported; the message begins with ``where``.
    """
    module, _, function = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        return getattr(importlib.import_module(module, "papers"), function)
    except Exception as e:  # any error while importing the module
        raise UserError(f"{where}: expected module:function that makes a network: "
                        f"{one_line(e)[:160]}") from e


def says_otherwise(model: ModelConfig, file: str) -> None:
    """Make sure that a file of weights does not belong to another residual network.

    The check is needed because networks with and without shortcuts have tensors of the same names
    and shapes.

    Args:
        model: the configured network.
        file: the value of ``start_from``; ignored if it is not a file or its metadata are silent.

    Raises:
        UserError: the file's metadata give another depth or kind of shortcut.
    """
    if not (names_file(file) and (ROOT / file).is_file()):
        return
    about = weight_files.metadata(ROOT / file)
    for name in ("depth", "shortcut"):
        here, there = str(getattr(model, name)), about.get(name)
        if there not in (None, here):
            raise UserError(f"model.{name}={here}: expected {there}, as {file} says of its network")
