"""What fresh random networks do to signals, before any learning; and the loss over two weights."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from common import data
from common.decoded import of_tensors
from common.training.recipe import Recipe
from common.training.sums import fraction, wide
from papers.initialisation.model import (
    Network,
    convolutions,
    descended,
    draw,
    plateau,
    rectified,
    surfaces,
)
from papers.initialisation.settings import Config

CLASSES, SIDE, INPUTS = 10, 32, 10
"""Classes where inputs are random; the side of random images; inputs of the surfaces' networks."""


class Sums(nn.Module):
    """Sums over the networks drawn so far, as a checkpoint holds them: (quantities, layers)."""

    def __init__(self, rows: int, columns: int):
        super().__init__()
        self.values: Tensor
        self.register_buffer("values", torch.zeros(rows, columns))


class LayersRecipe(Recipe):
    """A step draws one more network; its signals are added to those of the networks before it."""

    loss_name = "mean square of s, last hidden layer"
    config: Config
    model: Sums

    ROWS = ("s", "mean", "square", "back", "weight", "singular")

    def load_data(self) -> None:
        """The inputs x, (examples, n_0), and labels."""
        c = self.config
        n = c.measure.examples
        if c.input.kind == "images":
            self.data = data.load(c.data.name)
            test = self.data.test[:n]
            x = rearrange(test.images, "n c h w -> n (c h w)").float() / 255
            labels = test.labels
        else:
            chance = data.generator(c.seed, "inputs")
            x = torch.randn(n, c.model.width, generator=chance)
            x = c.input.mean + c.input.variance**0.5 * x
            labels = torch.randint(0, CLASSES, (n,), generator=chance)
            self.data = of_tensors("Gaussian inputs", x, labels)
        self.x, self.labels = x.to(self.device), labels.to(self.device)

    def build(self) -> None:
        c = self.config.model
        classes = self.data.classes if self.config.input.kind == "images" else CLASSES
        self.sizes = [self.x.shape[1], *[c.width] * c.depth, classes]
        self.model = Sums(len(self.ROWS), c.depth)

    def network(self, number: int) -> Network:
        """The network that a step draws; every start and activation has draws of its own."""
        c = self.config.model
        chance = self.generator(f"{c.activation} network, {c.init}", number)
        return Network(self.sizes, c.activation, c.init, chance).to(self.device)

    @torch.no_grad()
    def step(self, number: int) -> Tensor:
        """Draw a network; returns the mean square of s in its last hidden layer."""
        net, c = self.network(number), self.config
        s, z = net.activities(self.x)
        back = net.gradients(s, self.labels)
        found = self.model.values.new_zeros(self.model.values.shape)
        for i in range(c.model.depth):
            δ2 = back[i].square().mean(1)
            found[:5, i] = torch.stack([
                s[i].square().mean(), z[i + 1].mean(), z[i + 1].square().mean(), δ2.mean(),
                (z[i].square().mean(1) * δ2).mean()])  # eq. (3), mean over weights and examples
            for example in range(c.measure.jacobians if i else 0):
                J = net.jacobian(i, s[i][example])
                found[5, i] += torch.linalg.svdvals(J).mean() / c.measure.jacobians
        self.model.values += found
        return found[0, -1]

    def shown(self, names: list[str]) -> tuple[list[str], list[str]]:
        """What the layers do to signals, up and down."""
        return names[:4], ["forward", "backward"]

    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """Means over the networks so far; of every hidden layer k, finally, the first five.

        ``s_k``: mean square of s; ``mean_k``, ``var_k``: of activations, over examples and units
        of all networks; ``back_k``: variance of ∂Cost/∂s; ``weight_k``: of the gradient of the
        weights below the layer, of single examples; ``singular_k``: mean singular value of the
        Jacobian of layer k, from the second on.
        ``mean``, ``var``: of the last layer. ``forward``: how s's variance changes from layer to
        layer upwards, ``backward`` that of ∂Cost/∂s downwards, geometric means; ``variance``: the
        activations' upwards; ``weights``: largest over smallest ``weight_k`` of the layers from
        hidden to hidden units; ``singular``: mean of the Jacobians'.
        """
        if not step:
            return {}
        s, mean, square, back, weight, singular = wide(self.model.values).cpu() / step
        var, steps = square - mean**2, len(s) - 1
        metrics = {"mean": mean[-1], "var": var[-1],
                   "forward": (s[-1] / s[0]) ** (1 / steps),
                   "backward": (back[0] / back[-1]) ** (1 / steps),
                   "variance": (var[-1] / var[0]) ** (1 / steps),
                   "weights": weight[1:].max() / weight[1:].min()}
        if self.config.measure.jacobians:
            metrics["singular"] = singular[1:].mean()
        if final:
            for name, row in (("s", s), ("mean", mean), ("var", var), ("back", back),
                              ("weight", weight)):
                metrics |= {f"{name}_{k}": v for k, v in enumerate(row, 1)}
            if self.config.measure.jacobians:
                metrics |= {f"singular_{k}": v for k, v in enumerate(singular[1:], 2)}
        return {k: float(v) for k, v in metrics.items()}


class ConvolutionsRecipe(Recipe):
    """He et al.'s example: what is left in conv2 of a random gradient at the top of model B."""

    loss_name = "ln of the gradient that is left"
    config: Config
    model: Sums

    def load_data(self) -> None:
        """Random images of 32 × 32 pixels."""
        x = torch.randn(self.config.measure.examples, 3, SIDE, SIDE,
                        generator=data.generator(self.config.seed, "inputs"))
        self.data = of_tensors("random images", x)
        self.x = x.to(self.device)

    def build(self) -> None:
        self.model = Sums(1, 1)

    def step(self, number: int) -> Tensor:
        """Draw a network; returns ln std[Δx_2] − ln std[Δy_10] of a random gradient Δy_10."""
        c = self.config.model
        chance = self.generator(f"network of {c.std}", number)  # either kind has draws of its own
        weights = [W.to(self.device) for W in convolutions(c.width, c.std or None, chance)]
        x2, y = rectified(self.x, weights)
        top = torch.randn(y.shape, generator=chance).to(self.device)
        (Δ,) = torch.autograd.grad(y, x2, top)
        log = (Δ.std() / top.std()).log()
        self.model.values += log
        return log

    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """``log_gradient``: that logarithm, mean over networks."""
        return {"log_gradient": self.model.values.item() / step} if step else {}


class SurfaceRecipe(Recipe):
    """Fig. 5: how much of both costs' surface over two weights is plateau."""

    loss_name = "how much more is plateau"
    config: Config
    model: Sums

    def load_data(self) -> None:
        """Random inputs and labels, for a network each."""
        c = self.config
        chance = data.generator(c.seed, "inputs")
        shape = c.train.steps, c.measure.examples
        x = torch.randn(*shape, INPUTS, generator=chance)
        self.data = of_tensors("random signals", x, torch.randint(0, CLASSES, shape,
                                                                  generator=chance))
        self.x, self.labels = x.to(self.device), self.data.train.labels.to(self.device)

    def build(self) -> None:
        self.model = Sums(3, 1)

    def drawn(self, number: int, dtype: torch.dtype = torch.float32
              ) -> tuple[Tensor, Tensor, Tensor]:
        """Both costs of a step's network over the grid, (points, points), and the weights' values.

        Other weights by the standard initialisation, or what ``measure.trained`` updates of
        gradient descent on the cross-entropy make of it; in the given precision.
        """
        c, chance = self.config, self.generator("network", number)
        at = torch.linspace(-c.measure.reach, c.measure.reach, c.measure.points)
        W1, W2 = (draw("standard", n, m, chance).to(self.device, dtype) for n, m in (
            (INPUTS, c.model.width), (c.model.width, CLASSES)))
        x, labels = self.x[number].to(dtype), self.labels[number]
        W1, W2 = descended(W1, W2, x, labels, c.optim.lr, c.measure.trained)
        costs = surfaces(W1, W2, x, labels, at.to(self.device, dtype))
        return *costs, at

    def step(self, number: int) -> Tensor:
        """Draw a network; returns how much more of its quadratic cost is plateau."""
        c = self.config.measure
        entropy, quadratic, at = self.drawn(number)
        parts = [fraction(plateau(cost, (at[1] - at[0]).item(), c.flat))
                 for cost in (entropy, quadratic)]
        more = parts[1] - parts[0]
        self.model.values += self.model.values.new_tensor([*parts, more > 0])[:, None]
        return torch.tensor(more)

    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """``entropy``, ``quadratic``: the part of each surface that is plateau; ``more``: how often
        the quadratic one has more of it."""
        if not step:
            return {}
        names = ("entropy", "quadratic", "more")
        return dict(zip(names, (self.model.values[:, 0] / step).tolist(), strict=True))
