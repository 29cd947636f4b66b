"""Weight uncertainty: the variational posterior, and layers whose weights have one.

Symbols are the paper's: θ = (μ, ρ) with σ = log(1 + exp ρ), ε ~ N(0, 1), w = μ + σ ∘ ε;
q(w|θ) the posterior, P(w) the prior, and per minibatch
F_i = π_i [log q(w|θ) − log P(w)] − log P(D_i|w)   (eqs. (2) and (9)),
all log-densities summed over weights, the likelihood summed over the minibatch (section 3.4).
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.training.compiling import compile_apart
from common.training.linear import linear
from common.training.noise import normal_like
from papers.bayes_by_backprop.prior import Prior, gaussian_log_density


class BayesianLayer(nn.Module):
    """A layer whose weights and biases have the posterior N(μ, σ²), σ = softplus(ρ).

    Weights and biases form one tensor, with the biases in the last column.

    Args:
        shape: the tensor's shape, (outputs, inputs + 1).
        prior: the prior of every weight and bias.
        μ_std: the initial μ is drawn from N(0, μ_std²); None: 1/√inputs.
        ρ: the initial ρ.
        generator: source of the initial μ.

    Attributes:
        sampling: True: every call draws one w for the whole minibatch; False: w = μ.
        generator: the generator of ε, on the device of the weights; None: torch's default one.
    """

    generator: torch.Generator | None

    def __init__(self, shape: tuple[int, int], prior: Prior, μ_std: float | None = None,
                 ρ: float = -3.0, generator: torch.Generator | None = None):
        super().__init__()
        start = torch.randn(shape, generator=generator)
        start *= (shape[1] - 1) ** -0.5 if μ_std is None else μ_std
        start[:, -1] = 0
        self.μ, self.ρ = nn.Parameter(start), nn.Parameter(torch.full(shape, ρ))
        self.prior, self.sampling, self.generator = prior, True, None
        self._drawn: tuple[Tensor, ...] = ()

    @property
    def σ(self) -> Tensor:
        """The posterior's standard deviations, in the units of the weights."""
        return F.softplus(self.ρ)

    def draw(self) -> Tensor:
        """Draw w = μ + σ ∘ ε, or μ while not sampling; remembered for :meth:`kl`."""
        w = self.μ + self.σ * normal_like(self.μ, self.generator) if self.sampling else self.μ
        self._drawn = (w,)  # in a tuple, or nn.Module would register μ as another parameter
        return w

    def kl(self) -> Tensor:
        """log q(w|θ) − log P(w) of the weights last drawn, summed, in nats.

        A one-sample estimate of KL(q ‖ P), unbiased over draws.
        """
        if not self._drawn:
            raise RuntimeError("kl() before the first call of the layer: nothing was drawn yet")
        (w,) = self._drawn
        return (gaussian_log_density(w, self.μ, self.σ) - self.prior.log_density(w)).sum()


def affine(x: Tensor, w: Tensor) -> Tensor:
    """[x 1] wᵀ, where the last column of w contains the biases and the others the weights.

    Shapes: x (…, inputs), w (outputs, inputs + 1) → (…, outputs).
    """
    return linear(F.pad(x, (0, 1), value=1.0), w)


class BayesianLinear(BayesianLayer):
    """A Bayesian replacement for ``nn.Linear``.

    Shapes: (…, inputs) → (…, outputs).
    """

    def __init__(self, inputs: int, outputs: int, prior: Prior, **options: Any):
        super().__init__((outputs, inputs + 1), prior, **options)

    def forward(self, x: Tensor) -> Tensor:
        return affine(x, self.draw())


class BayesianConv2d(BayesianLayer):
    """A Bayesian replacement for ``nn.Conv2d`` with square kernels.

    Shapes: (b, inputs, h, w) → (b, outputs, h', w').
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, prior: Prior, stride: int = 1,
                 padding: int = 0, **options: Any):
        super().__init__((outputs, inputs * kernel**2 + 1), prior, **options)
        self.kernel = (outputs, inputs, kernel, kernel)
        self.stride, self.padding = stride, padding

    def forward(self, x: Tensor) -> Tensor:
        w = self.draw()
        return F.conv2d(x, w[:, :-1].reshape(self.kernel), w[:, -1], self.stride, self.padding)


class Network(nn.Sequential):
    """Section 5.1: two hidden layers of ReLUs; every weight has a posterior.

    Args:
        widths: numbers of inputs, of units in each hidden layer, and of outputs.
        prior, options: see :class:`BayesianLayer`.

    Shapes: (n, inputs) → (n, outputs), the logits.
    """

    def __init__(self, widths: Sequence[int], prior: Prior, **options: Any):
        layers: list[nn.Module] = []
        for i, (a, b) in enumerate(pairwise(widths)):
            layers += [nn.ReLU()] if i else []
            layers.append(BayesianLinear(a, b, prior, **options))
        super().__init__(*layers)

    @property
    def bayesian(self) -> list[BayesianLayer]:
        """The layers with posteriors."""
        return [l for l in self if isinstance(l, BayesianLayer)]

    def kl(self) -> Tensor:
        """log q(w|θ) − log P(w) of the weights last drawn, summed over all layers, in nats."""
        return functools.reduce(operator.add, (l.kl() for l in self.bayesian))

    def sample(self, on: bool) -> None:
        """Set whether every call draws new weights (True) or uses the means (False)."""
        for l in self.bayesian:
            l.sampling = on


def kl_weights(m: int, scheme: str) -> Tensor:
    """Section 3.4: the weights π_i of the KL term for the minibatches i = 1 … M of an epoch.

    Args:
        m: number of minibatches M.
        scheme: ``uniform`` for 1/M (Graves), ``decreasing`` for 2^(M−i)/(2^M − 1), computed as
            2^−i/(1 − 2^−M), which does not overflow.

    Returns:
        (m,), float64; the sum is 1.
    """
    if scheme == "uniform":
        return torch.full((m,), 1 / m, dtype=torch.float64)
    i = torch.arange(1, m + 1, dtype=torch.float64)
    return 2.0**-i / (1 - 2.0**-m)


def gradients(prior: Prior, σ: Tensor, ε: Tensor, w: Tensor, g: Tensor, π: float | Tensor,
              ) -> tuple[Tensor, Tensor]:
    """Δμ and Δρ of eqs. (3) and (4) for f = π [log q(w|θ) − log P(w)] + NLL.

    With ∂f/∂w = π [−ε/σ − ∂log P/∂w] + g, ∂f/∂μ = π ε/σ and ∂f/∂ρ = π (ε² − 1)/σ · s, where
    s = ∂σ/∂ρ = 1/(1 + exp(−ρ)) = 1 − exp(−σ):
    eq. (3): Δμ = ∂f/∂w + ∂f/∂μ = g − π ∂log P/∂w, and
    eq. (4): Δρ = ∂f/∂w · ε s + ∂f/∂ρ = s [ε (g − π ∂log P/∂w) − π/σ].

    Args:
        prior: P.
        σ, ε, w: tensors of a layer; w = μ + σ ∘ ε.
        g: ∂NLL/∂w.
        π: weight of the KL term.
    """
    dμ = g - π * prior.slope(w)
    return dμ, -torch.expm1(-σ) * (ε * dμ - π / σ)


def mean_gradients(prior: Prior, μ: Tensor, σ: Tensor, ε: Tensor, g: Tensor, π: float | Tensor,
                   ) -> tuple[Tensor, Tensor]:
    """Δμ and Δρ with the prior's part averaged over q(w|θ) rather than taken at one draw.

    ∂log P/∂w and ε ∂log P/∂w of :func:`gradients` are replaced by their means, so that only the
    likelihood's part is noisy. Not in the paper.
    """
    slope, turned = prior.mean_slopes(μ, σ)
    return g - π * slope, -torch.expm1(-σ) * (ε * g - π * turned - π / σ)


def make_update(prior: Prior, compiled: bool, averaged: bool = False) -> Callable[..., None]:
    """Make a function that updates μ and ρ of a layer in place, in one pass if compiled.

    It takes μ, ρ, σ, a list of (ε, w, ∂NLL/∂w) with one entry per weight sample of the step, the
    learning rate and π, each a number or a tensor (). It makes a step of gradient descent with the
    mean of the samples' :func:`gradients` or, if ``averaged``, :func:`mean_gradients`.
    """
    def update(μ: Tensor, ρ: Tensor, σ: Tensor, samples: list[tuple[Tensor, Tensor, Tensor]],
               lr: Tensor, π: Tensor) -> None:
        changes = [mean_gradients(prior, μ, σ, ε, g, π) if averaged else
                   gradients(prior, σ, ε, w, g, π) for ε, w, g in samples]
        dμ, dρ = (sum(change) / len(samples) for change in zip(*changes, strict=True))
        μ.sub_(lr * dμ)
        ρ.sub_(lr * dρ)
    if not compiled:
        return update
    fast = compile_apart(update)

    def call(μ: Tensor, ρ: Tensor, σ: Tensor, samples: list[tuple[Tensor, Tensor, Tensor]],
             lr: float | Tensor, π: float | Tensor) -> None:
        fast(μ, ρ, σ, samples, as_scalar(lr, μ), as_scalar(π, μ))
    return call


def as_scalar(number: float | Tensor, like: Tensor) -> Tensor:
    """A number as a tensor () with the device and type of ``like``, filled on that device.

    Compiled functions take numbers as tensors, since a new number would compile them again.
    """
    return number.to(like) if isinstance(number, Tensor) else like.new_full((), number)


def prune(network: Network, fraction: float) -> None:
    """Section 5.1, Table 2: set the weights of lowest signal-to-noise |μ|/σ to zero, in place.

    Args:
        network: to be used with its mean weights afterwards; pruned σ become zero, too.
        fraction: the fraction of all weights and biases to prune, 0 … 1.
    """
    with torch.no_grad():
        ratio = torch.cat([(l.μ.abs() / l.σ).flatten() for l in network.bayesian])
        k = round(fraction * len(ratio))
        if not k:
            return
        threshold = ratio.kthvalue(k).values
        for l in network.bayesian:
            cut = l.μ.abs() / l.σ <= threshold
            l.μ[cut] = 0
            l.ρ[cut] = -torch.inf


@torch.no_grad()
def predict(network: Network, x: Tensor, samples: int) -> Tensor:
    """Class probabilities of sampled networks, or of the mean weights if ``samples`` is 0.

    Returns:
        The probabilities of each network, (max(samples, 1), n, classes); average these, not the
        logits.
    """
    network.sample(samples > 0)
    probabilities = torch.stack([torch.softmax(network(x), 1) for _ in range(max(samples, 1))])
    network.sample(True)
    return probabilities
