"""Two gloo processes on digits agree with one, resume from one checkpoint, write results once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from common.errors import UserError
from common.files import ROOT
from common.running import cli
from common.training import distributed
from tests.common.toy import Config, Toy, experiments

SCRIPT = """
import os, signal, sys, torch
from pathlib import Path
from torch import nn
from common.running import cli
from common.errors import exit_with
from common.training.descent import sgd
from tests.common.toy import Config, Toy, experiments

class Smooth(Toy):
    def build(self):
        torch.manual_seed(self.config.seed)
        self.model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10))
        self.optimizer = sgd(self.model.parameters(), self.device, lr=0.1, momentum=0.9)

class Bypassing(Smooth):
    def loss(self, batch, row):
        return nn.functional.cross_entropy(self.model(batch[0]), batch[1])

class Stopping(Smooth):
    def step(self, number):
        if number == 25:
            raise SystemExit(3)
        return super().step(number)

class Asked(Smooth):
    def step(self, number):
        if number == 25 and os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGTERM)
        return super().step(number)

folder = Path(__file__).parent / "toy"
experiments(folder)
kind = {"Bypassing": Bypassing, "Stopping": Stopping, "Asked": Asked}.get(sys.argv[1], Smooth)
exit_with(lambda: cli.main(kind, Config, str(folder / "train.py"), sys.argv[2:]))
"""


def train(folder, kind, *words, processes=2):
    folder.mkdir(exist_ok=True)
    (folder / "script.py").write_text(SCRIPT)
    start = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return subprocess.run(
        [sys.executable, *(start if processes > 1 else []), str(folder / "script.py"), kind,
         *words],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PAPERS_RUNS": str(folder / "runs"),
                          "OMP_NUM_THREADS": "1"})


def outcome(folder):
    return json.loads((folder / "toy/results/base/seed0.json").read_text())


@pytest.mark.slow
def test_two_processes_agree_with_one_and_resume(tmp_path):
    one, two = train(tmp_path / "one", "Smooth", processes=1), train(tmp_path / "two", "Smooth")
    assert one.returncode == two.returncode == 0, two.stderr
    assert two.stdout.count("toy/base/seed0") == 1, "one process speaks"
    a, b = outcome(tmp_path / "one"), outcome(tmp_path / "two")
    assert b["segments"][0]["processes"] == 2 and "processes" not in a["segments"][0]
    assert a["metrics"]["accuracy"] == pytest.approx(b["metrics"]["accuracy"], abs=0.003)
    assert a["curves"]["train_loss"][1] == pytest.approx(b["curves"]["train_loss"][1], rel=1e-4)

    stopped = train(tmp_path / "cut", "Stopping")
    assert stopped.returncode != 0 and not (tmp_path / "cut/toy/results").exists()
    resumed = train(tmp_path / "cut", "Smooth")
    assert resumed.returncode == 0, resumed.stderr
    c = outcome(tmp_path / "cut")
    assert [s["from_step"] for s in c["segments"]] == [0, 20]
    assert (c["metrics"], c["curves"]) == (b["metrics"], b["curves"])


@pytest.mark.slow
def test_processes_that_are_asked_to_end_stop_at_the_same_step(tmp_path):
    stopped = train(tmp_path / "run", "Asked", "budget=60s")
    assert stopped.returncode == 0, stopped.stderr
    assert stopped.stderr.count("toy/base/seed0: asked to end; stopped at step 26 of 40") == 1
    assert "terminate called" not in stopped.stderr, "gloo's threads end with the process"


@pytest.mark.parametrize(("kind", "words", "message"), [
    ("Bypassing", [], "the processes' weights differ"),
    ("Smooth", ["train.batch_size=21"], "train.batch_size=21: expected a multiple of the 2")])
@pytest.mark.slow
def test_what_cannot_be_shared_is_refused(tmp_path, kind, words, message):
    done = train(tmp_path / "run", kind, *words)
    assert done.returncode != 0 and done.stderr.count(f"error: {message}") + done.stderr.count(
        message) >= 1
    assert sum(line.startswith("error: ") for line in done.stderr.splitlines()) == 1
    assert not (tmp_path / "run/toy/results").exists()


def test_seeds_side_by_side_want_one_process(monkeypatch, tmp_path):
    monkeypatch.setattr(distributed, "processes", lambda: 2)
    monkeypatch.setattr(cli, "train", lambda *a: pytest.fail("trained"))
    script = str(experiments(tmp_path).path.with_name("train.py"))
    with pytest.raises(UserError, match="expected one process, not torchrun's 2"):
        cli.main(Toy, Config, script, ["train.vectorize=true"])


def test_shares_make_up_the_batch(monkeypatch):
    batch = torch.arange(12).reshape(6, 2), torch.arange(6)
    assert distributed.share(batch) is batch, "alone"
    monkeypatch.setattr(distributed, "processes", lambda: 3)
    parts = []
    for k in range(3):
        monkeypatch.setattr(distributed, "rank", lambda k=k: k)
        parts.append(distributed.share(batch))
    for whole, shares in zip(batch, zip(*parts, strict=True), strict=True):
        assert torch.equal(torch.cat(shares), whole)
    with pytest.raises(UserError, match="expected a multiple of the 3 processes"):
        distributed.share((batch[0][:5], batch[1][:5]))


def test_every_process_takes_its_own_card(monkeypatch):
    monkeypatch.setattr(distributed, "processes", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert distributed.local_device(torch.device("cuda")) == torch.device("cuda:1")
    assert distributed.local_device(torch.device("cpu")) == torch.device("cpu")


@pytest.mark.slow
def test_the_script_of_a_paper_runs_under_torchrun(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
         "papers/resnet/train.py", "experiment=quick", "train.steps=4", "train.eval_every=4"],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
        env=os.environ | {"PAPERS_RUNS": str(tmp_path), "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert len(list(Path(tmp_path).rglob("result.json"))) == 1


@pytest.fixture
def environment(monkeypatch):
    """What torchrun would have left, read anew."""
    def set_to(**values):
        for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", *distributed.TORCHRUN):
            monkeypatch.delenv(name, raising=False)
        for name, value in values.items():
            monkeypatch.setenv(name, value)
        distributed.rank.cache_clear()
        distributed.processes.cache_clear()
    yield set_to
    monkeypatch.undo()
    distributed.rank.cache_clear()
    distributed.processes.cache_clear()


@pytest.mark.parametrize("values", [{}, {"RANK": "1"}, {"WORLD_SIZE": ""}, {"WORLD_SIZE": "1"},
                                    {"RANK": "3", "WORLD_SIZE": "1"}, {"WORLD_SIZE": "0"}])
def test_a_process_without_others_is_the_first(environment, values):
    environment(**values)
    assert (distributed.processes(), distributed.rank()) == (1, 0)


MET = {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29999"}
"""What torchrun leaves to two processes."""


@pytest.mark.parametrize(("values", "said"), [
    ({"WORLD_SIZE": "2"}, "not RANK, MASTER_ADDR, MASTER_PORT"),
    ({"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "localhost"}, "not MASTER_PORT"),
    ({"WORLD_SIZE": "two"}, "WORLD_SIZE='two' in the environment: expected a whole number"),
    ({"WORLD_SIZE": "-1"}, "expected a whole number"), ({"WORLD_SIZE": "²"}, "whole number"),
    ({"WORLD_SIZE": "٣"}, "whole number"), ({"WORLD_SIZE": "9" * 5000}, "9…' in the environment"),
    ({"WORLD_SIZE": "1000000"}, "below a million"),
    (MET | {"RANK": "x"}, "RANK='x' in the environment: expected a whole number"),
    (MET | {"RANK": "2"}, "RANK=2 in the environment: expected less than WORLD_SIZE=2"),
    (MET | {"MASTER_ADDR": "x y"}, "MASTER_ADDR=x y, MASTER_PORT=29999 in the environ"),
    (MET | {"MASTER_ADDR": "nowhere.invalid"}, "MASTER_ADDR=nowhere.invalid, "),
    (MET | {"MASTER_ADDR": "a" * 300}, "in the environment: no place"),
    (MET | {"MASTER_ADDR": "\udcff"}, "in the environment: no place"),
    (MET | {"MASTER_PORT": "0"}, "MASTER_PORT=0 in the environment: no place where 2 processes"),
    (MET | {"LOCAL_RANK": "x"}, "LOCAL_RANK='x' in the environment: expected a whole number"),
    (MET | {"MASTER_PORT": "x"}, "MASTER_PORT=x in the environment: no place where 2 processes"),
    (MET | {"MASTER_PORT": "-5"}, "MASTER_PORT=-5 in the environment"),
    (MET | {"MASTER_PORT": "99999"}, "MASTER_PORT=99999 in the environment")])
def test_what_torchrun_does_not_leave_is_one_line(environment, values, said):
    environment(**values)
    with pytest.raises(UserError, match=said) as e, distributed.process_group():
        pytest.fail("they met")
    assert "\n" not in str(e.value)
