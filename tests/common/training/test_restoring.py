"""A checkpoint of other code, or with parts of another kind: one line, before anything changes."""

import copy

import pytest
import torch
from torch import nn

from common.errors import UserError
from common.evidence import results
from common.training import checkpoint
from common.training import loop as training
from tests.common.toy import Toy, experiments


class Rich(Toy):
    """The toy with state of every kind: a tensor, a number, a truth, a list; and Adam."""

    state_names = (*Toy.state_names, "seen", "lowest", "warming", "recent")

    def build(self):
        super().build()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.01)
        self.seen, self.lowest, self.warming, self.recent = torch.zeros(3), 1.0, True, []

    def step(self, number):
        self.recent = [*self.recent, float(number)][-3:]
        return super().step(number)


class Deeper(Toy):
    """The toy with a layer that its checkpoints lack."""

    def build(self):
        super().build()
        self.model = nn.Sequential(*self.model, nn.Linear(10, 10))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)


@pytest.fixture
def run(tmp_path):
    """Trains in one folder; ``steps`` beyond a checkpoint's are still to be made."""
    known = experiments(tmp_path / "toy")

    def go(recipe=Toy, steps=40):
        made = recipe(known.resolve("base", 0, {"train.checkpoint_every": 10}))
        if steps < 40:
            take = made.step

            def step(number):
                if number == steps:
                    raise KeyboardInterrupt
                return take(number)
            made.step = step
        return training.run(made, tmp_path / "run", "toy", results.origin(made.device))
    return go


@pytest.mark.parametrize(("first", "then", "message"), [
    (Toy, Deeper, "the checkpoint's model is not this code's: 5.weight is absent there, (10, 10)"),
    (Deeper, Toy, "5.weight is (10, 10) there, absent here"),
    (Rich, Toy, "the checkpoint holds lowest, model, optimizer, recent, seen, warming: expected")])
def test_a_checkpoint_of_other_code_is_one_line(run, end_of, first, then, message):
    with pytest.raises(KeyboardInterrupt):
        run(first, steps=25)
    code, said = end_of(lambda: run(then))
    assert code == 2 and said.err.count("\n") == 1 and "fresh=true" in said.err
    assert message in said.err


def replaced(state, path, value):
    *above, last = path.split("/")
    for name in above:
        state = state[int(name) if name.isdigit() else name]
    if value is KeyError:
        del state[last]
    else:
        state[int(last) if last.isdigit() else last] = value


DAMAGE = [
    ("random", {}), ("random/numpy", []), ("random/numpy/0", "PCG64"), ("random/numpy/2", 10**9),
    ("random/numpy/1", torch.zeros(3, dtype=torch.int64)), ("random/numpy/1", 3),
    ("random/python", None), ("random/python/0", 9), ("random/python/1", ["a"] * 625),
    ("random/python/1", [10**12] * 625), ("random/python/2", "x"), ("random/torch", KeyError),
    ("random/torch", torch.zeros(7, dtype=torch.uint8)), ("random/torch", torch.zeros(5056)),
    ("random/torch", torch.zeros(5056, dtype=torch.uint8)), ("random", torch.zeros(2)),
    ("recipe", torch.zeros(2)), ("recipe/model", torch.zeros(2)), ("recipe/optimizer", 3),
    ("recipe/model/1.weight", KeyError), ("recipe/model/1.weight", torch.zeros(2)),
    ("recipe/model/1.weight", "x"), ("recipe/optimizer/state", []),
    ("recipe/optimizer/param_groups", torch.zeros(1)), ("recipe/optimizer/param_groups", []),
    ("recipe/optimizer/param_groups/0/lr", "x"), ("recipe/optimizer/param_groups/0/params", [0]),
    ("recipe/optimizer/param_groups/0/params", [[0], [1], [2], [3]]),
    ("recipe/optimizer/param_groups/0/betas", 3), ("recipe/optimizer/param_groups/0", "x"),
    ("recipe/seen", {}), ("recipe/seen", torch.zeros(4)), ("recipe/lowest", "low"),
    ("recipe/lowest", torch.zeros(2)), ("recipe/warming", 2), ("recipe/recent", {}),
    ("recipe/recent", ["a"]), ("window", [0.0, "a"]), ("window", [float("inf"), 1]),
    ("window", [0.0, -1]), ("seconds", 1e300), ("step", 41), ("step", 10**30),
    ("finished", True), ("config", torch.zeros(2)), ("config/optim.lr", torch.zeros(2)),
    ("config/train.precision", ["float32"]), ("config/optim.lr", [1])]


@pytest.mark.parametrize(("path", "value"), DAMAGE)
def test_an_intact_checkpoint_with_a_part_of_another_kind_is_one_line(
        run, end_of, tmp_path, path, value):
    with pytest.raises(KeyboardInterrupt):
        run(Rich, steps=25)
    state = checkpoint.load(tmp_path / "run")
    replaced(state, path, value)
    checkpoint.save(tmp_path / "run", state)
    before = (tmp_path / "run" / checkpoint.NAME).read_bytes()
    code, said = end_of(lambda: run(Rich))
    assert code == 2 and said.err.count("\n") == 1 and "run" in said.err
    assert (tmp_path / "run" / checkpoint.NAME).read_bytes() == before


@pytest.mark.parametrize("name", ["exp_avg", "exp_avg_sq"])
@pytest.mark.parametrize("value", [torch.zeros(2), "x", {}])
def test_what_an_optimiser_keeps_has_its_parameters_shape(run, tmp_path, name, value):
    with pytest.raises(KeyboardInterrupt):
        run(Rich, steps=25)
    state = checkpoint.load(tmp_path / "run")
    state["recipe"]["optimizer"]["state"][0][name] = value
    checkpoint.save(tmp_path / "run", state)
    with pytest.raises(UserError, match=f"{name} of parameter 0 is .* there, \\(16, 64\\) here"):
        run(Rich)


@pytest.mark.parametrize("changes", [
    {"metrics": {}}, {"metrics": {"accuracy": float("nan")}}, {"step": 30}, {"step": 41}])
def test_a_finished_run_says_what_it_measured_after_its_last_step(run, tmp_path, changes):
    ended = run()
    state = checkpoint.load(tmp_path / "run")
    assert run().metrics == ended.metrics
    checkpoint.save(tmp_path / "run", state | changes)
    with pytest.raises(UserError, match=r"checkpoint in .*: expected "):
        run()


def test_a_state_that_fits_is_taken_and_nothing_of_one_that_does_not(tmp_path):
    known = experiments(tmp_path / "toy")
    one, other = (Rich(known.resolve("base", 0)) for _ in range(2))
    for k in range(3):
        one.step(k)
    before, taken = copy.deepcopy(other.state()), copy.deepcopy(one.state())
    with pytest.raises(UserError, match="the checkpoint's seen is not this code's: 3 there"):
        other.load_state(taken | {"seen": 3})
    assert all(torch.equal(a, b) for a, b in zip(
        other.state()["model"].values(), before["model"].values(), strict=True))
    other.load_state(taken)
    torch.manual_seed(5)
    loss = one.step(3)
    torch.manual_seed(5)
    assert torch.equal(other.step(3), loss) and other.recent == one.recent == [1.0, 2.0, 3.0]
