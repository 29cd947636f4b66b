"""Runs as the command line asks for them: their folders, and whose results count."""

import numpy as np
import pytest
import torch

from common.errors import UserError
from common.running import requested
from common.training.loop import Ended
from tests.common.toy import Config, experiments


def test_long_run_names_fit_a_file_name():
    overrides = {f"key.{k}": "x" * 20 for k in range(30)}
    folder = requested.requested_folder("batchnorm", Config(experiment="bn"), overrides)
    assert len(folder.parent.name) < 200 and folder.parent.name.startswith("bn,")


@pytest.mark.parametrize("value", ["a/b", "a\\b", "a:b", "cuda:0?", "<x>", 'a"b', "a|b", "a*b",
                                   "a\nb", "a\0b", "a\udcffb"])
def test_run_names_are_names_on_every_system(value):
    folder = requested.requested_folder("p", Config(experiment="e"), {"k": value})
    assert folder.parent.parent.name == "p" and "_" in folder.parent.name
    assert not set(folder.parent.name) & set('<>:"/\\|?*\n\0\udcff')


@pytest.mark.parametrize(("overrides", "name", "recorded"), [
    ({}, "base", True), ({"train.threads": 1}, "base", True), ({"record": False}, "base", False),
    ({"optim.lr": 0.3}, "base,optim.lr=0.3", False)])
def test_only_an_experiments_own_runs_are_recorded(tmp_path, monkeypatch, overrides, name,
                                                   recorded):
    monkeypatch.setenv("PAPERS_RUNS", str(tmp_path / "runs"))
    made = requested.requested_run(experiments(tmp_path / "toy"), "base", 3, overrides)
    assert made.folder == tmp_path / "runs/toy" / name / "seed3" and made.recorded is recorded
    assert made.label == f"toy/{name}/seed3" and made.config.seed == 3


def test_what_has_finished_says_its_metrics(tmp_path):
    job = requested.RequestedRun(Config(), tmp_path / "a/b/seed0", False)
    done = requested.Finished(job, Ended({"m": 1.0}, 2.0, [], []), None, (["m"], ["m"]), "loss",
                              {})
    assert done.metrics == {"m": 1.0} and not done.there


@pytest.mark.parametrize("fails", [
    lambda: int(float("inf")), lambda: torch.zeros(10**20), lambda: torch.zeros(2**62),
    lambda: torch.zeros(2) * 10**30 * torch.zeros(2).add_(1e300), lambda: np.zeros(2**62),
    lambda: np.zeros((2**40, 2**40)), lambda: 1.0 / float("1e-400"), lambda: bytearray(2**62)])
def test_what_cannot_be_computed_names_the_numbers_that_were_given(fails):
    with pytest.raises(UserError, match=r"^a\.b=3, c=\[0\.5\]: expected numbers that can") as e:
        with requested.computable({"a.b": 3, "c": [0.5], "d": "x", "e": True}):
            fails()
    assert "\n" not in str(e.value) and len(str(e.value)) < 400


def wrong(error):
    raise error


@pytest.mark.parametrize("error", [
    RuntimeError("a bug"), ValueError("a bug"), KeyError("a bug"), UserError("said already")])
def test_other_errors_stay_as_they_are(error):
    with pytest.raises(type(error), match=r"bug|said"), requested.computable({"a.b": 3}):
        wrong(error)
    with pytest.raises(OverflowError), requested.computable({"d": "x"}):  # no number was given
        int(float("inf"))
