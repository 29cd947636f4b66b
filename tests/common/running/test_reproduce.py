"""One command fills a report: the plan, what fails, what is killed, two at once, a full disk."""

import contextlib
import os
import pty
import re
import shutil
import subprocess
import sys
import time

import pytest

from common import files
from common.errors import UserError
from common.evidence import provenance
from common.files import ROOT
from common.running import reproduce
from common.running.plan import Outcome, PendingRun
from common.training import checkpoint
from common.training.budget import Budget


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A clone whose one paper is the template's, cut down to digits and seconds."""
    folder = tmp_path_factory.mktemp("template")
    shutil.copytree(ROOT / "common", folder / "common",
                    ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "tests/common/evidence/test_claims").mkdir(parents=True)
    for name in ("README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    assert call(folder, "-m", "common.running", "new", "demo").returncode == 0
    config = folder / "papers/demo/config.yaml"
    config.write_text(config.read_text().replace("name: mnist", "name: digits").replace(
        "steps: 10000, batch_size: 100, eval_every: 500", "steps: 200, eval_every: 50"))
    claims = folder / "papers/demo/claims.yaml"
    claims.write_text(claims.read_text().replace("step: 5000", "step: 50"))
    return folder


@pytest.fixture
def clone(template, tmp_path):
    shutil.copytree(template, tmp_path / "clone")
    return tmp_path / "clone"


def environment(folder):
    return os.environ | {"PYTHONPATH": str(folder), "PAPERS_RUNS": str(folder / "runs"),
                         "OMP_NUM_THREADS": "1"}


def call(folder, *words):
    return subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True,
                          env=environment(folder), timeout=300)


def again(folder, *words):
    return call(folder, "-m", "common.running", "reproduce", "demo", "pace=false", *words)


def made(folder):
    return sorted(f"{p.parent.name}/{p.stem}" for p in (folder / "papers/demo/results").glob(
        "*/*.json"))


@pytest.mark.slow
def test_it_fills_the_report_and_then_has_nothing_to_do(clone):
    dry = again(clone, "seeds=1", "--dry-run")
    assert dry.returncode == 0 and not made(clone)
    assert "narrow/seed0" in dry.stdout and "wide/seed0" in dry.stdout and "200" in dry.stdout
    done = again(clone, "seeds=1", "jobs=2")
    assert done.returncode == 0, done.stderr
    assert made(clone) == ["narrow/seed0", "wide/seed0"]
    assert "[2/2]" in done.stdout
    text = (clone / "papers/demo/REPORT.md").read_text()
    assert text.count("**: not run\n") == 1, "the claim that says itself to be out of reach"
    before = (clone / "papers/demo/results/narrow/seed0.json").stat().st_mtime_ns
    more = again(clone, "seeds=1")
    assert more.returncode == 0 and "[1/" not in more.stdout
    assert (clone / "papers/demo/results/narrow/seed0.json").stat().st_mtime_ns == before

    # a reader's clone has results and no runs: one claim is measured again, once
    shutil.rmtree(clone / "runs")
    checked = again(clone, "seeds=1", "claims=band-accuracy")
    assert checked.returncode == 0, checked.stderr
    assert "[1/1] narrow/seed0: done" in checked.stdout
    assert "band-accuracy: published 97.50\N{NO-BREAK SPACE}%, measured" in checked.stdout
    assert "[1/1]" not in again(clone, "seeds=1", "claims=band-accuracy").stdout

    # two more seeds, as one batched network
    more = again(clone, "seeds=3", "vectorize=true", "jobs=2")
    assert more.returncode == 0, more.stderr
    assert "narrow/seed1,2: done" in more.stdout
    assert made(clone) == [f"{e}/seed{s}" for e in ("narrow", "wide") for s in range(3)]
    assert "**: not run\n" in (clone / "papers/demo/REPORT.md").read_text()

    # a changed configuration makes results stale
    config = clone / "papers/demo/config.yaml"
    config.write_text(config.read_text().replace("hidden: 400", "hidden: 300"))
    stale = again(clone, "seeds=1", "--dry-run")
    assert "wide/seed0" in stale.stdout and "stale" in stale.stdout
    assert "narrow/seed0" not in stale.stdout


@pytest.mark.slow
def test_a_terminal_shows_how_far_each_run_is(clone):
    config = clone / "papers/demo/config.yaml"
    config.write_text(config.read_text().replace("steps: 200", "steps: 20000"))
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "common.running", "reproduce", "demo", "pace=false", "seeds=1",
         "jobs=2"], cwd=clone, env=environment(clone), stdout=slave, stderr=slave)
    os.close(slave)
    shown = ""
    with contextlib.suppress(OSError):  # what reading gives when the other end is closed
        while text := os.read(master, 10_000):
            shown += text.decode(errors="replace")
    assert process.wait() == 0, shown
    assert "of each to start)" in shown
    for name in ("narrow", "wide"):
        assert re.search(rf"{name}/seed0: step \d+/20000, [\d.]+ steps/s, \d+ min left, "
                         r"accuracy 0\.\d+", shown), shown
    assert re.search(r"\[2/2\] \w+/seed0: done after \d+ s", shown)


@pytest.mark.slow
def test_a_failing_run_is_reported_and_stops_no_other(clone):
    config = clone / "papers/demo/config.yaml"
    config.write_text(config.read_text().replace("narrow: {", "narrow: {optim: {lr: 1.0e+38}, "))
    done = again(clone, "seeds=1", "jobs=1")
    assert done.returncode == 1
    assert made(clone) == ["wide/seed0"]
    assert "narrow/seed0 failed: error:" in done.stderr and "training stopped" in done.stderr
    assert "runs/demo/narrow/seed0/log.txt" in done.stderr
    assert "[1/1]" in again(clone, "seeds=1", "jobs=1").stdout, "only the failed one is left"


@pytest.mark.slow
def test_runs_as_jobs(clone):
    done = again(clone, "seeds=1", "claims=band-accuracy", "launcher=local")
    assert done.returncode == 0, done.stderr
    assert made(clone) == ["narrow/seed0"] and "(job " in done.stdout
    assert "band-accuracy: published 97.50\N{NO-BREAK SPACE}%, measured" in done.stdout


@pytest.mark.slow
def test_two_at_once_and_a_lock_that_dies_with_its_process(clone):
    words = [sys.executable, "-m", "common.running", "reproduce", "demo", "pace=false",
             "seeds=1", "jobs=1"]
    config = clone / "papers/demo/config.yaml"
    config.write_text(config.read_text().replace("steps: 200", "steps: 20000"))
    first = subprocess.Popen(words, cwd=clone, env=environment(clone), stdout=subprocess.DEVNULL)
    log = clone / "runs/demo/narrow/seed0/metrics.jsonl"
    wait_for(log.exists)
    second = again(clone, "seeds=1")
    assert second.returncode == 2 and second.stderr.count("\n") == 1
    assert "another process is reproducing demo" in second.stderr
    first.kill()
    first.wait()
    wait_for(lambda: free(log.parent))  # its run is told, and writes a checkpoint before it ends
    config.write_text(config.read_text().replace("steps: 20000", "steps: 200"))
    shutil.rmtree(clone / "runs/demo/narrow/seed0", ignore_errors=True)
    third = again(clone, "seeds=1", "jobs=2")
    assert third.returncode == 0, third.stderr
    assert made(clone) == ["narrow/seed0", "wide/seed0"]


@pytest.mark.slow
def test_ctrl_c_ends_the_runs_too(clone):
    config = clone / "papers/demo/config.yaml"
    config.write_text(config.read_text().replace("steps: 200", "steps: 200000"))
    process = subprocess.Popen(
        [sys.executable, "-m", "common.running", "reproduce", "demo", "pace=false",
         "seeds=1", "jobs=2"],
        cwd=clone, env=environment(clone), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    log = clone / "runs/demo/wide/seed0/metrics.jsonl"
    wait_for(log.exists)
    process.terminate()
    assert b"interrupted; the same command goes on: " in process.communicate(timeout=60)[1]
    assert process.returncode == 130
    size = log.stat().st_size
    time.sleep(0.5)
    assert log.stat().st_size == size, "no run goes on behind the back"


def free(folder):
    """Whether no process trains in a folder."""
    try:
        with files.locked(folder, "held"):
            return True
    except UserError:
        return False


def wait_for(condition):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("waited a minute")


@pytest.mark.parametrize(("words", "message"), [
    (["claims=fig1a-bn-10"], "claims=fig1a-bn-10: batchnorm has no such claim; did you mean"),
    (["seeds=0"], "seeds=0: expected a whole number"), (["jobs=x"], "jobs=x: expected a whole"),
    (["experiments=bm"], "'bm'"), (["experiments=bn", "claims=fig1a-bn-10k"], "not both"),
    (["experiment=narrow"], "unknown key 'experiment'"), (["--fast"], "unknown option '--fast'"),
    (["claims=fig1a-bn-10k,fig1a-bn-10k"], "'fig1a-bn-10k' is named twice; expected it once"),
    (["experiments=bn,plain,bn"], "experiments=bn,plain,bn: 'bn' is named twice; expected it once"),
    (["claims=true"], "claims=true: expected names, such as claims=a,b"),
    (["claims=[a,b]"], "claims=[a,b]: expected names, such as claims=a,b"),
    (["claims="], "claims=: expected names"), (["experiments={a: 1}"], "experiments={a: 1}: expe"),
    (["seeds=2147483648"], "seeds=2147483648: expected at most 10,000"),
    (["seeds=1e1"], "seeds=1e1: expected a whole number"), (["budget=no"], "budget=no: expected"),
    (["pace=3"], "pace=3: expected true or false"),
    (["seeds="], "seeds=: expected a whole number"), (["seeds=²"], "seeds=²: expected a whole"),
    (["seeds=true"], "seeds=true: expected a whole"), (["launcher="], "launcher=: expected one of"),
    (["vectorize="], "vectorize=: expected true or false"),
    (["launcher=pbs"], "launcher=pbs: expected one of slurm, local"),
    (["slurm.partition=x"], "slurm.… needs launcher=slurm"),
    (["budget=8"], "budget=8: expected a time such as 90s, 8m or 1.5h"),
    (["budget=8m", "launcher=local"], "budget=8m: not with launcher="),
    (["vectorize=1"], "vectorize=1: expected true or false")])
def test_bad_input_is_one_line_and_exit_status_2(end_of, monkeypatch, words, message):
    monkeypatch.setattr(reproduce, "plan", lambda *a: pytest.fail("it was not refused"))
    code, said = end_of(lambda: reproduce.main(["batchnorm", *words]))
    assert code == 2 and message in said.err and said.err.count("\n") == 1 and not said.out


def test_on_a_card_seeds_take_turns_unless_they_are_to_be_one_network(monkeypatch):
    runs = [PendingRun("demo", "e", (k,), "missing", 10, 1, 1.0, ()) for k in (0, 1)]
    monkeypatch.setattr(reproduce, "cards", lambda: 1)
    monkeypatch.setattr(reproduce, "plan", lambda *a: runs)
    for options, word in (({}, "train.side_by_side=2"),
                          ({"vectorize": True}, "train.vectorize=true")):
        (one,) = reproduce.runs_to_make(None, [], options | {"pace": False}, Budget(""))
        assert one.seeds == (0, 1) and one.command[-1] == word


@pytest.mark.slow
def test_pace_is_measured_once_and_estimates_follow(template):
    done = call(template, "papers/demo/train.py", "experiment=wide", "--pace")
    assert done.returncode == 0 and "ms a step, 200 steps" in done.stdout
    assert not (template / "papers/demo/results/wide").exists(), "nothing is trained"
    shown = again(template, "seeds=1", "--dry-run").stdout
    assert "1 run, about" in shown and ", and 1 run whose speed is not known" in shown
    shutil.rmtree(template / "runs")


def test_a_budget_ends_with_what_is_left_and_reports(clone):
    train = clone / "papers/demo/train.py"
    train.write_text(train.read_text().replace('if __name__ == "__main__":\n', STUB))
    checkpoint.save(clone / "runs/demo/narrow/seed0", {
        "step": 50, "config": {}, "recipe": {}, "random": {}, "window": [0.0, 0], "seconds": 1.0,
        "segments": [provenance.provenance().written() | {"from_step": 0}], "metrics": {},
        "finished": False})
    done = again(clone, "seeds=1", "jobs=2", "budget=9m")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["left, and the same command goes on:",
                                             "narrow/seed0: paused at step 50 of 200"]
    assert made(clone) == ["wide/seed0"]
    assert "report: papers/demo/REPORT.md" in done.stdout
    log = (clone / "runs/demo/wide/seed0/log.txt").read_text()
    assert 400 < int(re.search(r"budget=(\d+)s", log)[1]) < 540 - reproduce.RESERVE


STUB = '''
if __name__ == "__main__":  # ends at once, as a run does whose budget is over, or knows no budget
    import sys
    print([a for a in sys.argv if a.startswith("budget=")])
    sys.argv = [a for a in sys.argv if not a.startswith("budget=")]
    if "experiment=narrow" in sys.argv:
        sys.exit(0)
'''


def test_uncommitted_code_is_said_before_anything_is_trained(monkeypatch, capsys):
    before, heard = provenance.provenance(), []
    monkeypatch.setattr(provenance, "provenance", lambda: before.model_copy(update={"dirty": True}))
    monkeypatch.setattr(provenance, "git", lambda *a: " M common/a.py\n")
    monkeypatch.setattr(reproduce, "runs_to_make", lambda *a: ["a run"])
    monkeypatch.setattr(reproduce, "show", lambda *a: "the plan")
    monkeypatch.setattr(reproduce, "report_in_time", lambda *a: "report: none")

    def train(*arguments):
        heard.append(capsys.readouterr())
        return Outcome()
    monkeypatch.setattr(reproduce, "make_runs", train)
    assert reproduce.main(["batchnorm", "pace=false"]) == 0
    (said,) = heard
    assert said.out == "the plan\n"
    assert said.err == ("warning: not committed: common/a.py; the result will say so, and the "
                        "tests will refuse it: commit first\n")


def test_a_dry_run_measures_nothing_unless_asked(clone):
    done = call(clone, "-m", "common.running", "reproduce", "demo", "--dry-run")
    assert done.returncode == 0 and not done.stderr
    assert "pace=true measures" in done.stdout
    assert not list((clone / "runs").rglob("pace.json"))


def test_why_a_speed_cannot_be_measured_is_said_once(clone):
    config = clone / "papers/demo/config.yaml"
    config.write_text(config.read_text().replace("name: digits", "name: mnist"))
    done = subprocess.run(
        [sys.executable, "-m", "common.running", "reproduce", "demo", "--dry-run", "pace=true"],
        cwd=clone,
        capture_output=True, text=True, timeout=300, env=environment(clone) | {
            "PAPERS_DATA": str(clone / "nothing")})
    assert done.returncode == 0 and "6 runs whose speed is not known" in done.stdout
    (line,) = [l for l in done.stderr.splitlines() if "measuring" not in l]
    assert line.startswith("speeds stay unknown: ") and "PAPERS_DATA" in line
    assert done.stderr.count("measuring") == 1


def test_the_word_of_train_py_is_not_ignored():
    with pytest.raises(UserError, match="unknown key 'seed'; did you mean 'seeds'"):
        reproduce.options_of(["seed=3"])
