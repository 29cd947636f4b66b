"""Muon, Nesterov SGD with rates on the device, learning-rate schedules, and Lookahead.

Muon (Jordan, 2024, ``airbench94_muon.py``) replaces the singular values of a weight matrix's
momentum by numbers near one, so that the step has about the same length in all singular directions.
It can be used for any network, see README.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from common.training.descent import SGDByTensors, Tensors
from common.training.schedules import linear
from papers.airbench.model import AirNet
from papers.airbench.settings import OptimConfig

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""a, b, c of the quintic a·x + b·x³ + c·x⁵, which is steep at zero and tends to near one."""


# ---- Muon ----------------------------------------------------------------------------------------

def newton_schulz(g: Tensor, steps: int = 3, eps: float = 1e-7,
                  coefficients: tuple[float, float, float] = COEFFICIENTS) -> Tensor:
    """U S' Vᵀ for a matrix g = U S Vᵀ, where S' = p(… p(S/‖S‖)) is near one.

    A step is X ← a X + (b A + c A²) X with A = X Xᵀ. It applies p(x) = a x + b x³ + c x⁵ to every
    singular value and leaves the singular vectors unchanged, with matrix products only.

    Args:
        g: a matrix (m, n) of any floating type, in which the result is computed.
        steps: how often the quintic is applied.
        eps: added to the Frobenius norm in the denominator, so that a zero matrix stays zero.
        coefficients: a, b and c.

    Raises:
        ValueError: g is not a matrix.
    """
    if g.dim() != 2:
        raise ValueError(f"a tensor of shape {tuple(g.shape)}: expected a matrix")
    a, b, c = coefficients
    x = g / (g.norm() + eps)  # no singular value is above one
    tall = g.shape[0] > g.shape[1]
    x = x.T if tall else x  # A has the smaller side
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x


TINY = 1e-30
"""A norm below which a matrix is treated as zero."""


class Muon(torch.optim.Optimizer):
    """Orthogonalised momentum: w ← w − lr · newton_schulz(velocity) for every weight matrix.

    With gradient g and velocity v: v ← momentum·v + g; the step is along v, or with ``nesterov``
    along g + momentum·v. A convolution's weight (out, in, k, k) is treated as a matrix
    (out, in·k·k). Only the direction of a gradient matters, not its size, as long as its norm is
    finite and far above 1e-7. There is no weight decay.

    Args:
        params: weights of two or more dimensions, or groups of them. Biases, gains and, usually,
            the first and the last layer belong to another optimiser.
        lr: length of the step in every singular direction; a number, or a tensor on the device.
        momentum: the momentum, at least 0 and below 1.
        nesterov: whether to use Nesterov momentum.
        steps: number of steps of :func:`newton_schulz`.
        normalise: whether to scale every weight to the norm √rows before its step, as the author's
            script does. Use it only for weights followed by a normalisation, so that their scale
            has no effect.
        half: whether to iterate in bfloat16, as in the author's script; the result is off by about
            a percent.

    Norms are taken in the tensors' own type: in float16 none may exceed 65,504.

    Raises:
        ValueError: a number is out of range, weight decay is given, a gradient is sparse, or a
            parameter has fewer than two dimensions, no entries or complex ones.
    """

    def __init__(self, params: Iterable[Any], lr: float | Tensor = 0.24, momentum: float = 0.6,
                 nesterov: bool = True, steps: int = 3, normalise: bool = True,
                 half: bool = False):
        super().__init__(params, {"lr": lr, "momentum": momentum, "nesterov": nesterov,
                                  "steps": steps, "normalise": normalise, "half": half})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with options of their own; raises as the class does."""
        self._check({**self.defaults, **param_group})
        given = param_group["params"]
        params = [given] if isinstance(given, Tensor) else list(given)
        for p in (entry[1] if isinstance(entry, tuple) else entry for entry in params):
            if isinstance(p, Tensor) and (p.dim() < 2 or not p.numel() or p.is_complex()):
                raise ValueError(f"a parameter of shape {tuple(p.shape)} and {p.dtype}: expected "
                                 "real numbers in two or more dimensions; give it to another "
                                 "optimiser")
        super().add_param_group({**param_group, "params": params})

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take a saved state; raises as the class does."""
        for group in state_dict["param_groups"]:
            self._check({**self.defaults, **group})
        super().load_state_dict(state_dict)

    def _check(self, group: dict[str, Any]) -> None:
        """Refuse options that cannot be used."""
        lr, momentum, steps = group["lr"], group["momentum"], group["steps"]
        if (lr.numel() != 1 if isinstance(lr, Tensor) else
                not isinstance(lr, int | float) or not 0 <= lr < math.inf):
            raise ValueError(f"lr={lr}: expected one finite number of at least 0")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum={momentum}: expected at least 0 and below 1")
        if group["nesterov"] and momentum == 0:
            raise ValueError("nesterov=True: expected a momentum above 0")
        if not isinstance(steps, int) or steps < 1:
            raise ValueError(f"steps={steps}: expected at least 1, a whole number")
        if group.get("weight_decay"):
            raise ValueError(f"weight_decay={group['weight_decay']}: Muon has none")

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient; returns the closure's loss, if any."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if group.get("weight_decay"):
                raise ValueError(f"weight_decay={group['weight_decay']}: Muon has none")
            for p in group["params"]:
                if p.grad is not None:
                    if p.grad.is_sparse:
                        raise ValueError(f"the gradient of a parameter of shape {tuple(p.shape)} "
                                         "is sparse: expected a dense one")
                    self._update(p, p.grad, group)
        return loss

    def _update(self, p: Tensor, g: Tensor, group: dict[str, Any]) -> None:
        momentum, state = group["momentum"], self.state[p]
        if "velocity" not in state:
            state["velocity"] = torch.zeros_like(g)
        v = state["velocity"].mul_(momentum).add_(g)
        along = g + momentum * v if group["nesterov"] else v
        if group["normalise"]:
            p.mul_(math.sqrt(len(p)) / p.norm().clamp(min=TINY))  # zeros stay zeros
        matrix = along.reshape(len(p), -1)
        step = newton_schulz(matrix.bfloat16() if group["half"] else matrix, group["steps"])
        p.sub_(group["lr"] * step.to(p.dtype).reshape(p.shape))


# ---- SGD -----------------------------------------------------------------------------------------

class NesterovByTensors(SGDByTensors):
    """Nesterov SGD whose rate may be a tensor on the device: the step is g + momentum·v."""

    def _velocities(self, params: list[Tensor], grads: Tensors, momentum: Tensor | float,
                    ) -> Tensors:
        velocities = super()._velocities(params, grads, momentum)
        return torch._foreach_add(grads, torch._foreach_mul(velocities, momentum))


def nesterov_sgd(groups: Iterable[Any], momentum: float, device: torch.device) -> torch.optim.SGD:
    """A Nesterov SGD optimiser for weights on a device; on a CPU it is torch's own."""
    if device.type == "cpu":
        return torch.optim.SGD(groups, momentum=momentum, nesterov=True)
    return NesterovByTensors(groups, momentum=momentum)


def step_length(momentum: float) -> float:
    """The length of Nesterov's steps under a constant gradient, in gradients, as the author counts.

    The velocity tends to g/(1 − momentum), the step to g + momentum/(1 − momentum)·g. The author
    counts 1 + 1/(1 − momentum), one more; his rates are divided by that length.
    """
    return 1 + 1 / (1 - momentum)


# ---- rates and averages as functions of the step -------------------------------------------------

def height(step: int, steps: int, start: float, peak: float, end: float) -> float:
    """A triangle: from ``start`` up to 1 at the fraction ``peak`` of all steps, then to ``end``."""
    up = int(peak * steps)
    return (linear(start, 1.0, up, step) if step < up
            else linear(1.0, end, steps - up, step - up))


EVERY, DECAY, POWER = 5, 0.95, 3
"""Lookahead: steps between averages, the slow weights' final decay per step, and the power of the
training fraction with which the decay grows."""


def lookahead(rule: str, step: int, steps: int, epoch: int) -> tuple[float, float]:
    """Lookahead after update ``step`` (from 0), as two interpolation weights.

    Every fifth step the slow weights move towards the fast ones, slow ← d·slow + (1 − d)·fast, and
    replace them. d = 0.95⁵·(fraction of training)³ grows, so that weights move freely at first and
    are averaged over many steps at the end.

    Args:
        rule: ``always``: from the start, and once more after the last update; ``late``: from the
            fourth epoch on, and also at the end of each epoch; ``none``.
        step: updates made before this one.
        steps, epoch: number of steps in the whole run, and in one epoch.

    Returns:
        How far slow moves to fast, and then fast to slow: from 0, not at all, to 1, all the way.
    """
    k, warm = step + 1, 3 * epoch
    if rule == "none" or (rule == "late" and step < warm):
        return 0.0, 0.0
    first = (warm // EVERY + 1) * EVERY  # the first average after the third epoch
    if rule == "late" and k < first:
        return 0.0, 0.0
    if rule == "late" and k == first:
        return 1.0, 0.0
    if k % EVERY == 0:
        return 1 - DECAY**EVERY * (k / steps) ** POWER, 1.0
    ends = k == steps or (rule == "late" and k % epoch == 0)
    return 0.0, float(ends)


@torch.no_grad()
def interpolate(slow: nn.Module, fast: nn.Module, forth: float | Tensor,
                back: float | Tensor) -> None:
    """slow ← slow + forth·(fast − slow), then fast ← fast + back·(slow − fast).

    It applies to all floating-point tensors: weights, and BN's running statistics. If both
    interpolation weights are the number 0, nothing is computed.
    """
    if not isinstance(forth, Tensor) and forth == back == 0:
        return
    for s, f in zip(slow.state_dict().values(), fast.state_dict().values(), strict=True):
        if s.is_floating_point():
            s.lerp_(f, forth)
            f.lerp_(s, back)


# ---- parameter groups ----------------------------------------------------------------------------

THOUSAND = 1024
"""The number of images to which ``optim.lr`` and ``optim.weight_decay`` refer."""


def shifts(model: AirNet) -> list[nn.Parameter]:
    """BN's biases."""
    return [m.bias for m in model.modules() if isinstance(m, nn.BatchNorm2d)]


def filters(model: AirNet) -> list[nn.Parameter]:
    """The weights of the 3×3 convolutions."""
    return [p for p in model.groups.parameters() if p.dim() == 4]


def groups(model: AirNet, optim: OptimConfig, batch_size: int) -> list[dict[str, Any]]:
    """SGD's parameter groups, each with its highest rate (``top``), schedule (``rate``) and decay.

    The author's losses are sums over the batch and ours are means, so rates are multiplied by the
    batch size. Decay is decoupled: torch multiplies it by the rate, so it is divided by it here.
    """
    b = batch_size
    first = [] if model.first.bias is None else [model.first.bias]
    if optim.rule == "muon":
        shift, head = optim.shift_lr * b, optim.head_lr * b
        decay, others = optim.decay * b, [model.head.weight]
    else:
        scale = b / THOUSAND / step_length(optim.momentum)
        head = optim.lr * scale
        shift, decay = head * optim.bias_scale, optim.weight_decay * scale
        others = [*filters(model), model.head.weight]
    if model.first.weight.requires_grad:  # SGD's under either rule: Muon's are the 3×3 filters
        others.append(model.first.weight)
    parts = [(shifts(model), shift, "height"), (others, head, "height"),
             (first, shift if optim.rule == "muon" else head, "first")]
    return [{"params": params, "lr": top, "top": top, "rate": rate,
             "weight_decay": decay / top if top else 0.0} for params, top, rate in parts
            if params]
