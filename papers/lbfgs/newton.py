"""Newton's method in four forms, with the Hessian from autograd.

- ``pure``: p = −H⁻¹ g with step 1, which goes to any point where g = 0, saddles included.
- ``damped``: the same direction, as far as a strong Wolfe search along it goes; −g where it leads
  upwards.
- ``modified``: H + τ I with the least τ of a growing series for which a Cholesky factor exists
  (Nocedal & Wright, algorithm 3.3).
- ``saddle_free``: |H| in place of H, from its eigenvalues (Dauphin et al. 2014), which turns away
  from saddles.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from common.errors import nearest
from papers.lbfgs.model import Closure, LineSearch

Kind = Literal["pure", "damped", "modified", "saddle_free"]


def modified(H: Tensor, g: Tensor, β: float = 1e-3) -> Tensor:
    """−(H + τ I)⁻¹ g, τ = 0 if H is positive definite."""
    size = H.norm().clamp(min=1e-300)
    lowest = H.diagonal().min()
    τ = torch.zeros_like(lowest) if lowest > 0 else β * size - lowest
    eye = torch.eye(len(g), dtype=g.dtype, device=g.device)
    while True:
        R, failed = torch.linalg.cholesky_ex(H + τ * eye)
        if not failed:
            return -torch.cholesky_solve(g[:, None], R)[:, 0]
        if not τ.isfinite():
            return torch.full_like(g, torch.nan)
        τ = torch.maximum(2 * τ, β * size)


def saddle_free(H: Tensor, g: Tensor, least: float = 1e-12) -> Tensor:
    """−|H|⁻¹ g; eigenvalues below ``least`` times the largest are raised to that."""
    λ, Q = torch.linalg.eigh(H)
    λ = λ.abs()
    return -Q @ ((Q.T @ g) / λ.clamp(min=float(least * λ.max()) or 1.0))


class Newton(LineSearch):
    """Newton's method. The closure returns the loss and does not call ``backward``.

    Args:
        params: what to minimise over; the Hessian is (n, n) for all of them together.
        kind: see the module's text.
        c1, c2: of the line search.
        fixed: see :class:`LineSearch`.

    Raises:
        ValueError: there is no such kind.
    """

    def __init__(self, params: Iterable[Tensor], kind: Kind = "modified", c1: float = 1e-4,
                 c2: float = 0.9, fixed: bool = False):
        super().__init__(params, c1, c2, fixed, kind=kind)

    def check(self, group: dict[str, Any]) -> None:
        kind = group["kind"]
        if kind not in get_args(Kind):
            raise ValueError(f"kind={kind!r}: expected a kind of Newton step"
                             f"{nearest(str(kind), get_args(Kind))}")
        super().check(group)

    def hessian(self, closure: Closure) -> Tensor:
        """H (n, n) at the parameters; counts as one evaluation."""
        self.memory["evaluations"] += 1
        with torch.enable_grad():
            loss = closure()
            g = torch.cat([d.flatten() for d in torch.autograd.grad(
                loss, self._params, create_graph=True, materialize_grads=True)])
            if not g.requires_grad:  # f is linear
                return torch.zeros(len(g), len(g), dtype=g.dtype)
            rows = [torch.cat([d.flatten() for d in torch.autograd.grad(
                one, self._params, retain_graph=True, materialize_grads=True)]) for one in g]
        H = torch.stack(rows)
        return (H + H.T) / 2

    def direction(self, closure: Closure, g: Tensor) -> Tensor:
        H, kind = self.hessian(closure), self.param_groups[0]["kind"]
        if not H.isfinite().all():
            return -g
        if kind == "modified":
            return modified(H, g)
        if kind == "saddle_free":
            return saddle_free(H, g)
        p, failed = torch.linalg.solve_ex(H, -g)
        return -g if failed else p

    def first_length(self, g: Tensor, p: Tensor) -> float:
        return 1.0

    @torch.no_grad()
    def step(self, closure: Closure) -> Tensor:  # type: ignore[override]  # torch: a closure or none
        """One iteration; returns the loss before it, a scalar."""
        if self.param_groups[0]["kind"] != "pure":
            return super().step(closure)
        f, g = self.slope(closure)
        p = self.direction(closure, g)
        if math.isfinite(f) and p.isfinite().all():
            self.put(self.x() + p)
        self.memory["iterations"] += 1
        return torch.tensor(f, dtype=g.dtype)
