"""Random numbers for training steps, drawn reproducibly for each run.

On a CPU two threads draw the normal noise of many weights, if the process may use more than one. A
single thread draws about 450 million numbers per second, too few for a network that needs one per
weight and step (``papers bench bayes_by_backprop``).

On other devices each run draws from its own generator. With the device's default generator, two
runs side by side would affect each other's numbers.
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
    """Fill a tensor with ε ~ N(0, 1), in place.

    On a CPU the numbers are a pure function of seed, stream and index, whatever the number of
    threads; on other devices they are the generator's next.

    Args:
        out: contiguous, any shape.
        seed, stream, index: see :func:`common.data.generator`.
        generator: the run's generator on the device of ``out``; not used on a CPU.

    Raises:
        ValueError: ``out`` is not on a CPU and there is no generator.
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
    """Uniform numbers in [0, 1) with the shape, type and device of ``x``.

    Args:
        x: any shape.
        generator: a generator on the device of ``x``; None: torch's default one.
    """
    if generator is None:
        return torch.rand_like(x)
    return torch.rand(x.shape, generator=generator, dtype=x.dtype, device=x.device)


def normal_like(x: Tensor, generator: torch.Generator | None) -> Tensor:
    """Numbers from N(0, 1); otherwise as :func:`uniform_like`."""
    if generator is None:
        return torch.randn_like(x)
    return torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)


@runtime_checkable
class Draws(Protocol):
    """A module that draws random numbers."""

    generator: torch.Generator | None


def use_generator(model: nn.Module, generator: torch.Generator | None) -> None:
    """Set the generator of every module in a model that draws random numbers.

    Args:
        model: modules with an attribute ``generator`` are taken to draw random numbers.
        generator: a generator on the model's device; None: torch's default one.
    """
    for module in model.modules():
        if isinstance(module, Draws):
            module.generator = generator
