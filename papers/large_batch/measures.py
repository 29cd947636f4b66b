"""What is measured of a trained network, and around the minimum x that it has ended in.

Batch normalisation is evaluated in two modes, see :func:`~papers.large_batch.model.statistics`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.training.sums import fraction
from papers.large_batch.model import Objective, line, random_directions, ritz_values, sharpness
from papers.large_batch.settings import MeasureConfig

MODES = {"batch": True, "moving": False}
"""Batch normalisation around a minimum: by the images' own statistics, or by moving averages."""


@torch.no_grad()
def scores(network: nn.Module, x: Tensor, images: Tensor, labels: Tensor, of_batch: bool,
           ) -> tuple[float, float]:
    """Loss and accuracy at weights x, (n,).

    Images are evaluated 5,000 at a time, as in the authors' program, or a few fewer, so that all
    parts are of the same size.

    Args:
        network: takes the weights x.
        x: (n,).
        images: (m, …).
        labels: (m,).
        of_batch: whether batch normalisation uses the statistics of each part.
    """
    objective = Objective(network, images, labels, of_batch)
    parts = images.tensor_split(math.ceil(len(images) / 5000))
    logits = torch.cat([objective.logits(x, part) for part in parts])
    return F.cross_entropy(logits, labels).item(), fraction(logits.argmax(1) == labels)


def around(network: nn.Module, x: Tensor, images: Tensor, labels: Tensor, m: MeasureConfig,
           generator: Callable[[str, int], torch.Generator]) -> dict[str, float]:
    """Metric (3) and the Hessian's largest eigenvalue at x, in both :data:`MODES`.

    ``sharpness_<full or random>_<ε>_<mode>`` and ``eigenvalue_<mode>``.

    Args:
        network: takes the weights x.
        x: the minimum, (n,).
        images, labels: f is their mean loss.
        m: what is measured.
        generator: the run's, of a stream and a step.
    """
    metrics = {}
    A = random_directions(len(x), m.directions, generator("directions", 0)).to(x.device)
    for mode, of_batch in MODES.items():
        f = Objective(network, images, labels, of_batch)
        for ε in m.epsilons:
            for space, directions in (("full", None), ("random", A)):
                metrics[f"sharpness_{space}_{ε:g}_{mode}"] = sharpness(
                    f, x, ε, directions, m.iterations)
        metrics[f"eigenvalue_{mode}"] = ritz_values(
            f, x, m.products, generator("lanczos", 0))[-1].item()
    return metrics


def along(network: nn.Module, x_s: Tensor, x_l: Tensor,
          splits: Mapping[str, tuple[Tensor, Tensor]], points: int) -> dict[str, float]:
    """Fig. 3: loss and accuracy on the line from x_s to x_ℓ, by statistics of the images.

    ``line_<split>_<loss or accuracy>_<k>``: at the k-th α of −1 … 2.

    Args:
        network: takes the weights of each point.
        x_s, x_l: the two minima, (n,).
        splits: images and labels, by name.
        points: how many values α has.
    """
    metrics = dict[str, float]()
    for k, x in enumerate(line(x_s, x_l, points)):
        for name, (images, labels) in splits.items():
            loss, accuracy = scores(network, x, images, labels, of_batch=True)
            metrics |= {f"line_{name}_loss_{k}": loss, f"line_{name}_accuracy_{k}": accuracy}
    return metrics
