"""Signals in untrained random networks, and the loss as a function of two weights."""

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
"""Classes of random inputs; width and height of random images; inputs of the surfaces' networks."""


class Sums(nn.Module):
    """Sums over the networks so far, (quantities, layers), as a module that checkpoints store."""

    def __init__(self, rows: int, columns: int):
        super().__init__()
        self.values: Tensor
        self.register_buffer("values", torch.zeros(rows, columns))


class LayersRecipe(Recipe):
    """Signals in random networks; a step draws one network and adds its statistics to the sums."""

    loss_name = "mean square of s, last hidden layer"
    config: Config
    model: Sums

    ROWS = ("s", "mean", "square", "back", "weight", "singular")

    def load_data(self) -> None:
        """Load or draw the inputs x, (examples, n_0), and the labels."""
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
        """The network that a step draws; initialisations and activations have separate streams."""
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

    def headlines(self, names: list[str]) -> tuple[list[str], list[str]]:
        """The summary statistics; the curves of ``forward`` and ``backward``."""
        return names[:4], ["forward", "backward"]

    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """Statistics of signals, as means over the networks so far.

        ``mean``, ``var``: of the last layer's activations. ``forward``: the factor of s's variance
        per layer upwards; ``backward``: that of ∂Cost/∂s per layer downwards; ``variance``: that
        of the activations upwards; all are geometric means. ``weights``: largest over smallest
        ``weight_k`` of the layers between hidden units; ``singular``: mean of ``singular_k``.

        After the last step, for every hidden layer k: ``s_k``: mean square of s; ``mean_k``,
        ``var_k``: of activations, over examples and units; ``back_k``: variance of ∂Cost/∂s;
        ``weight_k``: variance of single examples' gradients of the weights below the layer;
        ``singular_k``: mean singular value of the layer's Jacobian, from the second layer on.
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
    """He et al.'s example: how much of a random gradient at the top of model B reaches conv2."""

    loss_name = "ln of the gradient that is left"
    config: Config
    model: Sums

    def load_data(self) -> None:
        """Draw random images of 32 × 32 pixels."""
        x = torch.randn(self.config.measure.examples, 3, SIDE, SIDE,
                        generator=data.generator(self.config.seed, "inputs"))
        self.data = of_tensors("random images", x)
        self.x = x.to(self.device)

    def build(self) -> None:
        self.model = Sums(1, 1)

    def step(self, number: int) -> Tensor:
        """Draw a network; returns ln std[Δx_2] − ln std[Δy_10] of a random gradient Δy_10."""
        c = self.config.model
        chance = self.generator(f"network of {c.std}", number)  # each std has a separate stream
        weights = [W.to(self.device) for W in convolutions(c.width, c.std or None, chance)]
        x2, y = rectified(self.x, weights)
        top = torch.randn(y.shape, generator=chance).to(self.device)
        (Δ,) = torch.autograd.grad(y, x2, top)
        log = (Δ.std() / top.std()).log()
        self.model.values += log
        return log

    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """``log_gradient``: ln std[Δx_2] − ln std[Δy_10], mean over networks."""
        return {"log_gradient": self.model.values.item() / step} if step else {}


class SurfaceRecipe(Recipe):
    """Fig. 5: the fractions of both costs' surfaces over two weights that are plateaus."""

    loss_name = "how much more is plateau"
    config: Config
    model: Sums

    def load_data(self) -> None:
        """Draw random inputs and labels for each network."""
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

        The other weights have the standard initialisation, followed by ``measure.trained`` updates
        of gradient descent on the cross-entropy. All is computed in the given precision.
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
        """Draw a network; returns its costs' plateau fractions, quadratic minus cross-entropy."""
        c = self.config.measure
        entropy, quadratic, at = self.drawn(number)
        parts = [fraction(plateau(cost, (at[1] - at[0]).item(), c.flat))
                 for cost in (entropy, quadratic)]
        more = parts[1] - parts[0]
        self.model.values += self.model.values.new_tensor([*parts, more > 0])[:, None]
        return torch.tensor(more)

    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """``entropy``, ``quadratic``: mean fraction of each surface that is plateau.

        ``more``: fraction of networks whose quadratic cost has the larger plateau.
        """
        if not step:
            return {}
        names = ("entropy", "quadratic", "more")
        return dict(zip(names, (self.model.values[:, 0] / step).tolist(), strict=True))
