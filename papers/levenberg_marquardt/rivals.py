"""The methods Levenberg-Marquardt is compared with, each called as its own users call it.

All take the mean square error and its gradient from one function of one vector of weights. It is
compiled as a whole, so that no method pays for a network's being several tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.optimize
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value

from common.errors import UserError
from common.training.compiling import compile_apart
from papers.levenberg_marquardt.optim import Weights

SCIPY = {"bfgs": ("BFGS", {"gtol": 0.0}), "cg": ("CG", {"gtol": 0.0}),
         "lbfgs": ("L-BFGS-B", {"gtol": 0.0, "ftol": 0.0, "maxfun": 10**9, "maxcor": 10})}
"""Name and options in ``scipy.optimize.minimize``: only the goal ends a run."""


def in_one_piece(network: nn.Module) -> Tensor:
    """The weights (n) in one tensor, of which the network's parameters become views."""
    weights = Weights(network)
    θ = weights.flat()
    for p, view in zip(network.parameters(), weights.split(θ).values(), strict=True):
        p.data = view
    return θ


def error_and_gradient(network: nn.Module, compile: bool
                       ) -> Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]:
    """A function from weights (n), inputs (m …) and targets (m …) to the error and gradient (n)."""
    weights = Weights(network)

    def error(θ: Tensor, x: Tensor, t: Tensor) -> Tensor:
        return F.mse_loss(functional_call(network, weights.split(θ), (x,)), t)

    def both(θ: Tensor, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        gradient, value = grad_and_value(error)(θ, x, t)
        return value, gradient
    return compile_apart(both) if compile else both


def minimise(method: str, f: Callable[[np.ndarray], tuple[float, np.ndarray]], x: np.ndarray,
             iterations: int, goal: float) -> tuple[np.ndarray, list[float]]:
    """One call of ``scipy.optimize.minimize``, ended by its callback at the goal.

    Where a line search fails the call is repeated from where it ended, as long as that helps.

    Args:
        method: a key of :data:`SCIPY`.
        f: from (n,) to the error and its gradient (n,).
        x: the start, (n,).
        iterations: the most that may be made.
        goal: the error to reach.

    Returns:
        Where it ended, (n,), and the errors at the start and after every iteration.
    """
    name, options = SCIPY[method]
    errors = [f(x)[0]]

    def callback(intermediate_result: scipy.optimize.OptimizeResult) -> None:
        errors.append(float(intermediate_result.fun))
        if errors[-1] <= goal:
            raise StopIteration

    while errors[-1] > goal and len(errors) <= iterations:
        before = len(errors)
        found = scipy.optimize.minimize(
            f, x, jac=True, method=name, callback=callback,
            options=options | {"maxiter": iterations + 1 - len(errors)})
        x = found.x
        if len(errors) == before or errors[-1] >= errors[before - 1]:
            break
    return x, errors


class VariableRate(torch.optim.Optimizer):
    """Gradient descent with momentum and a variable learning rate (Vogl et al. 1988).

    A step that raises the error by more than ``tolerated`` is taken back, the rate falls and the
    momentum starts anew; a step that lowers it raises the rate. The numbers are the defaults of
    MATLAB's ``traingdx``.

    Args:
        params: one tensor.
        lr: the first rate.
        momentum: γ in v ← γ v − (1 − γ) lr ∇.
    """

    up, down, tolerated = 1.05, 0.7, 1.04

    def __init__(self, params: list[Tensor], lr: float, momentum: float = 0.9):
        super().__init__(params, {"lr": lr, "momentum": momentum})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Take the one group; an error is of all parameters together."""
        if self.param_groups:
            raise UserError("a further parameter group: expected one group with one tensor")
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor]) -> Tensor:  # type: ignore[override]  # torch: a closure or none
        """One iteration; ``closure`` gives the error and sets the gradient.

        Returns:
            The error of the weights that the step starts from.
        """
        group = self.param_groups[0]
        (θ,) = group["params"]
        state, error = self.state[θ], closure()
        γ = group["momentum"]
        if not state:
            state |= {"θ": θ.clone(), "∇": θ.grad, "v": torch.zeros_like(θ), "error": error}
        elif not error <= self.tolerated * state["error"]:
            group["lr"] *= self.down
            γ = 0.0
        else:
            if error < state["error"]:
                group["lr"] *= self.up
            state["θ"].copy_(θ)
            state |= {"∇": θ.grad, "error": error}
        state["v"].mul_(γ).add_(state["∇"], alpha=-(1 - γ) * group["lr"])
        torch.add(state["θ"], state["v"], out=θ)
        return state["error"]
