"""Soft targets at a temperature, the losses that use them, and biases moved after training.

Symbols are the paper's: T the temperature, z the logits of the distilled model and q its
probabilities, v those of the cumbersome model (the teacher) and p its probabilities, N classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.errors import UserError
from common.training.layers import Dropout, list_of
from common.training.linear import Linear

# ---- networks ----------------------------------------------------------------------------------


class Network(nn.Module):
    """Two (or more) layers of rectified linear units: teacher and students (section 3).

    Args:
        inputs: number of pixels.
        hidden: widths of the hidden layers.
        classes: N.
        p_input, p_hidden: probabilities of *retaining* a pixel and a hidden unit in training; what
            is retained is scaled by 1/p, so that nothing is to be done in evaluation.
        generator: source of the initial weights N(0, 2/fan_in); biases start at zero.

    Shapes: (n, …) → (n, classes), the logits.
    """

    def __init__(self, inputs: int = 784, hidden: Sequence[int] = (800, 800), classes: int = 10,
                 p_input: float = 1.0, p_hidden: float = 1.0,
                 generator: torch.Generator | None = None):
        super().__init__()
        self.layers = list_of(Linear(i, o) for i, o in pairwise([inputs, *hidden, classes]))
        self.retained = [p_input] + [p_hidden] * len(hidden)
        self.drops = list_of(Dropout(1 - p) if p < 1 else nn.Identity() for p in self.retained)
        for layer in self.layers:
            nn.init.normal_(layer.weight, 0.0, (2 / layer.in_features) ** 0.5, generator=generator)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for drop, layer in zip(self.drops[:-1], self.layers[:-1], strict=True):
            x = torch.relu(layer(drop(x)))
        return self.layers[-1](self.drops[-1](x))


def network_of(weights: Mapping[str, Tensor]) -> Network:
    """The network that has these weights, for evaluation.

    Raises:
        UserError: they are not those of a :class:`Network`.
    """
    names = [f"layers.{k}.weight" for k in range(len(weights))]
    matrices = [weights[name] for name in names if name in weights]
    if len(matrices) < 2:
        raise UserError("expected the logits of a teacher, or its weights")
    network = Network(matrices[0].shape[1], [len(w) for w in matrices[:-1]], len(matrices[-1]))
    network.load_state_dict({k: weights[k] for k in network.state_dict()})
    return network.eval()


# ---- soft targets ------------------------------------------------------------------------------


def softened(z: Tensor, T: float) -> Tensor:
    """Eq. (1): q_i = exp(z_i/T) / Σ_j exp(z_j/T).

    Shapes: (…, N) → (…, N).
    """
    return torch.softmax(z / T, -1)


def soft_cross_entropy(z: Tensor, v: Tensor, T: float) -> Tensor:
    """C = −Σ_i p_i log q_i, both at temperature T, mean over the cases.

    Shapes: z and v (n, N) → ().
    """
    return -(softened(v, T) * F.log_softmax(z / T, 1)).sum(1).mean()


def gradient(z: Tensor, v: Tensor, T: float) -> Tensor:
    """Eq. (2): ∂C/∂z_i = (q_i − p_i)/T of every case.

    Shapes: z and v (n, N) → (n, N).
    """
    return (softened(z, T) - softened(v, T)) / T


def matching(z: Tensor, v: Tensor, T: float) -> Tensor:
    """Eq. (4): (z_i − v_i)/(N T²), what eq. (2) tends to at high T where logits have zero mean.

    Shapes: z and v (n, N) → (n, N).
    """
    return (z - v) / (z.shape[-1] * T**2)


def distillation_loss(z: Tensor, v: Tensor, labels: Tensor, T: float, hard: float) -> Tensor:
    """The weighted average of section 2: (1 − hard)·T²·C + hard·(cross-entropy of the labels).

    The factor T² keeps the gradients of both of one size when T changes; labels are met at T = 1.

    Args:
        z, v: logits of the distilled model and of the teacher, (n, N).
        labels: (n,), int64.
        T: the temperature.
        hard: weight of the labels, 0 … 1.
    """
    soft = T**2 * soft_cross_entropy(z, v, T)
    return (1 - hard) * soft + hard * F.cross_entropy(z, labels)


# ---- biases moved after training -----------------------------------------------------------------


def shifted(z: Tensor, classes: Sequence[int], shift: float) -> Tensor:
    """Logits (n, N) with the biases of some classes raised by ``shift``."""
    moved = z.clone()
    moved[:, list(classes)] += shift
    return moved


def errors_by_shift(z: Tensor, labels: Tensor, classes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Wrong predictions as a function of a shift of the biases of some classes, exactly.

    A case goes over to the best of ``classes`` where the shift exceeds r, by how much the best of
    the others is ahead: the count is a step function with an edge at the r of every case.

    Args:
        z: logits (n, N).
        labels: (n,).
        classes: some of the N, not all.

    Returns:
        The edges, ascending, (n,) float64, and the count below, between and above them, (n + 1,).
    """
    inside = torch.zeros(z.shape[1], dtype=torch.bool, device=z.device)
    inside[list(classes)] = True
    z = z.double()
    low, other = z.masked_fill(inside, -torch.inf).max(1)
    high, own = z.masked_fill(~inside, -torch.inf).max(1)
    edges, order = (low - high).sort()
    change = ((own != labels).long() - (other != labels).long())[order]
    start = (other != labels).sum()
    return edges, torch.cat([start[None], start + change.cumsum(0)])


def best_shift(z: Tensor, labels: Tensor, classes: Sequence[int]) -> float:
    """The shift of the biases of some classes with the fewest wrong predictions.

    It is the middle of the widest interval of such shifts; one unit beyond the last edge where
    that interval does not end.

    Args:
        z, labels, classes: see :func:`errors_by_shift`.
    """
    edges, errors = errors_by_shift(z, labels, classes)
    ends = torch.cat([edges[:1] - 2, edges, edges[-1:] + 2])
    width = torch.where(errors == errors.min(), ends[1:] - ends[:-1], -1.0)
    k = int(width.argmax())
    return ((ends[k] + ends[k + 1]) / 2).item()
