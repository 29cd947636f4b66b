"""Runs as jobs, with submitit's local executor in slurm's place."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
from submitit.core.utils import DelayedSubmission

from common.errors import UserError
from common.running import cluster
from common.running.cluster import ClusterJob


def run(name, code):
    return SimpleNamespace(name=name, needs=(), singles={name}, threads=1,
                           command=[sys.executable, "-c", code])


def test_jobs_run_their_commands_and_failures_stop_no_other(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("PAPERS_RUNS", str(tmp_path))
    monkeypatch.setattr(cluster, "POLL", 0.05)
    good = run("good", f"open({str(tmp_path / 'made')!r}, 'w').write('x')")
    bad = run("bad", "import sys; sys.exit('error: it cannot')")
    short = run("short", "")
    outcome = cluster.submit_runs([bad, good, short], "local", {}, lambda r: r is good)
    assert (tmp_path / "made").read_text() == "x"
    ((which, why),) = outcome.failed
    assert outcome.paused == [short]
    assert which.name == "bad" and why.startswith("error: it cannot; its log: ")
    assert "it cannot" in open(why.rpartition(": ")[2]).read()
    said = capfd.readouterr().out
    assert "good: done" in said and "bad: FAILED" in said and "[3/3] " in said
    assert "short: paused" in said


def test_a_job_taken_away_is_queued_again_as_it_was():
    job = ClusterJob(["command"])
    again = job.checkpoint()
    assert isinstance(again, DelayedSubmission) and again.function is job


def test_a_failing_command_says_its_last_line():
    with pytest.raises(RuntimeError, match=r"^the last$"):
        ClusterJob([sys.executable, "-c", "import sys; sys.exit('first\\nthe last')"])()


def test_no_slurm_or_no_submitit_is_one_line(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="there is no sbatch here"):
        cluster.check_launcher("slurm")
    monkeypatch.setattr(cluster, "AutoExecutor", None)
    with pytest.raises(UserError, match=r"needs submitit; pip install -e '\.\[cluster\]'"):
        cluster.check_launcher("local")


def test_submitit_is_only_an_extra():
    code = "import sys; sys.modules['submitit'] = None; import common.running.reproduce"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
