"""The cost of response normalisation in a step, and of Caffe's solver compared with torch's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from common.experiments import Experiments
from common.running.bench import Contender, stand_in
from papers.cyclical_lr import train
from papers.cyclical_lr.model import parameter_groups

STEPS = 4


def contender(name: str, torchs: bool = False, **changes: Any) -> Contender:
    """A contender that makes steps of the paper's recipe on random images."""
    known = Experiments(train.Config, Path(__file__).with_name("config.yaml"))
    recipe = train.CyclicalLrRecipe(known.resolve("triangular2", 0, changes))
    if torchs:
        groups = [{k: v for k, v in g.items() if k != "multiplier"}
                  for g in parameter_groups(recipe.model, 0.004)]
        recipe.optimizer = torch.optim.SGD(groups, lr=0.001, momentum=0.9)
    return Contender(name, lambda: [recipe.step(k) for k in range(STEPS)], STEPS)


def benches() -> Iterator[tuple[str, list[Contender]]]:
    """Yield (title, contenders) of each comparison."""
    with stand_in((3, 32, 32)):
        yield "a step of 100 images of 32×32 pixels", [
            contender("Caffe's network"),
            contender("without response normalisation", **{"model.lrn": False}),
            contender("with torch's SGD", torchs=True)]
