"""A step of Bayes by Backprop beside a plain SGD step of the same network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from common.experiments import Experiments
from common.running.bench import Contender, stand_in, taking, without_onednn
from papers.bayes_by_backprop.train import BayesRecipe, Config

STEPS = 20


def benches() -> Iterator[tuple[str, list[Contender]]]:
    """Yield (title, contenders) of each comparison; random images replace MNIST."""
    experiments = Experiments(Config, Path(__file__).with_name("config.yaml"))
    small, one = {"data.validation": 500}, {"optim.samples": 1}
    with stand_in((1, 28, 28)):
        recipes = {name: BayesRecipe(experiments.resolve(arm, 0, small | overrides))
                   for name, arm, overrides in (
                       ("plain SGD", "sgd_1200", {}),
                       ("mixture, fast, compiled", "mixture_1200",
                        one | {"train.compile": True}),
                       ("mixture, fast, eager", "mixture_1200",
                        one | {"train.compile": False}),
                       ("mixture, autograd", "mixture_1200", one | {"optim.fast": False}))}
    contenders = [Contender(name, taking(r, STEPS), STEPS)
                  for name, r in recipes.items()]
    yield "one step at 2×1200, batch 128", contenders + [
        without_onednn(c) for c in contenders[:2]]


def steps() -> Iterator[tuple[str, BayesRecipe]]:
    """Yield (name, recipe) for each step to compare with its lower limit."""
    experiments = Experiments(Config, Path(__file__).with_name("config.yaml"))
    with stand_in((1, 28, 28)):
        for name in ("sgd_1200", "mixture_1200"):
            yield name, BayesRecipe(experiments.resolve(name, 0, {"data.validation": 500}))
