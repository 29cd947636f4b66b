"""Fully connected layers by oneDNN, the library that torch already uses for convolutions on CPUs.

For float32 matrix products on a CPU torch calls MKL, which uses AVX-512 only on Intel's processors.
oneDNN computes the same sums in another order, at the full vector width. ``papers bench dropout``
and ``papers bench bayes_by_backprop`` measure the gain per step; with AVX2 there is little or none.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

WORTHWHILE = 2**20
"""The number of multiply-adds from which oneDNN is faster; below it, the call costs more."""


def linear(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    """x wᵀ + b, like ``F.linear``, by oneDNN where that is possible and worthwhile.

    ``torch.backends.mkldnn.flags(enabled=False)`` turns oneDNN off. Differentiable once.

    Shapes: x (…, inputs), w (outputs, inputs), b (outputs) → (…, outputs).
    """
    if (not torch.compiler.is_compiling()  # checked first: a batch of symbolic size has no len()
            and x.dim() == 2 and x.device.type == "cpu" and x.dtype == w.dtype == torch.float32
            and len(x) * w.numel() >= WORTHWHILE
            and torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled
            and not torch.is_autocast_enabled("cpu")
            and not torch._C._are_functorch_transforms_active()):
        return _Linear.apply(x, w, b)
    return F.linear(x, w, b)


def product(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    """x wᵀ + b for float32 matrices on the CPU, by oneDNN."""
    b = None if b is None else b.contiguous()
    return torch.ops.mkldnn._linear_pointwise(_dense(x), _dense(w), b, "none", [], "")


def _dense(t: Tensor) -> Tensor:
    """The matrix, or a contiguous copy if it has gaps, with which oneDNN is very slow."""
    return t if t.is_contiguous() or t.T.is_contiguous() else t.contiguous()


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, w)
        return product(x, w, b)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, w = ctx.saved_tensors
        needs_x, needs_w, needs_b = ctx.needs_input_grad
        return (product(g, w.T) if needs_x else None, product(g.T, x.T) if needs_w else None,
                g.sum(0) if needs_b else None)


class Linear(nn.Linear):
    """A drop-in replacement for ``nn.Linear`` that calls :func:`linear`."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)
