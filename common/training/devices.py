"""Where tensors live: choosing a device, and making it do the same thing twice."""

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
    """Why there is no such device, in a few words."""
    if not name.startswith("cuda"):
        return f"torch {torch.__version__} has no such device"
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA"
    return f"torch sees {torch.cuda.device_count()} cards"


def choose_device(name: str, float64: bool = False) -> torch.device:
    """The device ``train.device`` names; ``auto`` takes an accelerator where there is one.

    Args:
        name: as torch names devices, or ``auto``.
        float64: whether it has to compute in double precision.

    Raises:
        UserError: no such device here, or it cannot do what is asked.
    """
    if name == "auto":
        found = torch.accelerator.current_accelerator(check_available=True)
        if found is not None and (not float64 or widest_float(found) == torch.float64):
            return found
        return torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device).tolist()  # there are devices without numbers
    except Exception as e:  # each backend has its own
        raise UserError(f"train.device={name}: not available here ({missing(name)}); try "
                        + " or ".join(d for d in ("auto", "cpu", "cuda") if d != name)) from e
    if float64 and widest_float(device) != torch.float64:
        raise UserError(f"train.device={name}: expected a device with float64, in which this paper "
                        "computes, such as cpu")
    return device


def place(network: nn.Module, device: torch.device, layout: torch.memory_format) -> None:
    """Move a network, its 4-dimensional weights in a layout of memory."""
    network.to(device, memory_format=layout)  # type: ignore[call-overload]  # torch's types lack it


def same_bits_again(device: torch.device) -> None:
    """Let a graphics card use only kernels whose result does not depend on the order of arrival.

    With the same card, driver and torch a step then gives the same bits twice. On a CPU they do
    so anyway.
    """
    if device.type != "cuda":
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.use_deterministic_algorithms(True, warn_only=True)
    deterministic: Any = torch.utils.deterministic  # whose properties torch's types do not know
    deterministic.fill_uninitialized_memory = False  # every output, before it is made


def widest_float(device: torch.device) -> torch.dtype:
    """float64 where a device has it, else float32."""
    return wide(torch.zeros(1, device=device)).dtype


def run_generator(device: torch.device, seed: int) -> torch.Generator | None:
    """The source of a run's random numbers on its device; None on a CPU.

    On a CPU they come from torch's default generator, which a run seeds when it starts. On other
    devices several runs may train side by side, so each draws from a generator of its own, a
    function of its seed and of how much it has drawn; checkpoints hold its state.
    """
    if device.type == "cpu":
        return None
    return torch.Generator(device).manual_seed(stream_seed(seed, "device"))


def reuse_memory() -> None:
    """Let the C library keep the memory a step frees for the next step.

    By default glibc gives large blocks back to the kernel, which clears every page again when the
    next step asks for them; that costs up to a fifth of a convolutional network's step.
    """
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError, AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 2**27)):
            mallopt(option, value)


M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
"""Of glibc's malloc.h."""
