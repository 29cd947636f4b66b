"""Max-norm regularisation: a bound on the norm of every unit's incoming weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


@torch.no_grad()
def project_max_norm(weights: Sequence[Tensor], c: float) -> None:
    """Project each unit's incoming weight vector onto the ball ‖w‖₂ ≤ c.

    Section 5.1 of Srivastava et al. (2014).

    Args:
        weights: matrices (units, inputs), changed in place.
        c: the radius.
    """
    for w in weights:
        norm = torch.linalg.vector_norm(w, dim=1, keepdim=True)
        w.mul_((c / norm).clamp_(max=1.0))
