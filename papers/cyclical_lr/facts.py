"""Functions behind the claims: what follows from the code alone, and measures over runs."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from common.evidence.results import Result
from common.experiments import Experiments
from common.training.schedules import triangular
from papers.cyclical_lr.model import Cifar10Full
from papers.cyclical_lr.policies import rate
from papers.cyclical_lr.train import Config

TRAINING_IMAGES = 50_000
"""The size of CIFAR-10's training set (section 3.2)."""


def configuration(experiment: str) -> Config:
    """The configuration of an experiment of this paper."""
    known = Experiments(Config, Path(__file__).with_name("config.yaml"))
    return known.resolve(experiment)


def epoch() -> float:
    """Number of iterations in an epoch."""
    return TRAINING_IMAGES / configuration("triangular2").train.batch_size


def difference_to_printed_code() -> float:
    """Largest difference between the triangular policy and section 3.1's code, over max_lr."""
    lr, max_lr, stepsize = 0.001, 0.006, 2000

    def printed(counter: int) -> float:
        cycle = math.floor(1 + counter / (2 * stepsize))
        x = abs(counter / stepsize - 2 * cycle + 1)
        return lr + (max_lr - lr) * max(0, 1 - x)

    difference = max(abs(triangular(lr, max_lr, stepsize, k) - printed(k)) for k in range(10_000))
    return round(difference / max_lr, 12)


def cycle_length(stepsize: int) -> float:
    """Iterations until the rate is back at its lower bound."""
    return next(k for k in range(1, 10 * stepsize)
                if triangular(0.001, 0.006, stepsize, k) == 0.001)


def fewest_cycles() -> float:
    """The smallest number of complete cycles in any stage of Table 2."""
    config = configuration("triangular2")
    ends = [0, *config.schedule.stages, config.train.steps]
    return float(min((end - start) // (2 * size) for start, end, size in zip(
        ends, ends[1:], config.schedule.stepsize, strict=False)))


def last_rate() -> float:
    """The rate that would follow Table 2's last iteration."""
    config = configuration("triangular2")
    return rate(config.schedule, config.train.steps)


def parameters() -> float:
    """Number of parameters of the network."""
    with torch.device("meta"):
        return float(sum(p.numel() for p in Cifar10Full().parameters()))


def at_42000_less_final(runs: dict[str, Result]) -> float:
    """Accuracy of ``exp_range`` after 42,000 iterations minus another run's final accuracy."""
    (other,) = (run for name, run in runs.items() if name != "exp_range")
    return runs["exp_range"].at("accuracy", 42_000) - other.at("accuracy", None)


def after_42000(runs: dict[str, Result]) -> float:
    """The gain in accuracy after iteration 42,000."""
    (run,) = runs.values()
    return run.at("accuracy", None) - run.at("accuracy", 42_000)


def peak_over_trough(runs: dict[str, Result]) -> float:
    """Accuracy at the end of a cycle minus that half a cycle later, mean over the first three."""
    (run,) = runs.values()
    return float(np.mean([run.at("accuracy", end) - run.at("accuracy", end + 2000)
                          for end in (4000, 8000, 12_000)]))
