"""Directions, normalisation, lines and planes through a network's weights (Li et al., 2018).

Symbols: θ the weights; d, δ, η directions; α, β coordinates; L the loss. The function plotted is
f(α) = L(θ + α δ) or f(α, β) = L(θ + α δ + β η), eq. (1). d_ij is filter j of layer i; in a fully
connected layer a filter is the weights of one unit. Weights are mappings from names to tensors, as
:func:`torch.func.functional_call` takes them, so that networks are never changed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from torch import Tensor, nn

from common.training.layers import list_of

Weights = dict[str, Tensor]
Normalisation = Literal["filter", "layer", "none"]
Activation = Literal["relu", "sigmoid", "maxout"]
PIECES = 2
"""Number of linear pieces of a maxout unit."""


# ---- directions ----------------------------------------------------------------------------------

def random_direction(θ: Weights, draw: torch.Generator) -> Weights:
    """A direction of Gaussian numbers, with zeros for biases and BN parameters (section 4).

    Args:
        θ: the weights; tensors of one dimension are biases or belong to BN.
        draw: a generator on the CPU, so that the numbers are the same on every device.
    """
    return {name: (torch.randn(w.shape, generator=draw).to(w) if w.dim() > 1
                   else torch.zeros_like(w)) for name, w in θ.items()}


def norms(w: Tensor, each: Normalisation) -> Tensor:
    """Frobenius norms of a layer's filters, or of the layer, in a shape that broadcasts over w."""
    dims = tuple(range(1 if each == "filter" else 0, w.dim()))
    return torch.linalg.vector_norm(w, dim=dims, keepdim=True)


def normalised(d: Weights, θ: Weights, how: Normalisation = "filter") -> Weights:
    """Scale a direction.

    ``filter``: d_ij ← d_ij ‖θ_ij‖/‖d_ij‖ (section 4); ``layer``: the same for whole layers (the
    comparison in the appendix); ``none``: the direction gets length 1, whatever the weights.
    """
    if how == "none":
        length = torch.stack([x.square().sum() for x in d.values()]).sum().sqrt()
        return {name: x / length for name, x in d.items()}
    return {name: x * norms(θ[name], how) / norms(x, how) if x.dim() > 1 else x
            for name, x in d.items()}


def moved(θ: Weights, coordinates: Sequence[float], directions: Sequence[Weights]) -> Weights:
    """θ + α δ, or θ + α δ + β η, as new tensors."""
    new = dict(θ)
    for α, d in zip(coordinates, directions, strict=True):
        new = {name: w + α * d[name] for name, w in new.items()}
    return new


def flat(θ: Weights) -> Tensor:
    """All weights as one vector, (n,)."""
    return torch.cat([w.reshape(-1) for w in θ.values()])


def shaped(row: Tensor, like: Weights) -> Weights:
    """A vector of weights, (n,), as tensors with the names and shapes of ``like``."""
    parts = row.split([w.numel() for w in like.values()])
    return {name: p.view_as(w) for p, (name, w) in zip(parts, like.items(), strict=True)}


def grid(points: int, reach: float) -> Tensor:
    """Coordinates from −reach to reach, (points,); the middle one is exactly 0 if points is odd."""
    middle = (points - 1) / 2
    return (torch.arange(points, dtype=torch.float64) - middle) / middle * reach


# ---- trajectories, section 7 ---------------------------------------------------------------------

def principal_directions(path: Tensor) -> tuple[Tensor, Tensor]:
    """The two principal directions of a path, and the fractions of variation that all explain.

    PCA of the matrix [θ_0 − θ_n; …; θ_(n−1) − θ_n], with the mean row subtracted, as in PCA.

    Args:
        path: the weights after every epoch, (n + 1, weights), from the start to the end.

    Returns:
        The directions, (2, weights), orthonormal; and the fractions in descending order, (n,).
    """
    M = (path[:-1] - path[-1]).double().cpu()
    _, s, V = torch.linalg.svd(M - M.mean(0), full_matrices=False)
    return V[:2], s**2 / (s**2).sum()


def share_in_plane(path: Tensor, plane: Tensor) -> float:
    """The fraction, 0 … 1, of a path's variation in the plane of two directions.

    Args:
        path: as for :func:`principal_directions`.
        plane: (2, weights), any two independent directions.
    """
    M = (path[:-1] - path[-1]).double().cpu()
    M = M - M.mean(0)
    Q, _ = torch.linalg.qr(plane.double().cpu().T)
    return ((M @ Q).square().sum() / M.square().sum()).item()


# ---- curvature -----------------------------------------------------------------------------------

def hessian_product(loss: Tensor, parameters: Sequence[Tensor]) -> Callable[[Tensor], Tensor]:
    """The function v ↦ H v for the Hessian H of a loss, by differentiating gᵀv.

    Args:
        loss: a scalar computed from the parameters.
        parameters: tensors that require gradients; v is their concatenation, (n,).
    """
    g = torch.cat([x.reshape(-1) for x in torch.autograd.grad(loss, parameters,
                                                              create_graph=True)])

    def product(v: Tensor) -> Tensor:
        found = torch.autograd.grad(g, parameters, v, retain_graph=True)
        return torch.cat([x.reshape(-1) for x in found])
    return product


def hessian_products(f: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[Tensor], Tensor]:
    """The function v ↦ ∇²f(x) v, like :func:`hessian_product`, by ``torch.func``.

    Args:
        f: a function from weights (n,) to a scalar.
        x: the weights, (n,).
    """
    back = torch.func.vjp(torch.func.grad(f), x)[1]
    return lambda v: back(v)[0]


def lanczos(product: Callable[[Tensor], Tensor], start: Tensor,
            iterations: int) -> tuple[float, float]:
    """The smallest and the largest eigenvalue of a symmetric matrix (section 6).

    The Lanczos method with full reorthogonalisation. The estimates approach the extreme eigenvalues
    from inside the spectrum.

    Args:
        product: v ↦ H v.
        start: a random vector, (n,).
        iterations: the largest number of products; fewer if the Krylov space is exhausted.

    Raises:
        ValueError: a product is not finite.
    """
    basis = [start / start.norm()]
    diagonal, beside = [], []
    for _ in range(iterations):
        w = product(basis[-1])
        diagonal.append((w @ basis[-1]).item())
        if not math.isfinite(diagonal[-1]):
            raise ValueError("a product with the Hessian is not finite")
        for _ in range(2):  # twice is enough
            Q = torch.stack(basis)
            w = w - Q.T @ (Q @ w)
        length = w.norm().item()
        if len(diagonal) == iterations or length <= 1e-6 * max(map(abs, diagonal)):
            break
        beside.append(length)
        basis.append(w / length)
    T = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    for k, β in enumerate(beside):
        T[k, k + 1] = T[k + 1, k] = β
    λ = torch.linalg.eigvalsh(T)
    return λ[0].item(), λ[-1].item()


def reduced_curvatures(f: Tensor, step: float) -> Tensor:
    """Both principal curvatures of a surface at its inner points, by central differences.

    Args:
        f: values on a square grid, (points, points).
        step: the distance between neighbours.

    Returns:
        (points − 2, points − 2, 2), the smaller one first.
    """
    f = f.double()
    middle = f[1:-1, 1:-1]
    xx = f[2:, 1:-1] - 2 * middle + f[:-2, 1:-1]
    yy = f[1:-1, 2:] - 2 * middle + f[1:-1, :-2]
    xy = (f[2:, 2:] - f[2:, :-2] - f[:-2, 2:] + f[:-2, :-2]) / 4
    centre, radius = (xx + yy) / 2, torch.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    return torch.stack([centre - radius, centre + radius], -1) / step**2


# ---- a small network -----------------------------------------------------------------------------

class MLP(nn.Module):
    """Fully connected layers, each followed by optional BN and an activation.

    Args:
        inputs: numbers in an image.
        hidden: units of each hidden layer.
        classes: number of classes.
        activation: ``maxout`` takes the larger of two linear pieces (Goodfellow et al., 2013).
        bn: whether BN replaces the hidden layers' biases.
        draw: source of the initial weights: N(0, 2/inputs) for relu and maxout, N(0, 1/inputs) for
            sigmoid and the last layer; biases are zero.

    Shapes: (b, …) → (b, classes), the logits.
    """

    def __init__(self, inputs: int, hidden: Sequence[int], classes: int,
                 activation: Activation = "relu", bn: bool = False,
                 draw: torch.Generator | None = None):
        super().__init__()
        pieces = PIECES if activation == "maxout" else 1
        self.activation = activation
        sizes = [inputs, *hidden]
        self.hidden = list_of(
            nn.Linear(below, pieces * above, bias=not bn) for below, above in pairwise(sizes))
        self.norms = list_of(
            nn.BatchNorm1d(pieces * above) if bn else nn.Identity() for above in hidden)
        self.out = nn.Linear(sizes[-1], classes)
        variance = 1 if activation == "sigmoid" else 2
        for layer in [*self.hidden, self.out]:
            gain = 1 if layer is self.out else variance
            nn.init.normal_(layer.weight, std=(gain / layer.in_features) ** 0.5, generator=draw)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = rearrange(x, "b ... -> b (...)")
        for layer, norm in zip(self.hidden, self.norms, strict=True):
            x = norm(layer(x))
            if self.activation == "maxout":
                x = reduce(x, "b (units pieces) -> b units", "max", pieces=PIECES)
            else:
                x = torch.sigmoid(x) if self.activation == "sigmoid" else F.relu(x)
        return self.out(x)
