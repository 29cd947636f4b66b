"""Functions behind the claims: exact facts computed from the code, and measures over runs."""

from __future__ import annotations

import statistics

import torch

from common.evidence.results import Result
from papers.resnet.model import (
    Shortcut,
    cifar_resnet,
    imagenet_resnet,
    multiply_adds,
)


def parameters(depth: int, shortcut: Shortcut = "A") -> float:
    """Parameters of a CIFAR network in millions: weights, BN's γ and β, and the fc bias."""
    with torch.device("meta"):
        return sum(p.numel() for p in cifar_resnet(depth, shortcut).parameters()) / 1e6


def added_by_option_a(depth: int) -> float:
    """How many more parameters a residual network with option A has than its plain twin."""
    return 1e6 * (parameters(depth, "A") - parameters(depth, "none"))


def giga_multiply_adds(depth: int) -> float:
    """Multiply-adds of an ImageNet network on one 224×224 image, in 10⁹.

    Convolutions and the fc layer, not BN, ReLU, pooling or additions; shortcuts are option A for
    18 and 34 layers (section 4.1) and option B for the deeper ones.
    """
    with torch.device("meta"):
        network = imagenet_resnet(depth, "A" if depth < 50 else "B")
        return multiply_adds(network, torch.zeros(1, 3, 224, 224)) / 1e9


def output_size(depth: int, stage: int) -> float:
    """Height of the map that stage 1, 2 or 3 of a CIFAR network gives for a 32×32 image."""
    with torch.device("meta"):
        network = cifar_resnet(depth)
        x = network.conv1(torch.zeros(1, 3, 32, 32))
        for name in network.stages[:stage]:
            x = getattr(network, name)(x)
    return x.shape[2]


def responses(run: Result) -> list[float]:
    """Fig. 7's standard deviations of a finished run, in order of depth."""
    found = {k: v for k, v in run.metrics.items() if k.startswith("response_")}
    return [found[f"response_{k}"] for k in range(1, len(found) + 1)]


def median_response(runs: dict[str, Result]) -> float:
    """Median over the layers of the one run given."""
    (run,) = runs.values()
    return statistics.median(responses(run))


def median_response_difference(runs: dict[str, Result], less: str) -> float:
    """Median response of the other run, less that of the run ``less``."""
    (other,) = (r for e, r in runs.items() if e != less)
    return statistics.median(responses(other)) - statistics.median(responses(runs[less]))


def last_layer_rise(runs: dict[str, Result]) -> float:
    """Response of the last 3×3 layer less that of the one before it."""
    (run,) = runs.values()
    return responses(run)[-1] - responses(run)[-2]
