"""Levenberg-Marquardt for networks, in the manner of ``torch.optim``, and for many of them at once.

For residuals r(θ) of a network with n weights, the loss is the mean of r². A step solves

    (JᵀJ + μ I) p = −Jᵀ r                                         (Hagan & Menhaj 1994)

and keeps θ + p if that lowers ‖r‖². In shapes: s networks side by side, m examples, k residuals an
example, n weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from einops import einsum, rearrange
from torch import Tensor, nn
from torch.func import functional_call, jacrev, jvp, vjp, vmap

from common.training.compiling import compile_apart

Function = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Residuals (k) of one example, from all weights (n), its input and its target."""

MU_MIN, MU_MAX = 1e-20, 1e20


def difference(output: Tensor, target: Tensor) -> Tensor:
    """The residuals of least squares: output − target."""
    return output - target


class Weights:
    """A module's parameters as one vector.

    Args:
        module: the network; it treats every example by itself, so without batch statistics.
        residuals: from one example's output and target to its residuals.
    """

    def __init__(self, module: nn.Module,
                 residuals: Callable[[Tensor, Tensor], Tensor] = difference):
        self.module, self.residuals = module, residuals
        self.shapes = {k: p.shape for k, p in module.named_parameters()}
        self.n = sum(math.prod(s) for s in self.shapes.values())

    def flat(self) -> Tensor:
        """θ, (n), a copy."""
        return torch.cat([p.detach().flatten() for p in self.module.parameters()])

    def put(self, θ: Tensor) -> None:
        """Give the module the weights θ (n)."""
        with torch.no_grad():
            for p, new in zip(self.module.parameters(), self.split(θ).values(), strict=True):
                p.copy_(new)

    def split(self, θ: Tensor) -> dict[str, Tensor]:
        """θ (n) as the module's own tensors."""
        parts = θ.split([math.prod(s) for s in self.shapes.values()])
        return {k: part.reshape(s) for (k, s), part in zip(self.shapes.items(), parts, strict=True)}

    def __call__(self, θ: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """Residuals (k) of one example."""
        output = functional_call(self.module, self.split(θ), (x[None],))[0]
        return self.residuals(output, t).flatten()


def residuals(f: Function, θ: Tensor, x: Tensor, t: Tensor) -> Tensor:
    """r of the networks θ (s n) on the examples x (m …), t (m …): (s, m k)."""
    r = vmap(vmap(f, (None, 0, 0)), (0, None, None))(θ, x, t)
    return rearrange(r, "s m k -> s (m k)")


def jacobian(f: Function, θ: Tensor, x: Tensor, t: Tensor) -> Tensor:
    """J (s, m k, n), backwards through one example at a time."""
    J = vmap(vmap(jacrev(f), (None, 0, 0)), (0, None, None))(θ, x, t)
    return rearrange(J, "s m k n -> s (m k) n")


def by_cholesky(J: Tensor, r: Tensor, μ: Tensor) -> Tensor:
    """p (s, n) by the normal equations; not finite where JᵀJ + μ I is not positive definite."""
    A = J.mT @ J
    A.diagonal(dim1=1, dim2=2).add_(μ[:, None])
    R, failed = torch.linalg.cholesky_ex(A)
    p = torch.cholesky_solve(-(J.mT @ r[:, :, None]), R)[:, :, 0]
    return torch.where(failed[:, None] == 0, p, torch.nan)


def by_qr(J: Tensor, r: Tensor, μ: Tensor) -> Tensor:
    """p (s, n) by the QR of J over √μ I, which does not square the condition of J."""
    s, _, n = J.shape
    damping = μ.sqrt()[:, None, None] * torch.eye(n, dtype=J.dtype, device=J.device)
    Q, R = torch.linalg.qr(torch.cat([J, damping], 1))
    right = torch.cat([r, r.new_zeros(s, n)], 1)
    return -torch.linalg.solve_triangular(
        R, einsum(Q, right, "s m n, s m -> s n")[:, :, None], upper=True)[:, :, 0]


def by_conjugate_gradients(f: Function, θ: Tensor, x: Tensor, t: Tensor, r: Tensor, μ: Tensor,
                           steps: int, tolerance: float) -> tuple[Tensor, Tensor]:
    """p and Jᵀ r, (s, n) each, without ever forming J.

    Products J v go forwards, Jᵀ u backwards. Stops after ``steps`` or when every residual of the
    equation is ``tolerance`` of what it was.
    """
    def all_residuals(θ: Tensor) -> Tensor:
        return residuals(f, θ, x, t)

    _, back = vjp(all_residuals, θ)
    (g,) = back(r)
    p, rest = torch.zeros_like(g), -g
    direction, size = rest.clone(), rest.square().sum(1)
    enough = tolerance**2 * size
    for _ in range(steps):
        if (size <= enough).all():
            break
        (curved,) = back(jvp(all_residuals, (θ,), (direction,))[1])
        curved = curved + μ[:, None] * direction
        α = torch.nan_to_num(size / (direction * curved).sum(1))[:, None]
        p, rest = p + α * direction, rest - α * curved
        before, size = size, rest.square().sum(1)
        direction = rest + torch.nan_to_num(size / before)[:, None] * direction
    return p, g


def damp(μ: Tensor, ν: Tensor, gain: Tensor, better: Tensor, rule: str,
         β: float) -> tuple[Tensor, Tensor]:
    """The next damping.

    ``gain``: Nielsen's rule; after a step with gain ratio ρ, μ max(⅓, 1 − (2ρ−1)³); after a
    failure ν μ, and ν doubles. ``plain``: Hagan & Menhaj's μ/β or μ β.
    """
    if rule == "plain":
        return torch.where(better, μ / β, μ * β).clamp(MU_MIN, MU_MAX), ν
    down = μ * (1 - (2 * gain - 1) ** 3).clamp(min=1 / 3)
    return (torch.where(better, down, μ * ν).clamp(MU_MIN, MU_MAX),
            torch.where(better, 2.0, 2 * ν))


def iterate(f: Function, θ: Tensor, μ: Tensor, ν: Tensor, x: Tensor, t: Tensor, rule: str = "gain",
            β: float = 10.0, solver: str = "cholesky", cg_steps: int = 100,
            cg_tolerance: float = 1e-6) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One iteration of s networks: a step is tried, and kept where it lowers ‖r‖².

    Args:
        f: residuals of one example.
        θ: weights (s, n).
        μ, ν: damping and what a failure multiplies it by, (s) each.
        x, t: the examples.
        rule, β: see :func:`damp`.
        solver: ``cholesky``, ``qr`` or ``cg``.
        cg_steps, cg_tolerance: see :func:`by_conjugate_gradients`.

    Returns:
        θ, μ, ν, and ‖r‖² before the step, (s).
    """
    r = residuals(f, θ, x, t)
    if solver == "cg":
        p, g = by_conjugate_gradients(f, θ, x, t, r, μ, cg_steps, cg_tolerance)
    else:
        J = jacobian(f, θ, x, t)
        p = (by_cholesky if solver == "cholesky" else by_qr)(J, r, μ)
        g = (J.mT @ r[:, :, None])[:, :, 0]
    before = r.square().sum(1)
    after = residuals(f, θ + p, x, t).square().sum(1)
    predicted = (p * (μ[:, None] * p - g)).sum(1)  # of ‖r + J p‖² to ‖r‖²
    gain = (before - after) / predicted
    better = after < before  # false where anything is not finite
    μ, ν = damp(μ, ν, gain, better, rule, β)
    return torch.where(better[:, None], θ + p, θ), μ, ν, before


def needed_bytes(n: int, residuals: int, dtype: torch.dtype) -> int:
    """What J, and JᵀJ with its factor, take of memory."""
    return (n * residuals + 2 * n * n) * dtype.itemsize


class LevenbergMarquardt(torch.optim.Optimizer):
    """Levenberg-Marquardt on a module.

    >>> optimizer = LevenbergMarquardt(network)
    >>> for _ in range(100):
    ...     loss = optimizer.step(inputs, targets)

    Args:
        module: the network; it treats every example by itself, so without batch statistics.
        residuals: from one example's output and target to its residuals; the loss is their mean
            square. Output less target if not given.
        damping: the first μ.
        rule: ``gain`` (Nielsen) or ``plain`` (Hagan & Menhaj), see :func:`damp`.
        β: the plain rule's factor.
        solver: ``cholesky`` of the normal equations; ``qr``, slower and more precise; ``cg``,
            which never forms J.
        cg_steps, cg_tolerance: see :func:`by_conjugate_gradients`.
        max_bytes: what J and JᵀJ may take.
        compile: run the iteration through ``torch.compile``.
    """

    def __init__(self, module: nn.Module,
                 residuals: Callable[[Tensor, Tensor], Tensor] = difference,
                 damping: float = 0.01, rule: Literal["gain", "plain"] = "gain", β: float = 10.0,
                 solver: Literal["cholesky", "qr", "cg"] = "cholesky", cg_steps: int = 100,
                 cg_tolerance: float = 1e-6, max_bytes: int = 2**31, compile: bool = False):
        super().__init__(module.parameters(), {
            "rule": rule, "β": β, "solver": solver, "cg_steps": cg_steps,
            "cg_tolerance": cg_tolerance})
        self.weights, self.max_bytes = Weights(module, residuals), max_bytes
        first = self.param_groups[0]["params"][0]
        self.state[first] |= {"μ": first.new_full((1,), damping), "ν": first.new_full((1,), 2.0)}
        self._iterate = compile_apart(iterate) if compile else iterate

    @torch.no_grad()
    def step(self, inputs: Tensor, targets: Tensor) -> Tensor:  # type: ignore[override]
        """One iteration on the examples ``inputs`` (m …) and ``targets`` (m …).

        Returns:
            The loss before the step, a scalar.

        Raises:
            MemoryError: J and JᵀJ would take more than ``max_bytes``; says how much.
        """
        group = self.param_groups[0]
        state = self.state[group["params"][0]]
        θ = self.weights.flat()
        each = self.weights(θ, inputs[0], targets[0]).numel()
        if group["solver"] != "cg":
            need = needed_bytes(len(θ), each * len(inputs), θ.dtype)
            if need > self.max_bytes:
                raise MemoryError(
                    f"the Jacobian of {each * len(inputs):,} residuals by {len(θ):,} weights and "
                    f"its normal equations need {need / 2**30:.2f} GiB, expected at most "
                    f"{self.max_bytes / 2**30:.2f}; take fewer examples or solver='cg'")
        new, state["μ"], state["ν"], before = self._iterate(
            self.weights, θ[None], state["μ"], state["ν"], inputs, targets,
            **{k: group[k] for k in ("rule", "β", "solver", "cg_steps", "cg_tolerance")})
        self.weights.put(new[0])
        return before[0] / (each * len(inputs))
