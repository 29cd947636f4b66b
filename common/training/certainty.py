"""Measures of a classifier's confidence and calibration, from its class probabilities alone."""

from __future__ import annotations

from torch import Tensor

from common.training.sums import wide


def nll(p: Tensor, labels: Tensor) -> float:
    """Mean negative log-likelihood, −log p of the correct class, in nats.

    Args:
        p: class probabilities, (n, classes).
        labels: the correct classes, (n,).
    """
    return -wide(p).clamp(min=1e-12).log().gather(1, labels[:, None]).mean().item()


def uncertainty(probabilities: Tensor) -> dict[str, Tensor]:
    """The predictive entropy of each input, and its two parts, in nats.

    ``total`` = H[mean p], ``aleatoric`` = mean H[p], ``epistemic`` = their difference, the mutual
    information of prediction and weights.

    Args:
        probabilities: class probabilities of several sampled networks, (samples, n, classes).
    """
    def entropy(p: Tensor) -> Tensor:
        return -(p * p.clamp(min=1e-12).log()).sum(-1)
    total, aleatoric = entropy(probabilities.mean(0)), entropy(probabilities).mean(0)
    return {"total": total, "aleatoric": aleatoric, "epistemic": total - aleatoric}


def calibration_error(p: Tensor, labels: Tensor, bins: int = 15) -> float:
    """Expected calibration error: mean |accuracy − confidence| in equal-width confidence bins.

    Args:
        p: class probabilities, (n, classes).
        labels: the correct classes, (n,).
        bins: number of bins.
    """
    confidence, predicted = p.max(1)
    right = (predicted == labels).to(p.dtype)
    index = (confidence * bins).long().clamp(max=bins - 1)
    gap = p.new_zeros(bins).index_add(0, index, right - confidence)
    return (gap.abs().sum() / len(labels)).item()
