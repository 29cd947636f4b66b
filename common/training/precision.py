"""What ``train.precision`` means on a device: float32 is IEEE's unless TF32 is asked for.

TF32 keeps 10 of the 23 bits of a factor's fraction. On recent cards torch takes it for
convolutions unless it is told not to.
"""

from __future__ import annotations

import warnings

import torch

from common.config import Config
from common.errors import UserError


def check_precision(config: Config, device_type: str) -> None:
    """Refuse a precision that the device does not have.

    Raises:
        UserError: TF32, and the device is no CUDA card.
    """
    if config.train.precision == "tf32" and device_type != "cuda":
        raise UserError(f"train.precision=tf32: expected a CUDA card, not {device_type}")


def set_precision(precision: str) -> None:
    """Tell torch whether products and convolutions of float32 on a CUDA card may take TF32.

    The switches are the process's; on other devices they change nothing.

    Args:
        precision: of :class:`common.config.TrainConfig`; under bfloat16 what stays in float32 is
            IEEE's too.
    """
    with warnings.catch_warnings(action="ignore"):  # some versions of torch advise other names,
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"  # which torch.compile cannot
        torch.backends.cudnn.allow_tf32 = precision == "tf32"  # read back
