"""How sure a classifier is, and how right it is to be: from its class probabilities alone."""

from __future__ import annotations

from torch import Tensor

from common.training.sums import wide


def nll(p: Tensor, labels: Tensor) -> float:
    """−log p of the right class, mean over examples, in nats.

    Args:
        p: probabilities (n, classes).
        labels: (n,).
    """
    return -wide(p).clamp(min=1e-12).log().gather(1, labels[:, None]).mean().item()


def uncertainty(probabilities: Tensor) -> dict[str, Tensor]:
    """Predictive entropy of each input and its two parts, in nats.

    ``total`` = H[mean p], ``aleatoric`` = mean H[p], ``epistemic`` = their difference, the mutual
    information of prediction and weights.

    Args:
        probabilities: (samples, n, classes).
    """
    def entropy(p: Tensor) -> Tensor:
        return -(p * p.clamp(min=1e-12).log()).sum(-1)
    total, aleatoric = entropy(probabilities.mean(0)), entropy(probabilities).mean(0)
    return {"total": total, "aleatoric": aleatoric, "epistemic": total - aleatoric}


def calibration_error(p: Tensor, labels: Tensor, bins: int = 15) -> float:
    """Expected calibration error: |accuracy − confidence| over equal-width bins of confidence.

    Args:
        p: probabilities (n, classes).
        labels: (n,).
        bins: number of bins.
    """
    confidence, predicted = p.max(1)
    right = (predicted == labels).to(p.dtype)
    index = (confidence * bins).long().clamp(max=bins - 1)
    gap = p.new_zeros(bins).index_add(0, index, right - confidence)
    return (gap.abs().sum() / len(labels)).item()
