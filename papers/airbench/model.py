"""Jordan's eight-layer network (2024), the variants of its initialisation, and its six test views.

A 2×2 convolution that whitens its patches, then three groups of two 3×3 convolutions, and a linear
head whose outputs are scaled down. Details that the paper leaves open follow the author's scripts.
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
"""Width and height of the patches that are whitened, in pixels."""

EPS = 5e-4
"""Added to the eigenvalues of the patches' covariance."""


# ---- the first layer -----------------------------------------------------------------------------

def patches(images: Tensor, size: int = PATCH) -> Tensor:
    """Every size × size patch of every image: (n, c, h, w) → (n·(h−size+1)·(w−size+1), c·size²)."""
    return rearrange(F.unfold(images, size), "n k places -> (n places) k")


def covariance(x: Tensor) -> Tensor:
    """E[x xᵀ] of vectors (n, k), in float64: (k, k).

    The mean is not subtracted; it is almost zero, since the images' channels are normalised.
    """
    x = x.double()
    return x.T @ x / len(x)


def whitening(images: Tensor, size: int = PATCH, eps: float = EPS) -> Tensor:
    """Filters whose outputs have covariance λ/(λ + eps): v_i/√(λ_i + eps) and their negatives.

    (λ_i, v_i) are the eigenpairs of the patches' covariance, the largest first. The activation that
    follows is not odd, so both signs of a filter are needed to preserve all information.

    Args:
        images: normalised, (n, c, h, w).
        size: width and height of the patches.
        eps: limits the amplification of directions with almost no variance.

    Returns:
        The filters, (2·c·size², c, size, size), float32.
    """
    eigenvalues, vectors = torch.linalg.eigh(covariance(patches(images, size)).cpu())
    filters = rearrange((vectors / torch.sqrt(eigenvalues + eps)).flip(1),
                        "(c h w) i -> i c h w", h=size, w=size)
    return torch.cat([filters, -filters]).float()


# ---- the network ---------------------------------------------------------------------------------

def batch_norm(width: int, keep: float) -> nn.BatchNorm2d:
    """BN that learns only its shift and keeps the fraction ``keep`` of its statistics in a step."""
    norm = nn.BatchNorm2d(width, eps=BN_EPS, momentum=1 - keep)
    norm.weight.requires_grad = False
    return norm


def conv(channels_in: int, width: int) -> nn.Conv2d:
    """A 3×3 convolution that preserves height and width, without bias."""
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
    """The network, with a switch for every ablation that changes it.

    Args:
        widths: channels of the groups.
        channels, size: channels of the images, and their width and height.
        classes: number of classes.
        first: ``whitening``: frozen filters, to be set by :func:`whitening`, with a learned bias;
            ``learned``: learned filters with torch's initialisation, followed by BN.
        dirac: start 3×3 convolutions as the identity, see :func:`dirac`.
        head: ``ninth``: torch's initialisation, logits divided by 9; ``unit``: weights of standard
            deviation 1, logits divided by the number n of inputs.
        keep: the fraction of BN's running statistics that is kept in a step.

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
        """Initialise the weights that differ from torch's own initialisation."""
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
    """Make a convolution start as the identity: output channel i is input channel i.

    Filters beyond the number of input channels keep their random initialisation.

    Args:
        weight: the convolution's weight, (out, in, k, k), changed in place.
    """
    nn.init.dirac_(weight[:weight.shape[1]])


# ---- test-time augmentation ----------------------------------------------------------------------

def views(x: Tensor, n: int) -> list[tuple[float, Tensor]]:
    """Views of images, each with its weight in the average.

    Two views are the image and its mirror image. Six are these and the image shifted by one pixel,
    up and left or down and right, each also mirrored; edges are padded by reflection. The two
    unshifted views have half the total weight, the four others the other half.

    Args:
        x: images, (b, c, h, w).
        n: number of views: 1, 2 or 6.
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
