"""Functions behind the claims: counts of declared plans, and measures over runs."""

from __future__ import annotations

import copy
import functools
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from common.evidence.results import Result
from common.experiments import Experiments
from common.files import ROOT
from papers.filter_pruning.model import (
    convolution,
    flop,
    kept,
    plan,
    prunable,
    prune,
    weighted_layers,
    weights,
)
from papers.filter_pruning.networks import build, initialise
from papers.filter_pruning.settings import Config

DIGITS = 9
"""Decimals to which exact facts are rounded; further digits differ between processors."""

RESNET20 = ROOT / "papers" / "resnet" / "weights" / "resnet20.safetensors"
"""Weights that this repository trained."""


# ---- what a plan leaves ------------------------------------------------------------------------


@functools.cache
def networks(experiment: str, rounding: str = "floor") -> tuple[nn.Module, nn.Module]:
    """An experiment's unpruned and pruned networks, on the meta device."""
    c = Experiments(Config, Path(__file__).with_name("config.yaml")).resolve(experiment)
    with torch.device("meta"):
        whole = build(c.model, 3, 10)
        pruned = copy.deepcopy(whole)
        prune(pruned, plan(whole, c.plan.shares, c.plan.skip, rounding))
    return whole, pruned


def by_layer(network: nn.Module) -> dict[str, int]:
    """FLOP of every layer for one 32×32 image, of a network on the meta device."""
    with torch.device("meta"):
        return flop(network, torch.zeros(1, 3, 32, 32))


def counted(network: nn.Module, what: str) -> float:
    """The ``weights`` of a network, or its ``flop`` for one 32×32 image."""
    return weights(network) if what == "weights" else sum(by_layer(network).values())


def whole(experiment: str, what: str) -> float:
    """Weights or FLOP of an experiment's network before pruning."""
    return counted(networks(experiment)[0], what)


def pruned(experiment: str, what: str) -> float:
    """Weights or FLOP of an experiment's network after pruning."""
    return counted(networks(experiment)[1], what)


def reduction(experiment: str, what: str, rounding: str = "floor") -> float:
    """The reduction of weights or FLOP by an experiment's plan, in %."""
    before, after = (counted(n, what) for n in networks(experiment, rounding))
    return 100 * (1 - after / before)


def vgg_layer(layer: str, what: str) -> float:
    """Weights or FLOP of one layer of VGG-16, by its module's name."""
    network = networks("vgg16_a")[0]
    if what == "weights":
        return dict(weighted_layers(network))[layer].weight.numel()
    return by_layer(network)[layer]


def vgg_reduction(layer: str) -> float:
    """The reduction of one layer's FLOP in VGG-16-pruned-A, in %."""
    before, after = (by_layer(n)[layer] for n in networks("vgg16_a"))
    return 100 * (1 - after / before)


# ---- what pruning does -------------------------------------------------------------------------


def example() -> nn.Module:
    """ResNet-20 with fixed random weights and statistics, in float64."""
    network, g = build(Config().model, 3, 10).double(), torch.Generator().manual_seed(0)
    initialise(network, g)
    for b in network.buffers():
        if b.is_floating_point():
            b.uniform_(0.5, 1.5, generator=g)
    return network.eval()


@torch.no_grad()
def masked_difference() -> float:
    """Largest difference between the pruned ResNet-20 and the unpruned one with zeroed maps.

    Half of the filters in every block's first layer are removed; logits are for five random images.
    """
    network, g = example(), torch.Generator().manual_seed(1)
    x = torch.randn(5, 3, 32, 32, generator=g, dtype=torch.float64)
    small = copy.deepcopy(network)
    stayed = prune(small, plan(network, [0.5] * 3))
    for layer in prunable(network):
        mask = torch.zeros(convolution(network, layer.conv).out_channels, 1, 1).double()
        mask[stayed[layer.number]] = 1
        network.get_submodule(layer.bn).register_forward_hook(lambda _m, _x, y, k=mask: y * k)
    return round((small(x) - network(x)).abs().max().item(), DIGITS)


def saved_operations(m: int = 4) -> float:
    """Largest difference between the fraction of FLOP saved and m/n_{i+1}, over ResNet-20's blocks.

    m filters are pruned; the fraction is that of layers i and i + 1, each by itself.
    """
    with torch.device("meta"):
        network = build(Config().model, 3, 10)
        before, worst = by_layer(network), 0.0
        for layer in prunable(network):
            n = convolution(network, layer.conv).out_channels
            small = copy.deepcopy(network)
            prune(small, {layer.number: n - m})
            after = by_layer(small)
            worst = max(worst, *(abs(1 - after[name] / before[name] - m / n)
                                 for name in (layer.conv, layer.following)))
    return round(worst, DIGITS)


def resnet20() -> tuple[nn.Module, dict[str, Tensor]]:
    """ResNet-20 on the meta device, for its layers, and its trained weights."""
    with torch.device("meta"):
        network = build(Config().model, 3, 10)
    return network, load_file(RESNET20)


def same_choice(share: float = 0.5) -> float:
    """The fraction of filters kept by ℓ₁ norms in ResNet-20 that ℓ₂ norms also keep, in %."""
    network, tensors = resnet20()
    same = total = 0
    for layer in prunable(network):
        weight = tensors[f"{layer.conv}.weight"]
        left = len(weight) - int(share * len(weight))
        l2 = weight.flatten(1).norm(dim=1).argsort(descending=True)[:left]
        same += len(set(kept(weight, left).tolist()) & set(l2.tolist()))
        total += left
    return 100 * same / total


# ---- measures over runs ------------------------------------------------------------------------


def sensitivities(run: Result, share: float) -> dict[int, float]:
    """The rise of the error in points when a layer is pruned, by layer number."""
    end = f"_{share:g}"
    return {int(name.split("_")[1]): value - run.at("error", None)
            for name, value in run.metrics.items()
            if name.startswith("error_") and name.endswith(end)}


def mean_rise(run: Result, share: float, layers: list[int] | None = None) -> float:
    """The mean of :func:`sensitivities` over some layers, or all."""
    found = sensitivities(run, share)
    chosen = list(found) if layers is None else layers
    return sum(found[k] for k in chosen) / len(chosen)


def rise(runs: dict[str, Result], share: float) -> float:
    """Mean rise of the error over all layers, in points."""
    (run,) = runs.values()
    return mean_rise(run, share)


def rise_between(runs: dict[str, Result], share: float, layers: list[int],
                 than: list[int]) -> float:
    """Mean rise over some layers minus that over others, in points."""
    (run,) = runs.values()
    return mean_rise(run, share, layers) - mean_rise(run, share, than)


def rise_more(runs: dict[str, Result], share: float, less: str) -> float:
    """Mean rise over all layers of one experiment minus that of the experiment ``less``."""
    (other,) = (r for name, r in runs.items() if name != less)
    return mean_rise(other, share) - mean_rise(runs[less], share)


def loss_by_pruning(runs: dict[str, Result]) -> float:
    """The rise of the error by pruning, before retraining, in points."""
    (run,) = runs.values()
    return run.at("pruned", None) - run.at("whole", None)


def loss_in_the_end(runs: dict[str, Result]) -> float:
    """Error after retraining minus that of the unpruned network, in points."""
    (run,) = runs.values()
    return run.at("error", None) - run.at("whole", None)


def regained(runs: dict[str, Result]) -> float:
    """The fraction of the loss in accuracy by pruning that retraining recovers, in %."""
    (run,) = runs.values()
    lost = run.at("pruned", None) - run.at("whole", None)
    return 100 * (run.at("pruned", None) - run.at("error", None)) / lost
