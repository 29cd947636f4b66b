"""What dropout adds to a step: the same network and batches with and without it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from common import data
from common.bench import Contender
from common.config import Experiments
from papers.dropout.train import Config, DropoutRecipe

STEPS = 40


def benches() -> Iterator[tuple[str, list[Contender]]]:
    """Yield (title, contenders) of each comparison; random images stand in for MNIST."""
    g = torch.Generator().manual_seed(0)
    split = data.Split(torch.randint(0, 256, (5000, 1, 28, 28), generator=g, dtype=torch.uint8),
                       torch.randint(0, 10, (5000,), generator=g))
    made = data.DataSet("mnist", split, split, "random", 10)
    data.load, keep = lambda _: made, data.load
    try:
        experiments = Experiments(Config, Path(__file__).with_name("config.yaml"))
        recipes = {name: DropoutRecipe(experiments.resolve("dropout", 0, overrides))
                   for name, overrides in {
                       "no noise": {"model.noise": "none"},
                       "dropout": {},
                       "inverted dropout": {"model.noise": "inverted"},
                       "Gaussian noise": {"model.noise": "gaussian"}}.items()}
    finally:
        data.load = keep
    yield "one step at 3×1024, batch 100, max-norm in all", [
        Contender(name, lambda r=r: [r.step(r.batch(k)) for k in range(STEPS)], STEPS)
        for name, r in recipes.items()]
