"""What dropout adds to a step: the same network and batches with and without it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from common.experiments import Experiments
from common.running.bench import Contender, stand_in, taking, without_onednn
from papers.dropout.train import Config, DropoutRecipe

STEPS = 40


def benches() -> Iterator[tuple[str, list[Contender]]]:
    """Yield (title, contenders) of each comparison; random images stand in for MNIST."""
    experiments = Experiments(Config, Path(__file__).with_name("config.yaml"))
    with stand_in((1, 28, 28)):
        recipes = {name: DropoutRecipe(experiments.resolve("dropout", 0, overrides))
                   for name, overrides in {
                       "no noise": {"model.noise": "none"},
                       "dropout": {},
                       "inverted dropout": {"model.noise": "inverted"},
                       "Gaussian noise": {"model.noise": "gaussian"}}.items()}
    contenders = [Contender(name, taking(r, STEPS), STEPS)
                  for name, r in recipes.items()]
    yield "one step at 3×1024, batch 100, max-norm in all", contenders + [
        without_onednn(c) for c in contenders[:2]]


def steps() -> Iterator[tuple[str, DropoutRecipe]]:
    """Yield (name, recipe) of steps that are timed beside their limit."""
    experiments = Experiments(Config, Path(__file__).with_name("config.yaml"))
    with stand_in((1, 28, 28)):
        for name in ("dropout",):
            yield name, DropoutRecipe(experiments.resolve(name))
