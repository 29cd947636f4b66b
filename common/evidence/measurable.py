"""Whether a claim can be measured as it says, as far as that is known before anything is trained.

Which metrics a run measures only the run itself tells, see :func:`unknown_metrics`.
"""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

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


def functions(facts: Any) -> list[str]:
    """The names of what a claim can call in a paper's ``facts.py``."""
    return [name for name, it in vars(facts).items()
            if callable(it) and not isinstance(it, type) and not name.startswith("_")]


def check_function(function: Callable[..., Any], claim: Claim) -> None:
    """Refuse arguments that a claim's function does not have, does not get or cannot take.

    Raises:
        UserError: the message names the argument and those that the function has, or its type.
    """
    arguments = (claim.measure or Measure()).arguments
    parameters = list(inspect.signature(function).parameters.values())
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    hints = typing.get_type_hints(function)
    if claim.experiments and not (parameters and takes_runs(hints.get(parameters[0].name))):
        raise UserError(f"experiments: {claim.function} of facts.py takes no runs: expected a "
                        "function whose first argument they are, or no experiments")
    own = parameters[1 if claim.experiments else 0:]
    known = [p.name for p in own]
    for name, value in arguments.items():
        if name not in known:
            raise UserError(f"arguments: {claim.function} of facts.py has no argument {name!r}"
                            f"{nearest(name, known) if known else ': expected none'}")
        check_argument(value, name, hints.get(name, Any))
    for p in own:
        if p.name not in arguments and p.default is p.empty and p.kind is not p.VAR_POSITIONAL:
            raise UserError(f"arguments: {claim.function} of facts.py expects {p.name!r}")


def takes_runs(hint: Any) -> bool:
    """Whether an argument of this type can be a seed's runs by their experiments."""
    return hint in (None, Any) or typing.get_origin(hint) in (dict, Mapping)


def check_argument(value: Any, name: str, hint: Any) -> None:
    """Refuse a claim's argument that is not of the type that the function says.

    Raises:
        UserError: it is not, or contains a number that is not finite.
    """
    try:
        text = json.dumps(value, allow_nan=False)
        TypeAdapter(hint).validate_json(text, strict=True)
    except (ValidationError, ValueError) as e:
        said = e.errors()[0]["msg"] if isinstance(e, ValidationError) else "a number is not finite"
        raise UserError(f"arguments: {name}: {value!r}: expected {readable(hint)} ({said})") from e


def readable(hint: Any) -> str:
    """A type as a reader of claims would call it."""
    names = {float: "a number", int: "a whole number", str: "text", bool: "true or false"}
    return names.get(hint, str(hint))


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
