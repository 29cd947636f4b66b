"""Weight Uncertainty in Neural Networks (Blundell et al., 2015): Bayes by Backprop.

    python papers/bayes_by_backprop/train.py experiment=quick        # bundled digits, offline
    python papers/bayes_by_backprop/train.py                         # four arms, 400 units
    python papers/bayes_by_backprop/train.py experiment=mixture_1200 seed=0
    python papers/bayes_by_backprop/train.py experiment=regression   # Fig. 5
    python papers/bayes_by_backprop/train.py experiment=bandit       # Fig. 6
"""

from __future__ import annotations

from common.entry import exit_with

from common.running.cli import main
from common.training.recipe import Recipe
from papers.bayes_by_backprop.bandit import BanditRecipe
from papers.bayes_by_backprop.classification import BayesRecipe
from papers.bayes_by_backprop.regression import GRID, RegressionRecipe, gaussian_nll
from papers.bayes_by_backprop.settings import Config

__all__ = ["GRID", "BanditRecipe", "BayesRecipe", "Config", "RegressionRecipe", "gaussian_nll",
           "recipe"]


def recipe(config: Config) -> Recipe:
    """The recipe for a configuration's task."""
    recipes = {"classification": BayesRecipe, "regression": RegressionRecipe,
               "bandit": BanditRecipe}
    return recipes[config.task.name](config)


if __name__ == "__main__":
    exit_with(lambda: main(recipe, Config, __file__))
