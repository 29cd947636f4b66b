"""What a step costs by batch size, with and without ghosts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from common.experiments import Experiments
from common.running.bench import Contender, stand_in, taking, without_onednn
from papers.large_batch.train import Config, LargeBatchRecipe

STEPS = 5


def benches() -> Iterator[tuple[str, list[Contender]]]:
    """Yield (title, contenders) of each comparison; random images stand in for MNIST."""
    experiments = Experiments(Config, Path(__file__).with_name("config.yaml"))
    with stand_in((1, 28, 28)):
        recipes = {name: LargeBatchRecipe(experiments.resolve("hoffer_lb", 0, overrides))
                   for name, overrides in {
                       "batches of 128": {"train.batch_size": 128},
                       "batches of 1,024": {"train.batch_size": 1024},
                       "in ghosts of 128": {"train.batch_size": 1024, "model.ghost": 128}}.items()}
    contenders = [Contender(name, taking(r, STEPS), STEPS)
                  for name, r in recipes.items()]
    yield "one update of F1", [*contenders, without_onednn(contenders[1])]


def steps() -> Iterator[tuple[str, LargeBatchRecipe]]:
    """Yield (name, recipe) of steps that are timed beside their limit."""
    experiments = Experiments(Config, Path(__file__).with_name("config.yaml"))
    with stand_in((1, 28, 28)):
        yield "f1_sb", LargeBatchRecipe(experiments.resolve("f1_sb", 0, {"measure.images": 0}))
