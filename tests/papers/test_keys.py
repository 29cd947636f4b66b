"""No key is ignored in silence: changed, it changes numbers in a few steps or ends in one line."""

import functools
import hashlib
import importlib
import json
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from common import data
from common.config import Key, as_dict, flatten, identity, keys, unused
from common.data import DataSet, Split, generator
from common.errors import UserError
from common.experiments import Experiments
from common.files import ROOT
from common.running import cli
from common.training import checkpoint
from common.training.precision import check_precision
from papers.lbfgs import train as lbfgs
from papers.levenberg_marquardt import minpack

SHORT = {"train.steps": 3, "train.eval_every": 2, "train.log_every": 2, "train.checkpoint_every": 3,
         "train.threads": 1, "train.device": "cpu", "record": False}
HELD_OUT = {"data.name": "digits", "data.evaluate_on": "validation", "data.validation": 20}
SYMMETRY = {"task.name": "symmetry", "model.networks": 3, "model.loss": "squared"}
AIR = {"model.widths": [4, 6, 6], "model.magnify": 8, "train.batch_size": 30,
       "augment.flip": "alternating", "measure.views": 2, "optim.frozen_after": 0.5,
       "train.steps": 5, "train.eval_every": 4}
BBB = {"data.validation": 20, "model.units": 4, "train.batch_size": 20, "measure.samples": 3,
       "prior.kind": "mixture"}
PLAIN = {"data.validation": 20, "model.units": 4, "train.batch_size": 20}
REGRESSION = {"task.name": "regression", "model.units": 4, "measure.samples": 3}
BANDIT = {"task.name": "bandit", "data.name": "mushroom", "model.units": 4, "task.agents": 6,
          "task.updates": 2, "task.memory": 7, "train.batch_size": 3, "task.epsilon": 0.5}
CAFFE = HELD_OUT | {"model.magnify": 2, "train.batch_size": 20, "schedule.stages": [],
                    "schedule.policy": "fixed", "schedule.base_lr": 0.001}
DROPOUT = {"data.validation": 20, "model.hidden": [6, 6], "train.batch_size": 20}
LENET = {"model.hidden": [6, 5], "train.batch_size": 20}
PROBLEMS = {"task.name": "published", "task.budget": 4}
MINPACK = {"task.name": "minpack", "optim.method": "more"}
LANDSCAPE = {"model.hidden": [6], "view.images": 30, "view.points": 3, "view.directions": 2,
             "train.steps": 9}
LAYERS = {"task.name": "modes", "optim.updates": 5}
SINE = {"task.name": "sine", "model.hidden": 3}
FRESH = {"task.name": "layers", "model.depth": 3, "model.width": 6, "measure.examples": 7}
PRUNED = {"train.batch_size": 8, "plan.shares": [0.5, 0.0, 0.0]}
EPOCHS = {"train.batch_size": 20, "optim.until": 0.0}
STUDENT = {"start_from": "tests/papers/distillation/logits.safetensors", "model.hidden": [6, 6],
           "train.batch_size": 5}
LOOK = {"measure.images": 30, "measure.directions": 2, "measure.products": 2,
        "train.batch_size": 20, "measure.train_images": 90}

BRANCHES: dict[str, dict[str, dict]] = {
    "airbench": {
        "sgd": HELD_OUT | AIR | {"optim.lookahead": "late"},
        "learned": AIR | {"model.first": "learned"},
        "muon": AIR | {"optim.rule": "muon"},
    },
    "backprop": {
        "digits": HELD_OUT | {"model.networks": 3, "model.hidden": 3},
        "symmetry": SYMMETRY | {"optim.gentle": 2},
        "tolerance": SYMMETRY | {"model.tolerance": 0.4},
        "family_trees": SYMMETRY | {"task.name": "family_trees"},
    },
    "batchnorm": {
        "bn": HELD_OUT | {"model.bn": True, "model.hidden": [4, 4], "model.population_batches": 2},
        "plain": {"model.bn": False, "model.hidden": [4, 4]},
    },
    "bayes_by_backprop": {
        "bbb": BBB,
        "averaged": BBB | {"optim.slope": "mean", "measure.rules": True},
        "autograd": BBB | {"optim.fast": False, "prior.kind": "gaussian"},
        "sgd": PLAIN | {"model.arm": "sgd"},
        "regression": REGRESSION,
        "regression_sgd": REGRESSION | {"model.arm": "sgd"},
        "bandit": BANDIT,
        "bandit_sgd": BANDIT | {"model.arm": "sgd"},
    },
    "cyclical_lr": {
        "fixed": CAFFE,
        "range_test": CAFFE | {"schedule.policy": "range_test", "schedule.stepsize": [4]},
        **{p: CAFFE | {"schedule.policy": p, "schedule.stepsize": [1], "train.steps": 4}
           for p in ("triangular", "triangular2")},
        **{p: CAFFE | {"schedule.policy": p, "schedule.stepsize": [2]}
           for p in ("decay", "exp_range")},
        "exp": CAFFE | {"schedule.policy": "exp"},
        **{s: CAFFE | {"optim.solver": s}
           for s in ("nesterov", "adam", "rmsprop", "adagrad", "adadelta")},
    },
    "deep_compression": {
        "train": HELD_OUT | LENET | {"optim.gamma": 0.5},
        "prune": LENET | {"task.name": "prune", "optim.gamma": 0.5, "prune.quality": [0.9]},
        "quantise": LENET | {"task.name": "quantise", "optim.gamma": 0.5,
                             "quantise.weight_bits": [3], "quantise.index_bits": 2},
        "ticket": LENET | {"task.name": "ticket", "data.validation": 20, "prune.rate": 0.4,
                           "prune.output_rate": 0.3},
    },
    "deep_linear": {
        "decoupled": LAYERS,
        "unbalanced": LAYERS | {"model.unbalance": 2.0},
        "random": LAYERS | {"model.start": "random"},
        "product": {"task.name": "product", "model.width": 6, "model.matrices": "gaussian"},
        "chaos": {"task.name": "chaos", "model.width": 6, "model.gain": 1.5},
        "sweep": {"task.name": "sweep", "data.name": "digits", "model.width": 4,
                  "sweep.depths": [3, 4, 5], "sweep.rates": 3, "sweep.budget": 100,
                  "sweep.fastest": 64.0, "sweep.slowest": 0.25, "sweep.threshold": 0.5},
    },
    "distillation": {
        "teacher": HELD_OUT | {"model.hidden": [6, 6], "train.batch_size": 5, "optim.lr": 0.5,
                               "model.max_norm": 0.5},
        "hard": {"model.hidden": [6, 6], "train.batch_size": 5, "model.p_hidden": 0.9,
                 "model.max_norm": 0.0, "transfer.jitter": 1},
        "student": STUDENT | {"model.max_norm": 0.0},
        "shifted": STUDENT | {"transfer.digits": [7, 8], "measure.classes": [7, 8],
                              "measure.shift": -4.0, "measure.points": 5},
    },
    "dropout": {
        "classifier": HELD_OUT | DROPOUT | {"measure.samples": [3], "measure.repeats": 3},
        "penalties": DROPOUT | {"model.noise": "none", "regulariser.l1": 0.01,
                                "regulariser.kl": 0.01},
        "constant_pn": DROPOUT | {"model.noise": "none", "model.constant_pn": True},
        "autoencoder": DROPOUT | {"model.kind": "autoencoder", "model.hidden": [6]},
    },
    "filter_pruning": {
        "train": HELD_OUT | PRUNED,
        "unaugmented": PRUNED | {"augment.pad": 0, "optim.weight_decay": 0.0},
        "vgg16": PRUNED | {"model.kind": "vgg16", "model.width": 2,
                           "plan.shares": [0.5, 0.0, 0.0, 0.5, 0.5]},
        "sensitivity": {"task.name": "sensitivity", "view.images": 20, "view.shares": [0.5]},
    },
    "hopfield": {
        "patterns": {"model.patterns": "random", "model.neurons": 60, "start.flipped": 0.3},
        "random": {"model.patterns": "random", "model.neurons": 60, "start.random": True},
        "zero_one": {"model.patterns": "random", "model.neurons": 60, "start.flipped": 0.3,
                     "model.states": "zero_one"},
        "digits": {"start.flipped": 0.3},
        "couplings": {"model.rule": "pseudo_inverse", "start.flipped": 0.3},
    },
    "initialisation": {
        "train": HELD_OUT | {"model.depth": 2, "model.width": 6, "train.batch_size": 20,
                             "measure.examples": 9},
        "layers": FRESH | {"input.kind": "images", "data.name": "digits"},
        "gaussian": FRESH | {"input.kind": "gaussian"},
        "convolutions": {"task.name": "convolutions", "model.width": 2, "measure.examples": 2},
        "surface": {"task.name": "surface", "model.width": 4, "measure.examples": 5,
                    "measure.points": 9, "measure.reach": 3.0, "measure.flat": 0.4},
        "trained": {"task.name": "surface", "model.width": 4, "measure.examples": 5,
                    "measure.points": 9, "measure.trained": 3},
    },
    "large_batch": {
        "f1": HELD_OUT | LOOK | {"model.hidden": [6, 6]},
        "sgd": LOOK | {"model.hidden": [6], "optim.rule": "sgd", "model.ghost": 4,
                       "optim.rate_batch": 5, "measure.images": 0},
        "c1": LOOK | {"model.network": "c1", "model.ghost": 5},
    },
    "lbfgs": {
        "digits": HELD_OUT,
        "problems": PROBLEMS,
        "momentum": PROBLEMS | {"optim.method": "momentum"},
        "bfgs": {"optim.method": "bfgs"},
    },
    "levenberg_marquardt": {
        "minpack": MINPACK,
        "marquardt": MINPACK | {"optim.method": "marquardt"},
        "digits": HELD_OUT | {"optim.method": "lm", "model.hidden": 2},
        **{m: SINE | {"optim.method": m} for m in ("cg", "gdx", "bfgs", "lbfgs", "adam", "sgd")},
        "lm": SINE | {"optim.method": "lm", "optim.rule": "plain"},
    },
    "loss_landscape": {
        "train": HELD_OUT | LANDSCAPE | {"train.batch_size": 20, "train.steps": 5},
        "straight": LANDSCAPE | {"train.steps": 5, "train.batch_size": 20, "model.bn": False},
        "surface": LANDSCAPE | {"task.name": "surface"},
        "line": LANDSCAPE | {"task.name": "surface", "view.dimensions": 1, "train.steps": 3},
        "curvature": LANDSCAPE | {"task.name": "curvature", "view.iterations": 4},
        "resnet": LANDSCAPE | {"task.name": "surface", "model.kind": "resnet", "model.depth": 8},
        "own": LANDSCAPE | {
            "task.name": "surface", "model.kind": "own",
            "model.own": "tests.papers.loss_landscape.own_network:softmax"},
        "paper": LANDSCAPE | {"task.name": "surface", "model.kind": "paper",
                              "model.of": "batchnorm/quick_bn"},
    },
    "resnet": {
        "cifar": HELD_OUT | {"model.depth": 8, "model.magnify": 2, "train.batch_size": 8},
        "unaugmented": {"model.depth": 8, "model.magnify": 2, "train.batch_size": 8,
                        "augment.pad": 0, "optim.weight_decay": 0.0},
    },
    "warm_start": {
        "mlp": EPOCHS | {"model.hidden": [6]},
        "logistic": EPOCHS | {"model.hidden": []},
        "sgd": EPOCHS | {"model.hidden": [6], "optim.rule": "sgd"},
        "resnet18": EPOCHS | {"model.kind": "resnet18", "optim.rule": "sgd"},
    },
}
"""Of every paper the branches of its code, as overrides of its smallest experiment."""


@functools.cache
def images(name: str) -> DataSet:
    """Random images, smaller than the digits; mushrooms are zeros and ones, of two classes."""
    draw, mushroom = generator(0, name), name == "mushroom"
    train, test = (Split(torch.randint(0, 2 if mushroom else 256, (n, 1, 4, 4), generator=draw,
                                       dtype=torch.uint8),
                         torch.arange(n) % (2 if mushroom else 10)) for n in (120, 40))
    return data.assemble(name, train, test)


class Compiled:
    """Stands in for ``torch.compile``, and knows whether what it was given is used."""

    def __init__(self):
        self.calls = 0

    def __call__(self, f=None, **options):
        def used(*args, **more):
            self.calls += 1
            return f(*args, **more)
        return used


@pytest.fixture
def compiled(monkeypatch):
    """Small data sets, short lists of problems, and nothing is compiled."""
    made = minpack.minpack_runs()
    monkeypatch.setattr(minpack, "minpack_runs", lambda: made[1:4])
    for name, listed in lbfgs.SETS.items():
        monkeypatch.setitem(lbfgs.SETS, name, [(p, {}) for p, _ in listed[:3]])
    for name in ("digits", "other", "mushroom"):
        monkeypatch.setitem(data.ELSEWHERE, name, functools.partial(images, name))
    stand_in = Compiled()
    monkeypatch.setattr(torch, "compile", stand_in)
    return stand_in


class Branch:
    """One branch of a paper's code, run for a few steps.

    Attributes:
        config: its configuration.
    """

    def __init__(self, paper: str, overrides: dict, compiled: Compiled):
        self.train = importlib.import_module(f"papers.{paper}.train")
        self.experiments = Experiments(self.train.Config, ROOT / "papers" / paper / "config.yaml")
        self.name, self.compiled = self.experiments.expand("quick")[0], compiled
        base = self.experiments.experiments[self.name]
        self.experiments.experiments[self.name] = replace(  # own: so that none of these is refused
            base, overrides=base.overrides | SHORT | overrides, own=())
        self.config = self.experiments.resolve(self.name)

    def numbers(self, **changed) -> str:
        """A digest of what a run leaves: data, weights, metrics, and whether it was compiled."""
        check_precision(self.experiments.resolve(self.name, 0, changed), "cpu")
        made = getattr(self.train, "recipe", None) or next(
            v for k, v in vars(self.train).items() if k.endswith("Recipe") and k != "Recipe")
        self.compiled.calls = 0
        (run,) = cli.train(made, self.experiments, self.name, [0], changed | {"fresh": True})
        record = json.loads((run.request.folder / "result.json").read_text())
        state = checkpoint.load(run.request.folder)["recipe"]
        told = {k: v for k, v in record["curves"].items() if k != "seconds"}
        metrics = {k: v for k, v in record["metrics"].items() if k != "seconds"}
        digest = hashlib.sha256(json.dumps(
            [record["data"], told, metrics, self.compiled.calls > 0]).encode())
        for held in sorted(str(t.shape).encode() + t.contiguous().numpy().tobytes()
                           for t in tensors(state)):
            digest.update(held)
        return digest.hexdigest()


def tensors(node) -> list[Tensor]:
    """All tensors of a nested state."""
    if isinstance(node, Tensor):
        return [node]
    parts = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return [t for part in parts for t in tensors(part)]


def others(key: Key, value) -> list:
    """Other values that a key may have, those first that make a difference soon."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, list):
        return [[v] for v in (1, 2, 0.5, 0.25) if [v] != value and v in key.bounds][:2]
    if isinstance(value, int):
        return [v for v in (1, 2 * value + 1, 0) if v != value and v in key.bounds]
    if isinstance(value, float):
        return [v for v in (value / 2 or 0.25, 0.75, 1e6, -1.0) if v != value and v in key.bounds]
    if "|" in key.type:
        return [v for v in key.type.split("|") if v != value]
    return ["other"]


def ignored(branch: Branch, name: str, before: str) -> list:
    """The values of a key that change nothing and are not refused."""
    key, value = keys(type(branch.config))[name], flatten(as_dict(branch.config))[name]
    silent = []
    for other in others(key, value):
        try:
            if branch.numbers(**{name: other}) == before:
                silent.append(other)
            elif "|" not in key.type:
                return []
        except UserError as e:
            assert "\n" not in str(e)
    return silent


LONG = ("airbench", "large_batch", "warm_start")
"""Papers of which even one branch takes seconds."""

CASES = [pytest.param(paper, name, marks=[pytest.mark.slow] * (
            name != next(iter(branches)) or paper in LONG))
         for paper, branches in BRANCHES.items() for name in branches]
"""Every branch; a plain pytest tries most papers' first one."""


@pytest.mark.parametrize(("paper", "name"), CASES)
def test_every_key_that_is_honoured_changes_numbers_or_is_refused(paper, name, compiled):
    branch = Branch(paper, BRANCHES[paper][name], compiled)
    before = branch.numbers()
    assert before == branch.numbers(), "the same run twice"
    silent = {k: v for k in identity(branch.config) if (v := ignored(branch, k, before))}
    assert not silent


@pytest.mark.slow
@pytest.mark.parametrize(("paper", "name"), CASES)
def test_every_key_that_is_not_honoured_changes_nothing(paper, name, compiled, monkeypatch):
    """So that no condition is wider than what the code ignores."""
    branch = Branch(paper, BRANCHES[paper][name], compiled)
    before, known = branch.numbers(), keys(type(branch.config))
    monkeypatch.setattr(Experiments, "_refuse_unused", lambda *a: None)
    changing = {}
    for k in unused(branch.config):
        value = flatten(as_dict(branch.config))[k]
        for other in others(known[k], value)[:1]:
            if k != "train.precision" and branch.numbers(**{k: other}) != before:
                changing[k] = other
    assert not changing
