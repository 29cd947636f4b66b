"""One problem of the collection, and helpers for the functions that make them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from common.errors import UserError


@dataclass(frozen=True)
class Problem:
    """One problem of a given size.

    Attributes:
        name: its key in :data:`PROBLEMS`.
        number: its number in the paper.
        residuals: r, from x (n,) to (m,), in the precision of x.
        start: the standard starting point, (n,).
        m: number of residuals.
        minima: known values of f at its minima, lowest first; empty if the paper gives none for
            this size.
    """

    name: str
    number: int
    residuals: Callable[[Tensor], Tensor]
    start: tuple[float, ...]
    m: int
    minima: tuple[float, ...] = ()

    @property
    def n(self) -> int:
        """Number of unknowns."""
        return len(self.start)

    def f(self, x: Tensor) -> Tensor:
        """Σ r², a scalar."""
        return self.residuals(x).square().sum()

    def x(self, factor: float = 1.0) -> Tensor:
        """The starting point in double precision, multiplied by ``factor``.

        A starting point of zeros cannot be scaled; every component becomes ``factor``, as in
        MINPACK's tests.
        """
        x = torch.tensor(self.start, dtype=torch.float64)
        return x if factor == 1 else torch.full_like(x, factor) if not x.any() else factor * x


def count(first: int, last: int, like: Tensor) -> Tensor:
    """The integers first, first + 1, …, last, in the type and on the device of ``like``."""
    return torch.arange(first, last + 1, dtype=like.dtype, device=like.device)


def check_size(name: str, least: int = 1, multiple: int = 1, most: int | None = None,
               **size: int) -> None:
    """Check the size of a problem.

    Args:
        name: the problem's name.
        least, most: the smallest and the largest allowed size.
        multiple: sizes must be a multiple of this.
        size: the size to check, as the keyword ``n`` or ``m``.

    Raises:
        UserError: the size is not allowed.
    """
    ((key, value),) = size.items()
    if (not isinstance(value, int) or isinstance(value, bool) or value < least or value % multiple
            or (most is not None and value > most)):
        kind = f"a multiple of {multiple}" if multiple > 1 else "a whole number"
        reach = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise UserError(f"problem {name!r} with {key}={value!r}: expected {kind} {reach}")
