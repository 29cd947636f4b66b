"""Choosing a device, and making its results reproducible."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from typing import Any

import torch
from torch import nn

from common.data import stream_seed
from common.errors import UserError
from common.training.sums import wide


def missing(name: str) -> str:
    """The reason why a device is not available, for messages."""
    if not name.startswith("cuda"):
        return f"torch {torch.__version__} has no such device"
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA"
    return f"torch sees {torch.cuda.device_count()} cards"


def choose_device(name: str, float64: bool = False) -> torch.device:
    """The device that ``train.device`` names; ``auto`` is the accelerator if there is one.

    Args:
        name: a torch device, or ``auto``.
        float64: whether the device must support double precision.

    Raises:
        UserError: the device is not available, or does not support double precision.
    """
    if name == "auto":
        found = torch.accelerator.current_accelerator(check_available=True)
        if found is not None and (not float64 or widest_float(found) == torch.float64):
            return found
        return torch.device("cpu")
    try:
        device = torch.device(name)
        if device.type == "cpu" and device.index:
            raise ValueError("there is one CPU")
        torch.empty(1, device=device).tolist()  # fails on meta, which holds no numbers
    except Exception as e:  # each backend raises a different type
        others = ["auto", "cpu"] + ["cuda"] * torch.cuda.is_available()
        raise UserError(f"train.device={name}: not available here ({missing(name)}); try "
                        + " or ".join(d for d in others if d != name)) from e
    if float64 and widest_float(device) != torch.float64:
        raise UserError(f"train.device={name}: expected a device with float64, in which this paper "
                        "computes, such as cpu")
    return device


def place(network: nn.Module, device: torch.device, layout: torch.memory_format) -> None:
    """Move a network to a device, with its 4-dimensional weights in a given memory format."""
    network.to(device, memory_format=layout)  # type: ignore[call-overload]  # torch's types lack it


def same_bits_again(device: torch.device) -> None:
    """Make a graphics card deterministic.

    With the same card, driver and torch, a step then always gives the same bits. On a CPU it does
    so anyway.
    """
    if device.type != "cuda":
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.use_deterministic_algorithms(True, warn_only=True)
    deterministic: Any = torch.utils.deterministic  # torch's types lack its properties
    deterministic.fill_uninitialized_memory = False  # filling every new tensor costs time


def widest_float(device: torch.device) -> torch.dtype:
    """float64 if a device supports it, else float32."""
    return wide(torch.zeros(1, device=device)).dtype


def run_generator(device: torch.device, seed: int) -> torch.Generator | None:
    """A random generator for one run on its device; None on a CPU.

    On a CPU a run draws from torch's default generator, which it seeds when it starts. On other
    devices several runs may train side by side, so each has its own generator. Its numbers depend
    only on the seed and on how many were drawn before; checkpoints store its state.
    """
    if device.type == "cpu":
        return None
    return torch.Generator(device).manual_seed(stream_seed(seed, "device"))


def reuse_memory() -> None:
    """Make the C library keep freed memory for the next step.

    By default glibc returns large blocks to the kernel, which clears every page again when the next
    step asks for them; this costs up to a fifth of a convolutional network's step.
    """
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError, AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 2**27)):
            mallopt(option, value)


M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
"""Constants from glibc's malloc.h."""
