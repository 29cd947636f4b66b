"""Jobs done one by one, kept, and gone on with."""

from dataclasses import dataclass

import pytest
import torch

from common.config import Config as BaseConfig
from common.config import TrainConfig
from common.errors import UserError
from common.running import recheck
from common.training.worklist import Worklist


@dataclass
class Config(BaseConfig):
    pass


class Powers(Worklist):
    columns = ("square", "cube")
    collection = "numbers"

    def listed(self):
        return [2, 3, 5]

    def start_of(self, job):
        return torch.tensor([float(job)])

    def name_of(self, k, job):
        return f"of_{job}"

    def do(self, job):
        return [job**2, job**3]


def made(steps=3):
    return Powers(Config(train=TrainConfig(steps=steps, batch_size=1)))


def test_every_job_is_done_and_named():
    r = made()
    assert [r.step(k).item() for k in range(3)] == [8, 27, 125]
    assert r.evaluate(2, False) == {}
    assert r.evaluate(3, True) == {"square_of_2": 4, "cube_of_2": 8, "square_of_3": 9,
                                   "cube_of_3": 27, "square_of_5": 25, "cube_of_5": 125}
    assert Worklist.name_of(r, 7, None) == "7"


class Movable(Powers):
    def moved(self, job, move):
        return move(self.start_of(job)).item()


def test_a_start_is_moved_by_a_part_of_itself():
    still, moved = made(), Movable(Config(train=TrainConfig(steps=3, batch_size=1)))
    recheck.move(still, 1e-3)
    recheck.move(moved, 1e-3)
    assert still.jobs == [2, 3, 5]
    assert all(0 < abs(b - a) < 5e-3 * a for a, b in zip(still.jobs, moved.jobs, strict=True))


def test_a_stopped_list_goes_on():
    r = made()
    r.step(0)
    again = made()
    again.load_state(r.state())
    again.step(1)
    assert again.model.values.tolist() == [[4, 8], [9, 27], [0, 0]]
    assert r.data.fingerprint == again.data.fingerprint and r.data.name == "numbers"


def test_a_wrong_number_of_steps_is_one_line():
    with pytest.raises(UserError, match=r"train\.steps=4: expected 3, a step for each"):
        made(4)
