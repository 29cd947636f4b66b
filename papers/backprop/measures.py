"""What is measured of the networks of a run: how many have learned their task, and how soon."""

from __future__ import annotations

import torch
from torch import Tensor

from common.training.sums import fraction
from papers.backprop.model import Loss


def right(y: Tensor, d: Tensor) -> Tensor:
    """Which cases have every output on the right side of one half, (s, c).

    Args:
        y: outputs of s networks for c cases, (s, c, units).
        d: targets, (c, units).
    """
    return ((y - d).abs() < 0.5).all(2)


def classified(y: Tensor, d: Tensor) -> dict[str, float]:
    """On digits, ``accuracy``: the networks' mean; ``accuracy_best``, ``_worst``: of one network.

    Args:
        y: outputs, (s, c, classes).
        d: targets, (c, classes).
    """
    accuracy = (y.argmax(2) == d.argmax(1)).float().mean(1)
    return {"accuracy": accuracy.mean().item(), "accuracy_best": accuracy.max().item(),
            "accuracy_worst": accuracy.min().item()}


def learned(y: Tensor, d: Tensor, mask: Tensor, sweeps: Tensor, E: Loss) -> dict[str, float]:
    """What fraction of networks has solved its task, and how soon.

    ``solved``: by now every trained case was right at once. ``trained`` and ``held_out``: fraction
    of such cases that are right now. ``learned``, where the loss has a tolerance: fraction of
    networks that now have every output of every trained case within it. ``median_sweeps`` over all
    networks, −1 where no more than half have solved it.

    Args:
        y: outputs, (s, c, units).
        d: targets, (c, units).
        mask: (s, c), 1 where a network is trained on a case and 0 where it is held out.
        sweeps: (s,), the sweep after which a network had solved its task, or −1.
        E: the loss.
    """
    cases, n = right(y, d).float(), len(sweeps)
    solved = sweeps >= 0
    ordered = torch.where(solved, sweeps, torch.iinfo(torch.int64).max).sort().values
    metrics = {"solved": fraction(solved),
               "trained": ((cases * mask).sum() / mask.sum()).item(),
               "median_sweeps": float(ordered[(n - 1) // 2]) if 2 * solved.sum() > n else -1.0}
    if E.tolerance:
        metrics["learned"] = fraction((E.right(y, d).all(2) | (mask == 0)).all(1))
    if (mask == 0).any():
        metrics["held_out"] = ((cases * (1 - mask)).sum() / (1 - mask).sum()).item()
    return metrics
