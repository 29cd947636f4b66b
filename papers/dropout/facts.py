"""Functions behind the claims: exact facts computed from the code, and measures over runs."""

from __future__ import annotations

import torch
from torch import nn

from common.evidence.results import Result
from common.training.max_norm import project_max_norm
from papers.dropout.model import Dropout, GaussianDropout, InvertedDropout

DIGITS = 12
"""Decimals of an exact fact: the next ones are rounding, which differs by processor."""


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def weight_scaling_error() -> float:
    """Largest |W(p·y) − (pW)y| of a linear layer, relative."""
    g = _generator()
    w, y = (torch.randn(s, generator=g, dtype=torch.float64) for s in ((7, 20), (20, 5)))
    drop = Dropout(0.3).eval()
    scaled = (0.3 * w) @ y
    return round(((w @ drop(y) - scaled).abs().max() / scaled.abs().max()).item(), DIGITS)


def inverted_equivalence_error() -> float:
    """Largest difference of the paper's form with W and the inverted form with pW, one mask."""
    g = _generator()
    w, y = (torch.randn(s, generator=g, dtype=torch.float64) for s in ((7, 20), (20, 5)))
    outputs = []
    for drop, weights in ((Dropout(0.4), w), (InvertedDropout(0.4), 0.4 * w)):
        torch.manual_seed(1)
        outputs.append(weights @ drop(y))
        drop.eval()
        outputs.append(weights @ drop(y))
    differences = [(outputs[k] - outputs[k + 2]).abs().max() for k in (0, 1)]
    return round(max(differences).item(), DIGITS)


def gaussian_sigma(p: float) -> float:
    """σ of the Gaussian noise that has the variance of Bernoulli dropout at retention p."""
    y = torch.ones(400_000, dtype=torch.float64)
    torch.manual_seed(0)
    return GaussianDropout(p)(y).std().item()


def norm_after_projection() -> float:
    """Largest norm of a unit's incoming weights after the projection with c = 2."""
    w = nn.Parameter(5 * torch.randn(30, 40, generator=_generator(), dtype=torch.float64))
    project_max_norm([w], 2.0)
    return round(w.detach().norm(dim=1).max().item(), DIGITS)


def monte_carlo_excess(runs: dict[str, Result], k: int) -> float:
    """Error of the average of k sampled networks less that of weight scaling, in points."""
    (run,) = runs.values()
    return run.metrics[f"monte_carlo_{k}"] - run.metrics["error"]
