"""The time that pruning saves, compared with the operations it saves."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch

from common.running.bench import Contender
from papers.filter_pruning.model import flop, plan, prune
from papers.filter_pruning.networks import build
from papers.filter_pruning.settings import Config

IMAGES = 64


def benches() -> Iterator[tuple[str, list[Contender]]]:
    """Yield (title, contenders) of each comparison."""
    whole = build(Config().model, 3, 10).eval()
    half = copy.deepcopy(whole)
    prune(half, plan(whole, [0.5] * 3))
    x = torch.randn(IMAGES, 3, 32, 32)
    saved = 100 * (1 - sum(flop(half, x[:1]).values()) / sum(flop(whole, x[:1]).values()))

    def forward(network: torch.nn.Module) -> None:
        with torch.no_grad():
            network(x)
    yield f"ResNet-20 forward, {saved:.0f} % of the FLOP saved", [
        Contender("whole", lambda: forward(whole), IMAGES, "images"),
        Contender("half of every block's first filters", lambda: forward(half), IMAGES, "images")]
