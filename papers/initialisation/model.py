"""Activations, starting weights, what a layer does to a signal, and SELU's map of moments.

Symbols of Glorot & Bengio: layer i of n_i units has activation z^i; s^i = z^i W^i + b^i and
z^(i+1) = f(s^i), with W^i of shape (n_i, n_(i+1)). In He et al. the same s is called y, the number
of inputs of a unit n and that of its outputs n̂. In Klambauer et al. μ and ν are mean and variance
of a layer's activations, ω and τ the sums of a unit's weights and of their squares.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from scipy.special import erf, erfc
from torch import Tensor, nn

from common.errors import UserError

# ---- activations ---------------------------------------------------------------------------------

ALPHA = -math.sqrt(2 / math.pi) / (erfc(math.sqrt(0.5)) * math.exp(0.5) - 1)
"""SELU's α_01, eq. (14) of Klambauer et al."""

LAMBDA = (1 - erfc(math.sqrt(0.5)) * math.sqrt(math.e)) * math.sqrt(2 * math.pi) / math.sqrt(
    2 * erfc(math.sqrt(2)) * math.e**2 + math.pi * erfc(math.sqrt(0.5)) ** 2 * math.e
    - 2 * (2 + math.pi) * erfc(math.sqrt(0.5)) * math.sqrt(math.e) + math.pi + 2)
"""SELU's λ_01, eq. (14)."""


class Activation(NamedTuple):
    """z = f(s) and its derivative, both of s; any shape, unchanged."""

    f: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]


def selu(s: Tensor) -> Tensor:
    """λ s for s > 0, λ (α e^s − α) below: eq. (2) of Klambauer et al."""
    return LAMBDA * torch.where(s > 0, s, ALPHA * torch.expm1(s.clamp(max=0)))


def softsign(s: Tensor) -> Tensor:
    """s/(1 + |s|), whose tails are polynomials."""
    return s / (1 + s.abs())


ACTIVATIONS: dict[str, Activation] = {
    "linear": Activation(lambda s: s, torch.ones_like),
    "sigmoid": Activation(torch.sigmoid, lambda s: torch.sigmoid(s) * torch.sigmoid(-s)),
    "tanh": Activation(torch.tanh, lambda s: 1 - torch.tanh(s) ** 2),
    "softsign": Activation(softsign, lambda s: (1 + s.abs()) ** -2),
    "relu": Activation(torch.relu, lambda s: (s > 0).to(s.dtype)),
    "selu": Activation(selu, lambda s: LAMBDA * torch.where(
        s > 0, 1.0, ALPHA * s.clamp(max=0).exp())),
}


# ---- starting weights ----------------------------------------------------------------------------

UNIFORM = ("standard", "normalised")


def variance(init: str, n: int, n_next: int) -> float:
    """Var[W] of a layer with n inputs and n_next units.

    ``standard``: U[−1/√n, 1/√n], eq. (1). ``normalised``: U[−√6/√(n + n'), √6/√(n + n')],
    eq. (16), so that eq. (12) holds. ``xavier``: 1/n, what He et al. call so, and SELU's τ = 1.
    ``he``: 2/n, their eq. (10); of a convolution 2/n̂ (14) with n and n_next exchanged.

    Raises:
        UserError: an unknown name.
    """
    known = {"standard": 1 / (3 * n), "normalised": 2 / (n + n_next), "xavier": 1 / n,
             "he": 2 / n}
    if init not in known:
        raise UserError(f"model.init={init}: expected one of {', '.join(known)}")
    return known[init]


def draw(init: str, n: int, n_next: int, generator: torch.Generator) -> Tensor:
    """W of a layer, (n, n_next): uniform as Glorot & Bengio draw it, Gaussian as He et al. do."""
    std = math.sqrt(variance(init, n, n_next))
    if init in UNIFORM:
        return (2 * torch.rand(n, n_next, generator=generator) - 1) * (math.sqrt(3) * std)
    return torch.randn(n, n_next, generator=generator) * std


# ---- networks ------------------------------------------------------------------------------------

class Network(nn.Module):
    """A feed-forward network with biases that start at 0 and a softmax to come.

    Args:
        sizes: n_0 … n_(d+1): inputs, hidden layers, classes.
        activation, init: names, see :data:`ACTIVATIONS` and :func:`variance`.
        generator: what the weights are drawn from.

    Shapes: (examples, n_0) to logits (examples, n_(d+1)).
    """

    def __init__(self, sizes: Sequence[int], activation: str, init: str,
                 generator: torch.Generator):
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        pairs = list(itertools.pairwise(sizes))
        self.weights = nn.ParameterList([draw(init, n, m, generator) for n, m in pairs])
        self.biases = nn.ParameterList([torch.zeros(m) for _, m in pairs])

    def forward(self, x: Tensor) -> Tensor:
        return self.activities(x)[0][-1]

    def activities(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """s of every layer, the logits last, and z of every layer, the input first."""
        s, z = [], [x]
        for W, b in zip(self.weights, self.biases, strict=True):
            s.append(z[-1] @ W + b)
            z.append(self.activation.f(s[-1]))
        return s, z[:-1]

    def gradients(self, s: Sequence[Tensor], labels: Tensor) -> list[Tensor]:
        """∂Cost/∂s of every layer by eq. (2), where Cost is −log P(y|x) of each example alone.

        Eq. (3) makes the gradients of the weights of it: ∂Cost/∂w_lk = z_l ∂Cost/∂s_k.
        """
        found = [F.softmax(s[-1], 1) - F.one_hot(labels, s[-1].shape[1])]
        for W, below in zip(reversed(self.weights[1:]), reversed(s[:-1]), strict=True):
            found.append(self.activation.slope(below) * (found[-1] @ W.T))
        return found[::-1]

    def jacobian(self, layer: int, s: Tensor) -> Tensor:
        """J^i = ∂z^(i+1)/∂z^i of eq. (17) at one example's s^i (n_(i+1),), transposed: (n_i, ·)."""
        return self.weights[layer] * self.activation.slope(s)


# ---- rectifiers with convolutions ----------------------------------------------------------------

FILTERS = (1, 1, 2, 2, 4, 4, 8, 8, 8, 8)
"""Model B's ten layers of 3×3 convolutions, in units of the first one's 64 filters."""


def convolutions(width: int, std: float | None, generator: torch.Generator) -> list[Tensor]:
    """Weights of conv1 … conv10, (d, c, 3, 3) each: Gaussian of ``std``, or of √(2/n̂), n̂ = 9 d."""
    d = [width * k for k in FILTERS]
    return [torch.randn(above, below, 3, 3, generator=generator) * (
        std or math.sqrt(variance("he", 9 * above, 9 * below)))
        for below, above in itertools.pairwise([3, *d])]


def rectified(x: Tensor, weights: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """conv1 … conv10 with rectifiers and a 2×2 maximum after every second layer but the last.

    Args:
        x: images (examples, 3, height, width).

    Returns:
        x_2, the input of conv2, as a leaf; y_10, what conv10 makes of it before its rectifier.
    """
    x2 = F.relu(F.conv2d(x, weights[0], padding=1)).detach().requires_grad_()
    y = x2
    for l, W in enumerate(weights[1:], 2):
        y = F.conv2d(y, W, padding=1)
        if l < len(weights):
            y = F.relu(y)
            y = F.max_pool2d(y, 2) if l % 2 == 0 else y
    return x2, y


# ---- the loss over two weights -------------------------------------------------------------------

class Surfaces(NamedTuple):
    """Both costs over a grid of two weights, (points, points) each: rows w of layer 1."""

    entropy: Tensor
    quadratic: Tensor


def surfaces(W1: Tensor, W2: Tensor, x: Tensor, labels: Tensor, at: Tensor) -> Surfaces:
    """Fig. 5: cost of a network with one tanh layer while one weight of each layer moves.

    Args:
        W1, W2: (inputs, units) and (units, classes); their first entries are replaced.
        x, labels: (examples, inputs), (examples,).
        at: values of both weights, (points,).

    Returns:
        −log P(y|x), and Σ (P − one-hot)² of the same softmax outputs, means over examples.
    """
    s = x @ W1 - x[:, :1] * W1[0, 0] * F.one_hot(torch.tensor(0), W1.shape[1]).to(x)
    first = s[:, 0] + at[:, None] * x[:, 0]                         # (points, examples)
    hidden = s.tanh().expand(len(at), *s.shape).clone()
    hidden[:, :, 0] = first.tanh()                                  # (points, examples, units)
    free = W2.clone()
    free[0, 0] = 0
    logits = (hidden @ free)[:, None].repeat(1, len(at), 1, 1)      # (w1, w2, examples, classes)
    logits[..., 0] += at[:, None] * hidden[:, None, :, 0]
    target = F.one_hot(labels, W2.shape[1]).to(x)
    return Surfaces(-(F.log_softmax(logits, -1) * target).sum(-1).mean(-1),
                    (F.softmax(logits, -1) - target).square().sum(-1).mean(-1))


def descended(W1: Tensor, W2: Tensor, x: Tensor, labels: Tensor, ε: float, updates: int
              ) -> tuple[Tensor, Tensor]:
    """W¹ and W² of :func:`surfaces` after so many updates of size ε on the mean of −log P(y|x)."""
    for _ in range(updates):
        W = [w.detach().requires_grad_() for w in (W1, W2)]
        slopes = torch.autograd.grad(F.cross_entropy((x @ W[0]).tanh() @ W[1], labels), W)
        W1, W2 = (w.detach() - ε * g for w, g in zip(W, slopes, strict=True))
    return W1, W2


def plateau(surface: Tensor, spacing: float, share: float) -> Tensor:
    """Where a surface is flat and high: no valley, but no way down either.

    Args:
        surface: (points, points), of a grid with that spacing.
        share: flat is a slope less than this part of the steepest.

    Returns:
        (points, points); high is above the middle between the lowest and the highest.
    """
    slopes = torch.gradient(surface, spacing=spacing)
    steep = (slopes[0] ** 2 + slopes[1] ** 2).sqrt()
    return (steep < share * steep.max()) & (surface > (surface.min() + surface.max()) / 2)


# ---- SELU's moments ------------------------------------------------------------------------------

def moments(μ: float, ν: float, ω: float = 0.0, τ: float = 1.0) -> tuple[float, float]:
    """Mean and variance of the next layer, g of Klambauer et al., eqs. (4) and (5)."""
    m, v = μ * ω, ν * τ
    r = math.sqrt(2 * v)
    bell = math.sqrt(2 / math.pi) * math.exp(-m * m / (2 * v))
    below = erfc(m / r)
    once = math.exp(m + v / 2) * erfc((m + v) / r)
    twice = math.exp(2 * (m + v)) * erfc((m + 2 * v) / r)
    mean = 0.5 * LAMBDA * (m * erf(m / r) + ALPHA * once - ALPHA * below
                           + bell * math.sqrt(v) + m)
    square = 0.5 * LAMBDA**2 * ((m * m + v) * (2 - below)
                                + ALPHA**2 * (-2 * once + twice + below)
                                + bell * m * math.sqrt(v))
    return float(mean), float(square - mean**2)
