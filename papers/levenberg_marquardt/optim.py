"""Levenberg-Marquardt for networks, in the manner of ``torch.optim``, and for many of them at once.

For residuals r(θ) of a network with n weights, the loss is the mean of r². A step solves

    (JᵀJ + μ I) p = −Jᵀ r                                         (Hagan & Menhaj 1994)

and keeps θ + p if that lowers ‖r‖². Scaled, it has μ D² in place of μ I (Marquardt 1963).
In shapes: s networks side by side, m examples, k residuals an example, n weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from einops import einsum, rearrange
from torch import Tensor, nn
from torch.func import functional_call, jacrev, jvp, vjp, vmap

from common.errors import UserError
from common.training.compiling import compile_apart
from papers.levenberg_marquardt.checks import check_module, check_settings

Function = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Residuals (k) of one example, from all weights (n), its input and its target."""

OPTIONS = ("rule", "β", "solver", "cg_steps", "cg_tolerance", "damping")
"""What a parameter group holds beside its parameters."""

MU_MIN, MU_MAX = 1e-20, 1e20
FADING = 0.5
"""How much of a column's norm counts at the next step. Moré's D never falls (1), Marquardt's
forgets at once (0): the first creeps where a norm has been large (NIST's MGH10), the second loses
unknowns whose column vanishes for a while (MGH17)."""


def difference(output: Tensor, target: Tensor) -> Tensor:
    """The residuals of least squares: output − target.

    Raises:
        UserError: their shapes differ; one would silently be broadcast.
    """
    if output.shape != target.shape:
        raise UserError(f"output {tuple(output.shape)} and target {tuple(target.shape)} of an "
                        "example: expected the same shape")
    return output - target


class Weights:
    """A module's parameters as one vector, those that require a gradient.

    Args:
        module: the network; it treats every example by itself, so without batch statistics.
        residuals: from one example's output and target to its residuals.
    """

    def __init__(self, module: nn.Module,
                 residuals: Callable[[Tensor, Tensor], Tensor] = difference):
        self.module, self.residuals = module, residuals
        self.trained = {k: p for k, p in module.named_parameters() if p.requires_grad}
        if not self.trained:
            raise UserError(f"{type(module).__name__} has no parameter with requires_grad: "
                            "expected something to train")
        self.shapes = {k: p.shape for k, p in self.trained.items()}
        self.n = sum(math.prod(s) for s in self.shapes.values())

    def flat(self) -> Tensor:
        """θ, (n), a copy."""
        return torch.cat([p.detach().flatten() for p in self.trained.values()])

    def put(self, θ: Tensor) -> None:
        """Give the module the weights θ (n)."""
        with torch.no_grad():
            for p, new in zip(self.trained.values(), self.split(θ).values(), strict=True):
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

    back = vjp(all_residuals, θ)[1]
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


def iterate(f: Function, θ: Tensor, μ: Tensor, ν: Tensor, D: Tensor | None, x: Tensor, t: Tensor,
            rule: str = "gain", β: float = 10.0, solver: str = "cholesky", cg_steps: int = 100,
            cg_tolerance: float = 1e-6, damping: float = 0.01
            ) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor]:
    """One iteration of s networks: a step is tried, and kept where it lowers ‖r‖².

    Scaled, a step is also kept if what it promises, and by how much it raises ‖r‖², are both
    within rounding: there the loss cannot tell steps apart, yet they still gain digits.
    A step that moves or promises no more than rounding and does not help marks a minimum, where
    damping would rise without end. Instead it returns to its first value, and from there falls
    a little at a time, for the last digits need nearly undamped steps.

    Args:
        f: residuals of one example.
        θ: weights (s, n).
        μ, ν: the damping, and its factor after a failure, (s) each.
        D: the norms of J's columns, (s, n), which scale the damping; None for μ I. They at
            most halve in a step, for a column of J may vanish for a moment.
        x, t: the examples.
        rule, β: see :func:`damp`.
        solver: ``cholesky``, ``qr`` or, unscaled, ``cg``.
        cg_steps, cg_tolerance: see :func:`by_conjugate_gradients`.
        damping: the first μ.

    Returns:
        θ, μ, ν, D, and ‖r‖² before the step, (s).
    """
    r = residuals(f, θ, x, t)
    scale = None
    if solver == "cg":
        p, g = by_conjugate_gradients(f, θ, x, t, r, μ, cg_steps, cg_tolerance)
    else:
        J = jacobian(f, θ, x, t)
        if D is not None:  # in the unknowns q = D p the damping is μ I
            D = torch.maximum(FADING * D, torch.linalg.vector_norm(J, dim=1))
            scale = torch.where(D == 0, 1.0, D)
            J = J / scale[:, None]
        p = (by_cholesky if solver == "cholesky" else by_qr)(J, r, μ)
        g = (J.mT @ r[:, :, None])[:, :, 0]
    before = r.square().sum(1)
    moved = p if scale is None else p / scale
    new = θ + moved
    after = residuals(f, new, x, t).square().sum(1)
    predicted = (p * (μ[:, None] * p - g)).sum(1)  # of ‖r + J p‖² to ‖r‖²
    gain = (before - after) / predicted
    eps = torch.finfo(r.dtype).eps
    better = after < before  # false where anything is not finite
    if D is not None:
        close = 4 * eps * before.sqrt() * (before.sqrt() + torch.linalg.vector_norm(t.to(r)))
        believed = (predicted <= close) & (after <= before + close)
        better, gain = better | believed, torch.where(believed, 1.0, gain)
    settled = ~better & ((predicted <= eps * before)
                         | (moved.square().sum(1) <= eps**2 * θ.square().sum(1)))
    μ_tried, (μ, ν) = μ, damp(μ, ν, gain, better, rule, β)
    calm = torch.where(μ_tried > damping, damping, (μ_tried / 10).clamp(min=1e-8 * damping))
    μ, ν = torch.where(settled, calm, μ), torch.where(settled, 2.0, ν)
    return torch.where(better[:, None], new, θ), μ, ν, D, before


def needed_bytes(n: int, residuals: int, dtype: torch.dtype, solver: str = "cholesky") -> int:
    """The memory that a step takes at its peak, as measured, rounded up.

    J is held three times while its rows are laid side by side (four times with ``qr``); JᵀJ, its
    copies and its factors take three and a half times its size (five and a half times).
    """
    rows, squares = (4, 5.5) if solver == "qr" else (3, 3.5)
    return int((rows * n * residuals + squares * n * n) * dtype.itemsize)


class LevenbergMarquardt(torch.optim.Optimizer):
    """Levenberg-Marquardt on a module.

    >>> optimizer = LevenbergMarquardt(network)
    >>> for _ in range(100):
    ...     loss = optimizer.step(inputs, targets)

    Args:
        module: the network; it treats every example by itself, so without batch statistics.
            Parameters that require no gradient stay as they are.
        residuals: from one example's output and target to its residuals; the loss is their mean
            square. Output less target if not given.
        damping: the first μ.
        rule: ``gain`` (Nielsen) or ``plain`` (Hagan & Menhaj), see :func:`damp`.
        β: the plain rule's factor.
        solver: ``cholesky`` of the normal equations; ``qr``, slower and more precise; ``cg``,
            which never forms J.
        scaled: damp every weight in proportion to the norm of its column of J, for unknowns of
            different sizes, as in curve fitting; not with ``cg``.
        cg_steps, cg_tolerance: see :func:`by_conjugate_gradients`.
        max_bytes: what a step may take, see :func:`needed_bytes`.
        compile: run the iteration through ``torch.compile``.

    Raises:
        UserError: one of these cannot be used; says which and what was expected.
    """

    def __init__(self, module: nn.Module,
                 residuals: Callable[[Tensor, Tensor], Tensor] = difference,
                 damping: float = 0.01, rule: Literal["gain", "plain"] = "gain", β: float = 10.0,
                 solver: Literal["cholesky", "qr", "cg"] = "cholesky", scaled: bool = False,
                 cg_steps: int = 100, cg_tolerance: float = 1e-6, max_bytes: int = 2**31,
                 compile: bool = False):
        check_settings(rule, solver, damping, β, scaled, cg_steps, cg_tolerance, max_bytes)
        self.weights, self.max_bytes = Weights(module, residuals), max_bytes
        super().__init__(self.weights.trained.values(), {
            "rule": rule, "β": β, "solver": solver, "cg_steps": cg_steps,
            "cg_tolerance": cg_tolerance, "damping": damping})
        first = self.param_groups[0]["params"][0]
        self.state[first] |= {"μ": first.new_full((1,), damping), "ν": first.new_full((1,), 2.0)}
        if scaled:
            self.state[first]["D"] = first.new_zeros(1, self.weights.n)
        self._iterate = compile_apart(iterate) if compile else iterate
        self._checked: dict[tuple, int] = {}  # residuals of an example, by what was checked

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Take the one group; a step is of all the module's weights together."""
        if self.param_groups:
            raise UserError("a further parameter group: expected one group with all parameters")
        super().add_param_group(param_group)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take a saved state; raises as the class does. It is scaled if what was saved is."""
        scaled = any("D" in kept for kept in state_dict["state"].values())
        for group in state_dict["param_groups"]:
            check_settings(**{k: group.get(k) for k in OPTIONS}, scaled=scaled,
                           max_bytes=self.max_bytes)
        super().load_state_dict(state_dict)

    @torch.no_grad()
    def step(self, inputs: Tensor, targets: Tensor) -> Tensor:  # type: ignore[override]  # torch: a closure or none
        """One iteration on the examples ``inputs`` (m …) and ``targets`` (m …).

        Returns:
            The loss before the step, a scalar.

        Raises:
            UserError: the module or the examples do not fit; asked at the first step of each shape.
            MemoryError: a step would take more than ``max_bytes``; says how much.
        """
        group = self.param_groups[0]
        state = self.state[group["params"][0]]
        θ = self.weights.flat()
        given = (inputs.shape, targets.shape, inputs.dtype, targets.dtype,
                 self.weights.module.training)
        if given not in self._checked:
            self._checked[given] = self._residuals_of_one(θ, inputs, targets)
        each = self._checked[given]
        new, state["μ"], state["ν"], D, before = self._iterate(
            self.weights, θ[None], state["μ"], state["ν"], state.get("D"), inputs, targets,
            **{k: group[k] for k in OPTIONS})
        if D is not None:
            state["D"] = D
        self.weights.put(new[0])
        return before[0] / (each * len(inputs))

    def _residuals_of_one(self, θ: Tensor, x: Tensor, t: Tensor) -> int:
        """How many residuals an example has, once all that could go wrong has been tried."""
        module = self.weights.module
        if not len(x) or len(x) != len(t):
            raise UserError(f"{len(x)} inputs and {len(t)} targets: expected as many, and some")
        check_module(module)
        try:
            each = self.weights(θ, x[0], t[0]).numel()
            self._check_size(len(θ), each * len(x), θ.dtype)
            for tried in (residuals, jacobian):
                tried(self.weights, θ[None], x[:2], t[:2])
            if len(x) > 1:
                split = self.weights.split(θ)
                both, first = (functional_call(module, split, (x[:k],))[0] for k in (2, 1))
        except (RuntimeError, TypeError, ValueError, AttributeError, IndexError) as e:
            raise UserError(f"{type(module).__name__} on one example of shape {tuple(x[0].shape)}: "
                            f"{str(e).strip().splitlines()[0]}; expected a module that works, and "
                            "can be differentiated by torch.func, one example at a time") from e
        if len(x) > 1 and not torch.allclose(both, first, rtol=1e-3, atol=1e-5, equal_nan=True):
            raise UserError(f"{type(module).__name__} gives an example another output beside other "
                            "examples: expected a module that treats every example by itself")
        return each

    def _check_size(self, n: int, residuals: int, dtype: torch.dtype) -> None:
        """Refuse more than ``max_bytes``."""
        group = self.param_groups[0]
        if group["solver"] == "cg":
            return
        need = needed_bytes(n, residuals, dtype, group["solver"])
        if need > self.max_bytes:
            raise MemoryError(
                f"the Jacobian of {residuals:,} residuals by {n:,} weights and what is solved with "
                f"it need {need / 2**30:.2f} GiB, expected at most "
                f"{self.max_bytes / 2**30:.2f}; take fewer examples or solver='cg'")
