"""Learning time against depth on images: Figs. 4 and 6(A), narrower and by full batches."""

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
    """A step trains the network of one depth with every learning rate, from the same weights.

    The gradient needs no images, only Σ¹¹ and Σ³¹ over all of them.
    """

    columns, loss_name = ("time", "rate", "start", "left", "stable"), "part of the error left"
    config: Config

    def load_data(self) -> None:
        """Σ¹¹ and Σ³¹ of the training images and one-hot labels, less their means."""
        self.data = data.load(self.config.data.name)
        images, labels = self.data.train.images, self.data.train.labels
        x = rearrange(images, "n c h w -> n (c h w)").double() / 255
        y = F.one_hot(labels, self.data.classes).double()
        x, y = x - x.mean(0), y - y.mean(0)
        self.Σ11, self.Σ31 = x.T @ x / len(x), y.T @ x / len(x)
        best = self.Σ31 @ torch.linalg.pinv(self.Σ11, rtol=1e-9, hermitian=True)
        self.least = error([best], self.Σ31, self.Σ11).item()  # of any linear map; 0 of none
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
        """The weights of a network of N_l layers."""
        c, draw = self.config.model, generator(self.config.seed, "start", layers)
        make = gaussian if c.matrices == "gaussian" else random_orthogonal
        sizes = [self.Σ31.shape[1], *[c.width] * (layers - 2), self.Σ31.shape[0]]
        return [make(above, below, draw).float().to(self.device)
                for below, above in itertools.pairwise(sizes)]

    def left(self, W: Tensor) -> float:
        """What the map W leaves of the error that a linear map can explain; 1 for W = 0."""
        E = 0.5 * ((W @ self.Σ11) * W).sum() - (self.Σ31 * W).sum()
        return (E.item() - self.least) / -self.least

    def train(self, start: list[Tensor], rate: float, most: int) -> tuple[float, float, float]:
        """Updates until the threshold (inf: not within ``most``), error left at first and at last.

        A run whose error is ten times that of its start, or no number, has diverged.
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
        """The fewest updates at any rate, that rate, the error left at first and at its end.

        Last the largest rate that did not diverge. A rate gets no more updates than the best one
        so far has needed. Where none learns, ``time`` is infinite and the rate that of the least
        error.
        """
        start, best, stable = self.start(job), (math.inf, 0.0, 0.0, math.inf), 0.0
        for rate in self.grid():
            most = int(min(self.config.sweep.budget, best[0]))
            time, first, left = self.train(start, rate, most)
            stable = max(stable, rate if math.isfinite(left) else 0.0)
            if (time, left) < (best[0], best[3]) or best[1] == 0:
                best = (time, rate, first, left)
        return *best, stable

    def shown(self, names: list[str]) -> tuple[list[str], list[str]]:
        """The updates that every depth takes, and at which rate."""
        times = [f"time_{depth}" for depth in self.jobs]
        return [n for t in times for n in (t, t.replace("time", "rate"))], times

    def summary(self, row: tuple[float, ...]) -> float:  # type: ignore[override]  # of do()
        """The error that was left with the fastest rate."""
        return row[3]
