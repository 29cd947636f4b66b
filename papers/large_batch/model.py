"""The networks F1 and C1, batch normalisation over ghosts, and what lies around a minimum.

Symbols are the paper's: weights x ∈ Rⁿ, the training function f(x), metric (3)'s neighbourhood C_ε
and directions A, the minima x_s and x_ℓ of small and of large batches. Whatever is measured at a
minimum takes all weights as one vector, see :class:`Objective`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from scipy.optimize import Bounds, minimize
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from common.training.layers import Dropout
from common.training.linear import Linear

Function = Callable[[Tensor], Tensor]
"""f: a vector (n,) → a scalar tensor, differentiable."""


# ---- networks ----------------------------------------------------------------------------------


class GhostBatchNorm(_BatchNorm):
    """Batch normalisation over ghost batches (Hoffer et al., section 4).

    In training every ghost, ``ghost`` examples of a batch, is normalised by its own mean and
    variance, and the moving averages take the ghosts one after another, as the authors' program
    does. Otherwise, and with ``ghost`` 0, as ``nn.BatchNorm1d`` and ``nn.BatchNorm2d``.

    Args:
        features: channels c.
        ghost: examples of a ghost; 0: the whole batch.

    Shapes: (m, c) → (m, c), (m, c, p, q) → (m, c, p, q).
    """

    def __init__(self, features: int, ghost: int = 0):
        super().__init__(features)
        self.ghost = ghost

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of dimensions."""

    def forward(self, input: Tensor) -> Tensor:
        if not (self.ghost and self.training and self.track_running_stats):
            return super().forward(input)
        if input.is_cuda and len(input) % self.ghost == 0:
            return self.at_once(input)
        return torch.cat([super(GhostBatchNorm, self).forward(part)
                          for part in input.split(self.ghost)])

    def at_once(self, input: Tensor) -> Tensor:
        """The same in a few kernels, whatever the number of ghosts g; see ``forward``.

        Of the moving averages, which take ghost after ghost with weight μ, ghost k's statistics
        have μ(1 − μ)^(g−1−k) at the end, and what was there before has (1 − μ)^g.
        """
        ghosts = rearrange(input, "(g m) c ... -> g m c (...)", m=self.ghost)
        g, m, _, pixels = ghosts.shape
        var, mean = torch.var_mean(ghosts, (1, 3), correction=0, keepdim=True)
        y = (ghosts - mean) * torch.rsqrt(var + self.eps)
        y = y * self.weight[:, None] + self.bias[:, None]
        with torch.no_grad():
            μ = float(self.momentum or 0.0)
            later = torch.arange(g - 1, -1, -1, device=input.device, dtype=var.dtype)
            weights = μ * (1 - μ) ** later
            unbiased = var * (m * pixels / (m * pixels - 1))
            for average, its in ((self.running_mean, mean), (self.running_var, unbiased)):
                assert average is not None
                average.mul_((1 - μ) ** g).add_(weights @ its.reshape(g, -1))
            assert self.num_batches_tracked is not None
            self.num_batches_tracked += g
        return y.reshape(input.shape)


def f1(inputs: int = 784, classes: int = 10, hidden: Sequence[int] = (512,) * 5,
       ghost: int = 0) -> nn.Sequential:
    """F1 (section B.1): five layers of 512, each with batch normalisation and ReLU.

    Shapes: (m, …) → (m, classes), the logits.
    """
    layers: list[nn.Module] = [nn.Flatten()]
    for below, above in pairwise([inputs, *hidden]):
        layers += [Linear(below, above), GhostBatchNorm(above, ghost), nn.ReLU()]
    return nn.Sequential(*layers, Linear(hidden[-1], classes))


def c1(channels: int = 3, size: int = 32, classes: int = 10, ghost: int = 0) -> nn.Sequential:
    """C1 (section B.3): two convolutions of 64 maps 5×5, two layers of 384 and 192, dropout.

    Padding keeps the size of convolutions and halves it in the pools, as in the authors' program.

    Shapes: (m, channels, size, size) → (m, classes), the logits.
    """
    layers: list[nn.Module] = []
    for below in (channels, 64):
        layers += [nn.Conv2d(below, 64, 5, padding=2), GhostBatchNorm(64, ghost), nn.ReLU(),
                   nn.MaxPool2d(3, 2, padding=1)]
        size = (size + 1) // 2
    layers.append(nn.Flatten())
    for below, above in pairwise([64 * size**2, 384, 192]):
        layers += [Linear(below, above), GhostBatchNorm(above, ghost), nn.ReLU(), Dropout(0.5)]
    return nn.Sequential(*layers, Linear(192, classes))


@torch.no_grad()
def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Uniform weights in ±√(6/(inputs + outputs)) (Glorot & Bengio), biases 0."""
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight, generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def flat(network: nn.Module) -> Tensor:
    """x: a copy of all weights as one vector (n,)."""
    return torch.cat([p.detach().flatten() for p in network.parameters()])


@contextmanager
def statistics(network: nn.Module, of_batch: bool) -> Iterator[None]:
    """The network as it is evaluated: no dropout, batch normalisation in one of two modes.

    ``of_batch``: by mean and variance of the images that are given, which leave no trace in the
    moving averages; else by the moving averages.
    """
    modes = [(m, m.training) for m in network.modules()]
    network.eval()
    layers = [m for m, _ in modes if isinstance(m, _BatchNorm)]
    for layer in layers if of_batch else []:
        layer.training, layer.track_running_stats = True, False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True
        for module, training in modes:
            module.training = training


class Objective:
    """f(x): the mean cross-entropy of a network over a set of images, taken at once.

    Args:
        network: its weights are left alone; x takes their place.
        inputs: (m, …).
        labels: (m,), int64.
        of_batch: the mode of batch normalisation, see :func:`statistics`.
    """

    def __init__(self, network: nn.Module, inputs: Tensor, labels: Tensor, of_batch: bool):
        self.network, self.inputs, self.labels = network, inputs, labels
        self.of_batch = of_batch
        self.shapes = {name: p.shape for name, p in network.named_parameters()}

    def logits(self, x: Tensor, inputs: Tensor) -> Tensor:
        """The network's outputs at weights x (n,); inputs (m, …) → (m, classes)."""
        parts = x.split([s.numel() for s in self.shapes.values()])
        weights = {name: part.view(s)
                   for (name, s), part in zip(self.shapes.items(), parts, strict=True)}
        with statistics(self.network, self.of_batch):
            return functional_call(self.network, weights, (inputs,))

    def __call__(self, x: Tensor) -> Tensor:
        return F.cross_entropy(self.logits(x, self.inputs), self.labels)


# ---- metric (3) --------------------------------------------------------------------------------


def random_directions(n: int, p: int, generator: torch.Generator) -> Tensor:
    """A of section 2.2.2, (n, p): "columns are randomly generated"; here standard normal."""
    return torch.randn(n, p, generator=generator)


def pseudo_inverse(A: Tensor, x: Tensor) -> Tensor:
    """A⁺x, (p,), for A (n, p) of full column rank; in float64, except for the large products."""
    return torch.linalg.solve((A.T @ A).cpu().double(), (A.T @ x).cpu().double())


def sharpness(f: Function, x: Tensor, ε: float, A: Tensor | None = None,
              iterations: int = 10) -> float:
    """φ_{x,f}(ε, A) of metric (3): by how much f grows in C_ε, in % of 1 + f(x).

    C_ε = {z: |z_i| ≤ ε(|(A⁺x)_i| + 1)}; the maximum of f(x + Az) over it is sought from z = 0 by
    L-BFGS-B. It is a lower bound: the paper, too, stops after 10 iterations.

    Args:
        f: the training function.
        x: the minimum, (n,), float32 or float64.
        ε: the size of the neighbourhood.
        A: (n, p); None: the identity, all n directions.
        iterations: of L-BFGS-B at most.
    """
    centre = (x if A is None else pseudo_inverse(A, x)).detach().cpu().double().abs().numpy()
    bound = ε * (centre + 1)

    def negative(z: np.ndarray) -> tuple[float, np.ndarray]:
        y = torch.as_tensor(z, dtype=x.dtype).to(x.device).requires_grad_()
        value = f(x + (y if A is None else A @ y))
        (gradient,) = torch.autograd.grad(value, y)
        return -value.item(), -gradient.cpu().double().numpy()

    start = np.zeros(len(bound))
    found = minimize(negative, start, jac=True, method="L-BFGS-B", bounds=Bounds(-bound, bound),
                     options={"maxiter": iterations})
    here = -negative(start)[0]
    return 100 * (-found.fun - here) / (1 + here)


# ---- curvature and the line --------------------------------------------------------------------


def hessian_product(f: Function, x: Tensor, v: Tensor) -> Tensor:
    """∇²f(x) v, (n,), by differentiating ∇f(x)·v; f has to be twice differentiable.

    By ``torch.func``, under which layers use only operations that are.
    """
    back = torch.func.vjp(torch.func.grad(f), x.detach())[1]
    return back(v)[0]


def ritz_values(f: Function, x: Tensor, steps: int, generator: torch.Generator) -> Tensor:
    """Estimates of the outer eigenvalues of ∇²f(x), ascending, by Lanczos' method.

    Each new vector is made orthogonal to all before it.

    Args:
        f: twice differentiable.
        x: (n,).
        steps: products with the Hessian, and Ritz values; fewer where the vectors before span the
            space.
        generator: of the first vector, on the CPU.
    """
    q = torch.randn(len(x), generator=generator, dtype=x.dtype).to(x.device)
    Q, α, β = [q / q.norm()], [], []
    while True:
        w = hessian_product(f, x, Q[-1])
        α.append((w @ Q[-1]).item())
        for _ in range(2):
            basis = torch.stack(Q)
            w = w - basis.T @ (basis @ w)
        size = w.norm().item()
        if len(α) == min(steps, len(x)) or size <= 1e-12 * max(map(abs, α)):
            break
        β.append(size)
        Q.append(w / size)
    T = torch.diag(torch.tensor(α, dtype=torch.float64))
    off = torch.tensor(β, dtype=torch.float64)
    return torch.linalg.eigvalsh(T + torch.diag(off, 1) + torch.diag(off, -1))


def line(x_s: Tensor, x_l: Tensor, points: int) -> Iterator[Tensor]:
    """αx_ℓ + (1 − α)x_s for α from −1 to 2 (Fig. 3); ``points`` vectors (n,)."""
    for α in np.linspace(-1, 2, points):
        yield float(α) * x_l + (1 - float(α)) * x_s
