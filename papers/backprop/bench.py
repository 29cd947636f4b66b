"""What training networks side by side gains over training them one by one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from common.experiments import Experiments
from common.running.bench import Contender
from papers.backprop.train import BackpropRecipe, Config

SWEEPS = 200


def benches() -> Iterator[tuple[str, list[Contender]]]:
    """Yield (title, contenders) of each comparison."""
    experiments = Experiments(Config, Path(__file__).with_name("config.yaml"))

    def contender(name: str, networks: int) -> Contender:
        recipe = BackpropRecipe(experiments.resolve("symmetry", 0, {"model.networks": networks}))
        return Contender(name, lambda: [recipe.step(k) for k in range(SWEEPS)],
                         SWEEPS * networks, "network-sweeps")
    yield "symmetry, network-sweeps/s", [contender("one network", 1),
                                         contender("100 side by side", 100)]
