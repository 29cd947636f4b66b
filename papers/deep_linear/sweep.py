"""Learning time against depth on images: Figs. 4, 6(A), with narrower layers and full batches."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from common import data
from common.data import generator
from common.training.worklist import Worklist
from papers.deep_linear.model import descend, error, gaussian, random_orthogonal
from papers.deep_linear.settings import Config


class SweepRecipe(Worklist):
    """A job, one per step, trains networks of one depth with all rates from the same weights.

    The gradient does not need the images, only their Σ¹¹ and Σ³¹.
    """

    columns, loss_name = ("time", "rate", "start", "left", "stable"), "part of the error left"
    config: Config

    def load_data(self) -> None:
        """Compute Σ¹¹ and Σ³¹ of the centred training images and one-hot labels."""
        self.data = data.load(self.config.data.name)
        images, labels = self.data.train.images, self.data.train.labels
        x = rearrange(images, "n c h w -> n (c h w)").double() / 255
        y = F.one_hot(labels, self.data.classes).double()
        x, y = x - x.mean(0), y - y.mean(0)
        self.Σ11, self.Σ31 = x.T @ x / len(x), y.T @ x / len(x)
        best = self.Σ31 @ torch.linalg.pinv(self.Σ11, rtol=1e-9, hermitian=True)
        self.least = error([best], self.Σ31, self.Σ11).item()  # of the best map; W = 0 has 0
        self.Σ11, self.Σ31 = (Σ.float().to(self.device) for Σ in (self.Σ11, self.Σ31))
        self.jobs = self.listed()

    def listed(self) -> list[int]:
        return self.config.sweep.depths

    def name_of(self, k: int, job: int) -> str:
        return str(job)

    def grid(self) -> list[float]:
        """The learning rates, the largest first."""
        c = self.config.sweep
        return np.geomspace(c.fastest, c.slowest, c.rates).tolist()

    def start(self, layers: int) -> list[Tensor]:
        """The initial weights of a network of N_l layers."""
        c, draw = self.config.model, generator(self.config.seed, "start", layers)
        make = gaussian if c.matrices == "gaussian" else random_orthogonal
        sizes = [self.Σ31.shape[1], *[c.width] * (layers - 2), self.Σ31.shape[0]]
        return [make(above, below, draw).float().to(self.device)
                for below, above in itertools.pairwise(sizes)]

    def left(self, W: Tensor) -> float:
        """The fraction of the explainable error that the map W leaves; 1 for W = 0, 0 at best."""
        E = 0.5 * ((W @ self.Σ11) * W).sum() - (self.Σ31 * W).sum()
        return (E.item() - self.least) / -self.least

    def train(self, start: list[Tensor], rate: float, most: int) -> tuple[float, float, float]:
        """Train with one rate; returns the updates to the threshold, and the first and last error.

        The updates are infinite if ``most`` are not enough. A run has diverged if its error is ten
        times the initial one, or NaN; its last error is then infinite.
        """
        weights = [W.clone() for W in start]
        first = left = self.left(descend(weights, rate, self.Σ31, self.Σ11))
        for k in range(1, most + 1):
            left = self.left(descend(weights, rate, self.Σ31, self.Σ11))
            if left <= self.config.sweep.threshold:
                return k, first, left
            if not left < 10 * max(first, 1):
                return math.inf, first, math.inf
        return math.inf, first, left

    def do(self, job: int) -> tuple[float, ...]:
        """Train with every rate; returns the values of ``columns``.

        These are the fewest updates at any rate, that rate, the fraction of error at its start and
        end, and the largest rate that did not diverge. A rate gets no more updates than the best
        one so far needed. If no rate reaches the threshold, ``time`` is infinite and ``rate`` is
        the one with the least error.
        """
        start, best, stable = self.start(job), (math.inf, 0.0, 0.0, math.inf), 0.0
        for rate in self.grid():
            most = int(min(self.config.sweep.budget, best[0]))
            time, first, left = self.train(start, rate, most)
            stable = max(stable, rate if math.isfinite(left) else 0.0)
            if (time, left) < (best[0], best[3]) or best[1] == 0:
                best = (time, rate, first, left)
        return *best, stable

    def headlines(self, names: list[str]) -> tuple[list[str], list[str]]:
        """The number of updates for every depth, and the best rate."""
        times = [f"time_{depth}" for depth in self.jobs]
        return [n for t in times for n in (t, t.replace("time", "rate"))], times

    def summary(self, row: tuple[float, ...]) -> float:  # type: ignore[override]  # of do()
        """The fraction of error left with the best rate."""
        return row[3]
