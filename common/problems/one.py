"""One problem of the collection, and what its makers share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from common.errors import UserError


@dataclass(frozen=True)
class Problem:
    """One problem with its sizes chosen.

    Attributes:
        name: its key in :data:`PROBLEMS`.
        number: its number in the paper.
        residuals: r, from x (n,) to (m,), in the precision of x.
        start: the published start, (n,).
        m: how many residuals.
        minima: known values of f at its minima, the lowest first; empty where the paper gives none
            for that size.
    """

    name: str
    number: int
    residuals: Callable[[Tensor], Tensor]
    start: tuple[float, ...]
    m: int
    minima: tuple[float, ...] = ()

    @property
    def n(self) -> int:
        """How many unknowns."""
        return len(self.start)

    def f(self, x: Tensor) -> Tensor:
        """Σ r², a scalar."""
        return self.residuals(x).square().sum()

    def x(self, factor: float = 1.0) -> Tensor:
        """The start in double precision, times ``factor``.

        A start of zeros cannot be scaled; it becomes ``factor`` in every place, as in MINPACK's
        tests.
        """
        x = torch.tensor(self.start, dtype=torch.float64)
        return x if factor == 1 else torch.full_like(x, factor) if not x.any() else factor * x


def count(first: int, last: int, like: Tensor) -> Tensor:
    """first, first + 1, …, last."""
    return torch.arange(first, last + 1, dtype=like.dtype, device=like.device)


def check(name: str, least: int = 1, multiple: int = 1, most: int | None = None,
          **size: int) -> None:
    """Refuse a size a problem does not come in.

    Args:
        name: of the problem.
        least, most: the smallest and largest size there is.
        multiple: every size is a multiple of this.
        size: the one to check, under its own name: ``n`` or ``m``.

    Raises:
        UserError: it is not such a whole number.
    """
    ((key, value),) = size.items()
    if (not isinstance(value, int) or isinstance(value, bool) or value < least or value % multiple
            or (most is not None and value > most)):
        kind = f"a multiple of {multiple}" if multiple > 1 else "a whole number"
        reach = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise UserError(f"problem {name!r} with {key}={value!r}: expected {kind} {reach}")
