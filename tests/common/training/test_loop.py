"""The loop: steps, logs, resuming, and what stops it."""

import json
import math
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from torch import nn

from common.errors import UserError
from common.evidence import results
from common.files import ROOT, locked
from common.training import checkpoint, tracking
from common.training import loop as training
from tests.common.toy import Toy, experiments


@pytest.fixture
def trial(tmp_path):
    """Run the toy for some steps in a folder; returns its metrics."""
    known = experiments(tmp_path / "papers" / "toy")

    def go(folder="run", recipe=Toy, **overrides):
        made = recipe(known.resolve("base", 0, {k.replace("__", "."): v
                                                for k, v in overrides.items()}))
        ended = training.run(made, tmp_path / folder, "toy", results.origin(made.device))
        return made, ended.metrics, ended
    return go


class Stopped(Exception):
    pass


def stopping_at(step):
    """The toy, killed in the middle of the given step."""
    class Stopping(Toy):
        count = 0

        def step(self, number):
            if number == step:
                raise Stopped
            return super().step(number)
    return Stopping


def lines(folder):
    return [{k: v for k, v in line.items() if k != "seconds"} for line in tracking.read(folder)]


@pytest.mark.parametrize("step", [3, 10, 19, 35])
def test_a_resumed_run_is_bit_identical(trial, tmp_path, step):
    whole, metrics, _ = trial("whole")
    with pytest.raises(Stopped):
        trial("cut", stopping_at(step))
    torch.manual_seed(99)  # whatever happened to the global randomness in between
    resumed, again, history = trial("cut")
    assert again == metrics
    for a, b in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert lines(tmp_path / "cut") == lines(tmp_path / "whole")
    assert all(s.from_seconds == round(s.from_seconds, 1) for s in history.segments[1:])
    assert [s.from_step for s in history.segments] == ([0] if step < 10 else [0, 10 * (
        step // 10)])[-1:] if step < 10 else [0, 10 * (step // 10)]
    final = [checkpoint.read(tmp_path / f / checkpoint.NAME) for f in ("cut", "whole")]
    assert str(final[0]["recipe"]["optimizer"]) == str(final[1]["recipe"]["optimizer"])


def test_a_finished_run_is_not_trained_again(trial):
    _, metrics, before = trial()
    _, again, after = trial(recipe=stopping_at(0))
    assert again == metrics
    assert after.segments == before.segments, "this process had no share in it"


def test_an_error_in_the_final_evaluation_costs_no_update(trial, tmp_path):
    """The last state is on disk before it is looked at."""
    class Failing(Toy):
        def evaluate(self, step, final):
            if final:
                raise RuntimeError("looked at")
            return super().evaluate(step, final)
    with pytest.raises(RuntimeError, match="looked at"):
        trial(recipe=Failing, train__steps=38)
    assert checkpoint.read(tmp_path / "run" / checkpoint.NAME)["step"] == 38
    _, metrics, _ = trial(recipe=stopping_at(0), train__steps=38)
    assert metrics == trial("whole", train__steps=38)[1]


def test_the_final_step_is_evaluated_and_reported_not_the_best(trial, tmp_path):
    class Worsening(Toy):
        def evaluate(self, step, final):
            return {"accuracy": 1 - step / 100, "final": float(final)}
    _, metrics, _ = trial(recipe=Worsening, train__steps=38)
    assert metrics == {"accuracy": 1 - 0.38, "final": 1.0}
    steps = [line["step"] for line in tracking.read(tmp_path / "run") if "eval/final" in line]
    assert steps == [10, 20, 30, 38]


def test_the_loss_log_averages_its_window(trial, tmp_path):
    seen = []

    class Watched(Toy):
        def step(self, number):
            seen.append(super().step(number))
            return seen[-1]
    trial(recipe=Watched)
    logged = {line["step"]: line["loss"] for line in tracking.read(tmp_path / "run")
              if "loss" in line}
    assert list(logged) == [7, 14, 21, 28, 35, 40]
    assert logged[14] == pytest.approx(torch.stack(seen[7:14]).double().mean().item(), rel=1e-6)
    assert logged[40] == pytest.approx(torch.stack(seen[35:40]).double().mean().item(), rel=1e-6)


def test_the_schedule_at_its_corners(trial, tmp_path):
    trial(train__log_every=1)
    rate = {line["step"]: line["lr"] for line in tracking.read(tmp_path / "run") if "lr" in line}
    expected = {1: 0.1, 14: 0.1, 15: 0.01, 29: 0.01, 30: 0.001, 40: 0.001}  # of the next update
    assert {k: pytest.approx(rate[k]) for k in expected} == expected


def test_another_configuration_is_refused_naming_the_keys(trial):
    trial()
    with pytest.raises(UserError, match=r"optim.lr \(0.1 there, 0.3 here\).*fresh=true"):
        trial(optim__lr=0.3)


def test_nan_stops_at_its_step_and_keeps_the_last_good_checkpoint(trial, tmp_path):
    class Breaking(Toy):
        def step(self, number):
            return super().step(number) * (math.nan if number == 23 else 1)
    with pytest.raises(UserError, match="loss is nan at step 24; training stopped, the checkpoint "
                                        "of step 20 is kept"):
        trial(recipe=Breaking)
    assert checkpoint.load(tmp_path / "run")["step"] == 20


@pytest.mark.parametrize(("at", "kept"), [
    (5, "there is no checkpoint yet, the same command begins anew"),
    (25, "the checkpoint of step 20 is kept, the same command goes on from there")])
def test_ctrl_c_says_what_is_kept(trial, at, kept):
    class Interrupted(Toy):
        def step(self, number):
            if number == at:
                raise KeyboardInterrupt
            return super().step(number)
    with pytest.raises(KeyboardInterrupt, match=f"^toy: interrupted; {kept}$"):
        trial(recipe=Interrupted)


@pytest.mark.parametrize(("at", "kept"), [
    (10, "there is no checkpoint yet"), (20, "the checkpoint of step 10 is kept"),
    (40, "the checkpoint of step 40 is kept")])
def test_a_metric_that_is_nan_stops_as_a_loss_does(trial, tmp_path, at, kept):
    class Breaking(Toy):
        def evaluate(self, step, final):
            found = super().evaluate(step, final)
            return found | {"accuracy": math.nan, "loss": math.inf} if step == at else found
    with pytest.raises(UserError) as e:
        trial(recipe=Breaking)
    assert str(e.value) == (
        f"toy: the metric 'accuracy' is nan at step {at}; training stopped, {kept}")
    assert "NaN" not in (tmp_path / "run" / tracking.FILE).read_text()


def test_an_infinite_weight_is_never_checkpointed(trial, tmp_path):
    class Breaking(Toy):
        def step(self, number):
            loss = super().step(number)
            if number == 19:
                self.model[1].weight.data[0, 0] = math.inf
            return loss
    with pytest.raises(UserError, match="a weight is not finite at step 20"):
        trial(recipe=Breaking)
    assert checkpoint.load(tmp_path / "run")["step"] == 10


def test_an_unwritable_folder_is_one_line(trial, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write the run's folder .*PAPERS_RUNS"):
        trial("file/run")


def test_a_full_disk_keeps_the_last_checkpoint(trial, tmp_path, monkeypatch):
    save, count = checkpoint.save_file, []

    def full(*arguments):
        count.append(1)
        if len(count) > 2:
            raise OSError(28, "No space left on device")
        save(*arguments)
    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(UserError, match="No space left"):
        trial()
    monkeypatch.undo()
    assert checkpoint.load(tmp_path / "run")["step"] == 20
    assert trial()[1] == trial("other")[1]


def test_two_processes_do_not_train_in_one_folder(trial, tmp_path):
    with locked(tmp_path / "run", "held"), pytest.raises(UserError, match="another process"):
        trial()


def test_an_unknown_device_is_named(trial):
    with pytest.raises(UserError, match=r"train.device=tpu9: not available here"):
        trial(train__device="tpu9")


def test_bfloat16_and_compiled_steps_train(trial):
    exact = trial()[1]["accuracy"]
    assert abs(trial("b", train__precision="bfloat16")[1]["accuracy"] - exact) < 0.2


def test_losses_of_an_epoch_add_up_to_the_full_batch_objective(trial):
    recipe, _, _ = trial(train__batch_size=479, train__steps=1)  # 1437 = 3 × 479
    recipe.model.eval()
    with torch.no_grad():
        parts = sum(recipe.loss(recipe.batch_of(k), recipe.row(k)) for k in range(3)) / 3
        whole = nn.functional.cross_entropy(recipe.model(recipe.inputs), recipe.labels)
    assert parts.item() == pytest.approx(whole.item(), rel=1e-6)


@pytest.mark.slow
def test_kill_and_resume_end_with_the_same_numbers(tmp_path):
    """A real SIGKILL in the middle of training, then the same command again."""
    command = [sys.executable, "papers/batchnorm/train.py", "experiment=quick_bn",
               "train.steps=1500", "train.checkpoint_every=50", "train.eval_every=100",
               "train.threads=1"]

    def environment(name):
        return os.environ | {"PAPERS_RUNS": str(tmp_path / name)}

    def final(name):
        (found,) = (tmp_path / name).rglob("result.json")
        return json.loads(found.read_text()), checkpoint.read(found.with_name(checkpoint.NAME))

    whole = subprocess.Popen(command, cwd=ROOT, env=environment("whole"),
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    process = subprocess.Popen(command, cwd=ROOT, env=environment("cut"),
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "cut").rglob(checkpoint.PREVIOUS)):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    resumed = subprocess.run(command, cwd=ROOT, env=environment("cut"), capture_output=True,
                             text=True)
    assert whole.wait() == 0, whole.stderr.read()
    assert resumed.returncode == 0, resumed.stderr
    (a, state_a), (b, state_b) = final("whole"), final("cut")
    assert len(b["segments"]) == 2 and b["segments"][1]["from_step"] > 0
    assert a["metrics"] == b["metrics"] and a["curves"] == b["curves"]
    for name, value in state_a["recipe"]["model"].items():
        assert torch.equal(value, state_b["recipe"]["model"][name])


@pytest.mark.parametrize("damage", ["lost", "shortened", "changed"])
def test_metrics_that_are_not_the_checkpoints_are_refused(trial, tmp_path, damage):
    with pytest.raises(Stopped):
        trial(recipe=stopping_at(25))
    path = tmp_path / "run" / tracking.FILE
    kept = path.read_text()
    if damage == "lost":
        path.unlink()
    else:
        first, rest = kept.split("\n", 1)
        path.write_text(rest if damage == "shortened" else
                        first.replace('"loss": ', '"loss": 1') + "\n" + rest)
    with pytest.raises(UserError, match=r"metrics.jsonl does not match the checkpoint"):
        trial()
    path.write_text(kept)
    _, metrics, _ = trial()
    assert metrics == trial("whole")[1]


def test_starting_anew_leaves_a_running_run_alone(trial, tmp_path):
    trial(train__steps=10)
    before = sorted(p.name for p in (tmp_path / "run").iterdir())
    with locked(tmp_path / "run", "busy"), pytest.raises(UserError, match="another process"):
        trial(fresh=True)
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == before
    _, _, history = trial(fresh=True)
    assert [s.from_step for s in history.segments] == [0]
