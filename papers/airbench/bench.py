"""The paper's speed claim, or ours, as a ratio."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from common.experiments import Experiments
from common.running.bench import Contender
from papers.airbench import train

STEPS = 500


def benches() -> Iterator[tuple[str, list[Contender]]]:
    """Yield (title, contenders) of each comparison."""
    experiments = Experiments(train.Config, Path(__file__).with_name("config.yaml"))

    def contender(hidden: int) -> Contender:
        recipe = train.AirbenchRecipe(experiments.resolve("quick", 0, {"model.hidden": hidden}))
        return Contender(f"{hidden} hidden units",
                         lambda: [recipe.step(k) for k in range(STEPS)], STEPS)
    yield "a step on digits", [contender(100), contender(400)]
