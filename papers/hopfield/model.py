"""Associative memories: Hopfield (1982), the pseudo-inverse, Ramsauer et al. (2020).

Symbols: N neurons S_i = ±1, p patterns ξ^μ, load α = p/N, couplings
J_ij = (1/N) Σ_μ ξ_i^μ ξ_j^μ with J_ii = 0, fields h_i = Σ_j J_ij S_j, energy
E = −½ Σ_ij J_ij S_i S_j, overlap m = (1/N) Σ_i ξ_i S_i. In shapes, t is the number of trials, which
are independent networks with the same couplings.
"""

from __future__ import annotations

import torch
from einops import einsum
from torch import Tensor, nn


def whole_hebb(ξ: Tensor) -> Tensor:
    """N J of Hebb's rule, (N, N), Hopfield's T_ij of eq. (2): Σ_μ ξ_i^μ ξ_j^μ, T_ii = 0.

    Whole numbers, so that a field of zero comes out as exactly zero, which a sum of rounded J_ij
    need not do.

    Args:
        ξ: patterns of ±1, (p, N).
    """
    return einsum(ξ, ξ, "p i, p j -> i j").fill_diagonal_(0)


def hebb(ξ: Tensor) -> Tensor:
    """Couplings (N, N) of the patterns (p, N) by Hebb's rule, without self-connections."""
    return whole_hebb(ξ) / ξ.shape[1]


def pseudo_inverse(ξ: Tensor) -> Tensor:
    """Couplings (N, N) that make any independent patterns (p, N) stable: ξ⁺ξ without diagonal."""
    return (torch.linalg.pinv(ξ) @ ξ).fill_diagonal_(0)


def energy(J: Tensor, S: Tensor) -> Tensor:
    """E = −½ Σ_ij J_ij S_i S_j of states (t, N) of ±1 or of 0 and 1, shape (t,)."""
    return -0.5 * einsum(S, J, S, "t i, i j, t j -> t")


def threshold(h: Tensor, S: Tensor) -> Tensor:
    """The sign of the field; a neuron without a field stays as it is."""
    return torch.where(h == 0, S, torch.sign(h))


def synchronous(J: Tensor, S: Tensor) -> Tensor:
    """All neurons of the states (t, N) at once, by the fields of the old state."""
    return threshold(einsum(J, S, "i j, t j -> t i"), S)


def asynchronous(J: Tensor, S: Tensor, order: Tensor, bias: Tensor | None = None) -> Tensor:
    """One neuron after the other, each by the fields of the newest state: a sweep of (t, N).

    Args:
        J: (N, N); by Hebb's rule N J, :func:`whole_hebb`, whose fields are exact.
        S: (t, N).
        order: (N,), which neuron when, the same for all trials.
        bias: added to the fields, (N,), in the unit of J.
    """
    S = S.clone()
    for i in order.tolist():
        h = S @ J[i] if bias is None else S @ J[i] + bias[i]
        S[:, i] = threshold(h, S[:, i])
    return S


def zero_one_bias(J: Tensor) -> Tensor:
    """What neurons 0 and 1 add to the fields: Σ_j J_ij (S_j + 1)/2 = ½ (Σ_j J_ij S_j + bias_i)."""
    return J.sum(1)


def asynchronous_by_overlaps(ξ: Tensor, S: Tensor, order: Tensor, block: int = 64) -> Tensor:
    """A sweep as :func:`asynchronous` makes, for Hebb's couplings, without forming them.

    Since N h_i = Σ_μ ξ_i^μ (Σ_j ξ_j^μ S_j) − p S_i, the sums over patterns are kept and change only
    when a neuron does. Fields of a block of neurons come from one matrix product; after the first
    change in the block the remaining ones are corrected for it. All quantities are whole numbers,
    so that the result is exactly the same.

    Args:
        ξ: (p, N).
        S: (t, N).
        order: (N,); the host waits for a graphics card once for it, and once for each block.
        block: neurons whose fields are computed at a time.
    """
    p, S = len(ξ), S.clone()
    sums = S @ ξ.T  # (t, p)
    neurons = order.tolist()
    for b, chunk in enumerate(order.to(S.device).split(block)):
        ξ_b = ξ[:, chunk]
        h = sums @ ξ_b - p * S[:, chunk]  # (t, b)
        changes = (threshold(h, S[:, chunk]) != S[:, chunk]).any(0).tolist()
        if True not in changes:
            continue
        couplings = (ξ_b.T @ ξ_b).fill_diagonal_(0)  # of the block, N J
        for k in range(changes.index(True), len(chunk)):
            i = neurons[b * block + k]
            old = S[:, i]
            new = threshold(h[:, k], old)
            change = new - old
            if S.device.type != "cpu" or change.any():  # elsewhere asking costs more than adding 0
                h += change[:, None] * couplings[k]
                S[:, i] = new
                sums += change[:, None] * ξ_b[:, k]
    return S


def overlap(ξ: Tensor, S: Tensor) -> Tensor:
    """m = (1/N) Σ_i ξ_i S_i of each trial with its own pattern, (t, N) each, shape (t,)."""
    return (ξ * S).mean(1)


def modern_update(X: Tensor, ξ: Tensor, β: float) -> Tensor:
    """Ramsauer et al. (2020), eq. (3): ξ_new = X softmax(β Xᵀ ξ), which is attention.

    Args:
        X: stored patterns, (p, d).
        ξ: states, (t, d).
        β: inverse temperature.
    """
    return torch.softmax(β * ξ @ X.T, 1) @ X


def modern_energy(X: Tensor, ξ: Tensor, β: float) -> Tensor:
    """Ramsauer et al. (2020), eq. (2) without its constants: −lse(β, Xᵀξ) + ½ ξᵀξ, shape (t,)."""
    return -torch.logsumexp(β * ξ @ X.T, 1) / β + 0.5 * ξ.square().sum(1)


class HopfieldLayer(nn.Module):
    """Ramsauer et al. (2020), eq. (10): a layer whose forward pass is retrieval, as in attention.

    States and stored patterns are mapped into an associative space, where the states make
    ``updates`` steps of :func:`modern_update`; with one step this is attention with one head.

    Args:
        states: width d_r of the state patterns R.
        stored: width d_y of the stored patterns Y.
        space: width d_k of the associative space.
        outputs: width of what is returned.
        β: inverse temperature; None: 1/√d_k.
        updates: steps of retrieval.

    Shapes: R (b, t, d_r), Y (b, p, d_y) → (b, t, outputs).
    """

    def __init__(self, states: int, stored: int, space: int, outputs: int,
                 β: float | None = None, updates: int = 1):
        super().__init__()
        self.W_Q, self.W_K = nn.Linear(states, space, False), nn.Linear(stored, space, False)
        self.W_V = nn.Linear(space, outputs, False)
        self.β, self.updates = space**-0.5 if β is None else β, updates

    def forward(self, R: Tensor, Y: Tensor) -> Tensor:
        ξ, X = self.W_Q(R), self.W_K(Y)
        for _ in range(self.updates):
            attention = torch.softmax(self.β * einsum(ξ, X, "b t k, b p k -> b t p"), -1)
            ξ = einsum(attention, X, "b t p, b p k -> b t k")
        return self.W_V(ξ)
