"""What is measured of trained networks: errors as biases are shifted, and images to be shown."""

from __future__ import annotations

import torch
from torch import Tensor

from common.training.sums import fraction
from papers.distillation.model import best_shift, errors_by_shift, shifted
from papers.distillation.settings import MeasureConfig

PAIRS = ((2, 3, 7), (7, 2, 9))
"""(d, a, b): of the training images of d, those most like an a, and most like a b, are shown."""


def by_shift(z: Tensor, labels: Tensor, z_train: Tensor, labels_train: Tensor,
             m: MeasureConfig) -> dict[str, float]:
    """What becomes of the errors when the biases of some classes are shifted.

    ``own_errors``: those on images of these classes. With ``_shifted``: after the paper's
    shift; ``_best``: after the one with the fewest errors on the evaluated images, as the
    paper has it, ``shift_best``; ``_train``: after the one with the fewest on all training
    images, ``shift_train``. ``errors_at_<k>``: at the k-th of ``measure.points`` shifts.

    Args:
        z, labels: logits (n, N) and labels (n,) of the images that are evaluated on.
        z_train, labels_train: of all training images.
        m: the classes, the paper's shift and the number of points.
    """
    of_them = torch.isin(labels, torch.tensor(m.classes, device=labels.device))
    found = {"best": best_shift(z.cpu(), labels.cpu(), m.classes),
             "train": best_shift(z_train.cpu(), labels_train, m.classes)}
    metrics = {f"shift_{name}": value for name, value in found.items()}
    for name, shift in (("", 0.0), ("_shifted", m.shift),
                        *((f"_{name}", value) for name, value in found.items())):
        wrong = shifted(z, m.classes, shift).argmax(1) != labels
        metrics |= {f"errors{name}": float(wrong.sum().item()),
                    f"error{name}": 100 * fraction(wrong),
                    f"own_errors{name}": float((wrong & of_them).sum().item())}
    edges, errors = errors_by_shift(z.cpu(), labels.cpu(), m.classes)
    shifts = torch.linspace(0, 2 * m.shift, m.points, dtype=torch.float64)
    return metrics | {f"errors_at_{k}": float(errors[i].item())
                      for k, i in enumerate(torch.searchsorted(edges, shifts))}


def examples(v: Tensor, labels: Tensor, digit: int, one: int, other: int) -> tuple[int, int]:
    """Two images of a digit: one that resembles ``one`` most, and one that resembles ``other``.

    By the difference of their logits, among the images that the teacher is right about; where it
    is right about none, among all.

    Args:
        v: the teacher's logits (n, N).
        labels: (n,).
    """
    own = labels == digit
    right = own & (v.argmax(1) == digit)
    of = (right if right.any() else own).nonzero()[:, 0]
    difference = v[of, one] - v[of, other]
    return int(of[difference.argmax()]), int(of[difference.argmin()])
