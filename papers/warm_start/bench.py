"""What an epoch costs by network, and the comparison of gradients before the second phase."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from common.experiments import Experiments
from common.running.bench import Contender, stand_in, without_onednn
from papers.warm_start.model import gradient_norm
from papers.warm_start.train import Config, WarmStartRecipe


def benches() -> Iterator[tuple[str, list[Contender]]]:
    """Yield (title, contenders) of each comparison; random images stand in for CIFAR-10."""
    experiments = Experiments(Config, Path(__file__).with_name("config.yaml"))
    with stand_in((3, 32, 32)):
        mlp, logistic = (WarmStartRecipe(experiments.resolve(name, 0, {"optim.until": 0.0}))
                         for name in ("mlp_random", "logistic_random"))
    n = len(mlp.inputs)
    perceptron = Contender("MLP", lambda: mlp.step(1), n, "images")
    yield "an epoch of 1,333 images", [
        perceptron, without_onednn(perceptron),
        Contender("logistic regression", lambda: logistic.step(1), n, "images"),
        Contender("the gradient's norm alone",
                  lambda: gradient_norm(mlp.model, mlp.inputs, mlp.labels), n, "images")]
