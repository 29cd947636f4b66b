"""A run is killed at twenty random moments, and its disk fills up: nothing is lost."""

import json
import os
import random
import resource
import shutil
import signal

import torch

from common import files
from common.errors import exit_with
from common.evidence import results
from common.running import cli
from common.training import checkpoint
from tests.common.toy import Toy, experiments

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
            if not line.startswith("warning: not committed")  # as this code may be just now
            and "goes on at step 20 of" not in line]
    assert len(said) == 1 and said[0].startswith("error: ") and "cannot write" in said[0]
    after = checkpoint.load(tmp_path / "full/runs/toy/base/seed0")
    assert after["step"] == before["step"] == 20
    assert train_in_a_fork(tmp_path / "full") == 0
    assert outcome(tmp_path / "full") == outcome(tmp_path / "calm")
