"""What is measured of the states that trials end in, and of the patterns themselves.

In shapes, t is the number of trials.
"""

from __future__ import annotations

from torch import Tensor

from common.training.sums import fraction, wide
from papers.hopfield.model import overlap


def own_is_nearest(S: Tensor, ξ: Tensor, mine: Tensor) -> Tensor:
    """Which states are nearer to their own pattern than to any other pattern or any reverse, (t,).

    Args:
        S: states, (t, N).
        ξ: patterns, (p, N).
        mine: which pattern is each state's own, (t,).
    """
    sums = S @ ξ.T  # of every state with every pattern, (t, p)
    own = sums.gather(1, mine[:, None])
    return own[:, 0] > sums.abs().scatter(1, mine[:, None], -own).amax(1)


def remembered(S: Tensor, own: Tensor, nearest: Tensor) -> dict[str, float]:
    """How much of its own pattern each trial still has, where trials start from patterns.

    ``overlap``: m, mean over trials; ``wrong_bits``: 50 (1 − m) %. ``retrieved``: fraction of
    trials within 5 % of their pattern; ``under_5``: nearer than 5 %; ``exact``: with no wrong bit;
    ``returned``: the same among the trials of ``nearest``, left out where there are none.

    Args:
        S: states, (t, N).
        own: the pattern each trial started from, (t, N).
        nearest: the trials whose start was nearest to that pattern, (t,), bool.
    """
    m, wrong = wide(overlap(own, S)).mean().item(), (own != S).sum(1)
    metrics = {"overlap": m, "wrong_bits": 50 * (1 - m),
               "retrieved": fraction(20 * wrong <= S.shape[1]),
               "under_5": fraction(20 * wrong < S.shape[1]),
               "exact": fraction(wrong == 0)}
    if nearest.any():
        metrics["returned"] = fraction(wrong[nearest] == 0)
    return metrics


def reached(S: Tensor, ξ: Tensor) -> dict[str, float]:
    """Where random starts have ended, as fractions of the trials.

    ``assigned``: exactly in a pattern or its reverse; ``near``: within 5 % of one; ``elsewhere``:
    neither.

    Args:
        S: states, (t, N).
        ξ: patterns, (p, N).
    """
    m = (S @ ξ.T / S.shape[1]).abs().amax(1)
    return {"assigned": fraction(m == 1), "near": fraction((m >= 0.9) & (m < 1)),
            "elsewhere": fraction(m < 0.9)}


def unstable_bits(ξ: Tensor, zero_one: bool) -> float:
    """% of all patterns' bits that their field, by Hebb's couplings, would turn in one step.

    Args:
        ξ: patterns, (p, N).
        zero_one: whether neurons are 0 and 1 instead of ±1.
    """
    h = (ξ @ ξ.T) @ ξ - len(ξ) * ξ  # N h, whole numbers
    if zero_one:
        h = h + ξ.sum(1) @ ξ - len(ξ)  # what neurons 0 and 1 add: N Σ_j J_ij
    return 100 * fraction(h * ξ < 0)
