"""The cost of the shared loop over a bare one, and of ten seeds as one batched network over one."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F

from common.evidence import results
from common.experiments import Experiments
from common.running.bench import Contender, stand_in, taking
from common.segments import Origin
from common.training import loop as training
from common.training.vectorised import BatchedSeeds
from papers.batchnorm.train import BatchNormRecipe, Config

STEPS, SEEDS = 4000, 10
"""Updates of a run, as many as in the quick experiments. Its start and end (folder, lock, last
checkpoint) are included and take about as long as sixty steps."""


class Unmeasured(BatchNormRecipe):
    """The recipe without evaluation or checkpointed state, to time the loop alone."""

    state_names = ()

    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        return {}


def benches() -> Iterator[tuple[str, list[Contender]]]:
    """Yield (title, contenders) of each comparison."""
    experiments = Experiments(Config, Path(__file__).with_name("config.yaml"))
    every = {"train.threads": torch.get_num_threads()}
    for name in ("quick_plain", "quick_bn"):
        config = experiments.resolve(name, 0, {
            "train.steps": STEPS, "train.eval_every": STEPS, "train.checkpoint_every": STEPS,
            "train.threads": 1})
        recipe = Unmeasured(config)
        origin = results.origin(recipe.device)
        with tempfile.TemporaryDirectory() as folders:
            yield f"shared loop and bare loop, {name}", [
                Contender("bare loop", functools.partial(bare, recipe), STEPS),
                Contender("shared loop", functools.partial(shared, recipe, origin, folders),
                          STEPS)]
    for name in ("plain", "bn"):
        with stand_in((1, 28, 28)):
            configs = [experiments.resolve(name, seed, every) for seed in range(SEEDS)]
            alone, together = BatchNormRecipe(configs[0]), BatchedSeeds(
                [BatchNormRecipe(c) for c in configs])
        yield f"{SEEDS} seeds as one batched network, {name}", [
            Contender(title, taking(made, 100), 100)
            for title, made in (("one seed", alone), (f"{SEEDS} seeds", together))]


def shared(recipe: BatchNormRecipe, origin: Origin, folders: str) -> None:
    """Make STEPS updates with the shared loop, in a new folder below ``folders``."""
    training.run(recipe, Path(tempfile.mkdtemp(dir=folders)), "bench", origin)


def bare(recipe: BatchNormRecipe) -> None:
    """Make STEPS updates of the same network on the same batches in a hand-written loop."""
    model, inputs, labels, order = recipe.model, recipe.inputs, recipe.labels, recipe.order
    optimizer = torch.optim.SGD(model.parameters(), lr=recipe.config.optim.lr, fused=True)
    for step in range(STEPS):
        index = order(step)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs[index]), labels[index])
        loss.backward()
        optimizer.step()


def steps() -> Iterator[tuple[str, BatchNormRecipe]]:
    """Yield (name, recipe) for each step to compare with its lower limit."""
    experiments = Experiments(Config, Path(__file__).with_name("config.yaml"))
    with stand_in((1, 28, 28)):
        for name in ("plain", "bn"):
            yield name, BatchNormRecipe(experiments.resolve(name))
