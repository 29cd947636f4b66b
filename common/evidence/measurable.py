"""Whether a claim can be measured as it says, as far as that is known before anything is trained.

Which metrics a run measures only the run itself tells, see :func:`unknown_metrics`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from common.config import Config
from common.errors import UserError, nearest
from common.evidence.claims import Claim, Measure
from common.evidence.results import POINTS, Result, thinned

TRAIN_LOSS = "train_loss"
"""The curve that every run has; its points lie ``train.log_every`` steps apart."""


def check_step(of: Measure, experiment: str, config: Config) -> None:
    """Refuse a step at which a run does not measure the claim's metric.

    Args:
        of: the claim's measure.
        experiment: one of its experiments, for the message.
        config: that experiment's configuration.

    Raises:
        UserError: it does not; the message says which steps would do.
    """
    if of.step is None:
        return
    train, loss = config.train, of.metric == TRAIN_LOSS
    every = train.log_every if loss else train.eval_every
    steps = [*range(every, train.steps, every), train.steps]
    if loss:  # of other metrics it is not known how many evaluations have them
        steps = thinned(steps)
    if of.step not in steps:
        raise UserError(f"step: {of.step}: {experiment} {'logs' if loss else 'measures'} "
                        f"{of.metric} every {every:,} of its {train.steps:,} steps"
                        f"{f', of which {POINTS} are kept' if len(steps) == POINTS else ''}: "
                        f"expected {near(of.step, steps)}")


def near(step: int, steps: Sequence[int]) -> str:
    """The steps that would do: all if they are few, else those beside the one that does not."""
    if len(steps) <= 4:
        return " or ".join(map(str, steps))
    below, above = [s for s in steps if s < step][-1:], [s for s in steps if s > step][:1]
    return f"another step such as {' or '.join(map(str, below + above))}"


def check_function(function: Callable[..., Any], claim: Claim) -> None:
    """Refuse arguments that a claim's function does not have, or does not get.

    Raises:
        UserError: the message names the argument and those that the function has.
    """
    arguments = (claim.measure or Measure()).arguments
    parameters = inspect.signature(function).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    own = [p for p in parameters][1 if claim.experiments else 0:]  # the first takes the runs
    known = [p.name for p in own]
    for name in arguments:
        if name not in known:
            raise UserError(f"arguments: {claim.function} of facts.py has no argument {name!r}"
                            f"{nearest(name, known) if known else ': expected none'}")
    for p in own:
        if p.name not in arguments and p.default is p.empty and p.kind is not p.VAR_POSITIONAL:
            raise UserError(f"arguments: {claim.function} of facts.py expects {p.name!r}")


def unknown_metrics(claims: Iterable[Claim], experiment: str, runs: Collection[Result]
                    ) -> list[str]:
    """What claims want of an experiment's runs and the runs do not have, one message each."""
    found = []
    for claim in claims:
        of = claim.measure
        if of is None or of.metric is None or experiment not in claim.experiments:
            continue
        try:
            for run in runs:
                run.at(of.metric, of.step)
        except UserError as e:
            found.append(f"claim {claim.id!r}: {e}")
    return found
