"""Stochastic gradient descent whose learning rate and momentum may be tensors on the device."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

Tensors = list[Tensor] | tuple[Tensor, ...]
"""Arguments and results of torch's ``_foreach`` functions."""


def sgd(params: Iterable[Any], device: torch.device, **options: Any) -> torch.optim.SGD:
    """An SGD optimiser for weights that will be trained on a device.

    It is ``torch.optim.SGD`` on a CPU and :class:`SGDByTensors` elsewhere.

    Args:
        params: parameters or parameter groups.
        device: where the parameters will be when the first update is made.
        options: passed to the optimiser.
    """
    return (torch.optim.SGD if device.type == "cpu" else SGDByTensors)(params, **options)


class SGDByTensors(torch.optim.SGD):
    """SGD whose ``lr`` and ``momentum`` may be numbers or tensors on the parameters' device.

    A step captured in a CUDA graph repeats the numbers it was captured with. A learning rate that
    changes must therefore be a tensor, which ``torch.optim.SGD`` does not accept.

    With gradient g, decay λ and velocity v: v ← momentum·v + g + λw, w ← w − lr·v. Nesterov
    momentum, dampening and ascent are not supported.

    Raises:
        ValueError: one of these is asked for.
    """

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with options of their own; raises as the class does."""
        group = {**self.defaults, **param_group}
        for name in ("nesterov", "dampening", "maximize"):
            if group[name]:
                raise ValueError(f"{name}={group[name]}: expected torch.optim.SGD, which has it")
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # torch: a closure or none
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            params, grads = descended(group)
            if not params:
                continue
            momentum = group["momentum"]
            if isinstance(momentum, Tensor) or momentum:
                grads = self._velocities(params, grads, momentum)
            torch._foreach_sub_(params, torch._foreach_mul(grads, group["lr"]))

    def _velocities(self, params: list[Tensor], grads: Tensors, momentum: Tensor | float,
                    ) -> Tensors:
        for p in params:
            if self.state[p].get("momentum_buffer") is None:
                self.state[p]["momentum_buffer"] = torch.zeros_like(p)
        velocities = [self.state[p]["momentum_buffer"] for p in params]
        torch._foreach_mul_(velocities, momentum)
        torch._foreach_add_(velocities, grads)
        return velocities


def descended(group: dict[str, Any]) -> tuple[list[Tensor], Tensors]:
    """The parameters of a group that have gradients, and the gradients with weight decay added."""
    params = [p for p in group["params"] if p.grad is not None]
    grads = [p.grad for p in params]
    if params and group["weight_decay"]:
        return params, torch._foreach_add(grads, params, alpha=group["weight_decay"])
    return params, grads
