"""Functions behind the claims: exact facts computed from the code, and measures over runs."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from common.evidence.claims import read_table
from common.evidence.results import Result
from papers.deep_compression.coding import (
    SharedTensor,
    canonical,
    code_lengths,
    decode,
    encode,
    relative,
)
from papers.deep_compression.model import Pruned, Shapes, Shared, largest, lenet_5, lenet_300_100

DIGITS = 9
"""Decimals to which an exact fact is given: below lies rounding, which differs by processor."""

SHAPES: dict[str, Callable[[], Shapes]] = {"lenet_300_100": lenet_300_100, "lenet_5": lenet_5}
TABLES = {"lenet_300_100": "table2", "lenet_5": "table3"}


def parameters(network: str) -> int:
    """Weights and biases."""
    return sum(math.prod(s) + s[0] for s in SHAPES[network]().values())


def thousands(network: str) -> float:
    """:func:`parameters`, in thousands."""
    return parameters(network) / 1000


def kilobytes(network: str) -> float:
    """Of all parameters at 4 bytes each; 1 KB is 1,000 bytes, as in the papers."""
    return 4 * parameters(network) / 1000


def ticket_level(rounds: int) -> float:
    """% of LeNet-300-100's weights after so many rounds of 20 % a layer, 10 % of the last."""
    network = Pruned(lenet_300_100(), "glorot", torch.Generator().manual_seed(0))
    for _ in range(rounds):
        network.take_masks({name: largest(w.detach(), network.mask(name),
                                          0.1 if name == "ip3" else 0.2)
                            for name, w in network.W.items()})
    return 100 * network.kept()["total"]


def sharing_rate(n: int = 16, k: int = 4, b: int = 32) -> float:
    """Eq. (1) of Han, Mao & Dally, nb / (n log₂ k + kb): Fig. 3's 16 weights of 4 colours."""
    return n * b / (n * math.log2(k) + k * b)


def fillers(difference: int, bits: int = 3) -> int:
    """Filler zeros that a difference of positions needs (Fig. 2)."""
    _, real = relative(np.array([0, difference]), bits)
    return int((~real).sum())


def centroid_gradient() -> float:
    """Largest difference of eq. (3), gradients summed by cluster, to the network's own, float64."""
    g = torch.Generator().manual_seed(0)
    network = Shared(lenet_300_100(12, 3, (7, 5)), [6, 6, 6]).double()
    for name, c in network.C.items():
        network.codes(name).random_(0, 7, generator=g)
        c.data.normal_(generator=g)
    x = torch.randn(9, 1, 4, 3, generator=g, dtype=torch.float64)
    dense = {}

    def kept() -> dict[str, torch.Tensor]:
        dense.update(Shared.weights(network))
        for w in dense.values():
            w.retain_grad()
        return dense

    network.weights = kept  # type: ignore[method-assign]  # to see gradients
    network(x).sin().sum().backward()
    worst, gradients = 0.0, {n: w.grad for n, w in dense.items() if w.grad is not None}
    for name, c in network.C.items():
        for k in range(len(c)):
            summed = gradients[name][network.codes(name) == k + 1].sum()
            worst = max(worst, (summed - c.grad[k]).abs().item())
    return round(worst, DIGITS)


def distributions(n: int = 200) -> list[np.ndarray]:
    """Counts of symbols, of 2 to 64 symbols, from even to very uneven."""
    g = np.random.default_rng(0)
    return [np.ceil(10 ** (g.uniform(0, 5) * g.random(g.integers(2, 65)))).astype(np.int64)
            for _ in range(n)]


def huffman_excess() -> float:
    """The most that a Huffman code's mean length is above the entropy, in bits, of many counts.

    Raises:
        AssertionError: one lies below the entropy.
    """
    worst = 0.0
    for counts in distributions():
        p = counts / counts.sum()
        excess = float(p @ code_lengths(counts) + p @ np.log2(p))
        assert excess > -1e-9, "no code is shorter than the entropy"
        worst = max(worst, excess)
    return worst


def huffman_over_fixed(bits: int = 5) -> float:
    """The most that a Huffman code of 2^bits symbols is longer than ``bits``, of many counts."""
    g = np.random.default_rng(1)
    counts = [g.integers(1, 2 + int(10 ** g.uniform(0, 5)), size=2**bits) for _ in range(200)]
    return max(float(c @ code_lengths(c) / c.sum()) - bits for c in counts)


def prefix_sum() -> float:
    """Of many canonical codes the Kraft sum Σ 2^−length that is farthest from 1, a full code's."""
    return max((sum(2.0 ** -len(code) for code in canonical(code_lengths(c)).values())
                for c in distributions()), key=lambda total: abs(total - 1))


def file_difference(files: int = 40) -> int:
    """Values that random pruned tensors change by, written and read back: how many differ."""
    g, wrong = np.random.default_rng(2), 0
    for _ in range(files):
        shape, k = tuple(g.integers(1, 30, size=2)), int(g.integers(1, 256))
        codes = (g.random(shape) < g.random() ** 2) * g.integers(1, k + 1, size=shape)
        one = SharedTensor(codes, g.normal(size=k).astype(np.float32), int(g.integers(1, 9)))
        there = decode(encode({"w": one}))["w"]
        assert isinstance(there, SharedTensor)
        wrong += int((there.dense() != one.dense()).sum())
    return wrong


def rows(network: str) -> list[dict[str, str]]:
    """The published rows of Table 2 or Table 3 of Han, Mao & Dally."""
    return read_table(Path(__file__).with_name("published") / f"{TABLES[network]}.csv")


def rows_together(network: str, column: str) -> float:
    """A rate over all weights, in %, that the published rows of the layers add up to."""
    sizes = {name: math.prod(s) for name, s in SHAPES[network]().items()}
    return 100 * sum(float(r[column]) * sizes[r["layer"]] for r in rows(network)) / sum(
        sizes.values())


def entries_apart(network: str) -> float:
    """Table 2's rows say twice how many entries a layer has: the larger disagreement, in %.

    From the rate without Huffman coding, (32·rate·weights − 32·2^b) / (b + 5), and from that with
    it and the mean lengths.
    """
    worst = 0.0
    for r in rows(network):
        size, b = math.prod(SHAPES[network]()[r["layer"]]), int(r["bits"])
        plain, coded = (32 * float(r[c]) * size - 32 * 2**b for c in ("rate_pq", "rate_pqh"))
        fixed = plain / (b + 5)
        worst = max(worst, abs(coded / (float(r["weight_bits"]) + float(r["index_bits"])) / fixed
                               - 1))
    return 100 * worst


# ---- over runs ---------------------------------------------------------------------------------


def _of(runs: dict[str, Result], ending: str) -> Result:
    (name,) = (n for n in runs if n.endswith(ending))
    return runs[name]


def stop_ratio(runs: dict[str, Result], over: str, under: str) -> float:
    """Early-stopping iterations of one experiment over another's; names' endings say which."""
    return _of(runs, over).at("stop", None) / _of(runs, under).at("stop", None)


def points(runs: dict[str, Result], better: str, worse: str, metric: str = "stop_accuracy",
           step: int | None = None) -> float:
    """Percentage points by which one experiment is better than another."""
    return 100 * (_of(runs, better).at(metric, step) - _of(runs, worse).at(metric, step))


def regained(runs: dict[str, Result]) -> float:
    """Points of error that retraining after the pruning takes back."""
    (run,) = runs.values()
    return run.at("error_cut", None) - run.at("error", None)


def thousands_left(runs: dict[str, Result], network: str) -> float:
    """Weights left, in thousands."""
    (run,) = runs.values()
    return run.at("kept_total", None) * sum(map(math.prod, SHAPES[network]().values())) / 1000


PLACES = {"conv1": 24**2, "conv2": 8**2}
"""How often a convolution's weights are used."""


def flops_left(runs: dict[str, Result], network: str) -> float:
    """Part of the multiplications that is left: weights kept times inputs that are not zero."""
    (run,) = runs.values()
    left = total = 0.0
    active = 1.0
    for name, shape in SHAPES[network]().items():
        cost = math.prod(shape) * PLACES.get(name, 1)
        left += cost * run.at(f"kept_{name}", None) * active
        total += cost
        active = run.at(f"active_{name}", None)
    return left / total


def file_kilobytes(runs: dict[str, Result]) -> float:
    """Size of the file; 1 KB is 1,000 bytes."""
    (run,) = runs.values()
    return run.at("bytes", None) / 1000


def huffman_saves(runs: dict[str, Result]) -> float:
    """Part of the bits before Huffman coding."""
    (run,) = runs.values()
    return 1 - run.at("rate_pqh_total", None) / run.at("rate_pq_total", None)
