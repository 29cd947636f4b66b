"""Caffe's six solvers, whose rate may be a number or a tensor on the parameters' device.

For a parameter w with gradient g, decay included, and rate r, multiplier included, each solver
computes the step Δ of w ← w − Δ. If the rate changes, they differ from torch's optimisers: Caffe's
momentum accumulates steps, including their rates, and torch's accumulates gradients.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from common.training.descent import Tensors, descended

Rate = float | Tensor


class Solver(torch.optim.Optimizer):
    """The base class: weight decay, multipliers, and state that starts at zero.

    Args:
        params: parameters, or groups of them with ``multiplier`` and ``weight_decay``.
        lr: the learning rate.
        options: a solver's own options, such as ``momentum``.

    Attributes:
        memories: names of a solver's state tensors, each of the parameter's shape.
    """

    memories: tuple[str, ...] = ()

    def __init__(self, params: Iterable[Any], lr: Rate = 0.001, **options: float):
        super().__init__(params, {"lr": lr, "multiplier": 1.0, "weight_decay": 0.0, **options})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # torch: a closure or none
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            params, g = descended(group)
            if not params:
                continue
            for p in params:
                for name in self.memories:
                    if name not in self.state[p]:
                        self.state[p][name] = torch.zeros_like(p)
            held = [[self.state[p][name] for p in params] for name in self.memories]
            torch._foreach_sub_(params, self.change(
                group, params, g, group["lr"] * group["multiplier"], *held))

    def change(self, group: dict[str, Any], params: list[Tensor], g: Tensors, r: Rate,
               *held: list[Tensor]) -> Tensors:
        """The step Δ of every parameter.

        Args:
            group: the parameter group, with the solver's options.
            params: the parameters.
            g: their gradients, decay included.
            r: rate times multiplier.
            held: their state, in the order of ``memories``; updated in place.
        """
        raise NotImplementedError


class SGD(Solver):
    """v ← μv + r g, Δ = v."""

    memories = ("v",)

    def __init__(self, params: Iterable[Any], lr: Rate = 0.001, momentum: float = 0.9):
        super().__init__(params, lr, momentum=momentum)

    def change(self, group: dict[str, Any], params: list[Tensor], g: Tensors, r: Rate,
               *held: list[Tensor]) -> Tensors:
        (v,) = held
        torch._foreach_mul_(v, group["momentum"])
        torch._foreach_add_(v, torch._foreach_mul(g, r))
        return v


class Nesterov(SGD):
    """v ← μv + r g, Δ = (1 + μ)v − μv', where v' is v before the update."""

    def change(self, group: dict[str, Any], params: list[Tensor], g: Tensors, r: Rate,
               *held: list[Tensor]) -> Tensors:
        back = torch._foreach_mul(held[0], -group["momentum"])
        v = super().change(group, params, g, r, *held)
        return torch._foreach_add(back, torch._foreach_mul(v, 1 + group["momentum"]))


class Adam(Solver):
    """m ← β₁m + (1 − β₁)g, s ← β₂s + (1 − β₂)g², Δ = r √(1 − β₂ᵗ)/(1 − β₁ᵗ) m/(√s + δ)."""

    memories = ("m", "s")

    def __init__(self, params: Iterable[Any], lr: Rate = 0.001, momentum: float = 0.9,
                 momentum2: float = 0.999, delta: float = 1e-8):
        super().__init__(params, lr, momentum=momentum, momentum2=momentum2, delta=delta)

    def change(self, group: dict[str, Any], params: list[Tensor], g: Tensors, r: Rate,
               *held: list[Tensor]) -> Tensors:
        (m, s), β1, β2 = held, group["momentum"], group["momentum2"]
        torch._foreach_lerp_(m, list(g), 1 - β1)
        torch._foreach_mul_(s, β2)
        torch._foreach_addcmul_(s, g, g, 1 - β2)
        return torch._foreach_mul(over_root(m, s, group["delta"]), r * self.correction(
            params[0], β1, β2))

    def correction(self, p: Tensor, β1: float, β2: float) -> Tensor:
        """√(1 − β₂ᵗ)/(1 − β₁ᵗ) for the next t; t is counted on the device."""
        if "t" not in self.state[p]:
            self.state[p]["t"] = torch.zeros((), dtype=p.dtype, device=p.device)
        t = self.state[p]["t"].add_(1)
        first, second = (-torch.expm1(t * math.log(β)) if β else torch.ones_like(t)
                         for β in (β1, β2))  # 1 − βᵗ without cancellation
        return second.sqrt() / first


class RMSProp(Solver):
    """s ← ρs + (1 − ρ)g², Δ = r g/(√s + δ)."""

    memories = ("s",)

    def __init__(self, params: Iterable[Any], lr: Rate = 0.001, rms_decay: float = 0.99,
                 delta: float = 1e-8):
        super().__init__(params, lr, rms_decay=rms_decay, delta=delta)

    def change(self, group: dict[str, Any], params: list[Tensor], g: Tensors, r: Rate,
               *held: list[Tensor]) -> Tensors:
        (s,), ρ = held, group["rms_decay"]
        torch._foreach_mul_(s, ρ)
        torch._foreach_addcmul_(s, g, g, 1 - ρ)
        return torch._foreach_mul(over_root(g, s, group["delta"]), r)


class AdaGrad(Solver):
    """s ← s + g², Δ = r g/(√s + δ)."""

    memories = ("s",)

    def __init__(self, params: Iterable[Any], lr: Rate = 0.001, delta: float = 1e-8):
        super().__init__(params, lr, delta=delta)

    def change(self, group: dict[str, Any], params: list[Tensor], g: Tensors, r: Rate,
               *held: list[Tensor]) -> Tensors:
        (s,) = held
        torch._foreach_addcmul_(s, g, g)
        return torch._foreach_mul(over_root(g, s, group["delta"]), r)


class AdaDelta(Solver):
    """s ← ρs + (1 − ρ)g², u = g √((d + δ)/(s + δ)), d ← ρd + (1 − ρ)u², Δ = r u; ρ is ``momentum``.
    """

    memories = ("s", "d")

    def __init__(self, params: Iterable[Any], lr: Rate = 0.001, momentum: float = 0.9,
                 delta: float = 1e-8):
        super().__init__(params, lr, momentum=momentum, delta=delta)

    def change(self, group: dict[str, Any], params: list[Tensor], g: Tensors, r: Rate,
               *held: list[Tensor]) -> Tensors:
        (s, d), ρ, δ = held, group["momentum"], group["delta"]
        torch._foreach_mul_(s, ρ)
        torch._foreach_addcmul_(s, g, g, 1 - ρ)
        ratio = torch._foreach_div(torch._foreach_add(d, δ), torch._foreach_add(s, δ))
        u = torch._foreach_mul(g, torch._foreach_sqrt(ratio))
        torch._foreach_mul_(d, ρ)
        torch._foreach_addcmul_(d, u, u, 1 - ρ)
        return torch._foreach_mul(u, r)


def over_root(x: Tensors, s: Tensors, δ: float) -> Tensors:
    """x/(√s + δ)."""
    return torch._foreach_div(x, torch._foreach_add(torch._foreach_sqrt(s), δ))


SOLVERS: dict[str, Callable[..., Solver]] = {
    "sgd": SGD, "nesterov": Nesterov, "adam": Adam, "rmsprop": RMSProp, "adagrad": AdaGrad,
    "adadelta": AdaDelta}
