"""The time of a training step compared with a lower limit for the device.

The limit is the longer of two times: the step's multiply-adds at the rate of a large matrix product
on this device, and the bytes it must move at the rate of a large copy. These bytes are what the
forward pass saves for the backward pass, written and read once, and the weights, gradients and
optimiser state.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from common.running.cli import seconds_per_step
from common.training.recipe import Planned

SIZE, COPIED, TIMES = 2048, 2**26, 5
"""Size of the square matrices, numbers in a copy, and how often each is timed."""


@dataclass(frozen=True)
class Work:
    """The work of a step.

    Attributes:
        flops: two per multiply-add in matrix products and convolutions, forward and backward.
        bytes: the bytes that must at least be moved.
    """

    flops: float
    bytes: float


def work(recipe: Planned) -> Work:
    """Count the work of one step, by making it once."""
    kept: dict[int, int] = {}

    def keep(t: Tensor) -> Tensor:
        kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    parameters = [p for n in recipe.networks() for p in n.parameters()]
    weights = {p.untyped_storage().data_ptr() for p in parameters}
    row = recipe.row_here(0)
    with warnings.catch_warnings(), torch.compiler.set_stance("force_eager"), \
            FlopCounterMode(display=False) as counter, \
            torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        warnings.filterwarnings("ignore", "Using `torch.compile")  # of the counter's module hooks
        recipe.update(row)
    state = [v for s in (recipe.optimizer.state.values() if recipe.optimizer else ())
             for v in s.values() if isinstance(v, Tensor)]
    activations = sum(n for where, n in kept.items() if where not in weights)
    size = sum(p.numel() * p.element_size() for p in parameters)
    moved = 2 * activations + 5 * size + 2 * sum(s.numel() * s.element_size() for s in state)
    return Work(float(counter.get_total_flops()), float(moved))


def rates(device: torch.device, precision: str = "float32") -> tuple[float, float]:
    """A device's floating-point operations per second in a product, and bytes per second in a copy.

    Args:
        device: the device to measure.
        precision: the step's ``train.precision``; with bfloat16 the product is in bfloat16, too.
    """
    numbers = torch.bfloat16 if precision == "bfloat16" else torch.float32
    a, b = (torch.randn(SIZE, SIZE, device=device).to(numbers) for _ in range(2))
    x = torch.empty(COPIED, device=device)
    y = torch.empty_like(x)
    return (2 * SIZE**3 / fastest(lambda: a @ b, device),
            2 * x.numel() * x.element_size() / fastest(lambda: y.copy_(x), device))


def fastest(do: Callable[[], object], device: torch.device) -> float:
    """The seconds of the fastest of a few calls."""
    found = []
    for _ in range(TIMES):
        started = time.perf_counter()
        do()
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        found.append(time.perf_counter() - started)
    return min(found)


def beside_the_limit(name: str, recipe: Planned, of_device: tuple[float, float]) -> str:
    """One line with the milliseconds per step, the limit, their ratio, and the arithmetic rates.

    Args:
        name: the recipe's name.
        recipe: the recipe whose step is timed.
        of_device: the device's rates, see :func:`rates`.
    """
    its = work(recipe)
    limit = max(its.flops / of_device[0], its.bytes / of_device[1])
    seconds = seconds_per_step([recipe])
    by = "multiply-adds" if its.flops / of_device[0] > its.bytes / of_device[1] else "bytes"
    return (f"{name:<28}{1000 * seconds:>10.3f} ms{1000 * limit:>10.3f} ms by {by:<14}"
            f"{seconds / limit:>6.1f} ×"
            f"{its.flops / seconds / 1e12:>10.3f} of{of_device[0] / 1e12:>7.3f} TFLOP/s")
