"""Which run is whose turn: cores, cards, budgets, needs; with processes that only pretend."""

import math
import signal
import subprocess
from dataclasses import replace
from typing import ClassVar

import pytest
import torch

from common.running import live, reproduce
from common.running.plan import Outcome, PendingRun
from common.training.budget import Budget


def run(threads, k=0):
    return PendingRun("demo", f"e{k}", (0,), "missing", 10, threads, 1.0, ())


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

    def start(r, slot, seconds, says_every=None):
        given.append(seconds)
        return reproduce.Process(r, Fake(*r.elsewhere), 0.0, slot)
    monkeypatch.setattr(reproduce, "start", start)
    return given


@pytest.mark.parametrize(("threads", "jobs", "most"), [
    ([1] * 6, None, 2), ([2] * 3, None, 1), ([1] * 6, 3, 3), ([8, 1, 1], None, 2)])
def test_as_many_run_as_there_are_cores(fakes, threads, jobs, most):
    runs = [run(t, k) for k, t in enumerate(threads)]
    assert reproduce.make_runs(runs, jobs, lambda r: True, Budget()) == Outcome()
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
    outcome = reproduce.make_runs(runs, 1, lambda r: True, Clock(60))
    assert fakes[0] == 60 - 3 - reproduce.RESERVE
    assert fakes == sorted(fakes, reverse=True) and fakes[-1] >= reproduce.LEAST - 1
    assert outcome.waiting == runs[len(fakes):] and 2 < len(fakes) < 20
    assert not outcome.paused and not outcome.failed
    before = len(Fake.seen)
    assert reproduce.make_runs(runs, 1, lambda r: True, Clock(15)).waiting == runs
    assert len(Fake.seen) == before


def test_what_ends_without_a_result_is_paused(fakes, capsys):
    runs = [run(2, 0), run(2, 1)]
    outcome = reproduce.make_runs(runs, 1, lambda r: r is runs[0], Budget())
    assert outcome == Outcome(paused=[runs[1]])
    said = capsys.readouterr().out
    assert "e0/seed0: done" in said and "e1/seed0: paused" in said


def test_while_runs_go_on_each_says_now_and_then_how_far_it_is(fakes, monkeypatch, capsys):
    monkeypatch.setattr(live.Progress, "SOON", 0.0)
    monkeypatch.setattr(live.Progress, "EVERY", 0.0)
    monkeypatch.setattr(live, "last_line", lambda *a: "demo/e/seed0: step 3/9")
    reproduce.make_runs([run(1, 0), run(1, 1)], 2, lambda r: True, Budget())
    said = capsys.readouterr().out
    assert "  e0/seed0: step 3/9\n" in said and "  e1/seed0: step 3/9\n" in said


def test_who_overruns_the_budget_is_asked_to_end(fakes):
    slow, other = (replace(run(1, k), elsewhere=(-signal.SIGTERM, 10**9)) for k in range(2))
    outcome = reproduce.make_runs([slow, other], None, lambda r: False, Clock(100))
    assert outcome == Outcome(paused=[slow, other])


def test_no_run_starts_before_the_one_it_needs(fakes, monkeypatch):
    order, begin = [], reproduce.start
    monkeypatch.setattr(reproduce, "start", lambda r, *a: order.append(
        (r.experiment, len(Fake.active))) or begin(r, *a))
    runs = [run(1, 0), replace(run(1, 1), needs=("e0/seed0",)), run(1, 2)]
    assert reproduce.make_runs(runs, 2, lambda r: True, Budget()) == Outcome()
    assert order == [("e0", 0), ("e2", 1), ("e1", 0)]


def test_what_needs_a_run_that_failed_or_paused_is_not_started(fakes):
    needing = replace(run(1, 1), needs=("e0/seed0",))
    failing = replace(run(1, 0), elsewhere=(1, 3))
    outcome = reproduce.make_runs([failing, needing], 2, lambda r: True, Budget())
    assert outcome.failed[1:] == [(needing, "needs e0/seed0, which failed")]
    outcome = reproduce.make_runs([run(1, 0), needing], 2, lambda r: False, Budget())
    assert outcome == Outcome(paused=[run(1, 0)], waiting=[needing]) and len(Fake.seen) == 2


def test_sigterm_from_elsewhere_is_a_failure(fakes):
    one = replace(run(1), elsewhere=(-signal.SIGTERM, 3))
    ((which, why),) = reproduce.make_runs([one], None, lambda r: False, Budget()).failed
    assert which is one and why.startswith("ended by signal 15")


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
