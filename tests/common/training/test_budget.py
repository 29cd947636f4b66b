"""A run that stops when its time is over goes on as if it had not."""

import os
import signal
import subprocess
import sys
import time

import pytest

from common.errors import Paused, UserError
from common.evidence import results
from common.files import ROOT
from common.training import checkpoint, steps, tracking
from common.training import loop as training
from common.training.budget import Budget, seconds_of
from tests.common.toy import Toy, experiments


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("8m", 480), ("1.5h", 5400)])
def test_times_are_read(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["8", "8 minutes", "-1m", "0s", "m", "1e3s", "nan", "²s",
                                  "٣m", "9" * 5000 + "s", "1.٣h"])
def test_other_words_are_one_line(text):
    with pytest.raises(UserError, match=r"expected a time such as 90s, 8m or 1\.5h"):
        seconds_of(text)


def test_a_time_too_long_for_the_system_is_one_line():
    assert seconds_of("270000h") == 270_000 * 3600
    for text in ("9999999h", "9" * 12 + "s"):
        with pytest.raises(UserError, match=f"budget={text}: expected at most 1,000,000,000 s"):
            seconds_of(text)


def test_without_a_limit_it_is_never_over():
    assert not Budget().over and Budget().left == float("inf")


class Limited(Toy):
    """Its budget is over in the middle of step 17."""
    budget = None

    def step(self, number):
        if number == 16 and self.budget is not None:
            self.budget.stop()
        return super().step(number)


def go(folder, budget=None):
    known = experiments(folder.parent / "toy")
    made = Limited(known.resolve("base", 0))
    made.budget = budget
    ended = training.run(made, folder, "toy", results.origin(made.device), budget)
    return ended.metrics, ended


def test_a_paused_run_ends_with_the_bits_of_an_undisturbed_one(tmp_path, monkeypatch):
    monkeypatch.setattr(steps, "TURN", 0.0)  # looks after every step
    whole, _ = go(tmp_path / "whole")
    with pytest.raises(Paused, match="toy: asked to end; stopped at step 17 of 40"):
        go(tmp_path / "cut", Budget())
    assert checkpoint.load(tmp_path / "cut")["step"] == 17, "between two of its cadences"
    again, history = go(tmp_path / "cut")
    assert again == whole and [s.from_step for s in history.segments] == [0, 17]
    assert tracking.read(tmp_path / "cut") == tracking.read(tmp_path / "whole")


def command(tmp_path, *words):
    return [sys.executable, "papers/batchnorm/train.py", "experiment=quick_bn", "train.threads=1",
            "train.checkpoint_every=100000", "train.steps=100000", *words], dict(
                cwd=ROOT, env=os.environ | {"PAPERS_RUNS": str(tmp_path)}, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def standing(tmp_path):
    (folder,) = {p.parent for p in tmp_path.rglob(checkpoint.NAME)}
    return checkpoint.load(folder)["step"]


def test_the_command_line_knows_a_budget(tmp_path):
    words, options = command(tmp_path, "budget=2s")
    done = subprocess.run(words, timeout=120, **options)
    assert done.returncode == 0, done.stderr
    assert "the budget is used up; stopped at step" in done.stderr.splitlines()[-1]
    assert f"stopped at step {standing(tmp_path)} of 100000" in done.stderr
    assert not list(tmp_path.rglob("result.json"))


def test_sigterm_leaves_a_checkpoint_and_a_line(tmp_path):
    words, options = command(tmp_path)
    process = subprocess.Popen(words, **options)
    deadline = time.monotonic() + 60
    while not [p for p in tmp_path.rglob("metrics.jsonl") if p.stat().st_size]:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert "asked to end; stopped at step" in said.splitlines()[-1], said
    assert standing(tmp_path) > 0


def test_runs_not_begun_are_counted(tmp_path):
    words, options = command(tmp_path, "experiment=quick_bn,quick_plain", "seed=0,1", "budget=1s")
    words.remove("experiment=quick_bn")
    done = subprocess.run(words, timeout=120, **options)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1].endswith("goes on from there; 3 more not begun")
