"""Which runs worked through a list of jobs, see :mod:`common.training.worklist`."""

from __future__ import annotations

import functools

from common.evidence.paper import Paper
from common.evidence.results import Result
from common.running.site.names import parsed
from common.training.worklist import Worklist


def of_jobs(paper: Paper, run: Result) -> bool:
    """Whether a run worked through a list of jobs: a step is another job then, and no curve is one.

    Such a run has a metric ``<column>_<job>`` for all columns and jobs, a job for each step.
    """
    steps = max((s[-1] for s, _ in run.curves.values() if len(s)), default=0)
    return any(all(sum(m.startswith(f"{column}_") for m in run.metrics) >= steps
                   for column in made.columns) for made in worklists(paper))


@functools.cache
def worklists(paper: Paper) -> list[type[Worklist]]:
    """The recipes of a paper that are lists of jobs."""
    modules = [paper.module(path.stem) for path in sorted(paper.folder.glob("*.py"))
               if any("(Worklist)" in line for line in parsed(path)[0])]
    return [v for m in modules for v in vars(m).values()
            if isinstance(v, type) and issubclass(v, Worklist) and v is not Worklist]
