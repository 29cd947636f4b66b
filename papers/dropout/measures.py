"""What is measured of trained networks: averages of sampled ones, and hidden activations."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from common.training.sums import fraction
from papers.dropout.model import Autoencoder

BINS = 40
"""Bins of each histogram of Fig. 8; they are 0.1 wide, and the last also holds what lies above."""


def monte_carlo(pool: Tensor, labels: Tensor, samples: Sequence[int], repeats: int,
                draw: torch.Generator) -> dict[str, float]:
    """Fig. 11: the error of the average of k sampled networks, in %.

    ``monte_carlo_<k>`` is the mean over repeats, each with k other networks of the pool, and
    ``monte_carlo_<k>_sd`` their standard deviation.

    Args:
        pool: class probabilities of the sampled networks, (networks, n, classes).
        labels: (n,).
        samples: the values of k.
        repeats: how many averages are made for each k.
        draw: chooses the networks.
    """
    metrics = {}
    for k in samples:
        errors = []
        for _ in range(repeats):
            chosen = torch.randperm(len(pool), generator=draw)[:k]
            wrong = pool[chosen].mean(0).argmax(1) != labels
            errors.append(100 * fraction(wrong))
        found = torch.tensor(errors, dtype=torch.float64)
        metrics[f"monte_carlo_{k}"] = found.mean().item()
        metrics[f"monte_carlo_{k}_sd"] = found.std().item()
    return metrics


def activations(network: Autoencoder, x: Tensor) -> dict[str, float]:
    """Section 7.2: how active the hidden units are.

    ``mean_activation``: as they are. ``mean_activation_scaled``: times p, as the layer above sees
    them at test time. The two histograms of Fig. 8, as fractions: ``activations_<b>`` of all
    activations those in bin b, ``means_<b>`` of all units those whose mean activation is in it.

    Args:
        network: left in evaluation mode.
        x: images, (n, pixels).
    """
    network.eval()
    with torch.no_grad():
        y = network.hidden_outputs(x)[0]
        metrics = {"mean_activation": y.mean().item(),
                   "mean_activation_scaled": network.drop(y).mean().item()}
    for name, values in (("activations", y.flatten()), ("means", y.mean(0))):
        bins = (values * 10).long().clamp(max=BINS - 1).bincount(minlength=BINS)
        metrics |= {f"{name}_{b}": n.item() / len(values) for b, n in enumerate(bins)}
    return metrics
