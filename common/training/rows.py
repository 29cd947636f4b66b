"""Rows: what one step needs from the host, by name, and how it gets to the device."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

Row = dict[str, Any]
"""Tensors and numbers by name: indices of the examples, random offsets, rates …; on a CPU numbers
stay Python numbers. Each value's type depends on its name, hence ``Any``."""


def as_tensor(value: Tensor | float) -> Tensor:
    """A row's value as a tensor; a number becomes float64 or int64 of shape (), unrounded."""
    if isinstance(value, float):
        return torch.tensor(value, dtype=torch.float64)
    return torch.as_tensor(value)


def on_device(values: Tensor, device: torch.device) -> Tensor:
    """A row's values on a device; float64 becomes float32, as some devices lack float64."""
    if values.dtype == torch.float64 and device.type != "cpu":
        values = values.float()
    return values if device.type == "cpu" else values.to(device)


def scalar(value: Tensor | float) -> float | Tensor:
    """A row's number for use in arithmetic: a Python number on a CPU, elsewhere unchanged."""
    return value.item() if isinstance(value, Tensor) and value.device.type == "cpu" else value
