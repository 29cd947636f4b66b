"""A paper small enough for tests: digits, dropout (so that global randomness matters), momentum."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from common.config import Config as BaseConfig
from common.config import key
from common.evidence.results import Record
from common.experiments import Experiments
from common.files import write_atomic
from common.training.descent import sgd
from common.training.recipe import Supervised
from common.training.schedules import divided

YAML = """
default: base
defaults:
  data: {name: digits}
  train: {steps: 40, batch_size: 20, log_every: 7, eval_every: 10, checkpoint_every: 10}
experiments:
  base: {help: the only one}
  faster: {help: a larger rate, optim: {lr: 0.2}}
"""


@dataclass
class Optim:
    lr: float = key(0.1, "learning rate", least=0)


@dataclass
class Config(BaseConfig):
    optim: Optim = field(default_factory=Optim)


class Toy(Supervised):
    def build(self) -> None:
        self.model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Dropout(0.5), nn.ReLU(),
                                   nn.Linear(16, 10))
        self.optimizer = sgd(self.model.parameters(), self.device, lr=self.config.optim.lr,
                             momentum=0.9)

    def rates(self, step: int) -> dict[str, float]:
        return {"lr": divided(self.config.optim.lr, [15, 30], step)}


def experiments(folder: Path) -> Experiments:
    write_atomic(folder / "config.yaml", YAML)  # several processes may be at it
    return Experiments(Config, folder / "config.yaml")


def share(from_step=0, commit="0" * 40, **hardware):
    """A process's share in a run, as a result holds it."""
    return {"commit": commit, "dirty": False, "versions": {"torch": "2.13.0"},
            "hardware": {"cpu": "a processor", "capability": "AVX2", "device": "cpu",
                         "threads": 1} | hardware, "from_step": from_step}


def recorded(**parts):
    """A result file's content with these parts, as it is read."""
    return Record.model_validate({
        "paper": "toy", "experiment": "base", "seed": 0,
        "metrics": {"accuracy": 0.5}, "curves": {"train_loss": [[1], [1.0]]},
        "config": {"train": {"steps": 100}, "data": {"name": "digits"}},
        "data": {"name": "digits", "fingerprint": "f"}, "seconds": 1.0,
        "segments": [share()]} | parts)
