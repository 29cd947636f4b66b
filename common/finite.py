"""What is read from a file of weights is refused where it is not finite, in the same words."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from common.errors import UserError


def expect_finite(tensors: Mapping[str, Tensor | np.ndarray]) -> None:
    """Make sure that no weight is infinite or no number at all.

    Raises:
        UserError: one is; the tensor is named.
    """
    for name, t in tensors.items():
        if not torch.as_tensor(t).isfinite().all():
            raise UserError(f"tensor {name}: expected finite weights")
