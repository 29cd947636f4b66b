"""Section 5.2: regression on the points of Fig. 5."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from common.data import DataSet, Split, generator
from common.decoded import of_tensors
from common.evidence.claims import read_table
from common.training.descent import sgd
from common.training.recipe import Batch, Row, Supervised
from common.training.schedules import divided
from papers.bayes_by_backprop.model import Network
from papers.bayes_by_backprop.settings import Config, make_prior, plain_network

GRID = torch.linspace(-0.25, 1.25, 61)[:, None]
"""The points at which the regression of Fig. 5 is evaluated: the figure's range of x."""


class RegressionRecipe(Supervised):
    """Section 5.2: a curve fitted to the 598 points of Fig. 5, with the network's uncertainty."""

    config: Config

    def splits(self) -> tuple[DataSet, Split, Split]:
        """The points of the figure as training data; there is no test set."""
        table = read_table(Path(__file__).with_name("published") / "fig5_points.csv")
        rows = torch.tensor([[float(r["x"]), float(r["y"])] for r in table])
        made = of_tensors("fig5", rows[:, :1], rows[:, 1:])
        return made, made.train, made.test

    def prepare(self, images: Tensor) -> Tensor:
        return images

    def build(self) -> None:
        c = self.config
        widths, start = [1, c.model.units, c.model.units, 1], generator(c.seed, "init")
        if c.model.arm == "bbb":
            self.model = Network(widths, make_prior(c.prior), μ_std=c.model.mu_std or None,
                                 ρ=c.model.rho, generator=start)
        else:
            self.model = plain_network(widths, c.model.arm == "dropout", start)
        if c.optim.rule == "adam":
            self.optimizer = torch.optim.Adam(self.model.parameters(), lr=c.optim.lr,
                                              capturable=self.device.type == "cuda")
        else:
            self.optimizer = sgd(self.model.parameters(), self.device, lr=c.optim.lr)

    def rates(self, step: int) -> dict[str, float]:
        """The learning rate α, divided by 10 at the milestones."""
        return {"lr": divided(self.config.optim.lr, self.config.optim.milestones, step)}

    def loss(self, batch: Batch, row: Row) -> Tensor:
        """KL/M − Σ log N(y | f(x), noise²) over the minibatch, divided by its size."""
        x, y = batch
        fit = gaussian_nll(self.net(x), y, self.config.task.noise)
        if isinstance(self.model, Network):
            fit = fit + self.model.kl() * len(x) / len(self.inputs)
        return fit / len(x)

    @torch.no_grad()
    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """``free_energy``: the objective per point in nats, mean over ``measure.samples`` draws.

        After the last step also the quartiles of y on GRID, noise included: ``q25_<i>``,
        ``q50_<i>``, ``q75_<i>``, i from 0.
        """
        k = self.config.measure.samples
        whole = self.inputs, self.labels
        metrics = {"free_energy": sum(self.loss(whole, {}).item() for _ in range(k)) / k}
        if final:
            draw = self.generator("fig5", step)
            y = torch.stack([self.model(GRID.to(self.device)) for _ in range(k)]).cpu()
            noise = torch.randn(50 * k, *GRID.shape, generator=draw) * self.config.task.noise
            y = y.repeat(50, 1, 1) + noise
            for q in (25, 50, 75):
                found = torch.quantile(y, q / 100, 0)
                metrics |= {f"q{q}_{i}": v.item() for i, v in enumerate(found)}
        return metrics


def gaussian_nll(prediction: Tensor, y: Tensor, noise: float) -> Tensor:
    """−log N(y | prediction, noise²), summed over all elements, in nats."""
    constant = y.numel() * math.log(noise * math.sqrt(2 * math.pi))
    return (prediction - y).square().sum() / (2 * noise**2) + constant
