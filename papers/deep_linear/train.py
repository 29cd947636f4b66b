"""Deep linear networks (Saxe, McClelland & Ganguli, 2014): networks held to their exact dynamics.

    python papers/deep_linear/train.py experiment=quick          # seconds, offline
    python papers/deep_linear/train.py experiment=modes          # four modes, one after another
    python papers/deep_linear/train.py experiment=depth          # 3, 4, 6 and 11 layers, minutes
    python papers/deep_linear/train.py experiment=mnist          # learning time against depth
"""

from __future__ import annotations

from common.entry import exit_with

from common.running.cli import main
from common.training.recipe import Recipe
from papers.deep_linear.modes import ModesRecipe
from papers.deep_linear.random_networks import ChaosRecipe, ProductRecipe
from papers.deep_linear.settings import Config
from papers.deep_linear.sweep import SweepRecipe

RECIPES = {"modes": ModesRecipe, "product": ProductRecipe, "chaos": ChaosRecipe,
           "sweep": SweepRecipe}


def recipe(config: Config) -> Recipe:
    """The recipe for a configuration's task."""
    return RECIPES[config.task.name](config)


if __name__ == "__main__":
    exit_with(lambda: main(recipe, Config, __file__))
