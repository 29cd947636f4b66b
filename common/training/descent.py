"""Stochastic gradient descent whose rate and momentum may live on the device."""

from __future__ import annotations

import torch
from torch import Tensor


class SGD(torch.optim.SGD):
    """torch's SGD, also with ``lr`` and ``momentum`` as tensors on the parameters' device.

    A step that was captured in a CUDA graph repeats the numbers it was captured with; a rate that
    changes has to be a tensor. With plain numbers this is torch's own implementation.

    Where they are tensors, with gradient g, decay λ and velocity v:
    v ← momentum·v + g + λw, w ← w − lr·v. Nesterov's momentum and dampening are torch's alone.
    """

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        if any(isinstance(g["lr"], Tensor) or isinstance(g["momentum"], Tensor)
               for g in self.param_groups):
            self._step_by_tensors()
        else:
            super().step(closure)

    @torch.no_grad()
    def _step_by_tensors(self) -> None:
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if not params:
                continue
            grads = [p.grad for p in params]
            if group["weight_decay"]:
                grads = torch._foreach_add(grads, params, alpha=group["weight_decay"])
            momentum = group["momentum"]
            if isinstance(momentum, Tensor) or momentum:
                grads = self._velocities(params, grads, momentum)
            torch._foreach_sub_(params, torch._foreach_mul(grads, group["lr"]))

    def _velocities(self, params: list[Tensor], grads: list[Tensor], momentum: Tensor | float,
                    ) -> list[Tensor]:
        for p in params:
            if self.state[p].get("momentum_buffer") is None:
                self.state[p]["momentum_buffer"] = torch.zeros_like(p)
        velocities = [self.state[p]["momentum_buffer"] for p in params]
        torch._foreach_mul_(velocities, momentum)
        torch._foreach_add_(velocities, grads)
        return velocities
