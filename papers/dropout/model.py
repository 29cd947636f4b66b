"""Dropout: multiplicative noise on units, max-norm, weight scaling, and what it is compared to.

Symbols are the paper's: r^(l) the mask and ỹ^(l) the thinned outputs of layer l, W and b its
weights, f the activation, **p the probability of retaining a unit**, c the radius of max-norm.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

import torch
from einops import reduce
from torch import Tensor, nn

from common.training.layers import list_of
from common.training.linear import Linear
from common.training.noise import uniform_like

Noise = Literal["none", "bernoulli", "inverted", "gaussian"]


class Dropout(nn.Module):
    """Section 4: ỹ = r * y with r_j ~ Bernoulli(p) in training, p·y at test time.

    Multiplying the outputs by p at test time is the paper's weight scaling W_test = pW, for the
    layer above sees W(p·y) = (pW)y.

    Args:
        p: probability of retaining a unit, in (0, 1].

    Attributes:
        generator: what masks are drawn from, on the device of y; None: the default one.

    Shapes: any, unchanged; every element is masked by itself.
    """

    generator: torch.Generator | None

    def __init__(self, p: float):
        super().__init__()
        if not 0 < p <= 1:
            raise ValueError(f"retention probability {p}: expected above 0 and at most 1")
        self.p, self.generator = p, None
        self.sampling = False  # True: masks in evaluation mode too, see sampled_probabilities

    def forward(self, y: Tensor) -> Tensor:
        if self.p == 1:
            return y
        if not self.training and not self.sampling:
            return self.expected(y)
        return y * self.mask(y)

    def mask(self, y: Tensor) -> Tensor:
        """r ~ Bernoulli(p): a uniform number below p, three times as fast as ``bernoulli_``."""
        return (uniform_like(y, self.generator) < self.p).to(y.dtype)

    def expected(self, y: Tensor) -> Tensor:
        """E_r[ỹ] given y."""
        return self.p * y


class InvertedDropout(Dropout):
    """Section 10: the same with r scaled by 1/p in training, and nothing to do at test time.

    Equal to :class:`Dropout` with weights W' = pW above it, and so a learning rate, an initial
    scale and a max-norm radius for W' that are scaled in the same way: c' = p·c.
    """

    def mask(self, y: Tensor) -> Tensor:
        return super().mask(y).div_(self.p)

    def expected(self, y: Tensor) -> Tensor:
        return y


class GaussianDropout(Dropout):
    """Section 10: ỹ = r * y with r_j ~ N(1, σ²), σ² = (1 − p)/p, the variance of inverted dropout.

    Nothing to do at test time.
    """

    def mask(self, y: Tensor) -> Tensor:
        return torch.empty_like(y).normal_(1.0, math.sqrt((1 - self.p) / self.p),
                                           generator=self.generator)

    def expected(self, y: Tensor) -> Tensor:
        return y


NOISES: dict[str, Callable[[float], nn.Module]] = {
    "none": lambda _: nn.Identity(), "bernoulli": Dropout, "inverted": InvertedDropout,
    "gaussian": GaussianDropout}

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": torch.relu,
                                                      "logistic": torch.sigmoid}


class Network(nn.Module):
    """A feed-forward network with dropout (section 4): z = W ỹ + b, y = f(z).

    Args:
        inputs: number of input units.
        hidden: widths of the hidden layers.
        classes: number of output units.
        activation: ``relu`` or ``logistic``.
        noise: what multiplies units in training.
        p_input, p_hidden: retention probabilities of input and hidden units.
        generator: source of the initial weights; biases start at zero.
        gain: the initial weights are N(0, gain²/fan_in).

    Shapes: (n, inputs) → (n, classes), the logits.
    """

    def __init__(self, inputs: int = 784, hidden: Sequence[int] = (1024, 1024, 1024),
                 classes: int = 10, activation: str = "relu", noise: Noise = "bernoulli",
                 p_input: float = 0.8, p_hidden: float = 0.5,
                 generator: torch.Generator | None = None, gain: float = 1.0):
        super().__init__()
        widths = [inputs, *hidden, classes]
        self.layers = list_of(Linear(i, o) for i, o in pairwise(widths))
        self.drops = list_of(NOISES[noise](p) for p in
                             [p_input] + [p_hidden] * len(hidden))
        self.f = ACTIVATIONS[activation]
        for layer in self.layers:
            nn.init.normal_(layer.weight, 0.0, gain * layer.in_features**-0.5, generator=generator)
            nn.init.zeros_(layer.bias)

    def hidden_outputs(self, x: Tensor) -> list[Tensor]:
        """y^(l) of every hidden layer, before its mask."""
        outputs = []
        for drop, layer in zip(self.drops[:-1], self.layers[:-1], strict=True):
            x = self.f(layer(drop(x)))
            outputs.append(x)
        return outputs

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(self.hidden_outputs(x))

    def logits(self, hidden: list[Tensor]) -> Tensor:
        """The output layer on top of :meth:`hidden_outputs`."""
        return self.layers[-1](self.drops[-1](hidden[-1]))


class Autoencoder(nn.Module):
    """Section 7.1: one hidden layer of ReLUs, with dropout in it, reconstructing its input.

    Args:
        inputs: number of pixels.
        hidden: number of hidden units, 256 in the paper.
        noise, p: as in :class:`Network`, for the hidden layer alone.
        generator: source of the initial weights.

    Shapes: (n, inputs) → (n, inputs), the reconstructed pixels.
    """

    def __init__(self, inputs: int = 784, hidden: int = 256, noise: Noise = "bernoulli",
                 p: float = 0.5, generator: torch.Generator | None = None):
        super().__init__()
        self.encoder, self.decoder = Linear(inputs, hidden), Linear(hidden, inputs)
        self.drop = NOISES[noise](p)
        self.layers = [self.encoder, self.decoder]
        for layer in (self.encoder, self.decoder):
            nn.init.normal_(layer.weight, 0.0, layer.in_features**-0.5, generator=generator)
            nn.init.zeros_(layer.bias)

    def hidden_outputs(self, x: Tensor) -> list[Tensor]:
        """The hidden layer's outputs, before their mask."""
        return [torch.relu(self.encoder(x))]

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.drop(self.hidden_outputs(x)[0]))


@torch.no_grad()
def sampled_probabilities(network: nn.Module, x: Tensor, k: int) -> Tensor:
    """Section 7.5: the class probabilities of k sampled thinned networks.

    Args:
        network: contains :class:`Dropout` layers.
        x: inputs (n, …).
        k: number of samples.

    Returns:
        Probabilities (k, n, classes). Their mean over k is the Monte-Carlo model average:
        probabilities are averaged, not logits.
    """
    drops = [m for m in network.modules() if isinstance(m, Dropout)]
    training = network.training
    network.eval()
    for d in drops:
        d.sampling = True
    sampled = torch.stack([torch.cat([torch.softmax(network(part), 1) for part in x.split(1000)])
                           for _ in range(k)])
    for d in drops:
        d.sampling = False
    network.train(training)
    return sampled


def l2(weights: Sequence[Tensor]) -> Tensor:
    """½ Σ w²."""
    return functools.reduce(operator.add, (w.square().sum() for w in weights)) / 2


def l1(weights: Sequence[Tensor]) -> Tensor:
    """Σ |w|."""
    return functools.reduce(operator.add, (w.abs().sum() for w in weights))


def kl_sparsity(hidden: Sequence[Tensor], target: float) -> Tensor:
    """Σ over hidden units of KL(target ‖ mean activation over the mini-batch).

    Between Poisson distributions of these means, ρ log(ρ/ρ̂) − ρ + ρ̂, since the mean activation ρ̂
    of a ReLU is not bounded by one; the paper does not say which it used.

    Args:
        hidden: outputs (n, units) of every hidden layer.
        target: ρ, the mean activation asked for.
    """
    total = hidden[0].new_zeros(())
    for y in hidden:
        ρ_hat = reduce(y, "n unit -> unit", "mean").clamp(min=1e-6)
        total = total + (target * torch.log(target / ρ_hat) - target + ρ_hat).sum()
    return total
