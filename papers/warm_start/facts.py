"""Functions behind the claims: exact facts computed from the code, and measures over runs."""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
from torch import Tensor

from common.evidence.results import Result
from papers.warm_start.model import MLP, initialise, resnet18, shrink_perturb

DIGITS = 9
"""Decimals of an exact fact: the next ones are rounding, which differs by processor."""


def parameters(kind: str, hidden: tuple[int, ...] | list[int] = ()) -> float:
    """Parameters of a network of Table 1 for CIFAR-10's images, ``mlp`` or ``resnet18``."""
    with torch.device("meta"):
        network = MLP(3 * 32 * 32, hidden, 10) if kind == "mlp" else resnet18(3, 10)
    return sum(p.numel() for p in network.parameters())


def images(share: float, train: int = 50_000) -> float:
    """Images to fit in a phase: the given share of two thirds of the training images."""
    return int(int(train * 2 / 3) * share)


def example(bias: bool) -> tuple[MLP, Tensor]:
    """A network 40 – 30 – 30 – 10 with ReLU in float64, and 500 inputs; always the same."""
    g = torch.Generator().manual_seed(0)
    network = MLP(40, [30, 30], 10, "relu", bias).double()
    initialise(network, g)
    return network, torch.randn(500, 40, generator=g, dtype=torch.float64)


@torch.no_grad()
def shrunk(bias: bool, λ: float) -> tuple[Tensor, Tensor]:
    """Logits of the example before and after its weights were shrunk, (500, 10) each."""
    network, x = example(bias)
    before = network(x)
    shrink_perturb(network, λ, 0.0, list(network.parameters()))
    return before, network(x)


def kept_decisions(bias: bool, λ: float = 0.4) -> float:
    """Share of inputs whose predicted class is the same after shrinking."""
    before, after = shrunk(bias, λ)
    return (before.argmax(1) == after.argmax(1)).double().mean().item()


def homogeneity(λ: float = 0.4) -> float:
    """Largest difference of f_{λθ}(x) from λ^L f_θ(x), L = 3 layers without biases."""
    before, after = shrunk(False, λ)
    return round((after - λ**3 * before).abs().max().item(), DIGITS)


def entropy_rise(steps: int = 9) -> float:
    """The least rise of the mean entropy of the predictions as λ falls from 1 to 0.1, in nats."""
    entropies = []
    for k in range(steps + 1):
        log_p = shrunk(False, 1 - 0.1 * k)[1].log_softmax(1)
        entropies.append(-(log_p.exp() * log_p).sum(1).mean().item())
    return min(b - a for a, b in pairwise(entropies))


def corner(λ: float, σ: float) -> float:
    """Largest difference of λθ + σθ' from θ where λ = 1, else from θ'."""
    network, other = example(True)[0], copy.deepcopy(example(True)[0])
    initialise(other, torch.Generator().manual_seed(1))
    wanted = [p.detach().clone() for p in (network if λ else other).parameters()]
    shrink_perturb(network, λ, σ, list(other.parameters()))
    return max((p - q).abs().max().item() for p, q in zip(network.parameters(), wanted,
                                                          strict=True))


def epochs_over(runs: dict[str, Result], other: str) -> float:
    """Epochs until training stopped, over those of the experiment ``other``."""
    (run,) = (r for name, r in runs.items() if name != other)
    return run.at("epochs", None) / runs[other].at("epochs", None)


def gradient_ratio(runs: dict[str, Result]) -> float:
    """‖∇‖ of the new images over that of those seen before, where the second phase begins."""
    (run,) = runs.values()
    return run.at("gradient_new", None) / run.at("gradient_old", None)
