"""Accurate sums over many values, on devices with and without float64."""

from __future__ import annotations

from torch import Tensor


def wide(x: Tensor) -> Tensor:
    """``x`` as float64, or as float32 on a device without float64, such as Apple's.

    Shapes: any, unchanged.
    """
    try:
        return x.double()
    except (TypeError, RuntimeError):  # the device does not support float64
        return x.float()


def fraction(true: Tensor) -> float:
    """The fraction of a boolean tensor that is true, counted in integers; NaN if it is empty.

    Bit for bit the same as ``true.double().mean().item()`` on a CPU. The host waits for the device.
    """
    return true.sum().item() / true.numel() if true.numel() else float("nan")
