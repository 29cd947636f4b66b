"""LeNet-300-100 and LeNet-5 with pruned and with shared weights, and how they become so.

Symbols are the papers': W the weights of a layer, C its centroids, I the centroid of each weight
(eq. 3 of Han, Mao & Dally), m the mask of a ticket (Frankle & Carbin). Biases are never pruned and
never shared.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.errors import UserError
from common.training.linear import linear

Shapes = dict[str, tuple[int, ...]]
"""Of a network's weights: layer → (outputs, inputs), or (maps, channels, 5, 5)."""


def lenet_300_100(inputs: int = 784, classes: int = 10, hidden: Sequence[int] = (300, 100),
                  ) -> Shapes:
    """LeNet-300-100: fully connected layers ip1, ip2, ip3."""
    sizes = [inputs, *hidden, classes]
    return {f"ip{k}": (above, below)
            for k, (below, above) in enumerate(pairwise(sizes), 1)}


def lenet_5(channels: int = 1, size: int = 28, classes: int = 10) -> Shapes:
    """Caffe's LeNet-5: convolutions of 20 and 50 maps 5×5, fully connected layers of 500 and 10.

    Raises:
        UserError: images are too small for two convolutions and two poolings.
    """
    if size < 16:
        raise UserError(f"images of {size}×{size} pixels: expected at least 16×16 for lenet_5")
    left = ((size - 4) // 2 - 4) // 2
    return {"conv1": (20, channels, 5, 5), "conv2": (50, 20, 5, 5), "ip1": (500, 50 * left**2),
            "ip2": (classes, 500)}


class LeNet(nn.Module):
    """What both kinds share: biases b, and how layers follow one another.

    A convolution is followed by a pooling of 2×2 by its maximum; every layer but the last one by a
    ReLU.

    Shapes: (n, c, h, w) → (n, classes), the logits.
    """

    def __init__(self, shapes: Shapes):
        super().__init__()
        self.shapes = shapes
        self.b = nn.ParameterDict({name: torch.zeros(s[0]) for name, s in shapes.items()})

    def weights(self) -> dict[str, Tensor]:
        """The weights as they are used, by layer, zeros where pruned."""
        raise NotImplementedError

    def outputs(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        """(layer, its output) in turn: what the next layer takes."""
        last = next(reversed(self.shapes))
        for name, w in self.weights().items():
            if w.dim() == 4:
                x = F.max_pool2d(F.conv2d(x, w, self.b[name]), 2)
            else:
                x = linear(x.flatten(1), w, self.b[name])
            x = x if name == last else F.relu(x)
            yield name, x

    def forward(self, x: Tensor) -> Tensor:
        *_, (_, logits) = self.outputs(x)
        return logits


class Pruned(LeNet):
    """Weights W under masks m, all ones at first. What is masked has no gradient and stays zero.

    Args:
        shapes: of the weights.
        init: ``caffe``: uniform in ±√(3/inputs), Caffe's "xavier"; ``glorot``: normal with
            variance 2/(inputs + outputs).
        generator: source of the initial weights, on the CPU.
    """

    def __init__(self, shapes: Shapes, init: str, generator: torch.Generator):
        super().__init__(shapes)
        self.W = nn.ParameterDict()
        for name, shape in shapes.items():
            outputs, inputs = shape[0], math.prod(shape[1:])
            w = torch.empty(shape)
            if init == "caffe":
                w.uniform_(-math.sqrt(3 / inputs), math.sqrt(3 / inputs), generator=generator)
            else:
                w.normal_(0, math.sqrt(2 / (inputs + outputs)), generator=generator)
            self.W[name] = w
            self.register_buffer(f"m_{name}", torch.ones(shape))

    def mask(self, name: str) -> Tensor:
        """m of a layer, 1 where a weight is kept."""
        return self.get_buffer(f"m_{name}")

    def weights(self) -> dict[str, Tensor]:
        return {name: w * self.mask(name) for name, w in self.W.items()}

    def kept(self) -> dict[str, float]:
        """The fraction of weights kept, by layer, and of all under ``total``."""
        ones = {name: self.mask(name).sum().item() for name in self.shapes}
        sizes = {name: math.prod(shape) for name, shape in self.shapes.items()}
        found = {name: ones[name] / sizes[name] for name in ones}
        return found | {"total": sum(ones.values()) / sum(sizes.values())}

    @torch.no_grad()
    def take_masks(self, masks: dict[str, Tensor]) -> None:
        """Keep only what these masks keep; the rest becomes zero."""
        for name, m in masks.items():
            self.mask(name).copy_(m)
            self.W[name].mul_(self.mask(name))


class Shared(LeNet):
    """Every weight is one of its layer's centroids: W_ij = C[I_ij], or zero where pruned.

    Attributes:
        C: centroids, (k,) of each layer.
        codes: buffers ``I_<layer>``, of the weights' shape: 0 where pruned, c + 1 for centroid c.
    """

    def __init__(self, shapes: Shapes, sizes: Sequence[int]):
        super().__init__(shapes)
        self.C = nn.ParameterDict({name: torch.zeros(k)
                                   for name, k in zip(shapes, sizes, strict=True)})
        for name, shape in shapes.items():
            self.register_buffer(f"I_{name}", torch.zeros(shape, dtype=torch.long))

    def codes(self, name: str) -> Tensor:
        """The codes of a layer."""
        return self.get_buffer(f"I_{name}")

    def weights(self) -> dict[str, Tensor]:
        """By the table of shared weights; its gradient sums those of all weights in a cluster (3).
        """
        found = {}
        for name, c in self.C.items():
            table = torch.cat([c.new_zeros(1), c])
            found[name] = table.index_select(0, self.codes(name).flatten()).view(
                self.shapes[name])
        return found

    @torch.no_grad()
    def share(self, weights: dict[str, Tensor], masks: dict[str, Tensor],
              biases: dict[str, Tensor]) -> None:
        """Cluster what the masks keep of each layer's weights."""
        for name, w in weights.items():
            kept = masks[name].bool()
            centroids, clusters = k_means(w[kept].cpu().double().numpy(), len(self.C[name]))
            self.C[name].copy_(torch.from_numpy(centroids))
            self.codes(name).zero_()[kept] = torch.from_numpy(clusters + 1).to(w.device)
            self.b[name].copy_(biases[name])


class Dense(LeNet):
    """A network whose weights are plain numbers: no masks, no centroids.

    Args:
        weights, biases: of each layer, copied.
    """

    def __init__(self, weights: Mapping[str, Tensor], biases: Mapping[str, Tensor]):
        super().__init__({name: tuple(w.shape) for name, w in weights.items()})
        self.W = nn.ParameterDict({name: w.detach().clone() for name, w in weights.items()})
        self.b = nn.ParameterDict({name: b.detach().clone() for name, b in biases.items()})

    def weights(self) -> dict[str, Tensor]:
        return dict(self.W.items())


# ---- pruning -----------------------------------------------------------------------------------


def above(w: Tensor, m: Tensor, quality: float) -> Tensor:
    """The mask of the weights above ``quality`` times the standard deviation of those still there.

    Shapes: w and m as the weights; m of zeros and ones, and so is what is returned.
    """
    σ = w[m.bool()].std(correction=0) if m.any() else w.new_zeros(())
    return m * (w.abs() > quality * σ)


def largest(w: Tensor, m: Tensor, rate: float) -> Tensor:
    """The mask without a fraction ``rate``, rounded, of what m keeps: the smallest in magnitude."""
    kept = m.flatten().nonzero()[:, 0]
    order = w.flatten()[kept].abs().argsort(stable=True)
    left = m.flatten().clone()
    left[kept[order[:round(rate * len(kept))]]] = 0
    return left.view_as(m)


# ---- sharing -----------------------------------------------------------------------------------


def k_means(w: np.ndarray, k: int, most: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    """Lloyd's iteration on numbers, from centroids spaced linearly between min and max (3.2).

    A cluster that loses all its weights keeps its centroid.

    Args:
        w: (n,), float64.
        k: number of clusters.
        most: iterations at most; it ends sooner when no weight changes its cluster.

    Returns:
        Centroids (k,), ascending, and the cluster of each weight (n,).
    """
    centroids = np.linspace(w.min(), w.max(), k) if len(w) else np.zeros(k)
    order = np.argsort(w, kind="stable")
    ordered, sums = w[order], np.concatenate([[0.0], np.cumsum(w[order])])
    ends = np.zeros(k + 1, dtype=np.int64)
    for _ in range(most):
        middles = (centroids[:-1] + centroids[1:]) / 2
        found = np.concatenate([[0], np.searchsorted(ordered, middles, side="right"), [len(w)]])
        if np.array_equal(found, ends):
            break
        ends = found
        sizes = np.diff(ends)
        centroids = np.where(sizes > 0, np.diff(sums[ends]) / np.maximum(sizes, 1), centroids)
    clusters = np.empty(len(w), dtype=np.int64)
    clusters[order] = np.repeat(np.arange(k), np.diff(ends))
    return centroids, clusters
