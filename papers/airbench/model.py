"""Jordan's eight-layer network (2024), its starts by switches, and its six views of an image.

A 2×2 convolution that whitens its patches, then three groups of two 3×3 convolutions, and a linear
head whose outputs are scaled down. What the prose leaves open is the author's scripts'.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

First = Literal["learned", "whitening"]
Head = Literal["ninth", "unit"]

BN_EPS = 1e-12
PATCH = 2
"""Pixels on a side of the patches that are whitened."""

EPS = 5e-4
"""Added to the eigenvalues of the patches' covariance."""


# ---- the first layer -----------------------------------------------------------------------------

def patches(images: Tensor, size: int = PATCH) -> Tensor:
    """Every size × size patch of every image: (n, c, h, w) → (n·(h−size+1)·(w−size+1), c·size²)."""
    return rearrange(F.unfold(images, size), "n k places -> (n places) k")


def covariance(x: Tensor) -> Tensor:
    """E[x xᵀ] of vectors (n, k), in float64: (k, k).

    No mean is taken off: the images' channels are normalised, so that there is next to none.
    """
    x = x.double()
    return x.T @ x / len(x)


def whitening(images: Tensor, size: int = PATCH, eps: float = EPS) -> Tensor:
    """Filters whose outputs have covariance λ/(λ + eps): v_i/√(λ_i + eps), and the same negated.

    (λ_i, v_i) are the eigenpairs of the patches' covariance, the largest first. The activation that
    follows is not odd: only with both signs of a filter does all of it get through.

    Args:
        images: normalised, (n, c, h, w).
        size: of the patches.
        eps: keeps directions of next to no variance from being blown up.

    Returns:
        filters, (2·c·size², c, size, size), float32.
    """
    eigenvalues, vectors = torch.linalg.eigh(covariance(patches(images, size)).cpu())
    filters = rearrange((vectors / torch.sqrt(eigenvalues + eps)).flip(1),
                        "(c h w) i -> i c h w", h=size, w=size)
    return torch.cat([filters, -filters]).float()


# ---- the network ---------------------------------------------------------------------------------

def batch_norm(width: int, keep: float) -> nn.BatchNorm2d:
    """BN that learns shifts alone; its running statistics keep the share ``keep`` at every step."""
    norm = nn.BatchNorm2d(width, eps=BN_EPS, momentum=1 - keep)
    norm.weight.requires_grad = False
    return norm


def conv(channels_in: int, width: int) -> nn.Conv2d:
    """3×3, the map's size kept, no bias."""
    return nn.Conv2d(channels_in, width, 3, padding=1, bias=False)


class Group(nn.Module):
    """conv, pool, BN, GELU, conv, BN, GELU: (b, channels_in, h, w) → (b, width, ⌊h/2⌋, ⌊w/2⌋)."""

    def __init__(self, channels_in: int, width: int, keep: float):
        super().__init__()
        self.conv1, self.norm1 = conv(channels_in, width), batch_norm(width, keep)
        self.conv2, self.norm2 = conv(width, width), batch_norm(width, keep)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.norm1(F.max_pool2d(self.conv1(x), 2)))
        return F.gelu(self.norm2(self.conv2(x)))


class AirNet(nn.Module):
    """The network, with a switch for every step of the ablations that changes it.

    Args:
        widths: channels of the groups.
        channels, size: of the images, which are square.
        classes: number of classes.
        first: ``whitening``: frozen filters with a bias that learns, which
            :func:`whitening` sets; ``learned``: filters from torch's start, and BN behind them.
        dirac: start 3×3 convolutions as the identity, see :func:`dirac`.
        head: ``ninth``: torch's start, logits divided by 9; ``unit``: weights of standard
            deviation 1, logits divided by the number n of inputs.
        keep: what BN's running statistics keep at every step.

    Shapes: (b, channels, size, size) → (b, classes), the logits.

    Raises:
        ValueError: the images are too small for three poolings by 2 and one by 3.
    """

    def __init__(self, widths: Sequence[int] = (64, 256, 256), channels: int = 3, size: int = 32,
                 classes: int = 10, first: First = "whitening", dirac: bool = True,
                 head: Head = "ninth", keep: float = 0.6):
        super().__init__()
        last = (size - PATCH + 1) // 8 // 3
        if last < 1:
            raise ValueError(f"images of {size}×{size} pixels: expected at least 25×25")
        filters = 2 * channels * PATCH**2
        self.first = nn.Conv2d(channels, filters, PATCH, bias=first == "whitening")
        self.norm = nn.Identity() if first == "whitening" else batch_norm(filters, keep)
        self.groups = nn.Sequential()
        for channels_in, width in zip((filters, *widths), widths, strict=False):
            self.groups.append(Group(channels_in, width, keep))
        n = widths[-1] * last**2
        self.head = nn.Linear(n, classes, bias=False)
        self.scale = 1 / n if head == "unit" else 1 / 9
        self.start(first, dirac, head)

    @torch.no_grad()
    def start(self, first: First, identity: bool, head: Head) -> None:
        """The weights before any data are seen; torch's own start where nothing else is said."""
        if first == "whitening":
            self.first.weight.requires_grad = False
        if identity:
            for group in (g for g in self.groups if isinstance(g, Group)):
                dirac(group.conv1.weight)
                dirac(group.conv2.weight)
        if head == "unit":
            self.head.weight /= self.head.weight.std()

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.norm(self.first(x)))
        x = F.max_pool2d(self.groups(x), 3)
        return self.head(x.flatten(1)) * self.scale


@torch.no_grad()
def dirac(weight: Tensor) -> None:
    """Let the first filters pass the input channels on: output channel i is input channel i.

    Filters beyond the number of input channels keep their random start.

    Args:
        weight: of a convolution, (out, in, k, k), changed in place.
    """
    nn.init.dirac_(weight[:weight.shape[1]])


# ---- looking at an image several times -----------------------------------------------------------

def views(x: Tensor, n: int) -> list[tuple[float, Tensor]]:
    """Images as they are looked at, with their weights: ``n`` is 1, 2 (mirrored, too) or 6.

    Six are the image and the image moved by one pixel, up and left or down and right, each of them
    mirrored as well; edges are filled by reflection. The unmoved two weigh half together, the four
    others the other half.

    Args:
        x: images, (b, c, h, w).
        n: number of views.
    """
    if n == 1:
        return [(1.0, x)]
    if n == 2:
        return [(0.5, x), (0.5, x.flip(-1))]
    h, w = x.shape[-2:]
    padded = F.pad(x, (1, 1, 1, 1), mode="reflect")
    moved = [padded[..., :h, :w], padded[..., 2:, 2:]]
    return ([(weight / 2, v) for weight, v in views(x, 2)]
            + [(weight / 4, v) for y in moved for weight, v in views(y, 2)])


def looked_at(network: Callable[[Tensor], Tensor], x: Tensor, n: int) -> Tensor:
    """The weighted mean of the logits over :func:`views`, (b, classes)."""
    return functools.reduce(operator.add, (weight * network(v) for weight, v in views(x, n)))
