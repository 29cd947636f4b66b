"""The command line of every paper's ``train.py``: parse it, train, write results."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from common.config import Config, as_dict, identity
from common.errors import HELP, Paused, UserError
from common.evidence import results
from common.evidence.paper import cut_short
from common.evidence.provenance import one_clone, say_uncommitted
from common.experiments import Experiments
from common.files import is_clone, shown, write_atomic
from common.running.requested import (
    Finished,
    RequestedRun,
    computable,
    requested_folder,
    requested_run,
)
from common.running.words import as_typed, help_text, names_of, parse_arguments
from common.segments import Origin
from common.training import checkpoint, distributed, start, tracking
from common.training import loop as training
from common.training.budget import Budget
from common.training.progress import duration
from common.training.recipe import Recipe
from common.training.steps import EAGER, steps_of
from common.training.vectorised import BatchedSeeds


def train(recipe_class: Callable[[Any], Recipe], experiments: Experiments, name: str,
          seeds: Sequence[int], overrides: dict[str, Any], budget: Budget | None = None,
          ) -> list[Finished]:
    """Train several seeds of one experiment as one batched network.

    Returns and raises as :func:`train_all`.
    """
    requests = [requested_run(experiments, name, seed, overrides) for seed in seeds]
    standing: dict[int, list[RequestedRun]] = {}
    for each in requests:  # an earlier command may have trained some further; group them by step
        step = 0 if each.config.fresh else checkpoint.newest_step(each.folder)
        standing.setdefault(step, []).append(each)
    return [d for some in standing.values() for d in train_all(
        recipe_class, experiments, some, budget, BatchedSeeds if len(some) > 1 else None)]


def train_all(recipe_class: Callable[[Any], Recipe], experiments: Experiments,
              requests: Sequence[RequestedRun], budget: Budget | None = None,
              together: Callable[[Sequence[Recipe]], Any] | None = None) -> list[Finished]:
    """Train some runs in this process and write their results.

    Args:
        recipe_class: see :func:`main`.
        experiments: of the paper.
        requests: what to train.
        budget: a limit on the time.
        together: see :func:`common.training.loop.run_all`.

    Returns:
        The finished runs; empty in processes other than the first.

    Raises:
        UserError, Paused: see :func:`common.training.loop.run_all`; also if several runs are to
            take turns on a CPU.
    """
    if any(each.recorded for each in requests) and distributed.rank() == 0:
        say_uncommitted()
    recipes = [recipe_class(each.config) for each in requests]
    if len(requests) > 1 and together is None and recipes[0].device.type == "cpu":
        raise UserError(f"train.side_by_side={requests[0].config.train.side_by_side}: expected a "
                        "graphics card; on a CPU papers reproduce … jobs=… runs several processes")
    own = origin_of(requests, recipes[0].device)
    done: list[Finished] = []

    def finished(k: int, ended: training.Ended) -> None:  # while its folder is locked
        each, recipe = requests[k], recipes[k]
        was = (each.folder / "result.json").exists()
        by = ended.segments[-1].commit if was else own.commit
        done.append(Finished(each, ended, record(experiments, each, recipe, ended),
                             recipe.headlines(list(ended.metrics)), recipe.loss_name,
                             results.curves(tracking.read(each.folder)), was,
                             "" if by == own.commit else by[:7]))
    training.run_all(recipes, [r.folder for r in requests], [r.label for r in requests],
                     own, together, budget, functools.partial(start.load, experiments),
                     {k: e.precisions for k, e in experiments.experiments.items()}, finished)
    return done


def origin_of(requests: Sequence[RequestedRun], device: torch.device) -> Origin:
    """The provenance of this process for training these runs on a device."""
    own, more = results.origin(device), dict[str, Any]()
    if device.type != "cpu":
        precision = requests[0].config.train.precision
        more["hardware"] = own.hardware.model_copy(update={"precision": precision})
    if len(requests) > 1:
        more["side_by_side"] = len(requests)
    if distributed.processes() > 1:
        more["processes"] = distributed.processes()
    return own.model_copy(update=more)


def record(experiments: Experiments, of: RequestedRun, recipe: Recipe, ended: training.Ended,
           ) -> dict[str, float] | None:
    """Write the result of a run that ended; returns the metrics of the result it replaces.

    None if there was none, or a damaged one.
    """
    paper_folder, config, folder = experiments.path.parent, of.config, of.folder
    write_atomic(folder / "config.json", json.dumps(as_dict(config), indent=1) + "\n")
    results.write(folder / "result.json", paper_folder.name, config, recipe.data, folder, ended)
    if not of.recorded:
        return None
    path, before = results.path_of(paper_folder, config.experiment, config.seed), None
    if path.exists():
        with contextlib.suppress(UserError):  # a damaged one is replaced
            before = results.read(path, experiments.schema).metrics
    recipe.publish(paper_folder, results.write(
        path, paper_folder.name, config, recipe.data, folder, ended))
    results.difference_path(paper_folder, config.experiment, config.seed).unlink(True)
    return before


def main(recipe_class: Callable[[Any], Recipe], schema: type[Config], train_file: str,
         argv: Sequence[str] | None = None) -> int:
    """The command line of a paper's ``train.py``.

    Args:
        recipe_class: the paper's recipe, or a function that makes it from a configuration.
        schema: the paper's configuration dataclass.
        train_file: ``__file__`` of the paper's ``train.py``; ``config.yaml`` lies beside it.
        argv: the arguments after the program's name; None: those in ``sys.argv``.

    Raises:
        UserError: see the functions it calls.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    folder = Path(train_file).resolve().parent
    one_clone(folder.parent.parent)
    if unfinished := cut_short(folder):
        raise UserError(f"papers/{folder.name} is half-made: expected {unfinished}")
    experiments = Experiments(schema, folder / "config.yaml")
    program = f"papers/{folder.name}/train.py"
    if not HELP.isdisjoint(argv):
        about = (sys.modules[recipe_class.__module__].__doc__ or "").strip().partition("\n")[0]
        print(help_text(experiments, program, about))
        return 0
    paced, keep = "--pace" in argv, "--keep" in argv
    if keep and not paced:
        raise UserError("--keep: expected --pace beside it, whose measurement it keeps")
    chosen, seeds, overrides = parse_arguments(
        [a for a in argv if a not in ("--pace", "--keep")])
    names = experiments.expand_all(names_of("experiment", chosen or experiments.default))
    with as_typed(argv):
        sound = [experiments.resolve(name, seed, overrides)  # before anything is trained
                 for name in names for seed in seeds]
    if paced:
        for word in argv:
            if (key := word.partition("=")[0]) in ("seed", "budget", "fresh", "record"):
                raise UserError(f"{word}: not used with --pace, which trains nothing: leave {key} "
                                "out")
        for name in names:
            with computable(overrides):
                paced_at = pace(recipe_class, experiments, name, overrides, keep)
            print(paced_at, flush=True)
        return 0
    with as_typed(argv):
        budget = Budget(str(overrides.get("budget", "")))
    its = sound[0].train
    if its.vectorize and distributed.processes() > 1:
        raise UserError("train.vectorize=true: expected one process, not torchrun's "
                        f"{distributed.processes()}")
    if its.vectorize and its.side_by_side != 1:
        raise UserError(f"train.side_by_side={its.side_by_side}: not with "
                        "train.vectorize=true, which trains all seeds as one network")
    with distributed.process_group(), budget.ended_by_sigterm(), computable(overrides):
        done = train_requested(recipe_class, experiments, names, seeds, overrides, budget)
    if distributed.rank() == 0:
        print_finished(done, program, experiments)
    return 0


def train_requested(recipe_class: Callable[[Any], Recipe], experiments: Experiments,
                    names: Sequence[str], seeds: Sequence[int], overrides: dict[str, Any],
                    budget: Budget) -> list[Finished]:
    """Train all experiments with all seeds, one by one or several at a time, as ``train.*`` says.

    Returns and raises as :func:`train_all`.
    """
    with budget.ended_by_sigterm():  # also between two runs, and while one is built
        requests = [requested_run(experiments, name, seed, overrides)
                    for seed in seeds for name in names]
        its, done = requests[0].config.train, list[Finished]()
        if its.vectorize:
            return [d for name in names
                    for d in train(recipe_class, experiments, name, seeds, overrides, budget)]
        size = its.side_by_side
        for k in range(0, len(requests), size):
            try:
                done += train_all(recipe_class, experiments, requests[k:k + size], budget)
            except Paused as e:
                left = len(requests) - k - size
                raise Paused(f"{e}; {left} more not begun" if left > 0 else str(e)) from e
        return done


PACE_SECONDS, PACE_STEPS, WARM_UP = 3.0, 1000, EAGER + 1
"""Limits of ``--pace``: seconds and steps to measure, and warm-up steps before them."""


def pace(recipe_class: Callable[[Any], Recipe], experiments: Experiments, name: str,
         overrides: dict[str, Any], keep: bool = False) -> str:
    """Measure an experiment's seconds per step without running it; returns its cost in words.

    The number, without evaluations, also goes to ``pace.json`` in the experiment's folder below
    ``runs/``, for :mod:`common.running.reproduce`; with ``keep`` also below the paper's
    ``results/``, for the report.

    Raises:
        UserError: ``keep`` is given and ``overrides`` change what the experiment computes.
    """
    config = experiments.resolve(name, 0, overrides)
    if keep and identity(config) != identity(experiments.resolve(name)):
        raise UserError(f"--keep: expected {name} as config.yaml has it, without "
                        f"{', '.join(overrides)}")
    beside = config.train.side_by_side
    recipes = [recipe_class(experiments.resolve(name, seed, overrides)) for seed in range(beside)]
    seconds = seconds_per_step(recipes)
    total = config.train.steps
    hardware = results.origin(recipes[0].device).hardware
    share = beside if hardware.gpu else hardware.threads
    paper_folder = experiments.path.parent
    folders = [requested_folder(paper_folder.name, config, {}).parent]
    for folder in [*folders, paper_folder / "results" / name] if keep else folders:
        results.add_pace(folder, config, hardware.machine, share, seconds)
    return (f"{name}: {1000 * seconds:,.1f} ms a step, {total:,} steps: "
            f"{duration(total * seconds)} ({hardware.device}, {hardware.threads} "
            "threads, without evaluations)")


def seconds_per_step(recipes: Sequence[Recipe]) -> float:
    """Seconds per step; for several runs that take turns, total time divided by total steps.

    Where steps take minutes, a part of each is made (:meth:`Recipe.shorten`) and its time scaled.
    """
    part = min(r.shorten() for r in recipes)  # all alike
    taking = [steps_of(r, WARM_UP + PACE_STEPS) for r in recipes]
    for steps, r in zip(taking, recipes, strict=True):
        r.train_mode()
        warm = max(steps.take(0, WARM_UP))  # compiles, allocates, captures
        steps.losses()
    turns = [steps.take(warm, WARM_UP + PACE_STEPS) for steps in taking]
    started, made = time.perf_counter(), warm
    while made < WARM_UP + PACE_STEPS:
        made = [next(t) for t in turns][-1]
        if time.perf_counter() - started > PACE_SECONDS and made - warm >= 3:
            break
    for steps in taking:
        steps.losses()  # waits for the device
    return (time.perf_counter() - started) / ((made - warm) * len(recipes) * part)


def print_table(names: Sequence[str], runs: Sequence[Finished]) -> None:
    """Print a table of finished runs with these metrics and their training time."""
    width = max(len(d.request.label) for d in runs) + 2
    columns = {m: max(10, len(m) + 2) for m in names}
    print(f"{'run':<{width}}" + "".join(f"{m:>{w}}" for m, w in columns.items())
          + f"{'seconds':>10}")
    for d in runs:
        print(f"{d.request.label:<{width}}" + "".join(
            f"{d.metrics[m]:>{w}.4f}" for m, w in columns.items()) + f"{d.ended.seconds:>10.1f}")


def print_finished(done: list[Finished], program: str, experiments: Experiments) -> None:
    """Print finished runs, draw their learning curves, and suggest the next command."""
    from common.evidence import plotting  # importing matplotlib takes a second

    kinds: dict[tuple[tuple[str, ...], str], list[Finished]] = {}
    for d in done:  # one table for each set of metrics
        kinds.setdefault((tuple(d.headlines[0]), d.loss_name), []).append(d)
    for (names, _), alike in kinds.items():
        print_table(names, alike)
    for (names, _), alike in kinds.items():
        for d in alike:
            if d.before is not None:
                print(f"{d.request.label}: {names[0]} {d.metrics[names[0]]:.6g}; the result that "
                      f"stood here before: {d.before.get(names[0], math.nan):.6g}")
    if there := [d.request.label + (f" (by the code of {d.by})" if d.by else "")
                 for d in done if d.there]:
        print(f"finished before, nothing was trained: {', '.join(there)} (fresh=true trains anew)")
    for (_, loss_name), alike in kinds.items():
        curves = {d.request.label: d.curves for d in alike}
        picture = plotting.learning_curves(
            curves, alike[0].headlines[1], alike[0].request.folder.parent / "curves.png", loss_name)
        print(f"learning curves: {shown(picture)}")
    if any(d.request.recorded for d in done):
        print(f"results: papers/{experiments.path.parent.name}/results/   "
              f"next: papers report {experiments.path.parent.name}")
    else:
        paper = experiments.path.parent.name
        again = f"python {program}" if is_clone() else f"papers train {paper}"
        print(f"next: {again}   (the paper's own experiment; --help lists the others)")
