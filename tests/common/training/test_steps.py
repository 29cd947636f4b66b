"""Blocks of planned rows are the steps one by one, whatever the cadence of those who ask."""

import math

import pytest
import torch

from common.errors import UserError
from common.evidence import results
from common.experiments import Experiments
from common.files import ROOT
from common.training import checkpoint, tracking
from common.training.layers import Dropout
from common.training.loop import run_all
from common.training.steps import InBlocks, OneByOne, steps_of
from papers.batchnorm.train import BatchNormRecipe
from papers.batchnorm.train import Config as BatchNormConfig
from papers.resnet.train import Config as ResNetConfig
from papers.resnet.train import ResNetRecipe
from tests.common.toy import Toy, experiments


def take(steps, *stops):
    """Take steps to each stop in turn; all their losses, and how many were made at each turn."""
    found, made, first = [], [], 0
    for last in stops:
        made += list(steps.take(first, last))
        found += steps.losses()
        first = last
    return found, made


def weights(recipe):
    return torch.cat([p.detach().flatten() for p in recipe.model.parameters()])


@pytest.fixture(params=["toy", "batchnorm", "resnet"])
def make(request, tmp_path):
    """Makes the same recipe again and again."""
    if request.param == "toy":
        known = experiments(tmp_path / "toy")
        return lambda: Toy(known.resolve("base", 0))
    recipe, schema, name, small = {
        "batchnorm": (BatchNormRecipe, BatchNormConfig, "quick_bn", {"model.hidden": [10, 10]}),
        "resnet": (ResNetRecipe, ResNetConfig, "quick", {
            "model.depth": 8, "train.batch_size": 8, "optim.milestones": [20], "augment.pad": 1,
            "augment.flip": True, "model.magnify": 1})}[request.param]
    known = Experiments(schema, ROOT / "papers" / request.param / "config.yaml")
    return lambda: recipe(known.resolve(name, 0, small))


@pytest.mark.parametrize("block", [7, 16, 1000])
def test_blocks_are_the_steps_one_by_one(make, block):
    one, other = make(), make()
    other.block = block
    torch.manual_seed(5)  # the toy's dropout draws from the default generator
    expected, _ = take(OneByOne(one), 40)
    torch.manual_seed(5)
    found, made = take(InBlocks(other, 40), 3, 20, 33, 40)
    assert found == expected, "to the bit"
    assert torch.equal(weights(one), weights(other))
    assert made == sorted(set(made)) and {3, 20, 33, 40} <= set(made)


def test_a_resumed_run_starts_within_a_block(make):
    whole, cut = make(), make()
    torch.manual_seed(1)
    expected, _ = take(OneByOne(whole), 20)
    torch.manual_seed(1)
    first, _ = take(OneByOne(cut), 11)
    cut.block = 6
    steps = InBlocks(cut, 20)
    list(steps.take(11, 20))
    assert first + steps.losses() == expected


def test_no_row_beyond_the_last_step_is_planned(make):
    recipe = make()
    recipe.block, asked = 8, []
    plan = recipe.plan
    recipe.plan = lambda first, last: asked.append((first, last)) or plan(first, last)
    take(InBlocks(recipe, 20), 20)
    assert max(last for _, last in asked) == 20
    assert [first for first, _ in asked[1:]] == [last for _, last in asked[:-1]], "each row once"


def test_steps_that_depend_on_the_last_are_taken_one_by_one(tmp_path):
    class Scripted(ResNetRecipe):
        """Its training error falls below 80 % at update 6."""
        count = 0

        def end_warm_up(self, error):
            self.count += 1
            self.warming = self.count < 6

    known = Experiments(ResNetConfig, ROOT / "papers/resnet/config.yaml")
    small = {"model.depth": 8, "train.batch_size": 8, "model.magnify": 1, "optim.warm_up_lr": 0.01}
    one, other = (Scripted(known.resolve("quick", 0, small)) for _ in range(2))
    other.block = 4
    expected, _ = take(OneByOne(one), 15)
    found, made = take(InBlocks(other, 15), 15)
    assert found == expected
    assert made[:6] == [1, 2, 3, 4, 5, 6] and made[6] > 7
    assert torch.equal(weights(one), weights(other))


def test_a_cpu_takes_steps_one_by_one(make):
    assert isinstance(steps_of(make(), 10), OneByOne)


def test_runs_that_take_turns_do_not_change_each_others_numbers(tmp_path, accelerator):
    """Each draws from its own generator, and goes on where it alone would have."""
    known = experiments(tmp_path / "toy")

    def made(seed):
        return Own(known.resolve("base", seed, {"train.device": str(accelerator.device)}))

    def go(seeds, where, budget=None):
        folders = [tmp_path / where / str(s) for s in seeds]
        recipes = [made(s) for s in seeds]
        for r in recipes:
            r.block = 12
        ended = run_all(recipes, folders, [f"toy{s}" for s in seeds],
                        results.origin(recipes[0].device), budget=budget)
        return [e.metrics for e in ended], [tracking.read(f) for f in folders]

    alone = [go([s], "alone") for s in (0, 1, 2)]
    together, lines = go([0, 1, 2], "together")
    assert together == [metrics for (metrics,), _ in alone]
    assert lines == [its for _, (its,) in alone]
    go([1], "begun")  # finished already: the others go on beside it
    assert go([0, 1], "begun")[0] == together[:2]


def test_a_run_that_fails_stops_no_other(tmp_path, accelerator):
    known = experiments(tmp_path / "toy")

    class Diverging(Own):
        def update(self, row):
            return super().update(row) * (math.nan if self.config.seed == 1 else 1.0)
    recipes = [Diverging(known.resolve("base", s, {"train.device": str(accelerator.device)}))
               for s in (0, 1)]
    folders = [tmp_path / str(s) for s in (0, 1)]
    with pytest.raises(UserError, match=r"one: the loss is nan at step 1; training stopped, there "
                                        r"is no checkpoint yet"):
        run_all(recipes, folders, ["zero", "one"], results.origin(recipes[0].device))
    assert checkpoint.load(folders[0])["finished"] and checkpoint.load(folders[1]) is None


class Own(Toy):
    """The toy with this repository's dropout layer, which can draw from a run's generator."""

    def build(self):
        super().build()
        self.model[2] = Dropout(0.5)
