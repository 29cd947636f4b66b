"""Batch order as in the author's loader, and the choice of images that each epoch mirrors."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from common.data import generator
from common.errors import UserError

Flip = Literal["none", "random", "alternating"]


class Epochs:
    """Which examples make up the batch of each step: a pure function of (seed, step).

    Every epoch is a new random permutation, cut into full batches; an incomplete last batch is
    dropped.

    Args:
        n: number of examples.
        batch_size: examples per batch, at most n.
        seed: the run's seed.

    Attributes:
        steps: number of batches in an epoch.

    Raises:
        UserError: the batch is larger than the data.
    """

    def __init__(self, n: int, batch_size: int, seed: int):
        if batch_size > n:
            raise UserError(f"train.batch_size={batch_size}: expected at most the {n} examples")
        self.n, self.batch_size, self.seed = n, batch_size, seed
        self.steps = n // batch_size
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.long)

    def __call__(self, step: int) -> Tensor:
        """The indices of step ``step`` (from 0), int64, shape (batch_size,)."""
        epoch, k = divmod(step, self.steps)
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = torch.randperm(self.n, generator=generator(self.seed, "batches", epoch))
        return self._order[k * self.batch_size:(k + 1) * self.batch_size]


class Flips:
    """Which images an epoch mirrors: a pure function of (seed, epoch).

    Args:
        n: number of images.
        kind: ``random``: each image with probability 1/2 in every epoch; ``alternating``: each
            image with probability 1/2 in the first epoch, and then in every second epoch;
            ``none``: no image.
        seed: the run's seed.
    """

    def __init__(self, n: int, kind: Flip, seed: int):
        self.n, self.kind, self.seed = n, kind, seed
        self._epoch, self._mirrored = -1, torch.zeros(n, dtype=torch.long)

    def __call__(self, epoch: int) -> Tensor:
        """1 for each image that ``epoch`` (from 0) mirrors, 0 for others; int64, shape (n,)."""
        if self.kind == "none" or epoch == self._epoch:
            return self._mirrored
        coins = torch.randint(0, 2, (self.n,), generator=generator(
            self.seed, "flips", epoch if self.kind == "random" else 0))
        self._epoch = epoch
        self._mirrored = coins if self.kind == "random" else (coins + epoch) % 2
        return self._mirrored
