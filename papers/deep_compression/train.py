"""Pruning, sharing and coding weights: Han et al. (2015, 2016); Frankle & Carbin (2019).

    python papers/deep_compression/train.py experiment=quick        # bundled digits, seconds
    python papers/deep_compression/train.py experiment=lenet300     # LeNet-300-100, all stages
    python papers/deep_compression/train.py experiment=lenet5       # LeNet-5
    python papers/deep_compression/train.py experiment=short        # lottery tickets, shortened
"""

from __future__ import annotations

from common.entry import exit_with

from common.running.cli import main
from common.training.recipe import Recipe
from papers.deep_compression.compression import PruneRecipe, QuantiseRecipe, TrainRecipe
from papers.deep_compression.lottery import TicketRecipe
from papers.deep_compression.settings import Config

RECIPES = {"train": TrainRecipe, "prune": PruneRecipe, "quantise": QuantiseRecipe,
           "ticket": TicketRecipe}


def recipe(config: Config) -> Recipe:
    """The recipe of a configuration's task."""
    return RECIPES[config.task.name](config)


if __name__ == "__main__":
    exit_with(lambda: main(recipe, Config, __file__))
