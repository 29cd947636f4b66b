"""L-BFGS (Liu & Nocedal, 1989) and BFGS as optimisers of torch.

Symbols: g = ∇f, s_k = x_{k+1} − x_k, y_k = g_{k+1} − g_k, ρ_k = 1/(y_kᵀ s_k),
V_k = I − ρ_k y_k s_kᵀ. BFGS keeps the inverse Hessian

    H_{k+1} = V_kᵀ H_k V_k + ρ_k s_k s_kᵀ                                                 eq. (1)

and L-BFGS makes the product H_k g from the last m pairs (s, y) and H⁰ = γ I, γ = sᵀy/yᵀy of the
newest pair (the scaling M3 of section 4).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from papers.lbfgs.linesearch import Point, strong_wolfe

Closure = Callable[[], Tensor]
"""Returns the loss; it may also call ``backward`` after clearing gradients, as torch's own do."""


def two_loop(g: Tensor, S: Sequence[Tensor], Y: Sequence[Tensor], γ: float | Tensor) -> Tensor:
    """H g from the pairs S, Y, the oldest first, and H⁰ = γ I (Nocedal 1980's recursion).

    Args:
        g: (n).
        S, Y: up to m vectors (n) each.
        γ: the scale of H⁰.
    """
    q, α = g, []
    for s, y in zip(reversed(S), reversed(Y), strict=True):
        α.append(s @ q / (y @ s))
        q = q - α[-1] * y
    r = γ * q
    for s, y, a in zip(S, Y, reversed(α), strict=True):
        r = r + s * (a - y @ r / (y @ s))
    return r


def bfgs_update(H: Tensor, s: Tensor, y: Tensor) -> Tensor:
    """H_{k+1} of eq. (1), (n, n)."""
    ρ = 1 / (y @ s)
    V = torch.eye(len(s), dtype=s.dtype, device=s.device) - ρ * torch.outer(y, s)
    return V.T @ H @ V + ρ * torch.outer(s, s)


class LineSearch(torch.optim.Optimizer):
    """A direction, then a strong Wolfe search along it; a step is one iteration.

    Within a step the closure has to be one function. Between steps it may become another, with
    the next batch; then ``fixed`` has to be False.

    Args:
        params: what to minimise over, one group.
        c1, c2: of the line search, 0 < c1 < c2 < 1.
        fixed: the closure is the same function at every step, so that its value and gradient
            where a step ended need not be computed again to begin the next one.
        options: what else the group holds.

    Attributes:
        evaluations: of the loss and its gradient, so far.
        stalled: whether the last step found no lower point even along steepest descent, or
            began where the loss or its gradient is not finite.

    Raises:
        ValueError: more than one group of parameters, or constants out of order.
    """

    def __init__(self, params: Iterable[Tensor], c1: float = 1e-4, c2: float = 0.9,
                 fixed: bool = False, **options: Any):
        super().__init__(params, {"c1": c1, "c2": c2, "fixed": fixed, **options})
        self.memory.update(evaluations=0, iterations=0, stalled=False)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Take the one group; a direction is of all parameters together."""
        if self.param_groups:
            raise ValueError("a further parameter group: expected one group with all parameters")
        self.check({**self.defaults, **param_group})
        super().add_param_group(param_group)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take a saved state; raises as the class does."""
        for group in state_dict["param_groups"]:
            self.check({**self.defaults, **group})
        super().load_state_dict(state_dict)

    def check(self, group: dict[str, Any]) -> None:
        """Refuse options that cannot be used; raises as the class does."""
        c1, c2 = group["c1"], group["c2"]
        if not 0 < c1 < c2 < 1:
            raise ValueError(f"c1={c1}, c2={c2}: expected 0 < c1 < c2 < 1")

    @property
    def _params(self) -> list[Tensor]:
        return self.param_groups[0]["params"]

    @property
    def memory(self) -> dict[str, Any]:
        """What is kept between steps, of all parameters together."""
        return self.state[self._params[0]]

    @property
    def evaluations(self) -> int:
        return self.memory["evaluations"]

    @property
    def stalled(self) -> bool:
        return self.memory["stalled"]

    def x(self) -> Tensor:
        """All parameters as one vector (n)."""
        return torch.cat([p.detach().flatten() for p in self._params])

    def put(self, x: Tensor) -> None:
        """Set all parameters."""
        for p, part in zip(self._params, x.split([p.numel() for p in self._params]), strict=True):
            p.data.copy_(part.view_as(p))

    def slope(self, closure: Closure) -> tuple[float, Tensor]:
        """f and g (n) at the parameters."""
        self.memory["evaluations"] += 1
        for p in self._params:
            p.grad = None
        with torch.enable_grad():
            loss = closure()
            if loss.requires_grad and all(p.grad is None for p in self._params):
                loss.backward()
        return loss.item(), torch.cat([
            (torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in self._params])

    def direction(self, closure: Closure, g: Tensor) -> Tensor:
        """p (n), along which to search."""
        return -g

    def first_length(self, g: Tensor, p: Tensor) -> float:
        """The step length to try first: 1/‖g‖ in the first step, as in the paper, then 1."""
        return 1.0 if self.memory["iterations"] else min(1.0, 1 / float(g.norm() + 1e-300))

    def learn(self, s: Tensor, y: Tensor) -> None:
        """Learn from a step s, (n), along which the gradient changed by y, (n)."""

    def forget(self) -> None:
        """Drop what was learned: the next direction is −g."""

    @torch.no_grad()
    def step(self, closure: Closure) -> Tensor:  # type: ignore[override]  # torch: a closure or none
        """One iteration; returns the loss before it, a scalar.

        Where the loss or its gradient is not finite the parameters stay as they are.
        """
        memory, group, x = self.memory, self.param_groups[0], self.x()
        known = group["fixed"] and "now" in memory and torch.equal(memory["at"], x)
        f, g = memory["now"] if known else self.slope(closure)
        f = float(f)
        memory["now"], memory["at"] = [torch.tensor(f, dtype=torch.float64), g], x
        memory["stalled"] = not (g.any() and math.isfinite(f) and g.isfinite().all())
        if memory["stalled"]:
            return torch.tensor(f, dtype=g.dtype)
        p = -g if memory.pop("anew", False) else self.direction(closure, g)
        if not (g @ p < 0 and p.isfinite().all()):
            self.forget()
            p = -g

        def φ(α: float) -> Point:
            self.put(x + α * p)
            value, slope = self.slope(closure)
            return Point(α, value, (slope @ p).item(), slope)

        start = Point(0.0, f, (g @ p).item(), g)
        found = strong_wolfe(φ, start, self.first_length(g, p), group["c1"], group["c2"])
        memory["at"] = x + found.α * p if found.α else x
        self.put(memory["at"])
        if found.α == 0:  # nothing lower: once more along steepest descent, then no more
            memory["stalled"], memory["anew"] = torch.equal(p, -g), True
            self.forget()
        else:
            self.learn(found.α * p, found.payload - g)
        memory["iterations"] += 1
        memory["now"] = [torch.tensor(found.φ, dtype=torch.float64), found.payload]
        return torch.tensor(f, dtype=g.dtype)


class SteepestDescent(LineSearch):
    """p = −g; the first length makes the step's first-order change that of the last step."""

    def first_length(self, g: Tensor, p: Tensor) -> float:
        memory, square = self.memory, float(g @ g)
        change, memory["change"] = memory.get("change"), square
        α = super().first_length(g, p) if change is None or not square else (
            memory["length"] * change / square)
        return max(α, 1e-20)

    def learn(self, s: Tensor, y: Tensor) -> None:
        self.memory["length"] = float(s.norm()) / max(float((self.memory["change"]) ** 0.5), 1e-300)


class LBFGS(LineSearch):
    """Liu & Nocedal's algorithm 2.1.

    Args:
        params: what to minimise over.
        m: pairs kept.
        c1, c2: of the line search.
        fixed: see :class:`LineSearch`.
    """

    def __init__(self, params: Iterable[Tensor], m: int = 5, c1: float = 1e-4, c2: float = 0.9,
                 fixed: bool = False):
        super().__init__(params, c1, c2, fixed, m=m)
        self.forget()

    def check(self, group: dict[str, Any]) -> None:
        if group["m"] < 1:
            raise ValueError(f"m={group['m']}: expected at least one pair")
        super().check(group)

    def direction(self, closure: Closure, g: Tensor) -> Tensor:
        S, Y = self.memory["S"], self.memory["Y"]
        γ = S[-1] @ Y[-1] / (Y[-1] @ Y[-1]) if S else 1.0
        return -two_loop(g, S, Y, γ)

    def learn(self, s: Tensor, y: Tensor) -> None:
        if not s @ y > 1e-300:
            return
        m = self.param_groups[0]["m"]
        self.memory["S"] = [*self.memory["S"], s][-m:]
        self.memory["Y"] = [*self.memory["Y"], y][-m:]

    def forget(self) -> None:
        self.memory["S"], self.memory["Y"] = [], []


class BFGS(LineSearch):
    """BFGS with its inverse Hessian (n, n), at first γ I of the first pair."""

    def direction(self, closure: Closure, g: Tensor) -> Tensor:
        return -self.memory["H"] @ g if "H" in self.memory else -g

    def learn(self, s: Tensor, y: Tensor) -> None:
        if not s @ y > 1e-300:
            return
        first = torch.eye(len(s), dtype=s.dtype, device=s.device) * (s @ y) / (y @ y)
        self.memory["H"] = bfgs_update(self.memory.get("H", first), s, y)

    def forget(self) -> None:
        self.memory.pop("H", None)
