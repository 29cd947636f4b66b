"""Augmentation of whole batches: one gather per batch, no Python loop over samples."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from common.errors import UserError
from common.training.recipe import Batch, Row, Supervised


class PadCropFlip:
    """Random crops of padded images, each mirrored with probability 1/2.

    Args:
        images: float, shape (n, c, h, w), already scaled as the network takes them: the padding
            consists of zeros in these units.
        pad: pixels added on each side.
        flip: whether images are mirrored at all.
        border: the padding: zeros, or a reflection of the image at its outermost pixels.

    Raises:
        UserError: a reflection would be wider than the image.
    """

    def __init__(self, images: Tensor, pad: int, flip: bool = True,
                 border: Literal["zeros", "reflect"] = "zeros"):
        self.h, self.w = images.shape[-2:]
        if border == "reflect" and pad >= min(self.h, self.w):
            raise UserError(f"a reflection {pad} pixels wide: expected less than the images' "
                            f"{min(self.h, self.w)} pixels")
        self.pad, self.flip = pad, flip
        self.padded = F.pad(images, (pad, pad, pad, pad),
                            mode="constant" if border == "zeros" else border)
        self.channels, self.rows, self.columns = (
            torch.arange(k, device=images.device) for k in (images.shape[1], self.h, self.w))

    def draw(self, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Random numbers for n images, on the CPU: ``offset``, (2, n, 1), and ``flip``, (n, 1)."""
        offset = torch.randint(0, 2 * self.pad + 1, (2, n, 1), generator=generator)
        return {"offset": offset,
                "flip": torch.randint(0, 2, (n, 1), generator=generator) * self.flip}

    def __call__(self, index: Tensor, offset: Tensor, flip: Tensor) -> Tensor:
        """Augmented images of the examples ``index``, shape (len(index), c, h, w).

        Args:
            index: the examples, on the images' device.
            offset, flip: as drawn by :meth:`draw`, on the same device.
        """
        rows = offset[0] + self.rows
        columns = offset[1] + torch.where(flip == 1, self.w - 1 - self.columns, self.columns)
        channels = self.channels
        return self.padded[index[:, None, None, None], channels[None, :, None, None],
                           rows[:, None, :, None], columns[:, None, None, :]]


class Cropped(Supervised):
    """Supervised learning from random crops of padded images.

    Attributes:
        augmented: makes the crops; set by ``build``; None: images are not augmented.
    """

    augmented: PadCropFlip | None

    def row(self, step: int) -> Row:
        """The base class's row, and where images are cropped and which are mirrored."""
        row = super().row(step)
        if self.augmented is None:
            return row
        return row | self.augmented.draw(len(row["index"]), self.generator("augment", step))

    def batch(self, row: Row) -> Batch:
        """Inputs, cropped if the configuration says so, and labels, both on the device."""
        if self.augmented is None:
            return super().batch(row)
        index = row["index"]
        return self.augmented(index, row["offset"], row["flip"]), self.labels[index]
