"""Normal noise for many weights, drawn by two threads where the machine has them.

One thread draws about 450 million normal numbers a second, too few for a network that needs one per
weight and step: ``papers bench bayes_by_backprop``.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch
from torch import Tensor

from common.data import generator

PARTS = 2


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(PARTS, "noise")


@torch.no_grad()
def normal_(out: Tensor, seed: int, stream: str, index: int) -> Tensor:
    """Fill with ε ~ N(0, 1), in place; on a CPU a pure function of the other arguments.

    The number of threads does not change the numbers.

    Args:
        out: contiguous, any shape; on another device than a CPU its default generator draws.
        seed, stream, index: see :func:`common.data.generator`.
    """
    if out.device.type != "cpu":
        return out.normal_()
    parts = out.view(-1).chunk(PARTS)

    def draw(i: int) -> None:
        parts[i].normal_(generator=generator(seed, stream, PARTS * index + i))

    each = map if torch.get_num_threads() == 1 else _threads().map
    list(each(draw, range(len(parts))))
    return out
