"""What ``train.precision`` means on a device: float32 is IEEE's unless TF32 is requested.

TF32 keeps 10 of the 23 fraction bits of each factor. On recent cards torch uses it for convolutions
by default.
"""

from __future__ import annotations

import warnings

import torch

from common.config import Config
from common.errors import NotAtHand, UserError
from common.training.devices import choose_device


def check_precision(config: Config, device_type: str) -> None:
    """Refuse a precision that the device does not support.

    Raises:
        NotAtHand: the precision is TF32 and the device is not a CUDA card.
    """
    if config.train.precision == "tf32" and device_type != "cuda":
        raise NotAtHand(f"train.precision=tf32: expected a CUDA card, not {device_type}")


def fits_here(config: Config) -> bool:
    """Whether this machine has a configuration's device, and that its precision."""
    try:
        check_precision(config, choose_device(config.train.device).type)
    except UserError:
        return False
    return True


def set_precision(precision: str) -> None:
    """Set whether float32 matrix products and convolutions on a CUDA card may use TF32.

    The setting is global to the process; on other devices it has no effect.

    Args:
        precision: ``train.precision``; with bfloat16 the operations left in float32 do not use
            TF32 either.
    """
    with warnings.catch_warnings(action="ignore"):  # some versions of torch recommend new names,
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"  # which torch.compile cannot
        torch.backends.cudnn.allow_tf32 = precision == "tf32"  # read back
