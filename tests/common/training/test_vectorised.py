"""Seeds side by side give the numbers of separate runs, and may be separated again."""

import copy

import pytest
import torch
from torch import nn

from common.errors import UserError
from common.evidence import results
from common.experiments import Experiments
from common.files import ROOT
from common.running import cli
from common.training import loop as training
from common.training.descent import sgd
from common.training.recipe import Planned
from common.training.vectorised import BatchedSeeds
from papers.batchnorm.train import BatchNormRecipe
from papers.batchnorm.train import Config as BatchNormConfig
from tests.common.toy import Toy, experiments

SEEDS = range(3)
TOLERANCE = dict(rtol=1e-4, atol=1e-5)
"""Of weights after 40 steps: compiled and batched arithmetic rounds differently."""


class Scheduled(Toy):
    """Momentum and a schedule, and no randomness in the step."""

    def build(self):
        super().build()
        torch.manual_seed(self.config.seed)
        self.model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10))
        self.optimizer = sgd(self.model.parameters(), self.device, lr=0.1, momentum=0.9)


class Adaptive(Scheduled):
    def build(self):
        super().build()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.01)

    def rates(self, step):
        return {}


def toys(folder, kind, seeds=SEEDS):
    known = experiments(folder / "toy")
    return [kind(known.resolve("base", s)) for s in seeds]


def normalised(name):
    known = Experiments(BatchNormConfig, ROOT / "papers/batchnorm/config.yaml")
    return [BatchNormRecipe(known.resolve(name, s, {"model.hidden": [20, 20]})) for s in SEEDS]


def advance(recipe, first, last):
    return torch.stack([recipe.step(k) for k in range(first, last)], -1)


@pytest.mark.parametrize("kind", [Scheduled, Adaptive, "quick_plain", "quick_bn"])
def test_side_by_side_equals_one_by_one(tmp_path, kind):
    make = (lambda: normalised(kind)) if isinstance(kind, str) else (lambda: toys(tmp_path, kind))
    apart, joined = make(), make()
    together = BatchedSeeds(joined)
    losses = advance(together, 0, 40)
    expected = torch.stack([advance(r, 0, 40) for r in apart])
    torch.testing.assert_close(losses, expected, **TOLERANCE)
    together.gather()
    for a, b in zip(apart, joined, strict=True):
        for k, v in a.model.state_dict().items():  # BN's moving averages, too
            torch.testing.assert_close(b.model.state_dict()[k], v, **TOLERANCE)
        assert a.optimizer.param_groups[0]["lr"] == b.optimizer.param_groups[0]["lr"]
        assert a.evaluate(40, False).keys() == b.evaluate(40, False).keys()
    assert not torch.equal(losses[0], losses[1]), "every seed has batches of its own"


def test_a_run_begun_together_goes_on_alone_and_back(tmp_path):
    apart, joined = toys(tmp_path, Scheduled), toys(tmp_path, Scheduled)
    together = BatchedSeeds(joined)
    advance(together, 0, 20)
    together.gather()
    alone = toys(tmp_path, Scheduled)
    for r, from_ in zip(alone, joined, strict=True):
        r.load_state(copy.deepcopy(from_.state()))
        advance(r, 20, 30)
    back = BatchedSeeds(alone)
    advance(back, 30, 40)
    back.gather()
    for r, s in zip(apart, alone, strict=True):
        advance(r, 0, 40)
        for p, q in zip(r.model.parameters(), s.model.parameters(), strict=True):
            torch.testing.assert_close(p, q, **TOLERANCE)


def test_the_loop_leaves_each_seed_its_own_files(tmp_path, monkeypatch):
    monkeypatch.setenv("PAPERS_RUNS", str(tmp_path / "runs"))
    known = experiments(tmp_path / "toy")
    done = cli.train(Scheduled, known, "base", list(SEEDS), {"train.vectorize": True})
    kept = {}
    for d in done:
        found = results.read(results.path_of(tmp_path / "toy", "base", d.request.config.seed),
                             known.schema)
        assert found.metrics == d.metrics
        assert found.record.segments[0].side_by_side == 3
        kept[found.seed] = found
    assert len({r.metrics["accuracy"] for r in kept.values()}) > 1
    (alone,) = cli.train(Scheduled, experiments(tmp_path / "other/toy"), "base", [1],
                         {"fresh": True})
    assert kept[1].metrics["accuracy"] == pytest.approx(alone.metrics["accuracy"], abs=0.006)
    steps, losses = kept[1].curves["train_loss"]
    expected = results.read(results.path_of(tmp_path / "other/toy", "base", 1), known.schema)
    assert losses == pytest.approx(expected.curves["train_loss"][1], rel=1e-3)
    assert steps[-1] == 40


def test_the_data_are_held_once(tmp_path):
    joined = toys(tmp_path, Scheduled)
    BatchedSeeds(joined)
    assert len({r.inputs.data_ptr() for r in joined}) == 1


def test_random_losses_and_own_steps_are_refused(tmp_path):
    drops = BatchedSeeds(toys(tmp_path, Toy))
    with pytest.raises(UserError, match="draws random numbers"):
        advance(drops, 0, 1)

    class Own(Scheduled):
        def step(self, number):
            return Planned.step(self, number)
    with pytest.raises(UserError, match="its own, not the shared"):
        BatchedSeeds(toys(tmp_path, Own))


def test_seeds_that_are_ahead_go_with_their_like(tmp_path, monkeypatch):
    monkeypatch.setenv("PAPERS_RUNS", str(tmp_path / "runs"))
    known = experiments(tmp_path / "toy")
    (first,) = cli.train(Scheduled, known, "base", [0], {})
    done = cli.train(Scheduled, known, "base", [0, 1, 2], {"train.vectorize": True})
    assert [d.request.config.seed for d in done] == [0, 1, 2]
    assert done[0].metrics == first.metrics, "finished before, and left alone"
    folders = [tmp_path / "runs/toy/base/seed0", tmp_path / "runs/elsewhere"]
    made = toys(tmp_path, Scheduled, range(2))
    with pytest.raises(UserError, match=r"at 40, two at 0; finish them one by one"):
        training.run_all(made, folders, ["one", "two"],
                         results.origin(made[0].device), BatchedSeeds)
