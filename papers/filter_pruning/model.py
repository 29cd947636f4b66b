"""Pruning whole filters: which, how many, and the smaller network that remains (section 3).

In the i-th convolution the filters F_ij with the smallest ℓ₁ norms s_j = Σ |F_ij| are removed,
together with what depends on their feature maps: entries of the following batch normalisation, and
the kernels of the next layer that were applied to them. The result is an ordinary, smaller network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Which = Literal["smallest", "random", "largest"]
"""Which filters of a layer are removed; the paper's method removes the smallest."""

VGG = ((1, 1), (2, 2), (4, 4, 4), (8, 8, 8), (8, 8, 8))
"""Filters of VGG-16's convolutions, in multiples of the first one's, by stage (Table 2)."""


class VGG16(nn.Module):
    """VGG-16 for CIFAR-10 (Table 2): 13 convolutions, each with BN, and two linear layers.

    Args:
        channels: channels of the images.
        classes: number of classes.
        width: filters of the first convolution; 64 in the paper.

    Shapes: (b, channels, h, w) → (b, classes); h, w at most 32.
    """

    def __init__(self, channels: int = 3, classes: int = 10, width: int = 64):
        super().__init__()
        for k, n in enumerate((m for stage in VGG for m in stage), 1):
            self.add_module(f"conv{k}", nn.Conv2d(channels, n * width, 3, padding=1, bias=False))
            self.add_module(f"bn{k}", nn.BatchNorm2d(n * width))
            channels = n * width
        self.fc1 = nn.Linear(channels, 8 * width, bias=False)
        self.bn = nn.BatchNorm1d(8 * width)
        self.fc2 = nn.Linear(8 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        k = 0
        for stage in VGG:
            for _ in stage:
                k += 1
                x = F.relu(getattr(self, f"bn{k}")(getattr(self, f"conv{k}")(x)))
            x = F.max_pool2d(x, 2, ceil_mode=True)
        return self.fc2(F.relu(self.bn(self.fc1(x.flatten(1)))))


@dataclass(frozen=True)
class Layer:
    """A convolution that may be pruned, and the modules that depend on its feature maps.

    Attributes:
        number: the paper's number; the network's first convolution is 1.
        stage: counted from 0; all layers of a stage have feature maps of the same size.
        conv, bn, following: names of the convolution, its batch normalisation and the next layer.
    """

    number: int
    stage: int
    conv: str
    bn: str
    following: str


def prunable(network: nn.Module) -> list[Layer]:
    """The layers that may be pruned, in order of depth.

    These are all convolutions of a VGG-16. In a residual network it is the first convolution of
    each block, layers 2, 4, 6, …: pruning the second would also prune the identity maps that are
    added to its output (section 3.3).
    """
    if isinstance(network, VGG16):
        stages = [s for s, stage in enumerate(VGG) for _ in stage]
        last = len(stages)
        return [Layer(k, s, f"conv{k}", f"bn{k}", f"conv{k + 1}" if k < last else "fc1")
                for k, s in enumerate(stages, 1)]
    blocks = [name.removesuffix(".conv2") for name, _ in network.named_modules()
              if name.endswith(".conv2")]
    stages = sorted({name.split(".")[0] for name in blocks})
    return [Layer(2 * k, stages.index(b.split(".")[0]), f"{b}.conv1", f"{b}.bn1", f"{b}.conv2")
            for k, b in enumerate(blocks, 1)]


def filters_left(filters: int, share: float, rounding: str = "floor") -> int:
    """How many of a layer's filters remain, ⌊w(1 − p)⌋, at least one.

    Args:
        filters: number of filters w.
        share: fraction p to remove.
        rounding: ``floor``, which reproduces Table 1's counts, or ``round`` for comparison.
    """
    left = filters * (1 - share)
    return max(1, math.floor(left + 1e-9) if rounding == "floor" else round(left))


def l1_norms(weight: Tensor) -> Tensor:
    """The ℓ₁ norms s_j = Σ |F_ij| of all filters, (filters,)."""
    return weight.abs().flatten(1).sum(1)


def kept(weight: Tensor, left: int, which: Which = "smallest",
         generator: torch.Generator | None = None) -> Tensor:
    """The indices of the filters that remain, ascending, (left,).

    Args:
        weight: the layer's weight, (filters, …).
        left: how many filters remain.
        which: the filters to remove.
        generator: source of the choice if it is random.
    """
    if which == "random":
        order = torch.randperm(len(weight), generator=generator).to(weight.device)
    else:
        order = l1_norms(weight).argsort(descending=which == "smallest", stable=True)
    return order[:left].sort().values


def convolution(network: nn.Module, name: str) -> nn.Conv2d:
    """A convolution of a network, by its name.

    Raises:
        TypeError: the module of that name is not a convolution.
    """
    found = network.get_submodule(name)
    if not isinstance(found, nn.Conv2d):
        raise TypeError(f"{name}: expected a convolution")
    return found


@torch.no_grad()
def cut(network: nn.Module, layer: Layer, keep: Tensor) -> None:
    """Remove filters of a layer, and what depends on their feature maps, in place.

    Args:
        network: gets new, smaller parameters in three modules.
        layer: one of :func:`prunable`.
        keep: indices of the filters that remain.
    """
    conv, bn, following = convolution(network, layer.conv), network.get_submodule(
        layer.bn), network.get_submodule(layer.following)
    if not isinstance(bn, nn.BatchNorm2d):
        raise TypeError(f"{layer.bn}: expected batch normalisation")
    conv.weight = nn.Parameter(conv.weight[keep].clone())
    conv.out_channels = len(keep)
    bn.num_features = len(keep)
    for name in ("weight", "bias"):
        setattr(bn, name, nn.Parameter(getattr(bn, name)[keep].clone()))
    for name in ("running_mean", "running_var"):
        setattr(bn, name, getattr(bn, name)[keep].clone())
    if isinstance(following, nn.Conv2d):
        following.in_channels = len(keep)
    elif isinstance(following, nn.Linear):
        following.in_features = len(keep)
    else:
        raise TypeError(f"{layer.following}: expected a convolution or a linear layer")
    following.weight = nn.Parameter(following.weight[:, keep].clone())


def prune(network: nn.Module, left: Mapping[int, int], which: Which = "smallest",
          greedy: bool = True, generator: torch.Generator | None = None) -> dict[int, Tensor]:
    """Prune layers of a network in place.

    Args:
        network: an unpruned network.
        left: number of filters that remain, by layer number; other layers are not pruned.
        which: the filters to remove.
        greedy: exclude kernels of feature maps that are already removed from the norms
            (section 3.3); otherwise norms are those in the unpruned network.
        generator: source of the choice if it is random.

    Returns:
        The indices of the filters that remain, by layer number.

    Raises:
        ValueError: ``left`` names a layer that cannot be pruned.
    """
    layers = {layer.number: layer for layer in prunable(network)}
    if unknown := left.keys() - layers.keys():
        raise ValueError(f"layer {min(unknown)}: expected one of "
                         f"{', '.join(map(str, layers))}")
    whole = {k: convolution(network, layer.conv).weight for k, layer in layers.items()}
    stayed = {}
    for k in sorted(left):
        weight = convolution(network, layers[k].conv).weight if greedy else whole[k]
        stayed[k] = kept(weight, left[k], which, generator)
        cut(network, layers[k], stayed[k])
    return stayed


def plan(network: nn.Module, shares: Sequence[float], skip: Sequence[int] = (),
         rounding: str = "floor") -> dict[int, int]:
    """The number of filters that remain, by layer number, for given fractions p_i per stage.

    Args:
        network: an unpruned network.
        shares: the fractions p_i to remove, one for every stage.
        skip: numbers of layers that are not pruned.
        rounding: see :func:`filters_left`.

    Raises:
        ValueError: the number of shares is not the number of stages, or a layer in ``skip`` cannot
            be pruned.
    """
    layers = prunable(network)
    stages = layers[-1].stage + 1
    if len(shares) != stages:
        raise ValueError(f"{len(shares)} shares: expected one for each of {stages} stages")
    if unknown := set(skip) - {layer.number for layer in layers}:
        raise ValueError(f"layer {min(unknown)}: expected one of "
                         f"{', '.join(str(layer.number) for layer in layers)}")
    return {layer.number: filters_left(
        convolution(network, layer.conv).out_channels, shares[layer.stage], rounding)
        for layer in layers if layer.number not in skip and shares[layer.stage]}


def weighted_layers(network: nn.Module) -> list[tuple[str, nn.Conv2d | nn.Linear]]:
    """Convolutions and linear layers by name, in order of depth."""
    return [(name, m) for name, m in network.named_modules()
            if isinstance(m, nn.Conv2d | nn.Linear)]


def weights(network: nn.Module) -> int:
    """Number of weights of convolutions and linear layers, the parameters of Tables 1 and 2.

    Biases and batch normalisation are not counted, as Table 2's rows show.
    """
    return sum(m.weight.numel() for _, m in weighted_layers(network))


@torch.no_grad()
def flop(network: nn.Module, image: Tensor) -> dict[str, int]:
    """Multiply-adds of one image's forward pass by layer, n_{i+1} n_i k² h_{i+1} w_{i+1}.

    This is the paper's FLOP: convolutions and linear layers, without BN, biases, pooling and
    additions.

    Args:
        network: the network; not changed.
        image: one image, (1, c, h, w), on the network's device.
    """
    counts: dict[str, int] = {}

    def count(name: str) -> Callable[..., None]:
        def add(layer: nn.Conv2d | nn.Linear, _: tuple, y: Tensor) -> None:
            counts[name] = y[0].numel() * layer.weight[0].numel()
        return add

    handles = [m.register_forward_hook(count(name)) for name, m in weighted_layers(network)]
    training = network.training
    network.eval()(image)
    network.train(training)
    for handle in handles:
        handle.remove()
    return counts
