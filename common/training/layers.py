"""Layers that draw from a run's own random generator, and a type for lists of modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar, cast, overload

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.training.noise import uniform_like

M = TypeVar("M", bound=nn.Module, covariant=True)


class ListOf(Protocol[M]):
    """The type of an ``nn.ModuleList`` whose members all have the same class."""

    def __iter__(self) -> Iterator[M]: ...

    def __len__(self) -> int: ...

    @overload
    def __getitem__(self, k: int) -> M: ...

    @overload
    def __getitem__(self, k: slice) -> ListOf[M]: ...


def list_of(members: Iterable[M]) -> ListOf[M]:
    """An ``nn.ModuleList`` of these modules, typed with their class."""
    return cast("ListOf[M]", nn.ModuleList(members))


class Dropout(nn.Module):
    """A drop-in replacement for ``nn.Dropout`` that can draw from a run's own generator.

    In training, elements are zeroed with probability p and the others scaled by 1/(1 − p).

    Args:
        p: probability of zeroing an element, in [0, 1].

    Attributes:
        generator: the generator of the masks, on the device of x; None: torch's default one, with
            the same numbers as ``nn.Dropout``. See :func:`common.training.noise.use_generator`.

    Shapes: any, unchanged; every element is zeroed independently.

    Raises:
        ValueError: p is not a probability.
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
