"""One command fills a report: the plan, what fails, what is killed, two at once, a full disk."""

import json
import math
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from typing import ClassVar

import pytest
import torch

from common import files
from common.errors import UserError, exit_with
from common.evidence import results
from common.files import ROOT
from common.running import cli, reproduce
from common.running.plan import Outcome, Run
from common.training import checkpoint
from common.training.budget import Budget
from tests.common.toy import Toy, experiments


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A clone whose one paper is the template's, cut down to digits and seconds."""
    folder = tmp_path_factory.mktemp("template")
    shutil.copytree(ROOT / "common", folder / "common",
                    ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "tests/common/evidence/test_claims").mkdir(parents=True)
    shutil.copy(ROOT / "README.md", folder)
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
    assert text.count("| **not run** |") == 1, "the claim that says itself to be out of reach"
    before = (clone / "papers/demo/results/narrow/seed0.json").stat().st_mtime_ns
    more = again(clone, "seeds=1")
    assert more.returncode == 0 and "[1/" not in more.stdout
    assert (clone / "papers/demo/results/narrow/seed0.json").stat().st_mtime_ns == before

    # a reader's clone has results and no runs: one claim is measured again, once
    shutil.rmtree(clone / "runs")
    checked = again(clone, "seeds=1", "claims=band-accuracy")
    assert checked.returncode == 0, checked.stderr
    assert "[1/1] narrow/seed0: done" in checked.stdout
    assert "band-accuracy: published 97.50%, measured" in checked.stdout
    assert "[1/1]" not in again(clone, "seeds=1", "claims=band-accuracy").stdout

    # two more seeds, as one batched network
    more = again(clone, "seeds=3", "vectorize=true", "jobs=2")
    assert more.returncode == 0, more.stderr
    assert "narrow/seed1,2: done" in more.stdout
    assert made(clone) == [f"{e}/seed{s}" for e in ("narrow", "wide") for s in range(3)]
    assert "| **not run** |" in (clone / "papers/demo/REPORT.md").read_text()

    # a changed configuration makes results stale
    config = clone / "papers/demo/config.yaml"
    config.write_text(config.read_text().replace("hidden: 400", "hidden: 300"))
    stale = again(clone, "seeds=1", "--dry-run")
    assert "wide/seed0" in stale.stdout and "stale" in stale.stdout
    assert "narrow/seed0" not in stale.stdout


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
    assert "band-accuracy: published 97.50%, measured" in done.stdout


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
    assert b"the same command continues" in process.communicate(timeout=60)[1]
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
    (["experiment=narrow"], "unknown key 'experiment'"), (["--fast"], "unknown option '--fast'"),
    (["pace=3"], "pace=3: expected true or false"),
    (["launcher=pbs"], "launcher=pbs: expected one of slurm, local"),
    (["slurm.partition=x"], "slurm.… needs launcher=slurm"),
    (["budget=8"], "budget=8: expected a time such as 90s, 8m or 1.5h"),
    (["budget=8m", "launcher=local"], "budget=8m: not with launcher="),
    (["vectorize=1"], "vectorize=1: expected true or false")])
def test_bad_input_is_one_line_and_exit_status_2(end_of, monkeypatch, words, message):
    monkeypatch.setattr(reproduce, "plan", lambda *a: pytest.fail("it was not refused"))
    code, said = end_of(lambda: reproduce.main(["batchnorm", *words]))
    assert code == 2 and message in said.err and said.err.count("\n") == 1 and not said.out


@pytest.mark.slow
def test_pace_is_measured_once_and_estimates_follow(template):
    done = call(template, "papers/demo/train.py", "experiment=wide", "--pace")
    assert done.returncode == 0 and "ms a step, 200 steps" in done.stdout
    assert not (template / "papers/demo/results/wide").exists(), "nothing is trained"
    shown = again(template, "seeds=1", "--dry-run").stdout
    assert "1 run, about" in shown and ", and 1 run whose speed is not known" in shown
    shutil.rmtree(template / "runs")


def run(threads, k=0):
    return Run("demo", f"e{k}", (0,), "missing", 10, threads, 1.0, ())


class Fake:
    """A process that ends at the third look, or with ``code`` when it is asked to."""

    active: ClassVar[list] = []
    seen: ClassVar[list] = []

    def __init__(self, code=0, looks=3):
        self.code, self.looks, self.returncode = code, looks, None
        self.active.append(self)
        self.seen.append(len(self.active))

    def poll(self):
        self.looks -= 1
        if self.looks <= 0:
            self.returncode = self.code
            if self in self.active:
                self.active.remove(self)
        return self.returncode

    def terminate(self):
        self.looks = 0

    def wait(self):
        pass


@pytest.fixture
def fakes(monkeypatch):
    """Two cores, and Fakes in place of runs; gives the seconds each was started with."""
    monkeypatch.setattr(Fake, "active", [])
    monkeypatch.setattr(Fake, "seen", [])
    monkeypatch.setattr(reproduce, "cores", lambda: 2)
    monkeypatch.setattr(reproduce.time, "sleep", lambda _: None)
    given = []

    def start(r, slot, seconds):
        given.append(seconds)
        return reproduce.Process(r, Fake(*r.elsewhere), 0.0, slot)
    monkeypatch.setattr(reproduce, "start", start)
    return given


@pytest.mark.parametrize(("threads", "jobs", "most"), [
    ([1] * 6, None, 2), ([2] * 3, None, 1), ([1] * 6, 3, 3), ([8, 1, 1], None, 2)])
def test_as_many_run_as_there_are_cores(fakes, threads, jobs, most):
    runs = [run(t, k) for k, t in enumerate(threads)]
    assert reproduce.carry_out(runs, jobs, lambda r: True, Budget()) == Outcome()
    assert len(Fake.seen) == len(threads) and max(Fake.seen) == most
    assert all(math.isinf(s) for s in fakes)


class Clock(Budget):
    """A budget that loses a second at every look."""

    def __init__(self, seconds):
        super().__init__()
        self.seconds = seconds

    @property
    def left(self):
        self.seconds -= 1
        return self.seconds


def test_a_budget_is_handed_on_and_nothing_starts_near_its_end(fakes, capsys):
    runs = [run(2, k) for k in range(30)]
    outcome = reproduce.carry_out(runs, 1, lambda r: True, Clock(60))
    assert fakes[0] == 60 - 3 - reproduce.RESERVE
    assert fakes == sorted(fakes, reverse=True) and fakes[-1] >= reproduce.LEAST - 1
    assert outcome.waiting == runs[len(fakes):] and 2 < len(fakes) < 20
    assert not outcome.paused and not outcome.failed
    before = len(Fake.seen)
    assert reproduce.carry_out(runs, 1, lambda r: True, Clock(15)).waiting == runs
    assert len(Fake.seen) == before


def test_what_ends_without_a_result_is_paused(fakes, capsys):
    runs = [run(2, 0), run(2, 1)]
    outcome = reproduce.carry_out(runs, 1, lambda r: r is runs[0], Budget())
    assert outcome == Outcome(paused=[runs[1]])
    said = capsys.readouterr().out
    assert "e0/seed0: done" in said and "e1/seed0: paused" in said


def test_while_runs_go_on_each_says_now_and_then_how_far_it_is(fakes, monkeypatch, capsys):
    monkeypatch.setattr(reproduce.Progress, "EVERY", 0.0)
    monkeypatch.setattr(reproduce, "last_line", lambda r: f"{r.name}: step 3/9")
    reproduce.carry_out([run(1, 0), run(1, 1)], 2, lambda r: True, Budget())
    said = capsys.readouterr().out
    assert "  e0/seed0: step 3/9\n" in said and "  e1/seed0: step 3/9\n" in said


def test_who_overruns_the_budget_is_asked_to_end(fakes):
    slow, other = (replace(run(1, k), elsewhere=(-signal.SIGTERM, 10**9)) for k in range(2))
    outcome = reproduce.carry_out([slow, other], None, lambda r: False, Clock(100))
    assert outcome == Outcome(paused=[slow, other])


def test_no_run_starts_before_the_one_it_needs(fakes, monkeypatch):
    order, begin = [], reproduce.start
    monkeypatch.setattr(reproduce, "start", lambda r, *a: order.append(
        (r.experiment, len(Fake.active))) or begin(r, *a))
    runs = [run(1, 0), replace(run(1, 1), needs=("e0/seed0",)), run(1, 2)]
    assert reproduce.carry_out(runs, 2, lambda r: True, Budget()) == Outcome()
    assert order == [("e0", 0), ("e2", 1), ("e1", 0)]


def test_what_needs_a_run_that_failed_or_paused_is_not_started(fakes):
    needing = replace(run(1, 1), needs=("e0/seed0",))
    failing = replace(run(1, 0), elsewhere=(1, 3))
    outcome = reproduce.carry_out([failing, needing], 2, lambda r: True, Budget())
    assert outcome.failed[1:] == [(needing, "needs e0/seed0, which failed")]
    outcome = reproduce.carry_out([run(1, 0), needing], 2, lambda r: False, Budget())
    assert outcome == Outcome(paused=[run(1, 0)], waiting=[needing]) and len(Fake.seen) == 2


def test_sigterm_from_elsewhere_is_a_failure(fakes):
    one = replace(run(1), elsewhere=(-signal.SIGTERM, 3))
    ((which, why),) = reproduce.carry_out([one], None, lambda r: False, Budget()).failed
    assert which is one and why.startswith("ended by signal 15")


def test_a_budget_ends_with_what_is_left_and_reports(clone):
    train = clone / "papers/demo/train.py"
    train.write_text(train.read_text().replace('if __name__ == "__main__":\n', STUB))
    checkpoint.save(clone / "runs/demo/narrow/seed0", {"step": 50})
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


def test_graphics_cards_are_taken_in_turn(monkeypatch, tmp_path):
    given = []
    monkeypatch.setenv("PAPERS_RUNS", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(subprocess, "Popen", lambda *a, env, **k: given.append(env))
    for slot in range(3):
        reproduce.start(run(1), slot)
    assert [e["CUDA_VISIBLE_DEVICES"] for e in given] == ["0", "1", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5, 2")
    for slot in range(3):
        reproduce.start(run(1), slot)
    assert [e["CUDA_VISIBLE_DEVICES"] for e in given[3:]] == ["5", "2", "5"]
    assert given[0]["OMP_NUM_THREADS"] == "1"


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


# ---- Killed at twenty random moments ----------------------------------------------------------

MOMENTS = ("start", "step", "evaluation", "half a checkpoint", "before a file is in place",
           "after a file is in place", "result")


def die_at(moment, countdown):
    """Arrange for SIGKILL at the n-th time this process comes to the moment."""
    def killing(function, after=False, half=False):
        left = [countdown]

        def wrapped(*a, **k):
            left[0] -= 1
            if left[0] == 0 and not after:
                if half:  # safetensors' save_file(tensors, path, metadata)
                    function(*a, **k)
                    os.truncate(a[1], os.path.getsize(a[1]) // 2)
                os.kill(os.getpid(), signal.SIGKILL)
            found = function(*a, **k)
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return found
        return wrapped
    if moment == "start":
        Toy.build = killing(Toy.build)
    elif moment == "step":
        Toy.step = killing(Toy.step)
    elif moment == "evaluation":
        Toy.evaluate = killing(Toy.evaluate)
    elif moment == "half a checkpoint":
        checkpoint.save_file = killing(checkpoint.save_file, half=True)
    elif moment == "result":
        results.write = killing(results.write, after=True)
    else:
        files.os.replace = killing(os.replace, after=moment.startswith("after"))


def train_in_a_fork(folder, moment=None, countdown=1, bytes_left=None):
    """Train the toy in a process of its own; its exit status, negative for a signal.

    No file may grow beyond ``bytes_left``, as on a disk that is full.
    """
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 1
    try:
        os.environ["PAPERS_RUNS"] = str(folder / "runs")
        torch.set_num_threads(1)
        if moment:
            die_at(moment, countdown)
        known = experiments(folder / "toy")
        if bytes_left is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_left, bytes_left))
        exit_with(lambda: cli.train(Toy, known, "base", [0], {"train.threads": 1}) and 0)
    except SystemExit as e:
        code = e.code
    finally:
        os._exit(code)


def outcome(folder):
    """Everything in the result that must not depend on what happened to the process."""
    record = json.loads((folder / "toy/results/base/seed0.json").read_text())
    return {k: record[k] for k in ("metrics", "curves", "config", "data")}


def test_twenty_kills_change_no_bit_of_the_result(tmp_path, capfd):
    torch.set_num_threads(1)
    assert train_in_a_fork(tmp_path / "calm") == 0
    draw, killed = random.Random(0), 0
    while killed < 20:
        moment = MOMENTS[killed % len(MOMENTS)]
        most = {"start": 1, "step": 9, "result": 2}.get(moment, 3)
        code = train_in_a_fork(tmp_path / "storm", moment, draw.randint(1, most))
        killed += code == -9
        if code == 0:  # it came to its end before the moment did
            assert outcome(tmp_path / "storm") == outcome(tmp_path / "calm")
            shutil.rmtree(tmp_path / "storm")
    assert train_in_a_fork(tmp_path / "storm") == 0
    assert outcome(tmp_path / "storm") == outcome(tmp_path / "calm")


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path, capfd):
    torch.set_num_threads(1)
    assert train_in_a_fork(tmp_path / "calm") == 0
    assert train_in_a_fork(tmp_path / "full", "step", 25) == -9
    before = checkpoint.load(tmp_path / "full/runs/toy/base/seed0")
    capfd.readouterr()
    assert train_in_a_fork(tmp_path / "full", bytes_left=2000) == 2
    said = [line for line in capfd.readouterr().err.splitlines()
            if not line.startswith("warning: not committed")]  # as this code may be just now
    assert len(said) == 1 and said[0].startswith("error: ") and "cannot write" in said[0]
    after = checkpoint.load(tmp_path / "full/runs/toy/base/seed0")
    assert after["step"] == before["step"] == 20
    assert train_in_a_fork(tmp_path / "full") == 0
    assert outcome(tmp_path / "full") == outcome(tmp_path / "calm")


def test_the_word_of_train_py_is_not_ignored():
    with pytest.raises(UserError, match="unknown key 'seed'; did you mean 'seeds'"):
        reproduce.options_of(["seed=3"])
