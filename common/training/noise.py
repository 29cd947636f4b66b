"""Random numbers of a training step, and the generator of a run they come from.

On a CPU the normal noise of many weights is drawn by two threads where the machine has them: one
draws about 450 million normal numbers a second, too few for a network that needs one per weight and
step (``papers bench bayes_by_backprop``).

On another device they come from a generator of the run's own. From the device's default generator
two runs side by side would change each other's numbers.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from common import data

PARTS = 2


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(PARTS, "noise")


@torch.no_grad()
def normal_(out: Tensor, seed: int, stream: str, index: int,
            generator: torch.Generator | None = None) -> Tensor:
    """Fill with ε ~ N(0, 1), in place.

    On a CPU a pure function of seed, stream and index, whatever the number of threads; on another
    device what the generator draws next.

    Args:
        out: contiguous, any shape.
        seed, stream, index: see :func:`common.data.generator`.
        generator: the run's, on the device of ``out``; not needed on a CPU.

    Raises:
        ValueError: no generator for another device than a CPU.
    """
    if out.device.type != "cpu":
        if generator is None:
            raise ValueError(f"noise on {out.device}: expected a generator of this run, whose "
                             "numbers no other run changes")
        return out.normal_(generator=generator)
    parts = out.view(-1).chunk(PARTS)

    def draw(i: int) -> None:
        parts[i].normal_(generator=data.generator(seed, stream, PARTS * index + i))

    each = map if torch.get_num_threads() == 1 else _threads().map
    list(each(draw, range(len(parts))))
    return out


def uniform_like(x: Tensor, generator: torch.Generator | None) -> Tensor:
    """Uniform numbers in [0, 1) of the shape, type and device of ``x``.

    Args:
        x: any shape.
        generator: of its device; None: the default one.
    """
    if generator is None:
        return torch.rand_like(x)
    return torch.rand(x.shape, generator=generator, dtype=x.dtype, device=x.device)


def normal_like(x: Tensor, generator: torch.Generator | None) -> Tensor:
    """The same of N(0, 1)."""
    if generator is None:
        return torch.randn_like(x)
    return torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)


@runtime_checkable
class Draws(Protocol):
    """A module that draws random numbers."""

    generator: torch.Generator | None


def use_generator(model: nn.Module, generator: torch.Generator | None) -> None:
    """Let every module that draws random numbers draw them from one generator.

    Args:
        model: its modules with an attribute ``generator`` are those that draw.
        generator: of the device of the model; None: the default one again.
    """
    for module in model.modules():
        if isinstance(module, Draws):
            module.generator = generator
