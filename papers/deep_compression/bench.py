"""What masks and shared weights add to an update, and how fast a file is written and read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from common.experiments import Experiments
from common.running.bench import Contender, stand_in, taking
from papers.deep_compression.coding import decode, encode
from papers.deep_compression.compression import QuantiseRecipe
from papers.deep_compression.train import Config, recipe

STEPS = 50


def benches() -> Iterator[tuple[str, list[Contender]]]:
    """Yield (title, contenders) of each comparison; random images stand in for MNIST."""
    experiments = Experiments(Config, Path(__file__).with_name("config.yaml"))
    with stand_in((1, 28, 28)):
        recipes = {name: recipe(experiments.resolve(name)) for name in (
            "lenet300_reference", "lenet300_pruned_3", "lenet300_compressed", "ticket_7")}
    yield "one update of LeNet-300-100", [
        Contender(name, taking(r, STEPS), STEPS)
        for name, r in recipes.items()]
    compressed = recipes["lenet300_compressed"]
    assert isinstance(compressed, QuantiseRecipe)
    tensors = compressed.tensors()
    data = encode(tensors)
    yield "a file of an unpruned LeNet-300-100", [
        Contender("write", lambda: encode(tensors), 1), Contender("read", lambda: decode(data), 1)]
