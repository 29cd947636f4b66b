"""Where deep networks start: Glorot & Bengio (2010), He et al. (2015), Klambauer et al. (2017).

    python papers/initialisation/train.py experiment=quick       # seconds, offline
    python papers/initialisation/train.py experiment=start       # signals before any learning
    python papers/initialisation/train.py experiment=mnist       # five hidden layers, minutes
    python papers/initialisation/train.py experiment=deep        # 22 and 30 layers of rectifiers
"""

from __future__ import annotations

from common.entry import exit_with

from common.running.cli import main
from common.training.recipe import Recipe
from papers.initialisation.learning import LearningRecipe
from papers.initialisation.settings import Config
from papers.initialisation.signals import ConvolutionsRecipe, LayersRecipe, SurfaceRecipe

RECIPES = {"train": LearningRecipe, "layers": LayersRecipe, "convolutions": ConvolutionsRecipe,
           "surface": SurfaceRecipe}


def recipe(config: Config) -> Recipe:
    """The recipe for a configuration's task."""
    return RECIPES[config.task.name](config)


if __name__ == "__main__":
    exit_with(lambda: main(recipe, Config, __file__))
