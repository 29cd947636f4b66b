"""A recipe that works through a list of jobs, one complete job per step.

It is for papers measured by many short deterministic computations, such as minimisations, rather
than by one long training. A run that was stopped resumes at the next job.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from common.config import Config
from common.decoded import of_tensors
from common.errors import UserError
from common.training.recipe import Recipe


class Table(nn.Module):
    """The results so far as a module, so that checkpoints store them: (jobs, columns)."""

    def __init__(self, rows: int, columns: int):
        super().__init__()
        self.values: Tensor
        self.register_buffer("values", torch.zeros(rows, columns, dtype=torch.float64))


class Worklist(Recipe):
    """A list of jobs; a paper defines the jobs and how to do one.

    Attributes:
        columns: names of the numbers that a job returns.
        collection: the name of the data set that the jobs' starting points form.
        jobs: the list that :meth:`listed` returned.
    """

    float64 = True
    config: Config
    model: Table
    columns: Sequence[str]
    collection = "jobs"

    def listed(self) -> list[Any]:
        """All jobs, in order."""
        raise NotImplementedError

    def start_of(self, job: Any) -> Tensor:
        """A job's starting point, (n,); the fingerprint of all of them goes into the result."""
        raise NotImplementedError

    def moved(self, job: Any, move: Callable[[Tensor], Tensor]) -> Any:
        """The same job from where ``move`` takes its starting point, for ``papers recheck``.

        Here the job itself, for jobs of which another machine's rounding changes nothing.
        """
        return job

    def do(self, job: Any) -> Sequence[float]:
        """Do a job; returns one number per column."""
        raise NotImplementedError

    def name_of(self, k: int, job: Any) -> str:
        """The suffix of job ``k`` in the names of metrics; here its number."""
        return str(k)

    def summary(self, row: Sequence[float]) -> float:
        """The number that stands for a job in the log of losses; here its last column."""
        return row[-1]

    def load_data(self) -> None:
        """List the jobs, and concatenate their starting points as the data set."""
        self.jobs = self.listed()
        starts = torch.cat([self.start_of(job) for job in self.jobs])
        self.data = of_tensors(self.collection, starts)

    def build(self) -> None:
        """Create the table of results.

        Raises:
            UserError: the number of steps is not the number of jobs.
        """
        steps = self.config.train.steps
        if steps != len(self.jobs):
            raise UserError(f"train.steps={steps}: expected {len(self.jobs)}, a step for each")
        self.model = Table(len(self.jobs), len(self.columns))

    def step(self, number: int) -> Tensor:
        """Do one job; returns its :meth:`summary`."""
        row = self.do(self.jobs[number])
        self.model.values[number] = torch.tensor(row, dtype=torch.float64)
        return torch.tensor(self.summary(row))

    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """After the last step, the metrics ``<column>_<job>`` of all columns and jobs."""
        if not final:
            return {}
        return {f"{column}_{self.name_of(k, job)}": value for k, (job, row) in enumerate(
            zip(self.jobs, self.model.values.tolist(), strict=True))
            for column, value in zip(self.columns, row, strict=True)}
