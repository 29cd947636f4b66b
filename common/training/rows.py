"""What one step needs from the host, by name, and how it comes to the device."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

Row = dict[str, Any]
"""Tensors and numbers: indices of the examples, random offsets, rates …; numbers stay plain ones on
a CPU. Which is which the name says, and no type."""


def as_tensor(value: Tensor | float) -> Tensor:
    """A row's value as a tensor; numbers unrounded, as float64 or int64, shape ()."""
    if isinstance(value, float):
        return torch.tensor(value, dtype=torch.float64)
    return torch.as_tensor(value)


def on_device(values: Tensor, device: torch.device) -> Tensor:
    """A row's values on a device: numbers as float32, for not every device has float64."""
    if values.dtype == torch.float64 and device.type != "cpu":
        values = values.float()
    return values if device.type == "cpu" else values.to(device)


def scalar(value: Tensor | float) -> float | Tensor:
    """A row's number as plain arithmetic takes it: on a CPU its value, elsewhere as it is."""
    return value.item() if isinstance(value, Tensor) and value.device.type == "cpu" else value
