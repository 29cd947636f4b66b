"""Batch Normalization: Algorithms 1 and 2, the gradients of section 3, the network of 4.1.

Symbols are the paper's: a mini-batch B of m values per activation, its mean μ_B and variance
σ²_B, the normalised x̂, scale γ and shift β, loss ℓ. A convolutional map's m counts every
position of every example (section 3.2, m' = m·p·q).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import torch
from einops import rearrange, reduce
from torch import Tensor, nn


def moments(x: Tensor) -> tuple[Tensor, Tensor, int]:
    """Mini-batch mean and variance of each activation (Algorithm 1, lines 1 and 2).

    Args:
        x: shape (m, c), or (m, c, p, q) with one statistic per map.

    Returns:
        μ_B and the biased σ²_B, shape (c,), and the number of values averaged, m or m·p·q.
    """
    μ = reduce(x, "m c ... -> c", "mean")
    σ2 = reduce((x - per_activation(μ, x)) ** 2, "m c ... -> c", "mean")
    return μ, σ2, x.numel() // x.shape[1]


def per_activation(v: Tensor, x: Tensor) -> Tensor:
    """Shape a vector (c,) so that it broadcasts over x, (m, c) or (m, c, p, q)."""
    return v if x.dim() == 2 else rearrange(v, "c -> c 1 1")


def batch_norm(x: Tensor, γ: Tensor, β: Tensor, ε: float) -> Tensor:
    """The Batch Normalizing Transform, y = BN_{γ,β}(x) (Algorithm 1).

    Args:
        x: shape (m, c) or (m, c, p, q).
        γ, β: scale and shift, shape (c,).
        ε: added to the variance; the paper gives no value.
    """
    μ, σ2, _ = moments(x)
    x_hat = (x - per_activation(μ, x)) / per_activation(torch.sqrt(σ2 + ε), x)
    return per_activation(γ, x) * x_hat + per_activation(β, x)


class BatchNormByHand(torch.autograd.Function):
    """Algorithm 1 with the six gradient equations of section 3 instead of autograd.

    ``BatchNormByHand.apply(x, γ, β, ε)`` equals :func:`batch_norm`; it also returns μ_B and σ²_B,
    through which no gradient flows.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, γ: Tensor, β: Tensor, ε: float,
                ) -> tuple[Tensor, Tensor, Tensor]:
        μ, σ2, m = moments(x)
        centred = x - per_activation(μ, x)
        inverse = (σ2 + ε) ** -0.5
        x_hat = centred * per_activation(inverse, x)
        ctx.save_for_backward(centred, x_hat, inverse, γ)
        ctx.m = m
        ctx.mark_non_differentiable(μ, σ2)
        return per_activation(γ, x) * x_hat + per_activation(β, x), μ, σ2

    @staticmethod
    def backward(ctx: Any, dy: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        centred, x_hat, inverse, γ = ctx.saved_tensors
        m = ctx.m

        def total(t: Tensor) -> Tensor:  # Σ_i of the paper
            return reduce(t, "m c ... -> c", "sum")

        def wide(v: Tensor) -> Tensor:
            return per_activation(v, dy)

        dx_hat = dy * wide(γ)                                             # ∂ℓ/∂x̂_i
        dσ2 = total(dx_hat * centred) * -0.5 * inverse**3                 # ∂ℓ/∂σ²_B
        dμ = -inverse * total(dx_hat) - 2 * dσ2 * total(centred) / m      # ∂ℓ/∂μ_B
        dx = dx_hat * wide(inverse) + wide(dσ2 * 2 / m) * centred + wide(dμ / m)  # ∂ℓ/∂x_i
        dγ = total(dy * x_hat)                                            # ∂ℓ/∂γ
        dβ = total(dy)                                                    # ∂ℓ/∂β
        return dx, dγ, dβ, None


class BatchNorm(nn.Module):
    """Normalises each activation, over the mini-batch in training and by fixed statistics later.

    In training mode: Algorithm 1, and moving averages of μ_B and of the unbiased variance
    m/(m−1)·σ²_B. In evaluation mode: Algorithm 2, line 11, with those moving averages, or with
    the population statistics once :func:`population_statistics` has gathered them and while
    ``use_population`` is True. ``by_hand`` chooses section 3's gradients or autograd's.

    Args:
        features: number of activations c.
        ε: added to the variance.
        momentum: weight of the newest batch in the moving averages.

    Shapes: (m, c) → (m, c), (m, c, p, q) → (m, c, p, q).

    Raises:
        ValueError: training on a single value per activation, which has no variance.
    """

    def __init__(self, features: int, ε: float = 1e-5, momentum: float = 0.1):
        super().__init__()
        self.ε, self.momentum = ε, momentum
        self.γ = nn.Parameter(torch.ones(features))
        self.β = nn.Parameter(torch.zeros(features))
        self.moving_mean: Tensor
        self.moving_var: Tensor
        self.population_mean: Tensor
        self.population_var: Tensor
        for kind in ("moving", "population"):
            self.register_buffer(f"{kind}_mean", torch.zeros(features))
            self.register_buffer(f"{kind}_var", torch.ones(features))
        self.use_population, self.by_hand = False, True
        self.gathered: list[tuple[Tensor, Tensor]] | None = None

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return self.inference(x)
        m = x.numel() // x.shape[1]
        if m < 2:
            raise ValueError(f"BatchNorm in training got {tuple(x.shape)}: expected at least two "
                             "values per activation")
        if self.by_hand:
            y, μ, σ2 = BatchNormByHand.apply(x, self.γ, self.β, self.ε)
        else:
            y = batch_norm(x, self.γ, self.β, self.ε)
            μ, σ2, _ = moments(x.detach())
        unbiased = σ2 * (m / (m - 1))
        if self.gathered is not None:
            self.gathered.append((μ, unbiased))
        else:
            for average, newest in ((self.moving_mean, μ), (self.moving_var, unbiased)):
                average.copy_(torch.lerp(average, newest, self.momentum))
        return y

    def inference(self, x: Tensor) -> Tensor:
        """y = γ/√(Var[x]+ε)·x + (β − γE[x]/√(Var[x]+ε)) (Algorithm 2, line 11)."""
        kind = "population" if self.use_population else "moving"
        mean, var = getattr(self, f"{kind}_mean"), getattr(self, f"{kind}_var")
        scale = self.γ / torch.sqrt(var + self.ε)
        return per_activation(scale, x) * x + per_activation(self.β - scale * mean, x)


@torch.no_grad()
def population_statistics(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Algorithm 2, lines 7 to 10: E[x] = E_B[μ_B] and Var[x] = m/(m−1)·E_B[σ²_B].

    The weights are frozen. Every batch goes through the network as in training, so that each
    layer's inputs are normalised by that batch's own statistics. Moving averages do not change.
    Layers use the new statistics while their ``use_population`` is True.

    Args:
        network: contains :class:`BatchNorm` layers.
        batches: mini-batches of training data, of the batch size m used in training.
    """
    layers = [l for l in network.modules() if isinstance(l, BatchNorm)]
    training = network.training
    network.train()
    for layer in layers:
        layer.gathered = []
    for x in batches:
        network(x)
    for layer in layers:
        means, variances = zip(*layer.gathered or (), strict=True)
        layer.population_mean.copy_(torch.stack(means).mean(0))
        layer.population_var.copy_(torch.stack(variances).mean(0))
        layer.gathered = None
    network.train(training)


class Network(nn.Module):
    """The network of section 4.1: sigmoid layers, with or without BN before each sigmoid.

    z = g(Wu + b) without BN; z = g(BN(Wu)) with BN, whose β replaces the bias (section 3.2). The
    output layer is linear, with a bias and without BN.

    Args:
        inputs: number of pixels in an image.
        hidden: widths of the hidden layers; (100, 100, 100) in the paper.
        classes: 10 in the paper.
        bn: whether the hidden layers are batch-normalised.
        init_std: standard deviation of the Gaussian initial weights; biases start at zero.
        momentum: weight of the newest batch in BN's moving averages.
        generator: source of the initial weights; the same generator state gives the same
            weights with and without BN.

    Shapes: (m, inputs) → (m, classes), the logits.
    """

    def __init__(self, inputs: int = 784, hidden: Sequence[int] = (100, 100, 100),
                 classes: int = 10, bn: bool = False, init_std: float = 0.1,
                 momentum: float = 0.1, generator: torch.Generator | None = None):
        super().__init__()
        widths = [inputs, *hidden]
        self.hidden = nn.ModuleList(
            nn.Sequential(nn.Linear(i, o, bias=False), BatchNorm(o, momentum=momentum)) if bn
            else nn.Sequential(nn.Linear(i, o))
            for i, o in pairwise(widths))
        self.output = nn.Linear(widths[-1], classes)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, 0.0, init_std, generator=generator)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def last_sigmoid_input(self, u: Tensor) -> Tensor:
        """The inputs of the last hidden layer's sigmoids, shape (m, hidden[-1]) (Fig. 1(b, c))."""
        for layer in self.hidden[:-1]:
            u = torch.sigmoid(layer(u))
        return self.hidden[-1](u)

    def forward(self, u: Tensor) -> Tensor:
        return self.output(torch.sigmoid(self.last_sigmoid_input(u)))
