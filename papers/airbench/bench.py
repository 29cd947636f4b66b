"""The cost of a step of airbench94: precision, the frozen first bias, and Muon beside SGD."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common.experiments import Experiments
from common.running.bench import Contender, stand_in
from papers.airbench.train import AirbenchRecipe, Config

STEPS = 3


def recipe(experiment: str = "airbench94", **changes: Any) -> AirbenchRecipe:
    """A recipe on random images, with batches of 256 unless ``changes`` override it."""
    known = Experiments(Config, Path(__file__).with_name("config.yaml"))
    return AirbenchRecipe(known.resolve(experiment, 0, {
        "train.batch_size": 256, **{k.replace("__", "."): v for k, v in changes.items()}}))


def contender(name: str, made: AirbenchRecipe) -> Contender:
    """A contender that makes a recipe's steps."""
    return Contender(name, lambda: [made.step(k) for k in range(STEPS)], STEPS)


def benches() -> Iterator[tuple[str, list[Contender]]]:
    """Yield (title, contenders) of each comparison."""
    with stand_in((3, 32, 32)):
        resting = recipe()
        resting.model.first.requires_grad_(False)  # so no gradient flows to group 1's input
        yield "a step of 256 images", [
            contender("airbench94", recipe()), contender("the first bias at rest", resting),
            contender("in float32", recipe(train__precision="float32"))]
        yield "a step of 2,000 images", [
            contender("with SGD", recipe("muon", train__batch_size=2000, optim__rule="sgd")),
            contender("with Muon", recipe("muon", train__batch_size=2000))]


def steps() -> Iterator[tuple[str, AirbenchRecipe]]:
    """Yield (name, recipe) for each step to compare with its lower limit."""
    with stand_in((3, 32, 32)):
        yield "airbench94", recipe(train__batch_size=1024)
        yield "airbench94 in float32", recipe(train__batch_size=1024, train__precision="float32")
        yield "muon", recipe("muon", train__batch_size=2000)
