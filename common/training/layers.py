"""Layers with a run's own randomness in place of torch's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar, cast, overload

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.training.noise import uniform_like

M = TypeVar("M", bound=nn.Module, covariant=True)


class ListOf(Protocol[M]):
    """An ``nn.ModuleList`` whose members are of one class."""

    def __iter__(self) -> Iterator[M]: ...

    def __len__(self) -> int: ...

    @overload
    def __getitem__(self, k: int) -> M: ...

    @overload
    def __getitem__(self, k: slice) -> ListOf[M]: ...


def list_of(members: Iterable[M]) -> ListOf[M]:
    """Modules as an ``nn.ModuleList``, whose own type does not say what they are."""
    return cast("ListOf[M]", nn.ModuleList(members))


class Dropout(nn.Module):
    """A drop-in ``nn.Dropout``: units are zeroed in training and the others scaled by 1/(1 − p).

    Args:
        p: probability of zeroing a unit, in [0, 1].

    Attributes:
        generator: what masks are drawn from, on the device of x; None: the default one, with the
            numbers of ``nn.Dropout``. See :func:`common.training.noise.use_generator`.

    Shapes: any, unchanged; every element has a mask of its own.

    Raises:
        ValueError: p is no probability.
    """

    generator: torch.Generator | None

    def __init__(self, p: float = 0.5):
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"dropout probability {p}: expected 0 to 1")
        self.p, self.generator = p, None

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.generator is None:
            return F.dropout(x, self.p, self.training)
        if self.p == 1:
            return x * 0.0
        kept = uniform_like(x, self.generator) >= self.p
        return x * kept / (1 - self.p)

    def extra_repr(self) -> str:
        return f"p={self.p}"
