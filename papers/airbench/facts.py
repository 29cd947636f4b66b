"""Functions behind the claims: facts that follow from the code alone, and measures over runs."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from common.data import digits, generator
from common.evidence.claims import read_table
from common.evidence.results import Result
from common.experiments import Experiments
from papers.airbench.augment import Flip, Flips
from papers.airbench.model import EPS, AirNet, conv, covariance, dirac, patches, whitening
from papers.airbench.optim import COEFFICIENTS, newton_schulz
from papers.airbench.train import Config

TRAINING_IMAGES, TEST_IMAGES, VIEWS = 50_000, 10_000, 6
"""CIFAR-10's training and test images, and the views of each test image."""

DIGITS, DIGITS_32 = 12, 6
"""Decimals to which exact facts are rounded, in float64 and with float32 filters; further digits
differ between processors."""


def configuration(experiment: str) -> Config:
    """The configuration of an experiment of this paper."""
    return Experiments(Config, Path(__file__).with_name("config.yaml")).resolve(experiment)


# ---- the network ---------------------------------------------------------------------------------

def digit_images() -> Tensor:
    """scikit-learn's digits with mean 0 and variance 1, in float64."""
    x = digits().train.images.double()
    return (x - x.mean()) / x.std()


def whitened(eps: float) -> float:
    """Largest difference between the whitened patches' covariance and diag λ/(λ + eps), on digits.

    The filters are float32, as in the network; covariances are computed in float64.
    """
    x = digit_images()
    filters = whitening(x, eps=eps)
    half = filters[:len(filters) // 2].double()
    outputs = F.conv2d(x, half).movedim(1, -1).flatten(0, 2)
    found = covariance(patches(x))
    expected = torch.linalg.eigvalsh(found).flip(0)
    expected = expected / (expected + eps)
    return round((covariance(outputs) - torch.diag(expected)).abs().max().item(), DIGITS_32)


def whitened_to_identity() -> float:
    """Largest difference between the covariance without eps and the identity."""
    return whitened(0.0)


def whitened_with_eps() -> float:
    """Largest difference between the covariance with the scripts' eps and diag λ/(λ + eps)."""
    return whitened(EPS)


def signs() -> float:
    """Largest entry of a whitening filter plus its negative; 0 if both signs are present."""
    filters = whitening(digit_images())
    half = len(filters) // 2
    return round((filters[:half] + filters[half:]).abs().max().item(), DIGITS_32)


def passed_on() -> float:
    """Largest difference between a layer's first outputs and inputs after the identity start."""
    layer = conv(24, 64)
    dirac(layer.weight)
    x = torch.randn(4, 24, 9, 9, generator=generator(0, "passed_on"))
    with torch.no_grad():
        return (layer(x)[:, :24] - x).abs().max().item()


def parameters(experiment: str) -> float:
    """Number of trainable weights in an experiment's network."""
    return float(sum(p.numel() for p in network(experiment).parameters() if p.requires_grad))


def network(experiment: str) -> AirNet:
    """An experiment's network on the meta device, without memory for its weights."""
    model = configuration(experiment).model
    with torch.device("meta"):
        return AirNet(model.widths, 3, 32, 10, model.first, False, model.head, model.keep)


# ---- Newton-Schulz iteration ---------------------------------------------------------------------

def quintic(x: np.ndarray, steps: int) -> np.ndarray:
    """The quintic applied ``steps`` times to singular values x."""
    a, b, c = COEFFICIENTS
    for _ in range(steps):
        x = a * x + b * x**3 + c * x**5
    return x


def iteration_off(rows: int = 48, columns: int = 96) -> float:
    """Largest difference between the iteration's singular values and the quintic of the original.

    For a Gaussian matrix, in float64.
    """
    g = torch.randn(rows, columns, generator=generator(0, "iteration"), dtype=torch.float64)
    g /= g.norm()
    found = torch.linalg.svdvals(newton_schulz(g, eps=0.0)).numpy()
    expected = quintic(torch.linalg.svdvals(g).numpy(), 3)
    return round(float(np.abs(np.sort(found) - np.sort(expected)).max()), DIGITS)


def vectors_off(rows: int = 48, columns: int = 96) -> float:
    """Largest off-diagonal entry of Uᵀ X V, which is 0 if the iteration gives U S' Vᵀ; float64."""
    g = torch.randn(rows, columns, generator=generator(0, "iteration"), dtype=torch.float64)
    u, _, vt = torch.linalg.svd(g, full_matrices=False)
    inside = u.T @ newton_schulz(g) @ vt.T
    return round((inside - torch.diag(inside.diagonal())).abs().max().item(), DIGITS)


def spectrum(smallest: float, steps: int, which: str) -> float:
    """Least or greatest result of the iteration for singular values from ``smallest`` to 1.

    Args:
        smallest: the smallest singular value, divided by the Frobenius norm.
        steps: number of steps of the iteration.
        which: ``least`` or ``greatest``.
    """
    found = quintic(np.linspace(smallest, 1.0, 200_001), steps)
    return float(found.min() if which == "least" else found.max())


def enough(least: float, steps: int) -> float:
    """The smallest singular value such that it and all larger ones end at ``least`` or above."""
    x = np.linspace(0.0, 1.0, 200_001)
    below = np.flatnonzero(quintic(x, steps) < least)
    return float(x[below[-1] + 1])


# ---- flips ---------------------------------------------------------------------------------------

def seen_both_ways(kind: Flip) -> float:
    """Fraction of images that two consecutive epochs show in both orientations, over 20 pairs."""
    flips = Flips(TRAINING_IMAGES, kind, 0)
    return float(np.mean([(flips(k) != flips(k + 1)).double().mean().item() for k in range(20)]))


# ---- arithmetic and steps ------------------------------------------------------------------------

def petaflop(experiment: str, dropped: bool = False) -> float:
    """Floating-point operations of a run, in 10¹⁵, by torch's counter: training and six views.

    It counts matrix products and convolutions only, two operations per multiply-add. The first
    layer's bias needs a gradient only in the first epochs, and only then does the first group need
    the gradient of its input.

    Args:
        experiment: one with a whitening first layer.
        dropped: whether to count all 50,000 images per epoch, including the incomplete last batch.
    """
    config, made = configuration(experiment), network(experiment)
    train, batches = config.train, TRAINING_IMAGES // config.train.batch_size
    epoch = TRAINING_IMAGES if dropped else batches * train.batch_size
    length, moving = train.steps / batches, config.optim.frozen_after
    operations = TEST_IMAGES * VIEWS * counted(made, training=False)
    operations += epoch * moving * counted(made)
    made.first.requires_grad_(False)
    operations += epoch * (length - moving) * counted(made)
    return operations / 1e15


def counted(made: AirNet, training: bool = True) -> float:
    """Operations for one image: forward pass, and backward pass if ``training``."""
    with FlopCounterMode(display=False) as counter:
        logits = made(torch.empty(1, 3, 32, 32, device="meta"))
        if training:
            logits.sum().backward()
    return counter.get_total_flops()


def chain() -> list[dict[str, str]]:
    """The rows of the published table of ablations."""
    return read_table(Path(__file__).with_name("published") / "chain.csv")


def rows_in_steps() -> float:
    """Number of rows whose experiment makes ⌈48 · epochs⌉ steps of 1,024 images."""
    def fits(row: dict[str, str]) -> bool:
        train = configuration(row["row"]).train
        batches = TRAINING_IMAGES // train.batch_size
        return (train.batch_size, train.steps) == (1024, math.ceil(batches * float(row["epochs"])))
    return float(sum(map(fits, chain())))


# ---- over runs -----------------------------------------------------------------------------------

def views_gain(runs: dict[str, Result], more: int, fewer: int) -> float:
    """Accuracy with ``more`` views of a test image minus that with ``fewer``, in points."""
    (run,) = runs.values()
    return run.metrics[f"accuracy_{more}"] - run.metrics[f"accuracy_{fewer}"]
