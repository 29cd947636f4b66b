"""What a step costs: teacher, student of labels, student of soft targets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from common.experiments import Experiments
from common.running.bench import Contender, stand_in, taking, without_onednn
from papers.distillation.train import Config, DistillationRecipe, recipe

STEPS = 5


def made(name: str) -> DistillationRecipe:
    """The recipe of an experiment; random images stand in for MNIST, zeros for a teacher's logits.
    """
    experiments = Experiments(Config, Path(__file__).with_name("config.yaml"))
    with stand_in((1, 28, 28)):
        return recipe(experiments.resolve(name))


def benches() -> Iterator[tuple[str, list[Contender]]]:
    """Yield (title, contenders) of each comparison."""
    recipes = {"student of labels": made("hard"), "of soft targets": made("soft"),
               "teacher": made("teacher")}
    contenders = [Contender(name, taking(r, STEPS), STEPS)
                  for name, r in recipes.items()]
    yield "one update", [*contenders, without_onednn(contenders[1])]


def steps() -> Iterator[tuple[str, DistillationRecipe]]:
    """Yield (name, recipe) of steps that are timed beside their limit."""
    yield "soft", made("soft")
