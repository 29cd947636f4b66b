"""One check, with one error message, that weights read from a file are finite."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from common.errors import UserError


def expect_finite(tensors: Mapping[str, Tensor | np.ndarray]) -> None:
    """Make sure that all weights are finite.

    Raises:
        UserError: one is infinite or NaN; the message names the tensor.
    """
    for name, t in tensors.items():
        if not torch.as_tensor(t).isfinite().all():
            raise UserError(f"tensor {name}: expected finite weights")
