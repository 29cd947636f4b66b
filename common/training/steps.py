"""Executing a recipe's steps: one by one, or in blocks on a graphics card.

On a CPU every update is made when it is requested, and its loss is read soon after. On other
devices, reading or sending a number waits for all earlier work. There the rows of coming steps are
sent a block at a time, and the losses stay on the device until they are requested. On a CUDA card
the whole step is also captured once and replayed.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

from common.training import distributed
from common.training.recipe import Planned, Recipe
from common.training.rows import Row, on_device

EAGER = 3
"""Updates made before the step is captured, during which libraries allocate their buffers."""

TURN = 0.01
"""Seconds for which a CPU makes steps before it yields."""

AHEAD = 16
"""Steps queued on the device before another run on the same card gets its turn."""


class Steps(Protocol):
    """Makes the steps of one run, or of several in lockstep."""

    def take(self, first: int, last: int) -> Iterator[int]:
        """Make updates ``first`` to ``last - 1``; from time to time yields how many are made."""

    def losses(self) -> list[list[float]]:
        """The losses of the steps since the last call: a list per step, with one loss per run."""

    def at_work(self) -> contextlib.AbstractContextManager:
        """The context of the steps; code that reads a run's state between them must enter it."""


class OneByOne:
    """Makes a recipe's steps when they are requested.

    Args:
        recipe: one run; or :class:`common.training.vectorised.BatchedSeeds`, several in lockstep.
    """

    def __init__(self, recipe: Any):
        self.recipe = recipe
        self.on_cpu = recipe.device.type == "cpu"
        self._losses: list[Tensor] = []

    def take(self, first: int, last: int) -> Iterator[int]:
        turn = 0.0 if distributed.processes() > 1 else TURN  # all must stop at the same step
        ends = time.perf_counter() + turn
        for step in range(first, last):
            self._losses.append(self.recipe.step(step))
            if time.perf_counter() >= ends or step + 1 == last:
                yield step + 1
                ends = time.perf_counter() + turn

    def losses(self) -> list[list[float]]:
        if self._losses and self.on_cpu:  # all have one shape and can be read at once
            found = torch.stack(self._losses).reshape(len(self._losses), -1).tolist()
        else:
            found = [loss.reshape(-1).tolist() for loss in self._losses]
        self._losses = []
        return found

    def at_work(self) -> contextlib.AbstractContextManager:
        return contextlib.nullcontext()


class InBlocks:
    """Makes the steps of a planned recipe from blocks of rows on its device.

    The device itself counts the steps of a block: ``at`` is the index of the next row, so a
    captured step needs nothing from the host. While the device works, the host plans as many rows
    of the next block as it has just queued steps. While a recipe is not steady, its steps are made
    one by one.

    Args:
        recipe: what to train.
        last: the run's number of steps.

    Attributes:
        rows: the block on the device, (block, …) each; every block reuses the same tensors.
        first, size: the step of the block's first row, and its number of rows.
        ahead: planned rows of the next block, on the host.
        made: number of updates made.
        read: number of updates whose losses were read.
    """

    def __init__(self, recipe: Planned, last: int):
        self.recipe, self.last, self.block = recipe, last, recipe.block
        self.captures = recipe.device.type == "cuda" and recipe.config.train.capture
        self.stream: torch.cuda.Stream | None = None
        if recipe.device.type == "cuda":
            self.stream = torch.cuda.Stream(recipe.device)
            self.stream.wait_stream(torch.cuda.current_stream(recipe.device))
        self.at = torch.zeros(1, dtype=torch.long, device=recipe.device)
        self.block_losses = torch.zeros(self.block, device=recipe.device)
        self.rows: Row = {}
        self.first = self.size = self.made = self.read = 0
        self.ahead: list[Row] = []
        self.known: list[float] = []
        self.graph: torch.cuda.CUDAGraph | None = None
        self.eager = 0

    def take(self, first: int, last: int) -> Iterator[int]:
        if first != self.made:  # a resumed run
            self.made = self.read = self.first = first
        while self.made < last:
            with self.at_work():
                if self.recipe.steady:
                    self.some(last)
                else:
                    self.single()
            yield self.made

    def losses(self) -> list[list[float]]:
        with self.at_work():
            self.fetch()
        found, self.known = [[v] for v in self.known], []
        return found

    def at_work(self) -> contextlib.AbstractContextManager:
        """On a CUDA card the run's own stream, which runs concurrently with others."""
        return contextlib.nullcontext() if self.stream is None else torch.cuda.stream(self.stream)

    def single(self) -> None:
        """Make one step that depends on the results of earlier ones."""
        self.fetch()
        self.known.append(self.recipe.step(self.made).item())
        self.made += 1
        self.read = self.first = self.made
        self.size = 0

    def some(self, last: int) -> None:
        """Queue a few steps on the device, and meanwhile plan as many for the next block."""
        if self.made >= self.first + self.size:
            self.send()
        n = min(AHEAD, last - self.made, self.first + self.size - self.made)
        for _ in range(n):
            self.one()
        self.made += n
        self.plan_ahead(n)

    def one(self) -> None:
        """Queue the next step on the device."""
        if self.graph is not None:
            self.graph.replay()
        elif self.captures and self.eager >= EAGER:
            self.graph = self.captured()
            self.graph.replay()
        else:
            self.on_device_alone()
            self.eager += 1

    def on_device_alone(self) -> None:
        """Make the next step; all it needs is on the device, and its loss stays there."""
        row = {name: rows.index_select(0, self.at)[0] for name, rows in self.rows.items()}
        loss = self.recipe.update(row)
        self.block_losses.index_copy_(0, self.at, loss.reshape(1).to(self.block_losses.dtype))
        self.at += 1

    def captured(self) -> torch.cuda.CUDAGraph:
        """Capture the step as a CUDA graph; capturing makes no update."""
        graph = torch.cuda.CUDAGraph()
        if self.recipe.chance is not None:
            graph.register_generator_state(self.recipe.chance)
        with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
            self.on_device_alone()
        return graph

    def send(self) -> None:
        """Send the rows of the next block to the device."""
        self.fetch()
        self.first += self.size
        self.size = 0
        self.plan_ahead(self.block - sum(map(rows_of, self.ahead)))
        block = {name: torch.cat([rows[name] for rows in self.ahead]) for name in self.ahead[0]}
        self.size, self.ahead = rows_of(block), []
        for name, rows in block.items():
            rows = on_device(rows, self.recipe.device)
            if name not in self.rows:
                self.rows[name] = rows.new_empty(self.block, *rows.shape[1:])
            self.rows[name][:self.size].copy_(rows)
        self.at.zero_()

    def plan_ahead(self, n: int) -> None:
        """Plan at most ``n`` more rows, following the block and the rows already planned."""
        planned = sum(map(rows_of, self.ahead))
        start = self.first + self.size + planned
        end = min(start + min(n, self.block - planned), self.last)
        if end > start:
            self.ahead.append(self.recipe.plan(start, end))

    def fetch(self) -> None:
        """Read the losses from the device, which waits until its steps are done."""
        if self.made > self.read:
            waiting = self.block_losses[self.read - self.first:self.made - self.first]
            self.known += waiting.tolist()
            self.read = self.made


def rows_of(plan: Row) -> int:
    """How many rows a plan has."""
    return len(next(iter(plan.values())))


def steps_of(recipe: Recipe, last: int) -> Steps:
    """The way to make a recipe's steps on its device, up to step ``last``."""
    if (isinstance(recipe, Planned) and type(recipe).step is Planned.step
            and recipe.device.type != "cpu" and distributed.processes() == 1):
        return InBlocks(recipe, last)
    return OneByOne(recipe)
