"""TITLE (AUTHORS, YEAR): what is trained here.

    python papers/NAME/train.py experiment=quick       # bundled digits, seconds, offline
    python papers/NAME/train.py                        # the paper's own experiment
"""

from __future__ import annotations

from dataclasses import dataclass, field
from common.entry import exit_with

import torch

from common.config import Config as BaseConfig
from common.config import key
from common.data import generator
from common.running.cli import main
from common.training.recipe import Supervised
from papers.NAME.model import Network


@dataclass
class ModelConfig:
    hidden: int = key(100, "number of hidden units", least=1)


@dataclass
class OptimConfig:
    lr: float = key(0.1, "learning rate of SGD, on the mean cross-entropy", least=0)


@dataclass
class Config(BaseConfig):
    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)


class NAME_CLASSRecipe(Supervised):
    """The paper's training; loss, step and evaluation are those of Supervised unless overridden."""

    config: Config

    def build(self) -> None:
        model, optim = self.config.model, self.config.optim
        self.model = Network(self.inputs[0].numel(), model.hidden, self.data.classes,
                             generator(self.config.seed, "init"))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=optim.lr)


recipe = NAME_CLASSRecipe

if __name__ == "__main__":
    exit_with(lambda: main(recipe, Config, __file__))
