"""A recipe whose every step does the next of a list of jobs, start to end, and keeps what came out.

For papers that are measured by many short deterministic runs instead of one long training. A
stopped run goes on at the next job.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from common.config import Config
from common.decoded import of_tensors
from common.errors import UserError
from common.training.recipe import Recipe


class Table(nn.Module):
    """What came out of each job so far, as a checkpoint holds it: (job, value)."""

    def __init__(self, rows: int, columns: int):
        super().__init__()
        self.values: Tensor
        self.register_buffer("values", torch.zeros(rows, columns, dtype=torch.float64))


class Worklist(Recipe):
    """What a paper supplies to have a list of jobs done.

    Attributes:
        columns: names of the numbers a job results in.
        collection: the name of the data, in messages.
        jobs: set by :meth:`listed`.
    """

    float64 = True
    config: Config
    model: Table
    columns: Sequence[str]
    collection = "jobs"

    def listed(self) -> list[Any]:
        """All jobs, in their order."""
        raise NotImplementedError

    def start_of(self, job: Any) -> Tensor:
        """What a job starts from, (n,), as data whose fingerprint the result carries."""
        raise NotImplementedError

    def do(self, job: Any) -> Sequence[float]:
        """Do a job; returns a number for every column."""
        raise NotImplementedError

    def name_of(self, k: int, job: Any) -> str:
        """What metrics of job ``k`` end in; its number unless a paper says otherwise."""
        return str(k)

    def summary(self, row: Sequence[float]) -> float:
        """The one number of a job that the log of losses shows; here its last column."""
        return row[-1]

    def load_data(self) -> None:
        """The starts, laid end to end."""
        self.jobs = self.listed()
        starts = torch.cat([self.start_of(job) for job in self.jobs])
        self.data = of_tensors(self.collection, starts)

    def build(self) -> None:
        """Make the table.

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
        """Finally ``<column>_<job>`` of every column and job."""
        if not final:
            return {}
        return {f"{column}_{self.name_of(k, job)}": value for k, (job, row) in enumerate(
            zip(self.jobs, self.model.values.tolist(), strict=True))
            for column, value in zip(self.columns, row, strict=True)}
