"""Muon, Nesterov's SGD with rates on a device, the schedules of the rates, and Lookahead.

Muon (Jordan, 2024, ``airbench94_muon.py``) takes the momentum of a weight matrix and replaces its
singular values by numbers near one, so that every direction of the gradient gets a step of about
the same length. It serves any network: see README.md.
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
"""a, b, c of the quintic a·x + b·x³ + c·x⁵: steep at zero, and near one for what it is fed with."""


# ---- Muon ----------------------------------------------------------------------------------------

def newton_schulz(g: Tensor, steps: int = 3, eps: float = 1e-7,
                  coefficients: tuple[float, float, float] = COEFFICIENTS) -> Tensor:
    """U S' Vᵀ for a matrix g = U S Vᵀ, where S' = p(… p(S/‖S‖)) comes near one.

    A step is X ← a X + (b A + c A²) X with A = X Xᵀ: p(x) = a x + b x³ + c x⁵ of every singular
    value, while the singular vectors stay. It takes nothing but products of matrices.

    Args:
        g: of any shape (m, n) and any floating type, in which it is computed.
        steps: how often the quintic is applied.
        eps: added to the Frobenius norm that is divided by, so that a zero matrix stays zero.
        coefficients: a, b and c.

    Raises:
        ValueError: g is no matrix.
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
"""A norm below which a matrix is taken for zeros."""


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised: w ← w − lr · newton_schulz(velocity), a matrix at a time.

    With gradient g and velocity v: v ← momentum·v + g; the step is along v, or with ``nesterov``
    along g + momentum·v. A convolution's weight (out, in, k, k) is the matrix (out, in·k·k). The
    size of a gradient has no effect, only its direction, as long as its norm is finite and far
    above 1e-7. There is no weight decay.

    Args:
        params: weights of two or more dimensions, or groups of them. Biases, gains and, by custom,
            the first and the last layer go to another optimiser.
        lr: length of the step in every singular direction; a number, or a tensor on the device.
        momentum: 0 … 1.
        nesterov: whether to look ahead.
        steps: of :func:`newton_schulz`.
        normalise: whether to bring every weight to the norm √rows before its step, as the author's
            script does. Only for weights whose scale the network does not feel, because a
            normalisation follows them.
        half: whether the iteration computes in bfloat16, as in the author's script; its result is
            off by a percent or so.

    Raises:
        ValueError: a number out of range, weight decay, or a parameter that is no matrix; also of
            groups that are added later.
    """

    def __init__(self, params: Iterable[Any], lr: float | Tensor = 0.24, momentum: float = 0.6,
                 nesterov: bool = True, steps: int = 3, normalise: bool = True,
                 half: bool = False):
        super().__init__(params, {"lr": lr, "momentum": momentum, "nesterov": nesterov,
                                  "steps": steps, "normalise": normalise, "half": half})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Take more parameters, with numbers of their own; raises as the class does."""
        group = {**self.defaults, **param_group}
        lr, momentum, steps = group["lr"], group["momentum"], group["steps"]
        if not isinstance(lr, Tensor) and not 0 <= lr < math.inf:
            raise ValueError(f"lr={lr}: expected at least 0")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum={momentum}: expected at least 0 and below 1")
        if group["nesterov"] and momentum == 0:
            raise ValueError("nesterov=True: expected a momentum above 0")
        if not isinstance(steps, int) or steps < 1:
            raise ValueError(f"steps={steps}: expected at least 1, a whole number")
        if group.get("weight_decay"):
            raise ValueError(f"weight_decay={group['weight_decay']}: Muon has none")
        super().add_param_group(param_group)
        for p in self.param_groups[-1]["params"]:
            if p.dim() < 2:
                raise ValueError(f"a parameter of shape {tuple(p.shape)}: expected two or more "
                                 "dimensions; give it to another optimiser")

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of every parameter that has a gradient; returns the closure's loss, if any."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
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
    """Nesterov's SGD whose rate may be a tensor on the device: the step is g + momentum·v."""

    def _velocities(self, params: list[Tensor], grads: Tensors, momentum: Tensor | float,
                    ) -> Tensors:
        velocities = super()._velocities(params, grads, momentum)
        return torch._foreach_add(grads, torch._foreach_mul(velocities, momentum))


def nesterov_sgd(groups: Iterable[Any], momentum: float, device: torch.device) -> torch.optim.SGD:
    """Nesterov's SGD for weights that will be on a device: torch's own on a CPU."""
    if device.type == "cpu":
        return torch.optim.SGD(groups, momentum=momentum, nesterov=True)
    return NesterovByTensors(groups, momentum=momentum)


def step_length(momentum: float) -> float:
    """How many gradients long Nesterov's steps become while the gradient stays the same.

    The velocity tends to g/(1 − momentum), the step to g + momentum/(1 − momentum)·g. The author
    counts 1 + 1/(1 − momentum), one more; his rates are per step of that length.
    """
    return 1 + 1 / (1 - momentum)


# ---- rates and averages as functions of the step -------------------------------------------------

def height(step: int, steps: int, start: float, peak: float, end: float) -> float:
    """The triangle: from ``start`` to 1 at the share ``peak`` of all steps, then to ``end``."""
    up = int(peak * steps)
    return (linear(start, 1.0, up, step) if step < up
            else linear(1.0, end, steps - up, step - up))


EVERY, DECAY, POWER = 5, 0.95, 3
"""Lookahead: steps between two looks, the slow weights' decay a step in the end, its growth."""


def lookahead(rule: str, step: int, steps: int, epoch: int) -> tuple[float, float]:
    """What Lookahead does after update ``step`` (from 0), as two weights of interpolation.

    Every fifth step the slow weights go towards the fast ones, slow ← d·slow + (1 − d)·fast, and
    the fast ones are replaced by them. d = 0.95⁵·(share of training)³ grows, so that weights move
    freely first and are averaged over many steps in the end.

    Args:
        rule: ``always``: from the start, and at the very end once more; ``late``: from the fourth
            epoch on, and at the end of each; ``none``.
        step: updates made before this one.
        steps, epoch: of the whole run, and of one epoch.

    Returns:
        (how far slow goes to fast, how far fast goes to slow): 0 is not at all, 1 all the way.
    """
    k, warm = step + 1, 3 * epoch
    if rule == "none" or (rule == "late" and step < warm):
        return 0.0, 0.0
    first = (warm // EVERY + 1) * EVERY  # the first look behind the third epoch
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

    Of all that is floating: weights, and BN's running statistics. Weights of interpolation that are
    plain zeros cost nothing.
    """
    if not isinstance(forth, Tensor) and forth == back == 0:
        return
    for s, f in zip(slow.state_dict().values(), fast.state_dict().values(), strict=True):
        if s.is_floating_point():
            s.lerp_(f, forth)
            f.lerp_(s, back)


# ---- what is trained how -------------------------------------------------------------------------

THOUSAND = 1024
"""Images that ``optim.lr`` and ``optim.weight_decay`` are for."""


def shifts(model: AirNet) -> list[nn.Parameter]:
    """BN's biases."""
    return [m.bias for m in model.modules() if isinstance(m, nn.BatchNorm2d)]


def filters(model: AirNet) -> list[nn.Parameter]:
    """The weights of the 3×3 convolutions."""
    return [p for p in model.groups.parameters() if p.dim() == 4]


def groups(model: AirNet, optim: OptimConfig, batch_size: int) -> list[dict[str, Any]]:
    """SGD's parameters by their highest rate (``top``), its schedule (``rate``), their decay.

    The author's losses are sums over the batch, ours is the mean: rates are times the batch.
    Decay is decoupled: torch multiplies it with the rate, so it is divided by the rate here.
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
        if model.first.weight.requires_grad:
            others.append(model.first.weight)
    parts = [(shifts(model), shift, "height"), (others, head, "height"),
             (first, shift if optim.rule == "muon" else head, "first")]
    return [{"params": params, "lr": top, "top": top, "rate": rate,
             "weight_decay": decay / top if top else 0.0} for params, top, rate in parts
            if params]
