"""A run's state is what its recipe declares; statistics and several networks have their place."""

import copy

import pytest
import torch
from torch import nn

from common.errors import UserError
from common.training.descent import sgd
from common.training.recipe import Supervised
from tests.common.toy import Toy, experiments


@pytest.fixture
def known(tmp_path):
    return experiments(tmp_path / "toy")


class TeacherAndStudent(Supervised):
    """Two networks, two optimisers, a tensor, a number and a list."""

    state_names = ("teacher", "student", "teaching", "studying", "wrong", "count", "recent")

    def build(self):
        self.teacher, self.student = (nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
                                      for _ in range(2))
        self.teaching, self.studying = (sgd(m.parameters(), self.device, lr=0.1, momentum=0.9)
                                        for m in (self.teacher, self.student))
        self.wrong, self.count, self.recent = torch.zeros(3), 0, []

    @property
    def model(self):
        return self.student

    def update(self, row):
        x, y = self.batch(row)
        for network, optimizer in ((self.teacher, self.teaching), (self.student, self.studying)):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(network(x), y)
            loss.backward()
            optimizer.step()
        self.wrong += 1
        self.count += 1
        self.recent = [*self.recent, loss.item()][-2:]
        return loss.detach()


def test_everything_declared_is_kept_and_goes_on_alike(known):
    one, two = (TeacherAndStudent(known.resolve("base", s)) for s in (0, 0))
    for k in range(5):
        one.step(k)
    state = copy.deepcopy(one.state())
    assert state.keys() == set(TeacherAndStudent.state_names)
    two.load_state(state)
    assert (two.count, two.recent) == (5, one.recent) and torch.equal(two.wrong, one.wrong)
    for k in range(5, 8):
        assert one.step(k) == two.step(k)
    assert len(one.networks()) == 2
    for a, b in zip(one.teacher.parameters(), two.teacher.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_state_of_another_recipe_is_one_line(known):
    one, other = Toy(known.resolve("base", 0)), TeacherAndStudent(known.resolve("base", 0))
    with pytest.raises(UserError, match="the checkpoint holds model, optimizer: expected count, "):
        other.load_state(one.state())


def test_statistics_of_the_training_data_are_taken_before_anything_is_prepared(known):
    class Centred(Toy):
        def measure(self, train):
            self.mean = train.images.float().mean(0)

        def prepare(self, images):
            return images.float() - self.mean
    made = Centred(known.resolve("base", 0))
    assert made.inputs.mean(0).abs().max() < 1e-4 < made.eval_inputs.mean(0).abs().max()


def test_a_row_is_a_pure_function_of_seed_and_step(known):
    one, two = (Toy(known.resolve("base", 3)) for _ in range(2))
    for k in (5, 0, 17):
        one.row(k)
    row, again, plan = one.row(9), two.row(9), one.plan(7, 12)
    assert row["number"] == 9 and row["lr"] == one.rates(9)["lr"], "plain numbers"
    for name, value in row.items():
        assert torch.equal(torch.as_tensor(value), torch.as_tensor(again[name])), name
        assert torch.equal(torch.as_tensor(value, dtype=plan[name].dtype), plan[name][2]), name
    assert plan["lr"].dtype == torch.float64, "the numbers of the schedule, unrounded"
    other = Toy(known.resolve("base", 4))
    assert not torch.equal(one.row(9)["index"], other.row(9)["index"])


def test_a_run_on_an_accelerator_goes_on_from_its_own_randomness(known, accelerator):
    def made():
        return Own(known.resolve("base", 0, {"train.device": str(accelerator.device)}))
    one, two = made(), made()
    for k in range(4):
        one.step(k)
    two.load_state(copy.deepcopy(one.state()))
    torch.manual_seed(123)  # the default generator has no part in it
    assert [one.step(k).item() for k in (4, 5)] == [two.step(k).item() for k in (4, 5)]


class Own(Toy):
    """The toy with this repository's dropout layer, which can draw from a run's generator."""

    def build(self):
        from common.training.layers import Dropout
        super().build()
        self.model[2] = Dropout(0.5)
