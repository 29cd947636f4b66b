"""train.py as its user meets it: what it prints, and how bad input ends."""

import json
import os
import subprocess
import sys

import pytest

from common.errors import UserError
from common.evidence import provenance
from common.experiments import Experiments
from common.files import ROOT, empty_folder, locked, write_atomic
from common.running import cli
from common.training.budget import Budget
from common.training.loop import Ended
from tests.common.toy import YAML, Config, Toy, experiments

SCRIPT = str(ROOT / "papers/batchnorm/train.py")


def run(*words, **environment):
    return subprocess.run([sys.executable, SCRIPT, *words], cwd=ROOT,
                          env=os.environ | environment, capture_output=True, text=True,
                          timeout=120)


@pytest.mark.parametrize(("words", "message"), [
    (["experiment=qick"], "unknown experiment 'qick'; did you mean 'quick'"),
    (["optim.rl=3"], "unknown key 'optim.rl'; did you mean 'optim.lr'"),
    (["train.steps=many"], "train.steps=many: expected a whole number"),
    (["seed=x"], "seed=x: expected a whole number"),
    (["experiment=quick", "train.threads=1", "train.batch_size=5000"],
     "expected at most the 1437 examples"),
    (["experiment=quick_bn", "train.threads=1", "data.evaluate_on=validation",
      "data.validation=1436"],
     "train.batch_size=60: expected at most 1, all the examples there are with data.validation="),
    *((["experiment=quick", f"model.hidden={value}"],
       f"error: model.hidden={value}: expected a list of whole numbers such as model.hidden=[100,")
      for value in ("[[1,2]]", "[{a:1}]", "[[]]")),
    (["experiment=quick_bn,quick_bn"], "'quick_bn' is named twice; expected it once"),
    (["experiment=quick", "seed=01"], "seed=01: 01: expected decimal numbers, without leading"),
    (["experiment=quick_bn", "start_from=/etc/passwd"], "and no file that ends in .safetensors"),
    (["experiment=quick", "train.steps=-3"], "train.steps=-3: expected a whole number"),
    (["experiment=quick", "model.unit=100"], "model.unit=100: expected a unit"),
    (["experiment=quick", "budget=0"], "budget=0: expected a time such as 90s"),
    (["experiment=quick", "budget=false"], "budget=false: expected a time such as 90s"),
    (["quick"], "cannot read 'quick': expected key=value"),
    (["experiment=quick", "train.vectorize=true", "train.side_by_side=4"],
     "train.side_by_side=4: not with train.vectorize=true"),
    (["experiment=quick", 'train.vectorize="false"', "train.side_by_side=4", "train.device=cpu"],
     "train.side_by_side=4: expected a graphics card"),
    (["experiment=quick", "--keep"], "--keep: expected --pace beside it"),
])
def test_bad_input_is_one_line_and_exit_status_2(end_of, words, message):
    from papers.batchnorm.train import BatchNormRecipe, Config

    code, said = end_of(lambda: cli.main(BatchNormRecipe, Config, SCRIPT, words))
    assert code == 2 and message in said.err and said.err.count("\n") == 1 and not said.out


def test_an_unwritable_run_folder(tmp_path):
    (tmp_path / "file").write_text("")
    done = run("experiment=quick", PAPERS_RUNS=str(tmp_path / "file"))
    assert done.returncode == 2 and "cannot write the run's folder" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("experiment", "rate", "what"), [
    ("quick_plain", "1e38", "the loss is inf"), ("quick_bn", "1e30", "is nan at step 50")])
def test_divergence_is_one_line_and_exit_status_2(tmp_path, experiment, rate, what):
    done = run(f"experiment={experiment}", f"optim.lr={rate}", "train.steps=50",
               PAPERS_RUNS=str(tmp_path))
    assert done.returncode == 2 and "training stopped" in done.stderr and what in done.stderr
    assert done.stderr.strip().count("\n") == 0 and not list(tmp_path.rglob("result.json"))


def test_help_needs_no_data():
    done = run("--help")
    assert done.returncode == 0
    assert "experiments:" in done.stdout and "optim.lr" in done.stdout


@pytest.mark.slow
def test_quick_trains_offline_and_says_what_is_next(tmp_path):
    done = run("experiment=quick", "train.threads=1", PAPERS_RUNS=str(tmp_path), HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stderr
    assert "quick_plain/seed0" in done.stdout and "quick_bn/seed0" in done.stdout
    assert "next: python papers/batchnorm/train.py" in done.stdout
    assert "finished before" not in done.stdout
    again = run("experiment=quick", "train.threads=1", PAPERS_RUNS=str(tmp_path),
                HF_HUB_OFFLINE="1").stdout
    assert "finished before, nothing was trained: batchnorm/quick_plain/seed0, " in again
    (picture,) = tmp_path.rglob("curves.png")
    assert picture.read_bytes().startswith(b"\x89PNG")
    changes = subprocess.run(["git", "-C", ROOT, "status", "--porcelain", "papers"],
                             capture_output=True, text=True).stdout
    assert "quick" not in changes, "a quick run leaves nothing in the repository"


def test_runs_that_measure_different_things_each_have_a_table(tmp_path, capsys):
    """Recorded before, so that the earlier value is named: of the run's own first metric."""
    done = [cli.Finished(
        cli.RequestedRun(Config(), tmp_path / name / "seed0", True),
        Ended({metric: 3.0}, 1.0, [], []), {metric: 4.0}, ([metric], [metric]), "loss",
        {"train_loss": [[1], [2.0]], metric: [[1], [3.0]]}, there=True, by="4f2e7ce")
        for name, metric in (("one", "mean"), ("other", "more"))]
    cli.print_finished(done, "train.py", experiments(tmp_path))
    said = capsys.readouterr().out
    assert "/one/seed0: mean 3; the result that stood here before: 4" in said
    assert "/other/seed0: more 3; the result that stood here before: 4" in said
    assert "/one/seed0 (by the code of 4f2e7ce), " in said
    assert "nan" not in said and len(list(tmp_path.rglob("curves.png"))) == 2


@pytest.mark.parametrize("record", [False, True])
def test_a_process_that_begins_anew_takes_nothing_of_a_finished_run(
        tmp_path, monkeypatch, capsys, record):
    """While the result is written the folder is locked; afterwards nothing of it is read."""
    known, write, tried = experiments(tmp_path / "toy"), cli.record, []

    def begin_anew(folder):
        with locked(folder, "busy"):
            empty_folder(folder)

    def attacked(experiments, of, *rest):
        with pytest.raises(UserError, match="busy"):
            begin_anew(of.folder)
        tried.append(of.folder)
        return write(experiments, of, *rest)
    monkeypatch.setattr(cli, "record", attacked)

    class Second(Toy):
        def build(self):
            super().build()
            for folder in tried:  # the first run is finished, this one begins
                begin_anew(folder)
    done = cli.train_requested(Second, known, ["base"], [0, 1], {"record": record}, Budget(""))
    begin_anew(done[1].request.folder)
    cli.print_finished(done, "train.py", known)
    assert len(tried) == 2 and all(len(d.curves["train_loss"][0]) > 3 for d in done)
    assert "learning curves: " in capsys.readouterr().out
    for path in (tmp_path / "toy").rglob("seed*.json"):
        assert json.loads(path.read_text())["curves"]["train_loss"]


@pytest.mark.parametrize("damaged", ["", "{}"])
def test_a_damaged_result_is_replaced(tmp_path, damaged):
    known = experiments(tmp_path / "toy")
    path = tmp_path / "toy/results/base/seed0.json"
    path.parent.mkdir(parents=True)
    path.write_text(damaged)
    (done,) = cli.train(Toy, known, "base", [0], {})
    assert done.before is None
    (again,) = cli.train(Toy, known, "base", [0], {})
    assert again.before == json.loads(path.read_text())["metrics"] == done.metrics


@pytest.mark.parametrize(("file", "overrides", "batched"), [
    ("true", {}, True), ("true", {"train.vectorize": False}, False),
    ("false", {"train.vectorize": True}, True), ("false", {"train.vectorize": "false"}, False)])
def test_seeds_are_one_network_where_the_configuration_says_so(tmp_path, monkeypatch, file,
                                                               overrides, batched):
    write_atomic(tmp_path / "config.yaml",
                 YAML.replace("train: {", f"train: {{vectorize: {file}, "))
    known, seen = Experiments(Config, tmp_path / "config.yaml"), []
    monkeypatch.setattr(cli, "train", lambda *a: seen.append("batched") or [])
    monkeypatch.setattr(cli, "train_all", lambda *a: seen.append("single") or [])
    cli.train_requested(Toy, known, ["base"], [0, 1], overrides, Budget(""))
    assert seen == (["batched"] if batched else ["single"] * 2)


@pytest.mark.parametrize("more", [[], ["train.vectorize=true"]])
def test_everything_is_checked_before_anything_is_trained(monkeypatch, more):
    """The second experiment has no use for the key, which only its whole configuration says."""
    from papers.batchnorm.train import BatchNormRecipe, Config

    monkeypatch.setattr(cli, "train_all", lambda *a: pytest.fail("trained"))
    words = ["experiment=quick_bn,quick_plain", "model.population_batches=50"]
    with pytest.raises(UserError, match="not used"):
        cli.main(BatchNormRecipe, Config, SCRIPT, [*words, *more])


def test_the_code_of_another_clone_is_refused(tmp_path):
    """Installed from one clone, started in another: the result would name the wrong commit."""
    other = tmp_path / "papers/batchnorm"
    other.mkdir(parents=True)
    (tmp_path / "common").mkdir()
    for name in ("train.py", "config.yaml"):
        (other / name).write_text((ROOT / "papers/batchnorm" / name).read_text())
    done = subprocess.run([sys.executable, str(other / "train.py"), "experiment=quick"],
                          env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True,
                          text=True, timeout=120)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert f"was imported from {ROOT}" in done.stderr
    assert f"expected the code of {tmp_path}, whose script was started" in done.stderr


def test_uncommitted_code_is_said_before_a_result_is_recorded(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PAPERS_RUNS", str(tmp_path / "runs"))
    before = provenance.provenance()
    monkeypatch.setattr(provenance, "provenance", lambda: before.model_copy(update={"dirty": True}))
    monkeypatch.setattr(provenance, "git", lambda *a: " M common/a.py\n?? papers/b.py\n")
    known = experiments(tmp_path / "toy")

    class Heard(Toy):
        said = None

        def build(self):
            super().build()
            Heard.said = capsys.readouterr().err
    cli.train(Heard, known, "base", [0], {})
    assert Heard.said == ("warning: not committed: common/a.py, papers/b.py; the result will say "
                          "so, and the tests will refuse it: commit first\n")
    cli.train(Heard, known, "base", [0], {"record": False})
    assert not Heard.said, "nothing is recorded"
