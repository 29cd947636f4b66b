"""Functions behind the claims: what follows from the code alone, and measures over runs."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from common.data import generator
from common.evidence.results import Result
from papers.loss_landscape.model import (
    MLP,
    Normalisation,
    flat,
    grid,
    moved,
    normalised,
    norms,
    random_direction,
    reduced_curvatures,
)
from papers.loss_landscape.surfaces import loss_and_accuracy

FACTOR = 10.0
"""The factor by which the paper multiplies one layer and divides the next (section 3, p. 4)."""


def batch_norms(network: MLP) -> list[nn.BatchNorm1d]:
    """The layers of a network that have running statistics."""
    return [n for n in network.norms if isinstance(n, nn.BatchNorm1d)]


def statistics(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """The running mean and variance of a layer, (c,) each."""
    return norm.get_buffer("running_mean"), norm.get_buffer("running_var")


def small_network(bn: bool) -> MLP:
    """A random network in double precision, with random batch statistics."""
    network = MLP(8, [12, 12], 4, "relu", bn, generator(0, "facts")).double()
    if bn:
        for norm in batch_norms(network):
            norm.eps = 0.0  # with eps > 0 BN is not exactly invariant
            mean, var = statistics(norm)
            mean.copy_(torch.randn(12, generator=generator(0, "mean")))
            var.copy_(torch.rand(12, generator=generator(0, "var")) + 0.5)
    return network.eval()


@torch.no_grad()
def rescaled(network: MLP, bn: bool, each: bool = False) -> MLP:
    """A network with other weights that computes the same function.

    All filters of the first layer are multiplied by a factor. With BN, BN undoes it; without, the
    second layer is divided by the same factor.

    Args:
        network: made by :func:`small_network`.
        bn: whether it has batch normalisation.
        each: whether every filter has a factor of its own, 1 … 10; with BN only.
    """
    other = copy.deepcopy(network)
    first, second = other.hidden
    c = torch.linspace(1, FACTOR, 12).double() if each else torch.full((12,), FACTOR).double()
    first.weight.mul_(c[:, None])
    if bn:
        mean, var = statistics(batch_norms(other)[0])
        mean.mul_(c)
        var.mul_(c**2)
    else:
        first.bias.mul_(c)
        second.weight.div_(FACTOR)
    return other


def inputs() -> tuple[Tensor, Tensor]:
    """Random inputs and labels for the small network."""
    draw = generator(0, "inputs")
    return (torch.randn(64, 8, generator=draw, dtype=torch.float64),
            torch.randint(0, 4, (64,), generator=draw))


def pictures(bn: bool, how: Normalisation, each: bool = False) -> tuple[float, Tensor]:
    """The losses of two networks that compute one function, along the same random direction.

    With normalisation lines end at 1, a distance of about ‖θ‖; without, at the first network's ‖θ‖.

    Args:
        bn: whether the networks have batch normalisation.
        how: the normalisation of directions.
        each: see :func:`rescaled`.

    Returns:
        The end of the lines, and the losses, (2, 21).
    """
    network = small_network(bn)
    reach = flat(dict(network.named_parameters())).norm().item() if how == "none" else 1.0
    lines = []
    for n in (network, rescaled(network, bn, each)):
        θ = {name: p.detach() for name, p in n.named_parameters()}
        d = normalised(random_direction(θ, generator(0, "direction")), θ, how)
        lines.append([loss_and_accuracy(n, moved(θ, [α], [d]), *inputs())[0] for α in
                      grid(21, reach).tolist()])
    return reach, torch.tensor(lines, dtype=torch.float64)


def same_outputs(bn: bool, each: bool = False) -> float:
    """Largest difference between the outputs of both networks over the largest output."""
    network = small_network(bn)
    x, _ = inputs()
    with torch.no_grad():
        one, other = network(x), rescaled(network, bn, each)(x)
    return round(((one - other).abs().max() / one.abs().max()).item(), 12)


def scale_invariance(bn: bool, how: Normalisation, each: bool = False) -> float:
    """Largest difference between both lines of :func:`pictures` over the first's largest loss."""
    _, (one, other) = pictures(bn, how, each)
    return round(((one - other).abs().max() / one.max()).item(), 12)


def filter_norms() -> float:
    """Largest |‖d_ij‖/‖θ_ij‖ − 1| of a normalised direction, or largest entry for biases and BN."""
    network: nn.Module = small_network(True)
    θ = {name: p.detach() for name, p in network.named_parameters()}
    d = normalised(random_direction(θ, generator(0, "direction")), θ)
    worst = max(((norms(d[n], "filter") / norms(w, "filter") - 1).abs().max() if w.dim() > 1
                 else d[n].abs().max()).item() for n, w in θ.items())
    return round(worst, 12)


def weighted_curvatures() -> float:
    """Largest relative difference between a random line's curvature and Σ λ_i z_i², in 100 draws.

    For a quadratic with eigenvalues λ; z_i are the coordinates of the Gaussian direction in the
    basis of eigenvectors, so that the z_i² are chi-square distributed.
    """
    draw = generator(0, "quadratic")
    A = torch.randn(20, 20, generator=draw, dtype=torch.float64)
    H = (A + A.T) / 2
    λ, V = torch.linalg.eigh(H)
    worst = 0.0
    for _ in range(100):
        d = torch.randn(20, generator=draw, dtype=torch.float64)
        f = [0.5 * (α * d) @ H @ (α * d) for α in (-0.1, 0.0, 0.1)]
        measured = ((f[0] - 2 * f[1] + f[2]) / 0.01).item()
        expected = (λ * (V.T @ d) ** 2).sum().item()
        worst = max(worst, abs(measured - expected) / (λ.abs() * (V.T @ d) ** 2).sum().item())
    return round(worst, 9)


def hidden_nonconvexity(negative: int) -> float:
    """% of random planes that look convex, for a quadratic with 50 eigenvalues, some negative.

    Args:
        negative: how many eigenvalues are −0.2; the others are 1.
    """
    λ = torch.ones(50, dtype=torch.float64)
    λ[:negative] = -0.2
    draw, convex = generator(0, "planes"), 0
    for _ in range(200):
        D, _ = torch.linalg.qr(torch.randn(50, 2, generator=draw, dtype=torch.float64))
        convex += bool(torch.linalg.eigvalsh(D.T @ (λ[:, None] * D))[0] > 0)
    return convex / 2


def false_nonconvexity() -> float:
    """Number of random planes, of 200, with a curvature below the Hessian's smallest eigenvalue.

    Directions are orthonormal; the plane's Hessian comes from a surface of 3×3 points.
    """
    draw, found = generator(0, "planes"), 0
    for _ in range(200):
        A = torch.randn(20, 20, generator=draw, dtype=torch.float64)
        H = (A + A.T) / 2
        D, _ = torch.linalg.qr(torch.randn(20, 2, generator=draw, dtype=torch.float64))
        at = grid(3, 0.1).tolist()
        f = torch.tensor([[0.5 * (D @ torch.tensor([a, b], dtype=torch.float64)) @ H @ (
            D @ torch.tensor([a, b], dtype=torch.float64)) for b in at] for a in at])
        found += bool(reduced_curvatures(f, 0.1).min() < torch.linalg.eigvalsh(H)[0] - 1e-9)
    return float(found)


def more_subtle(runs: dict[str, Result]) -> float:
    """|ln| of the ratio of two runs' rises without normalisation minus the same with it."""
    one, other = runs.values()
    sizes = [abs(math.log(one.metrics[f"rise_{how}"] / other.metrics[f"rise_{how}"]))
             for how in ("none", "filter")]
    return sizes[0] - sizes[1]


def plain_over_residual(runs: dict[str, Result], metric: str) -> float:
    """A metric of the network without shortcuts over that of the network with them."""
    (plain,) = (run for name, run in runs.items() if "plain" in name)
    (residual,) = (run for name, run in runs.items() if "plain" not in name)
    return plain.metrics[metric] / residual.metrics[metric]
