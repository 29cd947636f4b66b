"""Deep linear networks: their exact learning dynamics, and networks that should follow them.

The paper's symbols: N_l layers of neurons, hence N_l − 1 weight matrices W^l, from input to output;
Σ¹¹ = E[x xᵀ] (the identity for white inputs), Σ³¹ = E[y xᵀ] = U S Vᵀ; s_α the strength of a mode
of the task, u_α = (Uᵀ W V)_αα its strength in the network, a_i the share of one layer,
u = Π_i a_i; τ = 1/λ with the learning rate λ, so that times are numbers of updates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from einops import einsum
from scipy.integrate import quad
from scipy.optimize import brentq
from torch import Tensor

Weights = Sequence[Tensor]
"""W¹ … W^(N_l−1), each (units above, units below)."""


# ---- the closed forms ----------------------------------------------------------------------------

def learning_time(s: float, u0: float, uf: float, τ: float = 1.0) -> float:
    """Eq. (11): updates from strength u0 to uf with one hidden layer and a = b.

    t = τ/2s · ln[u_f (s − u_0) / (u_0 (s − u_f))], the solution of τ u̇ = 2u (s − u), eq. (10).
    """
    return τ / (2 * s) * math.log(uf * (s - u0) / (u0 * (s - uf)))


def strength(t: np.ndarray, s: float, u0: float, τ: float = 1.0) -> np.ndarray:
    """Eq. (12): u(t) = s e^(2st/τ) / (e^(2st/τ) − 1 + s/u_0), the sigmoid of one mode."""
    return s / (1 + (s / u0 - 1) * np.exp(-2 * s * np.asarray(t) / τ))


def velocity(u: float, s: float, layers: int) -> float:
    """Eq. (15): τ u̇ = (N_l − 1) u^(2 − 2/(N_l − 1)) (s − u), for equal shares of all layers."""
    n = layers - 1
    return n * u ** (2 - 2 / n) * (s - u)


def unbalanced_velocity(u: float, s: float, squares: Sequence[float]) -> float:
    """τ u̇ = Σ_i (u/a_i)² (s − u) from eqs. (9) and (14), where every a_i² − a_j² is conserved.

    So the differences of the a_i² from the smallest one stay constant, and Π_i a_i = u determines
    the smallest. With equal shares this is eq. (15).

    Args:
        u: strength of the mode.
        s: its strength in the task.
        squares: the initial a_i² of every layer, (N_l − 1,).
    """
    c = np.asarray(squares, float) - min(squares)
    smallest = brentq(lambda x: np.sqrt(x + c).prod() - u, 0, 2 * u ** (2 / len(c)), xtol=1e-300)
    return float((u * u / (smallest + c)).sum()) * (s - u)


def time_of(velocity: Callable[[float], float], s: float, u0: float, uf: float) -> float:
    """∫ du / velocity(u) from u0 to uf, both in (0, s), by quadrature in ln[u/(s − u)]."""
    def integrand(x: float) -> float:
        u = s / (1 + math.exp(-x))
        return u * (s - u) / s / velocity(u)
    ends = (math.log(u / (s - u)) for u in (u0, uf))
    return quad(integrand, *ends, limit=500, epsabs=0, epsrel=1e-11)[0]


def deep_learning_time(layers: int, s: float, u0: float, uf: float, τ: float = 1.0) -> float:
    """Updates from u0 to uf in a network of N_l layers, by integrating eq. (15)."""
    return τ * time_of(lambda u: velocity(u, s, layers), s, u0, uf)


def infinite_learning_time(s: float, u0: float, uf: float, τ: float = 1.0) -> float:
    """Eq. (17) times N_l: (τ/s²) {ln[u_f (u_0 − s) / (u_0 (u_f − s))] + s/u_0 − s/u_f}.

    The solution of τ u̇ = N_l u² (s − u), eq. (16), the limit of eq. (15) as N_l → ∞.
    """
    return τ / s**2 * (math.log(uf * (u0 - s) / (u0 * (uf - s))) + s / u0 - s / uf)


def curvature(layers: int, s: float) -> float:
    """Appendix B: largest eigenvalue of the Hessian of τ E at the optimum a = s^(1/(N_l−1)).

    It is (N_l − 1) s^((2N_l − 4)/(N_l − 1)) where all layers have equal shares of one mode.
    """
    return (layers - 1) * s ** ((2 * layers - 4) / (layers - 1))


# ---- networks ------------------------------------------------------------------------------------

def random_orthogonal(n: int, m: int, generator: torch.Generator,
                      dtype: torch.dtype = torch.float64) -> Tensor:
    """An (n, m) matrix with orthonormal rows or columns, whichever are fewer, from Haar measure.

    Computed by QR of a Gaussian matrix, with signs such that R's diagonal is positive.
    """
    tall = torch.randn(max(n, m), min(n, m), generator=generator, dtype=dtype)
    q, r = torch.linalg.qr(tall)
    q = q * r.diagonal().sign()
    return q if n >= m else q.T


def gaussian(n: int, m: int, generator: torch.Generator,
             dtype: torch.dtype = torch.float64) -> Tensor:
    """A Gaussian (n, m) matrix of variance 2/(n + m), as in Glorot & Bengio; 1/N if square."""
    return torch.randn(n, m, generator=generator, dtype=dtype) * math.sqrt(2 / (n + m))


def decoupled(U: Tensor, V: Tensor, shares: Tensor, width: int,
              generator: torch.Generator) -> list[Tensor]:
    """Weights on the invariant set of section 2: W^l = R_(l+1) D_l R_lᵀ, R_1 = V, R_(N_l) = U.

    Args:
        U, V: singular vectors of Σ³¹, (outputs, modes) and (inputs, modes).
        shares: a_l of every layer and mode, (N_l − 1, modes).
        width: units of each hidden layer, at least the number of modes.
        generator: source of the hidden layers' random bases.
    """
    modes = shares.shape[1]
    hidden = [random_orthogonal(width, width, generator)[:, :modes]
              for _ in range(len(shares) - 1)]
    R = [V, *hidden, U]
    return [einsum(above, a, below, "i k, k, j k -> i j")
            for above, a, below in zip(R[1:], shares, R[:-1], strict=True)]


def product(weights: Weights) -> Tensor:
    """W^(N_l−1) … W¹, the network's map, (outputs, inputs)."""
    W = weights[-1]
    for below in reversed(weights[:-1]):
        W = W @ below
    return W


def error(weights: Weights, Σ31: Tensor, Σ11: Tensor | None = None) -> Tensor:
    """½ E|y − W x|² without the constant ½ E|y|²; Σ¹¹ = I if it is not given."""
    W = product(weights)
    squares = W if Σ11 is None else W @ Σ11
    return 0.5 * (squares * W).sum() - (Σ31 * W).sum()


def gradients(weights: Weights, Σ31: Tensor, Σ11: Tensor | None = None
              ) -> tuple[list[Tensor], Tensor]:
    """Gradients of :func:`error` by eq. (13): −W^(above)ᵀ (Σ³¹ − W Σ¹¹) W^(below)ᵀ per layer.

    Products are formed from the narrow output side, so that the cost is not cubic in the width.

    Returns:
        The gradients, and the network's map W, (outputs, inputs).
    """
    above = [weights[-1]]  # above[k]: product of the last k + 1 matrices
    for W in reversed(weights[:-1]):
        above.append(above[-1] @ W)
    whole = above.pop()
    residual = Σ31 - (whole if Σ11 is None else whole @ Σ11)
    found = []
    for k, W in enumerate(weights):  # residual: (Σ³¹ − W Σ¹¹) W^(below)ᵀ, (outputs, units)
        last = k == len(weights) - 1
        found.append(-residual if last else -(above[-1 - k].T @ residual))
        if not last:
            residual = residual @ W.T
    return found, whole


def descend(weights: Weights, rate: float, Σ31: Tensor, Σ11: Tensor | None = None) -> Tensor:
    """Make one update of gradient descent in place; returns the map W before it."""
    slopes, whole = gradients(weights, Σ31, Σ11)
    torch._foreach_add_(list(weights), slopes, alpha=-rate)
    return whole


def fixed_point(s: Tensor, kept: Sequence[int]) -> list[Tensor]:
    """Section 1.2: weights with one hidden layer that represent only the modes ``kept``.

    Args:
        s: strengths of all modes, (modes,); inputs and outputs are the modes themselves.
        kept: the modes that the hidden units represent, one each.
    """
    W1, W2 = s.new_zeros(len(kept), len(s)), s.new_zeros(len(s), len(kept))
    for unit, mode in enumerate(kept):
        W1[unit, mode] = W2[mode, unit] = s[mode].sqrt()
    return [W1, W2]


# ---- nonlinear networks at initialisation --------------------------------------------------------

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(201)


def variance_map(q: float, gain: float) -> float:
    """Appendix G: q^(l+1) = g² ∫ Dz φ(√q^l z)² for φ = tanh, by Gauss-Hermite quadrature."""
    return gain**2 * float(WEIGHTS @ np.tanh(math.sqrt(q) * NODES) ** 2) / math.sqrt(2 * math.pi)


def variance_at(depth: int, q: float, gain: float) -> float:
    """The variance after ``depth`` layers, starting from q."""
    for _ in range(depth):
        q = variance_map(q, gain)
    return q
