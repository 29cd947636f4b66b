"""Propagation of signals through random layers: products of matrices, and tanh networks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from common.data import generator
from common.decoded import of_tensors
from common.training.recipe import Recipe
from common.training.sums import fraction
from papers.deep_linear.model import gaussian, random_orthogonal, variance_at
from papers.deep_linear.settings import Config


class Signal(nn.Module):
    """The map of the layers so far, and the vector it gives, so that checkpoints store them."""

    def __init__(self, map: Tensor, x: Tensor):
        super().__init__()
        self.map: Tensor
        self.x: Tensor
        self.register_buffer("map", map)
        self.register_buffer("x", x)


class ProductRecipe(Recipe):
    """Section 3: products of random N × N matrices; a step multiplies by one more."""

    float64, loss_name = True, "squared length of a vector"
    config: Config
    model: Signal

    def load_data(self) -> None:
        """Draw a random unit vector, whose length is followed through the layers."""
        x = torch.randn(self.config.model.width, dtype=torch.float64,
                        generator=generator(self.config.seed, "input"))
        self.data = of_tensors("a random vector", x / x.norm())

    def build(self) -> None:
        x = self.data.train.images
        self.model = Signal(torch.eye(len(x), dtype=torch.float64), x.clone())

    def matrix(self, number: int) -> Tensor:
        """The matrix that a step adds."""
        make = gaussian if self.config.model.matrices == "gaussian" else random_orthogonal
        n = self.config.model.width
        return make(n, n, self.generator("layer", number)).to(self.device)

    def step(self, number: int) -> Tensor:
        """Add a layer; returns the squared length of the vector after it."""
        W, m = self.matrix(number), self.model
        m.map.copy_(W @ m.map)
        m.x.copy_(W @ m.x)
        return m.x.square().sum()

    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """Statistics of the product's singular values.

        ``median``, ``smallest``, ``largest``; ``above``: the fraction above 0.1; ``square`` and
        ``fourth``: the means of their second and fourth powers.
        """
        σ = torch.linalg.svdvals(self.model.map).cpu()
        return {"median": σ.quantile(0.5).item(), "above": fraction(σ > 0.1),
                "smallest": σ[-1].item(), "largest": σ[0].item(),
                "square": σ.square().mean().item(), "fourth": σ.pow(4).mean().item()}


class ChaosRecipe(ProductRecipe):
    """Section 4: x^(l+1) = g W tanh(x^l) with random orthogonal W; a step is a layer."""

    loss_name = "q, variance of a layer's inputs"

    def load_data(self) -> None:
        """Draw the first layer's inputs, with a variance of exactly q_0."""
        c = self.config.model
        x = torch.randn(c.width, dtype=torch.float64,
                        generator=generator(self.config.seed, "input"))
        self.data = of_tensors("a random vector", x * (c.q0 / x.square().mean()).sqrt())

    def matrix(self, number: int) -> Tensor:
        n = self.config.model.width
        return random_orthogonal(n, n, self.generator("layer", number)).to(self.device)

    def step(self, number: int) -> Tensor:
        """Apply one layer and multiply the Jacobian by its own; returns q."""
        m, W = self.model, self.config.model.gain * self.matrix(number)
        y = m.x.tanh()
        m.map.copy_(W @ ((1 - y * y)[:, None] * m.map))
        m.x.copy_(W @ y)
        return m.x.square().mean()

    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """``q``: variance of the layer's inputs; ``theory``: the same by eq. (47)'s recursion.

        Also the statistics of the Jacobian's singular values, as for a product.
        """
        c = self.config.model
        return {"q": self.model.x.square().mean().item(),
                "theory": variance_at(step, c.q0, c.gain)} | super().evaluate(step, final)
