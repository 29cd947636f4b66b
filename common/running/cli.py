"""What ``train.py`` of every paper does: read the command line, train, leave a result."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from common.config import Config, as_dict, identity
from common.errors import UserError
from common.evidence import plotting, results
from common.experiments import Experiments, help_text, parse_arguments
from common.files import runs_root, shown, write_atomic
from common.training import checkpoint, distributed, tracking
from common.training import loop as training
from common.training.vectorised import SideBySide


def run_folder(paper: str, config: Config, overrides: dict[str, Any]) -> Path:
    """The folder of a run: ``runs/<paper>/<experiment>[,key=value …]/seed<k>``."""
    name = ",".join([config.experiment, *(f"{k}={v}" for k, v in sorted(overrides.items()))])
    name = name.replace("/", "_")
    if len(name) > 150:
        name = name[:130] + "-" + hashlib.sha256(name.encode()).hexdigest()[:12]
    return runs_root() / paper / name / f"seed{config.seed}"


def train(recipe_class: Callable[[Any], training.Recipe], experiments: Experiments, name: str,
          seeds: Sequence[int], overrides: dict[str, Any]) -> list[dict[str, Any]]:
    """Train one experiment with some seeds, as one batched network, and write their results.

    A result goes to ``papers/<paper>/results/`` when the configuration is the experiment's own, or
    its own but for a precision that counts; a run with other keys overridden leaves it in its run
    folder only.

    Returns:
        For each seed ``config``, ``metrics``, ``folder``, ``seconds`` and ``before``, the metrics
        of the committed result of the same run, if there was one.
    """
    paper_folder = experiments.path.parent
    paper = paper_folder.name
    configs = [experiments.resolve(name, seed, overrides) for seed in seeds]
    own, asked = experiments.resolve(name), identity(configs[0])
    changed = {k: v for k, v in asked.items() if v != identity(own).get(k)}
    recorded = configs[0].record and experiments.counts(asked, own)
    folders = [run_folder(paper, c, changed) for c in configs]
    if configs[0].fresh and distributed.rank() == 0:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
    if len(seeds) > 1:
        standing: dict[int, list[int]] = {}
        for seed, folder in zip(seeds, folders, strict=True):
            standing.setdefault(checkpoint.newest_step(folder), []).append(seed)
        if len(standing) > 1:  # some are ahead, from an earlier command: together with their like
            overrides = overrides | {"fresh": False}
            return [d for some in standing.values()
                    for d in train(recipe_class, experiments, name, some, overrides)]
    recipes = [recipe_class(c) for c in configs]
    labels = [f"{paper}/{f.parent.name}/{f.name}" for f in folders]
    segment = results.segment(recipes[0].device)
    if len(recipes) > 1:
        segment["side_by_side"] = len(recipes)
    if distributed.processes() > 1:
        segment["processes"] = distributed.processes()
    ended = training.run_all(recipes, folders, labels, segment,
                             SideBySide if len(recipes) > 1 else None)
    if distributed.rank():
        return []
    done = []
    for config, recipe, folder, label, (metrics, history) in zip(
            configs, recipes, folders, labels, ended, strict=True):
        write_atomic(folder / "config.json", json.dumps(as_dict(config), indent=1) + "\n")
        common = dict(paper=paper, config=config, data=recipe.data, folder=folder,
                      metrics=metrics, history=history)
        results.write(folder / "result.json", **common)
        before = None
        if recorded:
            path = results.path_of(paper_folder, name, config.seed)
            if path.exists():
                before = results.read(path, experiments.schema).metrics
            recipe.publish(paper_folder, results.write(path, **common))
        done.append({"config": config, "metrics": metrics, "folder": folder, "label": label,
                     "seconds": history["seconds"], "before": before,
                     "recorded": recorded})
    return done


def main(recipe_class: Callable[[Any], training.Recipe], schema: type[Config], train_file: str,
         argv: Sequence[str] | None = None) -> int:
    """The command line of a paper's ``train.py``.

    Args:
        recipe_class: the paper's recipe, or a function from a configuration to one.
        schema: the paper's configuration dataclass.
        train_file: ``__file__`` of the paper's ``train.py``; ``config.yaml`` lies beside it.
        argv: the words after the program's name; ``sys.argv`` if None.

    Raises:
        UserError: see the functions it calls.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    folder = Path(train_file).resolve().parent
    experiments = Experiments(schema, folder / "config.yaml")
    program = f"papers/{folder.name}/train.py"
    if "--help" in argv or "-h" in argv:
        about = (sys.modules[recipe_class.__module__].__doc__ or "").strip().splitlines()[0]
        print(help_text(experiments, program, about))
        return 0
    paced, keep = "--pace" in argv, "--keep" in argv
    if keep and not paced:
        raise UserError("--keep: expected --pace beside it, whose measurement it keeps")
    chosen, seeds, overrides = parse_arguments(
        [a for a in argv if a not in ("--pace", "--keep")])
    names = [n for word in (chosen or experiments.default).split(",")
             for n in experiments.expand(word)]
    for name in names:  # everything is checked before anything is trained
        for seed in seeds:
            experiments.resolve(name, seed, overrides)
    if paced:
        for name in names:
            print(pace(recipe_class, experiments, name, overrides, keep), flush=True)
        return 0
    together = bool(overrides.get("train.vectorize"))
    groups = [(n, seeds) for n in names] if together else [(n, [s]) for s in seeds for n in names]
    if together and distributed.processes() > 1:
        raise UserError("train.vectorize=true: expected one process, not torchrun's "
                        f"{distributed.processes()}")
    with distributed.group():
        done = [d for name, some in groups
                for d in train(recipe_class, experiments, name, some, overrides)]
    if distributed.rank() == 0:
        report(done, program, experiments)
    distributed.leave()
    return 0


PACE_SECONDS, PACE_STEPS = 3.0, 1000
"""How long, and over how many steps at most, ``--pace`` measures."""


def pace(recipe_class: Callable[[Any], training.Recipe], experiments: Experiments, name: str,
         overrides: dict[str, Any], keep: bool = False) -> str:
    """Measure an experiment's seconds per step without running it, and say what it would cost.

    The figure, without evaluations, also goes to ``pace.json`` in the experiment's folder below
    ``runs/``, where :mod:`common.running.reproduce` reads it; with ``keep`` also below the paper's
    ``results/``, where the report reads it.

    Raises:
        UserError: ``keep``, and ``overrides`` change what the experiment computes.
    """
    config = experiments.resolve(name, 0, overrides)
    if keep and identity(config) != identity(experiments.resolve(name)):
        raise UserError(f"--keep: expected {name} as config.yaml has it, without "
                        f"{', '.join(overrides)}")
    recipe = recipe_class(config)
    for _ in training.updates(recipe, 0, 2):  # compiles, allocates
        pass
    started, steps = time.perf_counter(), 0
    for _ in training.updates(recipe, 2, 2 + PACE_STEPS):
        steps += 1
        if time.perf_counter() - started > PACE_SECONDS and steps >= 3:
            break
    seconds = (time.perf_counter() - started) / steps
    total = config.train.steps
    hardware = results.segment(recipe.device)["hardware"]
    paper_folder = experiments.path.parent
    folders = [run_folder(paper_folder.name, config, {}).parent]
    for folder in [*folders, paper_folder / "results" / name] if keep else folders:
        results.add_pace(folder, config, results.processor(hardware), hardware["threads"],
                         seconds)
    return (f"{name}: {1000 * seconds:,.1f} ms a step, {total:,} steps: "
            f"{training.duration(total * seconds)} ({hardware['device']}, {hardware['threads']} "
            "threads, without evaluations)")


def report(done: list[dict[str, Any]], program: str, experiments: Experiments) -> None:
    """Print the table of finished runs, draw their curves and say what to type next."""
    shown_metrics = list(done[0]["metrics"])[:4]
    width = max(len(d["label"]) for d in done) + 2
    columns = {m: max(10, len(m) + 2) for m in shown_metrics}
    print(f"{'run':<{width}}" + "".join(f"{m:>{w}}" for m, w in columns.items())
          + f"{'seconds':>10}")
    for d in done:
        print(f"{d['label']:<{width}}" + "".join(
            f"{d['metrics'].get(m, float('nan')):>{w}.4f}" for m, w in columns.items())
            + f"{d['seconds']:>10.1f}")
    for d in done:
        if d["before"] is not None:
            was = d["before"].get(shown_metrics[0], float("nan"))
            print(f"{d['label']}: {shown_metrics[0]} {d['metrics'][shown_metrics[0]]:.6g}; the "
                  f"result that stood here before: {was:.6g}")
    curves = {d["label"]: results.curves(tracking.read(d["folder"])) for d in done}
    picture = plotting.learning_curves(
        curves, shown_metrics[0], done[0]["folder"].parent / "curves.png")
    print(f"learning curves: {shown(picture)}")
    if any(d["recorded"] for d in done):
        print(f"results: papers/{experiments.path.parent.name}/results/   "
              f"next: papers report {experiments.path.parent.name}")
    else:
        print(f"next: python {program}   (the paper's own experiment; --help lists the others)")
