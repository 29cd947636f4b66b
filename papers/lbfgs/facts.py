"""Exact facts: quasi-Newton methods on quadratics, and what methods do near a saddle."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from papers.lbfgs.model import bfgs_update, two_loop
from papers.lbfgs.newton import Newton


def digits(value: Tensor | float) -> float:
    """Rounded to twelve decimals, which agree on every processor."""
    return round(float(value), 12)


def pairs(m: int, n: int) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """A gradient, and m pairs (s, y) of a random convex quadratic."""
    g = torch.Generator().manual_seed(0)
    A = torch.randn(n, n, generator=g, dtype=torch.float64)
    A = A @ A.T + torch.eye(n, dtype=torch.float64)
    S = [torch.randn(n, generator=g, dtype=torch.float64) for _ in range(m)]
    return torch.randn(n, generator=g, dtype=torch.float64), S, [A @ s for s in S]


def two_loop_error() -> float:
    """Largest difference of the recursion's H g to that of eq. (1)'s matrix, over ‖H g‖."""
    g, S, Y = pairs(7, 20)
    γ = S[-1] @ Y[-1] / (Y[-1] @ Y[-1])
    H = γ * torch.eye(20, dtype=torch.float64)
    for s, y in zip(S, Y, strict=True):
        H = bfgs_update(H, s, y)
    return digits((two_loop(g, S, Y, γ) - H @ g).norm() / (H @ g).norm())


def secant_error() -> float:
    """Largest ‖H y − s‖/‖s‖ after the pair (s, y) was taken in."""
    _, S, Y = pairs(7, 20)
    H, worst = torch.eye(20, dtype=torch.float64), 0.0
    for k, (s, y) in enumerate(zip(S, Y, strict=True), 1):
        H = bfgs_update(H, s, y)
        for product in (H @ y, two_loop(y, S[:k], Y[:k], 1.0)):
            worst = max(worst, ((product - s).norm() / s.norm()).item())
    return digits(worst)


def exact_steps(n: int, m: int, steps: int) -> tuple[list[Tensor], list[Tensor]]:
    """Points of L-BFGS with exact line searches from H⁰ = I, and of conjugate gradients.

    On a convex quadratic ½ xᵀA x − bᵀx of n unknowns, from 0.
    """
    draw = torch.Generator().manual_seed(1)
    A = torch.randn(n, n, generator=draw, dtype=torch.float64)
    A = A @ A.T / n + torch.eye(n, dtype=torch.float64)
    b = torch.randn(n, generator=draw, dtype=torch.float64)
    x, quasi = torch.zeros_like(b), list[Tensor]()
    S, Y = list[Tensor](), list[Tensor]()
    for _ in range(steps):
        g = A @ x - b
        p = -two_loop(g, S[-m:], Y[-m:], 1.0)
        s = -(g @ p) / (p @ A @ p) * p
        x, S, Y = x + s, [*S, s], [*Y, A @ s]
        quasi.append(x)
    x, conjugate = torch.zeros_like(b), []
    r = b.clone()
    p = r
    for _ in range(steps):
        α = r @ r / (p @ A @ p)
        x, r, before = x + α * p, r - α * (A @ p), r @ r
        p = r + r @ r / before * p
        conjugate.append(x)
    solution = torch.linalg.solve(A, b)
    return [q - solution for q in quasi], [c - solution for c in conjugate]


def conjugate_gradient_error() -> float:
    """Largest distance of both sequences over six steps, m = 1, over the first point's error."""
    quasi, conjugate = exact_steps(20, 1, 6)
    return digits(max((a - b).norm().item() for a, b in zip(quasi, conjugate, strict=True))
                  / quasi[0].norm().item())


def finite_termination() -> float:
    """Error after n steps with n pairs, over the first point's."""
    quasi, _ = exact_steps(8, 8, 8)
    return digits(quasi[-1].norm() / quasi[0].norm())


# ---- The saddle f = x² − y²


def saddle(x: Tensor) -> Tensor:
    """f = x₁² − x₂², with its saddle at 0."""
    return x[0] ** 2 - x[1] ** 2


def escape(step: Callable[[Tensor], Callable[[], object]], y: float, most: int = 10_000) -> int:
    """Steps until |x₂| > 1 from (1, y)."""
    x = torch.tensor([1.0, y], dtype=torch.float64, requires_grad=True)
    one = step(x)
    for k in range(most):
        if abs(x[1].item()) > 1:
            return k
        one()
    return most


def descent(η: float) -> Callable[[Tensor], Callable[[], object]]:
    """Steps of plain gradient descent."""
    def of(x: Tensor) -> Callable[[], object]:
        optimizer = torch.optim.SGD([x], η)

        def one() -> None:
            optimizer.zero_grad()
            saddle(x).backward()
            optimizer.step()
        return one
    return of


def descent_steps_a_decade(η: float = 0.1) -> float:
    """Gradient descent: how many more steps it takes from a start ten times as near the saddle."""
    return (escape(descent(η), 1e-12) - escape(descent(η), 1e-2)) / 10


def theory_steps_a_decade(η: float = 0.1) -> float:
    """x₂ grows by 1 + 2η a step: ln 10/ln(1 + 2η)."""
    return math.log(10) / math.log(1 + 2 * η)


def descent_escape_error() -> float:
    """:func:`descent_steps_a_decade` less :func:`theory_steps_a_decade`."""
    return descent_steps_a_decade() - theory_steps_a_decade()


def newton_distance(kind: str, steps: int) -> float:
    """Distance to the saddle after some steps of Newton's method from (1, 10⁻³)."""
    x = torch.tensor([1.0, 1e-3], dtype=torch.float64, requires_grad=True)
    optimizer = Newton([x], kind)  # type: ignore[arg-type]  # claims say which
    for _ in range(steps):
        optimizer.step(lambda: saddle(x))
    return digits(x.detach().norm())


def saddle_free_steps() -> float:
    """Most steps of saddle-free Newton from (1, y), over y from 10⁻² down to 10⁻¹²."""
    def of(x: Tensor) -> Callable[[], object]:
        optimizer = Newton([x], "saddle_free")
        return lambda: optimizer.step(lambda: saddle(x))
    return float(max(escape(of, 10.0**-k) for k in range(2, 13)))
