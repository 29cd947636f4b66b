"""Speed, always as a ratio measured side by side in one run.

    papers bench batchnorm [blocks=11]

Where a paper's ``bench.py`` offers ``steps``, each is timed beside the least that its multiply-adds
and bytes would take this machine, on whatever device is there. Its contenders take turns, block by
block and every other block in reverse, so that a drift of the machine's speed meets all of them;
ratios are taken within a block.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from common import data
from common.conditions import written
from common.errors import UserError, asks_for_help
from common.evidence.paper import papers
from common.running import limits
from common.running.words import parse_options


@dataclass(frozen=True)
class Contender:
    """One of several ways of doing the same work.

    Attributes:
        name: its name in the table; the first contender is the reference for the others.
        run: does the work of one block.
        work: the amount of work in a block, in ``unit``.
        unit: such as ``steps`` or ``images``.
    """

    name: str
    run: Callable[[], object]
    work: float
    unit: str = "steps"


@contextlib.contextmanager
def stand_in(shape: tuple[int, int, int], n: int = 2000) -> Iterator[data.Split]:
    """Replace every data set by random images of ten classes, so that no data are needed.

    Args:
        shape: channels, height and width.
        n: number of images.
    """
    g = torch.Generator().manual_seed(0)
    split = data.Split(torch.randint(0, 256, (n, *shape), generator=g, dtype=torch.uint8),
                       torch.randint(0, 10, (n,), generator=g))
    load = data.load

    def made(name: str) -> data.DataSet:
        return data.DataSet("random", split, split, "random")
    data.load = made
    try:
        yield split
    finally:
        data.load = load


class Stepping(Protocol):
    """Anything that makes numbered steps: a recipe, or several as one."""

    def step(self, number: int) -> Tensor: ...


def taking(made: Stepping, steps: int) -> Callable[[], None]:
    """A function that makes a recipe's first steps, for a contender to run."""
    def run() -> None:
        for k in range(steps):
            made.step(k)
    return run


def without_onednn(c: Contender) -> Contender:
    """The same contender with torch's own fully connected layers, without oneDNN."""
    def run() -> None:
        mkldnn: Any = torch.backends.mkldnn  # torch's types lack its properties
        before, mkldnn.enabled = mkldnn.enabled, False
        try:
            c.run()
        finally:
            mkldnn.enabled = before
    return replace(c, name=f"{c.name}, without oneDNN", run=run)


def compare(contenders: list[Contender], blocks: int) -> list[list[float]]:
    """Time the contenders in turn, after one warm-up block each.

    Returns:
        The rates (work per second) of each contender, one per block.
    """
    for c in contenders:
        c.run()
    rates: list[list[float]] = [[] for _ in contenders]
    pairs = list(zip(contenders, rates, strict=True))
    for block in range(blocks):
        for c, found in pairs if block % 2 == 0 else reversed(pairs):
            started = time.perf_counter()
            c.run()
            found.append(c.work / (time.perf_counter() - started))
    return rates


def show(contenders: list[Contender], rates: list[list[float]]) -> str:
    """The table of results: rate (median, lowest, highest) and ratio to the first contender."""
    width = max(len(c.name) for c in contenders) + 2
    lines = [f"{'':<{width}}{'per second':>12}{'lowest':>10}{'highest':>10}{'ratio':>8}   range"]
    for c, found in zip(contenders, rates, strict=True):
        ratios = [a / b for a, b in zip(found, rates[0], strict=True)]
        lines.append(
            f"{c.name:<{width}}{statistics.median(found):>12,.1f}{min(found):>10,.1f}"
            f"{max(found):>10,.1f}{statistics.median(ratios):>8.2f}   "
            f"{min(ratios):.2f} … {max(ratios):.2f}  ({c.unit})")
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    """The command line; see the module's docstring."""
    if asks_for_help(argv or ["--help"], __doc__):
        return 0
    paper = papers([argv[0]])[0]
    options = parse_options(argv[1:], ["blocks"])
    blocks = options.get("blocks", 11)
    if not isinstance(blocks, int) or isinstance(blocks, bool) or blocks < 1:
        raise UserError(f"blocks={written(blocks)}: expected a whole number of at least 1")
    module = paper.module("bench")
    if hasattr(module, "steps"):
        print(f"a step beside the limit of this machine ({torch.get_num_threads()} threads)\n"
              f"{'':<28}{'a step':>13}{'at least':>13}{'':<18}{'ratio':>8}"
              f"   arithmetic, and of a product alone")
        for name, recipe in module.steps():
            of_device = limits.rates(recipe.device, recipe.config.train.precision)
            print(limits.beside_the_limit(name, recipe, of_device), flush=True)
        print()
    for title, contenders in module.benches():
        print(f"{title} ({torch.get_num_threads()} threads, {blocks} blocks in turn)")
        print(show(contenders, compare(contenders, blocks)), end="\n\n", flush=True)
    return 0
