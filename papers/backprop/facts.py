"""Functions behind the claims: what weights show, and where a published number falls."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from common.evidence.results import Result
from common.training.sums import fraction
from papers.backprop.model import Network
from papers.backprop.tasks import GENERATION, family_cases


def cases_of_family_trees() -> float:
    """Number of (person, relation) pairs with an answer."""
    return float(len(family_cases()))


def gradient_error() -> float:
    """Largest relative difference of eqs. (4) to (7) to automatic differentiation, in float64.

    A network with every kind of connection: two input groups, skips, two hidden groups.
    """
    from papers.backprop.model import Loss

    g = torch.Generator().manual_seed(0)
    network = Network([3, 2, 4, 3, 2], 2, [(0, 2), (1, 2), (0, 3), (2, 3), (1, 4), (2, 4), (3, 4)],
                      5, init=1.0, generator=g, dtype=torch.float64)
    groups = [torch.rand(7, n, generator=g, dtype=torch.float64) for n in (3, 2)]
    d = torch.rand(7, 2, generator=g, dtype=torch.float64)
    x, y = network(groups)
    loss = Loss()
    network.backward(x, y, loss.slope(y[-1], d))
    by_hand = [p.grad for p in network.parameters() if p.grad is not None]
    for p in network.parameters():
        p.requires_grad_(True)
    automatic = torch.autograd.grad(loss.error(network.outputs(groups), d).sum(),
                                    list(network.parameters()))
    return round(max(((a - b).norm() / b.norm()).item()
                     for a, b in zip(by_hand, automatic, strict=True)), 12)


def symmetry_structure(network: Network, solved: Tensor) -> dict[str, float]:
    """What Fig. 1 shows, medians over the solved 6-2-1 networks (fractions over them for signs).

    ``mirror``: |w_i + w_mirror(i)| over their mean magnitude, for the worst pair; ``ratio_2`` and
    ``ratio_4``: the middle and the largest magnitude over the smallest, mean of both units;
    ``twins``: correlation of the two units' weights; ``hidden_bias_negative`` and
    ``output_bias_positive``.

    Args:
        network: the networks, after training.
        solved: which of them count, (s).
    """
    solved = solved.cpu()
    w = network.w["0-1"].cpu()[solved].double()
    if not len(w):
        return {}
    left, right = w[:, :, :3], w[:, :, 3:].flip(2)
    size = (left.abs() + right.abs()) / 2
    mirror = ((left + right).abs() / size).amax((1, 2))
    ordered = size.sort(2).values
    ratios = (ordered / ordered[:, :, :1]).mean(1)
    a, b = (u - u.mean(1, keepdim=True) for u in w.unbind(1))
    twins = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
    return {"mirror": mirror.median().item(), "ratio_2": ratios[:, 1].median().item(),
            "ratio_4": ratios[:, 2].median().item(), "twins": twins.median().item(),
            "hidden_bias_negative": fraction((network.b["1"].cpu()[solved] < 0).all(1)),
            "output_bias_positive": fraction(network.b["2"].cpu()[solved, 0] > 0)}


def family_units(network: Network) -> dict[str, float]:
    """Fig. 4: how well one of the six person units encodes nationality and generation.

    For each network the largest absolute correlation, over its six units, of the 24 persons'
    incoming weights with what they should encode; medians over the networks.
    """
    w = network.w["0-2"].cpu().double()  # (s, 6 units, 24 persons)
    w = w - w.mean(2, keepdim=True)
    nationality = torch.tensor([-1.0] * 12 + [1.0] * 12, dtype=torch.float64)
    generation = torch.tensor(GENERATION * 2, dtype=torch.float64)
    metrics = {}
    for name, code in (("nationality", nationality), ("generation", generation)):
        code = code - code.mean()
        correlation = (w @ code) / (w.norm(dim=2) * code.norm())
        metrics[f"unit_{name}"] = correlation.abs().amax(1).median().item()
    return metrics


def sweeps(run: Result) -> list[float]:
    """Sweeps to the solution of each network of a run, infinite where it found none."""
    found = [v for k, v in run.metrics.items() if k.startswith("sweeps_")]
    return [math.inf if v < 0 else v for v in found]


def faster_than(runs: dict[str, Result], published: float) -> float:
    """Fraction of networks that solved the task within a published number of sweeps."""
    (run,) = runs.values()
    found = sweeps(run)
    return sum(s <= published for s in found) / len(found)


def mean_sweeps(runs: dict[str, Result]) -> list[tuple[float, float]]:
    """For each run log2 of its hidden units and mean sweeps of networks that solved the task."""
    points = []
    for run in runs.values():
        found = [s for s in sweeps(run) if math.isfinite(s)]
        points.append((math.log2(run.config["model.hidden"]), sum(found) / len(found)))
    return points


def slope_per_doubling(runs: dict[str, Result]) -> float:
    """Least-squares slope of mean sweeps against log2 of the number of hidden units.

    Networks that never solve the task are left out.
    """
    points = mean_sweeps(runs)
    n = len(points)
    mx, my = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    return sum((x - mx) * (y - my) for x, y in points) / sum((x - mx) ** 2 for x, _ in points)


def level_of_line(runs: dict[str, Result], at_one: float, slope: float) -> float:
    """The ratio of mean sweeps to a published line, at_one + slope · log2 H, averaged over H.

    Networks that never solve the task are left out.
    """
    points = mean_sweeps(runs)
    return sum(y / (at_one + slope * x) for x, y in points) / len(points)
