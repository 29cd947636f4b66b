"""Residual networks: the CIFAR-10 family of section 4.2 and the ImageNet family of Table 1.

Building block, eq. (1): y = F(x, {W_i}) + x, followed by ReLU; a *plain* network has y = F(x).
Modules carry the names public implementations use (``conv1``, ``bn1``, ``layer1.0.conv1`` …).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from einops import pack, reduce
from torch import Tensor, nn

from common.training.sums import wide

Shortcut = Literal["A", "B", "C", "none"]
"""Section 4.1: A zero-padding, B projections where the size changes, C projections everywhere;
``none`` makes the plain twin."""


def conv(channels_in: int, channels_out: int, size: int, stride: int = 1) -> nn.Conv2d:
    """A convolution without bias, which the BN after it would cancel; padding keeps the size."""
    return nn.Conv2d(channels_in, channels_out, size, stride, padding=size // 2, bias=False)


class ZeroPad(nn.Module):
    """Option A: the identity, subsampled, with zeros for the new channels; no parameters.

    Shapes: (b, channels_in, h, w) → (b, channels_out, ⌈h/stride⌉, ⌈w/stride⌉).
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int):
        super().__init__()
        self.extra, self.stride = channels_out - channels_in, stride

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, ::self.stride, ::self.stride], (0, 0, 0, 0, 0, self.extra))


def shortcut(kind: Shortcut, channels_in: int, channels_out: int, stride: int) -> nn.Module:
    """W_s of eq. (2), or the identity of eq. (1)."""
    same = stride == 1 and channels_in == channels_out
    if kind == "C" or (kind == "B" and not same):
        return nn.Sequential(conv(channels_in, channels_out, 1, stride),
                             nn.BatchNorm2d(channels_out))
    return nn.Identity() if same else ZeroPad(channels_in, channels_out, stride)


class Block(nn.Module):
    """What both kinds of building block share: y = ReLU(F(x) + shortcut(x))."""

    expansion: int

    def __init__(self, channels_in: int, channels_out: int, stride: int, kind: Shortcut):
        super().__init__()
        self.shortcut = None if kind == "none" else shortcut(
            kind, channels_in, channels_out, stride)

    def residual(self, x: Tensor) -> Tensor:
        """F(x, {W_i}), whose last layer has no ReLU."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        y = self.residual(x)
        return F.relu(y if self.shortcut is None else y + self.shortcut(x))


class BasicBlock(Block):
    """Two 3×3 layers (Fig. 5 left).

    Args:
        channels_in: channels of the input.
        width: channels of both layers, and of the output.
        stride: of the first layer; 2 halves the map.
        kind: the shortcut.

    Shapes: (b, channels_in, h, w) → (b, width, h/stride, w/stride).
    """

    expansion = 1

    def __init__(self, channels_in: int, width: int, stride: int, kind: Shortcut):
        super().__init__(channels_in, width, stride, kind)
        self.conv1, self.bn1 = conv(channels_in, width, 3, stride), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv(width, width, 3), nn.BatchNorm2d(width)

    def residual(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        return self.bn2(self.conv2(x))


class Bottleneck(Block):
    """1×1, 3×3 and 1×1 layers; the last has four times the width (Fig. 5 right).

    The stride is in the first 1×1 layer, as in the paper's Table 1 and FLOP count.

    Shapes: (b, channels_in, h, w) → (b, 4·width, h/stride, w/stride).
    """

    expansion = 4

    def __init__(self, channels_in: int, width: int, stride: int, kind: Shortcut):
        super().__init__(channels_in, 4 * width, stride, kind)
        self.conv1, self.bn1 = conv(channels_in, width, 1, stride), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv(width, width, 3), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = conv(width, 4 * width, 1), nn.BatchNorm2d(4 * width)

    def residual(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return self.bn3(self.conv3(x))


class ResNet(nn.Module):
    """Stages of equal blocks; every stage but the first halves the map and doubles the width.

    Args:
        block: the building block.
        blocks: number of blocks in each stage.
        width: channels of the first stage.
        kind: the shortcut, ``"none"`` for a plain network.
        channels: channels of the images.
        classes: number of classes.
        imagenet: a 7×7 stride-2 first layer and 3×3 max pooling instead of one 3×3 layer.

    Shapes: (b, channels, h, w) → (b, classes), the logits.
    """

    def __init__(self, block: type[Block], blocks: list[int], width: int, kind: Shortcut,
                 channels: int = 3, classes: int = 10, imagenet: bool = False):
        super().__init__()
        self.conv1 = conv(channels, width, 7, 2) if imagenet else conv(channels, width, 3)
        self.bn1 = nn.BatchNorm2d(width)
        self.pool = nn.MaxPool2d(3, 2, padding=1) if imagenet else nn.Identity()
        self.stages = []
        channels_in = width
        for i, n in enumerate(blocks):
            stage = nn.Sequential()
            for j in range(n):
                stride = 2 if i > 0 and j == 0 else 1
                stage.append(block(channels_in, width * 2**i, stride, kind))
                channels_in = width * 2**i * block.expansion
            self.stages.append(f"layer{i + 1}")
            self.add_module(self.stages[-1], stage)
        self.fc = nn.Linear(channels_in, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.bn1(self.conv1(x))))
        for name in self.stages:
            x = getattr(self, name)(x)
        return self.fc(reduce(x, "b c h w -> b c", "mean"))  # global average pooling


def cifar_resnet(depth: int, kind: Shortcut = "A", channels: int = 3, classes: int = 10) -> ResNet:
    """Section 4.2: one 3×3 layer, then 2n layers each of 16, 32 and 64 channels, depth = 6n+2.

    Raises:
        ValueError: the depth is not of that form.
    """
    n, rest = divmod(depth - 2, 6)
    if rest or n < 1:
        raise ValueError(f"depth {depth}: expected 6n+2, such as 20, 32, 44, 56, 110 or 1202")
    return ResNet(BasicBlock, [n, n, n], 16, kind, channels, classes)


IMAGENET: dict[int, tuple[type[Block], list[int]]] = {
    18: (BasicBlock, [2, 2, 2, 2]),
    34: (BasicBlock, [3, 4, 6, 3]),
    50: (Bottleneck, [3, 4, 6, 3]),
    101: (Bottleneck, [3, 4, 23, 3]),
    152: (Bottleneck, [3, 8, 36, 3]),
}
"""Table 1: block and number of blocks in conv2_x … conv5_x, by depth."""


def imagenet_resnet(depth: int, kind: Shortcut = "B", channels: int = 3,
                    classes: int = 1000) -> ResNet:
    """Table 1's networks of 18, 34, 50, 101 and 152 layers, for 224×224 images.

    Raises:
        ValueError: no such depth in Table 1.
    """
    if depth not in IMAGENET:
        raise ValueError(f"depth {depth}: expected one of {', '.join(map(str, IMAGENET))}")
    block, blocks = IMAGENET[depth]
    return ResNet(block, blocks, 64, kind, channels, classes, imagenet=True)


@torch.no_grad()
def initialise(network: nn.Module, generator: torch.Generator | None = None) -> None:
    """He et al. (2015), the paper's [13]: N(0, 2/(k²·c_in)) for every weight, biases zero."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu",
                                    generator=generator)
        if isinstance(layer, nn.Linear):
            nn.init.zeros_(layer.bias)


@torch.no_grad()
def layer_responses(network: nn.Module, batches: list[Tensor]) -> list[float]:
    """Fig. 7: the standard deviation of each 3×3 layer's output, after BN, before ReLU/addition.

    Taken over all examples, channels and positions, in evaluation mode, in order of depth.

    Args:
        network: a CIFAR network; its BN layers after 3×3 convolutions are measured.
        batches: images, each (b, c, h, w).
    """
    sums: dict[str, list[Tensor]] = {}

    def hook(name: str) -> Callable[..., None]:
        def add(_module: nn.Module, _inputs: tuple, y: Tensor) -> None:
            flat, _ = pack([wide(y)], "*")
            sums.setdefault(name, []).append(
                torch.stack([flat.sum(), (flat**2).sum(), flat.new_full((), flat.numel())]))
        return add

    behind_3x3 = [n for n, l in network.named_modules()
                  if isinstance(l, nn.BatchNorm2d) and "shortcut" not in n]
    modules = dict(network.named_modules())
    handles = [modules[n].register_forward_hook(hook(n)) for n in behind_3x3]
    training = network.training
    network.eval()
    for x in batches:
        network(x)
    network.train(training)
    for handle in handles:
        handle.remove()
    stds = []
    for name in behind_3x3:
        total, squares, n = torch.stack(sums[name]).cpu().double().sum(0)
        stds.append(torch.sqrt(squares / n - (total / n) ** 2).item())
    return stds


def multiply_adds(network: nn.Module, image: Tensor) -> int:
    """Multiply-adds of one image's forward pass, counted in convolutions and the fc layer.

    Args:
        network: the network.
        image: one image, (1, c, h, w).
    """
    count = 0

    def add(layer: nn.Conv2d | nn.Linear, inputs: tuple[Tensor], y: Tensor) -> None:
        nonlocal count
        count += y.numel() * layer.weight[0].numel()

    handles = [l.register_forward_hook(add) for l in network.modules()
               if isinstance(l, nn.Conv2d | nn.Linear)]
    training = network.training
    network.eval()
    with torch.no_grad():
        network(image)
    network.train(training)
    for handle in handles:
        handle.remove()
    return count
