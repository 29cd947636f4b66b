"""Sums over many values, on devices that have float64 and on those that do not."""

from __future__ import annotations

from torch import Tensor


def wide(x: Tensor) -> Tensor:
    """``x`` as float64, or as float32 on a device without float64, such as Apple's.

    Shapes: any, unchanged.
    """
    try:
        return x.double()
    except (TypeError, RuntimeError):  # for a type that the device does not have
        return x.float()


def fraction(true: Tensor) -> float:
    """Which part of a boolean tensor is true, counted in integers; NaN of an empty one.

    To the bit what ``true.double().mean().item()`` is on a CPU. The host waits for the device.
    """
    return true.sum().item() / true.numel() if true.numel() else float("nan")
