"""Whether the code still computes what was recorded.

    papers recheck                        # of every paper, the beginning of every experiment
    papers recheck batchnorm hopfield
    papers recheck batchnorm experiments=bn,plain
    papers recheck at_most=10s            # only what takes no longer, by the recorded speed; not
                                          # what was recorded on a card, where there is none

Of each experiment the first recorded seed is begun again in a folder of its own, or the first whose
precision this machine has (TF32 takes a graphics card), up to the first logged loss (at most 1,000
updates) or as far as its result keeps the first losses one by one. What was measured up to there
is compared too, all final metrics where that is the whole run; and the fingerprint of data that
were not computed. A difference of more than one part in 10,000 is compared with what rounding does
to the losses, or to the metrics: the same beginning from weights, or starting points, moved by one
part in a million. What is larger than five times that (and, of metrics, than what a move five
times as large does, for counts move in jumps) makes the result *stale*: a note beside it
(seed0.differs) says so until the experiment is run again, or agrees.

Exit status: 0, or 1 if a result differs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from common.config import start_of
from common.data import FINGERPRINTS
from common.errors import NotAtHand, Paused, UserError, asks_for_help, nearest
from common.evidence import results
from common.evidence.paper import Paper, papers
from common.evidence.results import Result
from common.files import write_atomic
from common.running.words import as_typed, names_of, parse_options
from common.training import checkpoint, start, tracking
from common.training import loop as training
from common.training.budget import Budget, seconds_of
from common.training.precision import fits_here
from common.training.recipe import Recipe
from common.training.worklist import Worklist

FAR, NEAR, NUDGE, MARGIN = 1000, 1e-4, 1e-6, 5.0
"""The largest number of updates; the relative difference that is accepted at once; the relative
change of weights that simulates rounding; the accepted multiple of its effect."""

TINY = 1e-12
"""A difference of metrics that rounding makes of zero, such as a singular value of 1e-16."""

OPTIONS = ("experiments", "at_most")

Pair = tuple[int, float, float]
"""A metric's step, its value in one run, and in another: NaN if that does not measure it."""


@dataclasses.dataclass(frozen=True)
class Beginning:
    """The first losses of a run, and what was measured meanwhile.

    Attributes:
        first: the losses of the first updates, as far as they were kept.
        step: the update after which the first mean loss was logged; 0 if it is not compared.
        mean: the mean loss up to that update.
        fingerprint: the data's fingerprint.
        measured: the metrics of every evaluation up to there, by step and name.
        clocked: the names of those that read a clock, which are not compared.
    """

    first: tuple[float, ...]
    step: int
    mean: float
    fingerprint: str
    measured: Mapping[int, Mapping[str, float]] = dataclasses.field(default_factory=dict)
    clocked: Sequence[str] = ()

    @property
    def updates(self) -> int:
        """How many updates are needed to compare it."""
        return max(len(self.first), self.step)

    def apart(self, other: Beginning) -> float:
        """The largest relative difference between the losses of two beginnings."""
        pairs = list(zip(self.first, other.first, strict=False))
        if self.step and other.step == self.step:
            pairs.append((self.mean, other.mean))
        return max((apart(a, b) for a, b in pairs), default=0.0)

    def metrics(self, other: Beginning) -> dict[str, list[Pair]]:
        """Every metric of this run beside the other's, at the steps where both were evaluated."""
        found: dict[str, list[Pair]] = {}
        for step in sorted(self.measured.keys() & other.measured.keys()):
            there = other.measured[step]
            for name, value in self.measured[step].items():
                if name not in other.clocked:
                    found.setdefault(name, []).append((step, value, there.get(name, math.nan)))
        return found

    def moved(self, other: Beginning) -> float:
        """The largest relative difference between the metrics of two beginnings."""
        return max(map(furthest, self.metrics(other).values()), default=0.0)


def apart(a: float, b: float) -> float:
    """The relative difference of two numbers; infinite if they differ and one is not finite."""
    if a == b:
        return 0.0
    if not (math.isfinite(a) and math.isfinite(b)):
        return math.inf
    return abs(a - b) / max(abs(a), abs(b), 1e-30)


def furthest(pairs: Sequence[Pair]) -> float:
    """The largest relative difference of a metric."""
    return max((apart(a, b) for _, a, b in pairs if not abs(a - b) <= TINY), default=0.0)


def recorded(result: Result) -> Beginning:
    """The beginning of a run as recorded in its result."""
    steps, means = result.curves.get("train_loss", ((0,), (0.0,)))
    step = int(steps[0]) if steps[0] <= FAR else 0
    measured: dict[int, dict[str, float]] = {}
    for name, (at, values) in result.record.curves.items():
        for k, value in zip(at, values, strict=True) if name != "train_loss" else ():
            measured.setdefault(int(k), {})[name] = value
    measured[result.record.config["train"]["steps"]] = result.record.metrics  # with all digits
    return Beginning(tuple(result.record.first_losses), step, float(means[0]),
                     result.record.data.fingerprint, measured)


def again(paper: Paper, result: Result, updates: int, nudge: float = 0.0) -> Beginning:
    """Make the first updates of a run again, in a temporary folder.

    Args:
        paper: the paper.
        result: the result of the run.
        updates: how many updates to make.
        nudge: the relative size of random changes to the initial weights.

    Raises:
        UserError: it cannot be trained; or its data or the weights it starts from are not at hand.
        Paused: the process was asked to end.
    """
    own = paper.experiments.resolve(result.experiment).train.precision
    precision = precision_of(result)
    config = paper.experiments.resolve(result.experiment, result.seed, {
        "record": False, **({"train.precision": precision} if precision != own else {})})
    source = functools.partial(start.load, paper.experiments)
    if start_of(config):
        try:
            source(config)
        except UserError as e:
            raise NotAtHand(f"{result.name}: {e}") from e
    made = paper.module("train").recipe(config)
    if nudge:
        move(made, nudge)
    budget = Budget()
    stop_after(made, updates, budget)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with contextlib.suppress(Paused):
            training.run_all([made], [folder], [result.name], results.origin(made.device),
                             budget=budget, source=source)
        saved = checkpoint.of_run(folder)
        if saved is None or saved.step < updates:  # stopped before it made all updates
            raise Paused(f"{result.name}: asked to end; what was looked at before is noted")
        lines = tracking.read(folder)
    step, mean = next(((line["step"], line["loss"]) for line in lines if "loss" in line), (0, 0.0))
    measured = {line["step"]: {k.removeprefix("eval/"): v for k, v in line.items()
                               if k.startswith("eval/")} for line in lines if "loss" not in line}
    return Beginning(tuple(saved.first_losses), step, mean, made.data.fingerprint, measured,
                     made.clocked)


def precision_of(result: Result) -> str:
    """The ``train.precision`` in which a run was begun; it may have gone on in another."""
    began = result.record.segments[0].hardware.precision  # None on a CPU
    return began or str(result.config.get("train.precision", "float32"))


def at_hand(paper: Paper, result: Result) -> bool:
    """Whether this machine has the precision in which a run was begun."""
    config = paper.experiments.resolve(result.experiment, 0)
    config.train.precision = precision_of(result)
    return fits_here(config)


def stop_after(recipe: Recipe, updates: int, budget: Budget) -> None:
    """Make a recipe end a budget once it has made some updates."""
    step = recipe.step

    def counted(number: int) -> torch.Tensor:
        if number + 1 >= updates:
            budget.stop()
        return step(number)
    recipe.step = counted  # type: ignore[method-assign]  # of this object only


@torch.no_grad()
def move(recipe: Recipe, size: float) -> None:
    """Multiply every weight by 1 + ``size``·ε with ε ~ N(0, 1), and likewise starting points."""
    chance = torch.Generator().manual_seed(0)

    def noise(x: Tensor) -> Tensor:
        return size * torch.randn(x.shape, generator=chance).to(x)
    for network in recipe.networks():
        for p in network.parameters():
            if p.is_floating_point():
                p.mul_(1 + noise(p))
    if isinstance(recipe, Worklist):
        recipe.jobs = [recipe.moved(job, lambda x: x + noise(x) * x.abs().clamp(min=1))
                       for job in recipe.jobs]


def difference(paper: Paper, result: Result) -> str:
    """How a run's beginning differs from the recorded one, in words; empty if they agree.

    Raises:
        UserError: see :func:`again`.
    """
    before = recorded(result)
    now = again(paper, result, before.updates)
    known = result.record.data.name in FINGERPRINTS  # computed data differ in their last bits
    if known and now.fingerprint != before.fingerprint:    # between machines; losses suffice there
        return (f"recorded with data of fingerprint {before.fingerprint[:10]}, the code makes "
                f"{now.fingerprint[:10]}")
    losses, metrics = before.apart(now), before.moved(now)
    if max(losses, metrics) <= NEAR:
        return ""
    nudged = [again(paper, result, before.updates, s * NUDGE) for s in (1, -1)]
    rounding = max(map(now.apart, nudged))
    if losses > max(NEAR, MARGIN * rounding):
        return of_losses(before, now, rounding)
    rounding = max(map(now.moved, nudged))
    accepted = max(NEAR, MARGIN * rounding)
    if metrics > accepted:
        accepted = max(accepted, *(
            now.moved(again(paper, result, before.updates, s * MARGIN * NUDGE)) for s in (1, -1)))
    return of_metrics(before, now, rounding, accepted) if metrics > accepted else ""


def of_metrics(before: Beginning, now: Beginning, rounding: float, accepted: float) -> str:
    """The first metric that differs by more than is accepted, in words."""
    name, (step, a, b) = next((k, p) for k, pairs in before.metrics(now).items()
                              for p in pairs if furthest([p]) > accepted)
    found = ("no longer measured" if math.isnan(b) else
             f"{b:.7g} now; rounding makes {rounding:.1e} of it")
    return f"{name} at step {step}: {a:.7g} recorded, {found}"


def of_losses(before: Beginning, now: Beginning, rounding: float) -> str:
    """The first losses that differ, in words."""
    pairs = [(k + 1, a, b, "loss of update") for k, (a, b) in
             enumerate(zip(before.first, now.first, strict=False))]
    if before.step and before.step == now.step:
        pairs.append((before.step, before.mean, now.mean, "mean loss until update"))
    step, a, b, what = next(p for p in pairs if apart(p[1], p[2]) > NEAR)
    return f"{what} {step}: {a:.7g} recorded, {b:.7g} now; rounding makes {rounding:.1e} of it"


def chosen(paper: Paper, names: list[str], at_most: float) -> Iterator[Result]:
    """The first recorded run of each experiment to check: the named ones, if quick enough.

    A run that this machine can begin in the same precision comes before one that it cannot.
    """
    for experiment, found in paper.results.items():
        if (names and experiment not in names) or experiment not in paper.experiments.experiments:
            continue
        first = next((r for r in found if at_hand(paper, r)), found[0])
        updates = recorded(first).updates
        if updates and seconds_again(first, updates) <= at_most:
            yield first


def seconds_again(result: Result, updates: int) -> float:
    """How long the first updates of a run take at its recorded speed; infinite if a card set it and
    there is none here."""
    if result.record.segments[0].hardware.gpu and not torch.cuda.is_available():
        return math.inf
    return result.record.seconds * updates / result.record.config["train"]["steps"]


def recheck(paper: Paper, names: list[str], at_most: float) -> list[str]:
    """Check experiments of a paper, and write or remove the notes beside their results.

    Returns:
        One line for each run that differs, as printed.
    """
    lines: list[str] = []
    agree, unseen = 0, list[str]()
    for result in chosen(paper, names, at_most):
        note = results.difference_path(paper.folder, result.experiment, result.seed)
        try:
            found = difference(paper, result)
        except NotAtHand as e:
            unseen.append(str(e))
            continue
        except UserError as e:
            found = f"it cannot be begun again: {e}"
        if found:
            lines.append(f"{result.name}: {found}")
            print(lines[-1], flush=True)
            write_atomic(note, found + "\n")
        else:
            agree += 1
            note.unlink(missing_ok=True)
    longer = len(list(chosen(paper, names, float("inf")))) - agree - len(lines) - len(unseen)
    print(f"{paper.name}: {agree} agree, {len(lines)} differ"
          + " (noted beside the results)" * bool(lines)
          + (f", {longer} would take longer than at_most" if longer else "")
          + (f", {len(unseen)} not looked at: {unseen[0]}" if unseen else ""), flush=True)
    return lines


def main(argv: list[str]) -> int:
    """The command line; see the module's docstring.

    Raises:
        UserError: a key, paper or experiment is unknown.
    """
    if asks_for_help(argv, __doc__):
        return 0
    asked = papers([a for a in argv if "=" not in a])
    if any(a.startswith("seed=") for a in argv):
        raise UserError("seed=: the first recorded seed of every experiment is begun again")
    options = parse_options([a for a in argv if "=" in a], OPTIONS)
    for k in [k for k, v in options.items() if v is None]:
        raise UserError(f"{k}=: expected a value")
    names = (names_of("experiments", str(options["experiments"]))
             if "experiments" in options else [])
    known = [e for p in asked for e in p.results]
    for name in names:
        if name not in known:
            raise UserError(f"experiments={name}: no such result{nearest(name, known)}")
    with as_typed(argv):
        at_most = (seconds_of(options["at_most"], "at_most") if "at_most" in options
                   else float("inf"))
    return int(any([recheck(paper, names, at_most) for paper in asked]))


