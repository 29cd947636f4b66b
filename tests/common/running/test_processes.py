"""A run's process: its log, and how often it says where it is."""

import subprocess
import time

import pytest

from common.errors import UserError
from common.running import processes
from common.running.runs import PendingRun

RUN = PendingRun("demo", "e0", (0,), "missing", 10, 1, 1.0, ())


def test_a_run_is_said_to_stand_where_this_process_of_it_stands(monkeypatch):
    given = []
    monkeypatch.setattr(subprocess, "Popen", lambda *a, env, **k: given.append(env))
    first = processes.start(RUN, 0)
    assert first.standing.startswith("e0/seed0: starting") and "PAPERS_SAYS_EVERY" not in given[0]
    (RUN.folder / "log.txt").write_text("demo/e0/seed0: step 3/9\n")
    assert first.standing == "e0/seed0: step 3/9"
    second = processes.start(RUN, 0, says_every=2.0)
    assert second.standing.startswith("e0/seed0: starting")
    assert given[1]["PAPERS_SAYS_EVERY"] == "2.0" and second.started <= time.monotonic()


def test_a_folder_that_cannot_be_written_is_one_line(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("PAPERS_RUNS", str(tmp_path / "file"))
    with pytest.raises(UserError, match="cannot write the run's folder"):
        processes.start(RUN, 0)
