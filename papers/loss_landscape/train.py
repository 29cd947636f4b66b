"""Visualizing the loss landscape (Li et al., 2018): lines, planes, paths and curvature.

    python papers/loss_landscape/train.py experiment=quick             # digits, seconds, offline
    python papers/loss_landscape/train.py experiment=surface_resnet20  # a plane of ResNet-20
    python papers/loss_landscape/train.py experiment=surface_resnet20 start_from=FILE.safetensors

A step of a line, plane or map is one point.
"""

from __future__ import annotations

from common.entry import exit_with

from common.running.cli import main
from common.training.recipe import Recipe
from papers.loss_landscape.settings import Config
from papers.loss_landscape.surfaces import CurvatureRecipe, SurfaceRecipe
from papers.loss_landscape.training import TrainRecipe

RECIPES = {"train": TrainRecipe, "surface": SurfaceRecipe, "curvature": CurvatureRecipe}


def recipe(config: Config) -> Recipe:
    """The recipe for a configuration's task."""
    return RECIPES[config.task.name](config)


if __name__ == "__main__":
    exit_with(lambda: main(recipe, Config, __file__))
