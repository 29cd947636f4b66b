"""Runs of a plan start when what they need is done."""

from common.running.runs import Outcome, PendingRun


def chain():
    """Runs e0 … e3: e1 starts from e0, e2 from e1, and e3 from nothing."""
    return [PendingRun("demo", f"e{k}", (0,), "missing", 10, 1, 1.0, (),
                       needs=(f"e{k - 1}/seed0",) if k in (1, 2) else ())
            for k in range(4)]


def test_a_run_is_ready_when_what_it_needs_is_neither_waiting_nor_active():
    e0, e1, e2, e3 = chain()
    outcome = Outcome(waiting=[e2, e1, e0, e3])
    assert outcome.ready([]) is e0
    outcome.waiting.remove(e0)
    assert outcome.ready([e0]) is e3, "e1 needs the one that is active"
    assert outcome.ready([]) is e1
    outcome.waiting, outcome.paused = [e2, e1], [e0]
    assert outcome.ready([]) is None and outcome.waiting == [e2, e1]


def test_what_needs_a_failed_run_fails_with_it():
    e0, e1, e2, e3 = chain()
    outcome = Outcome(waiting=[e2, e1, e3], failed=[(e0, "no disk")])
    assert outcome.ready([]) is e3
    assert outcome.failed[1:] == [(e1, "needs e0/seed0, which failed"),
                                  (e2, "needs e1/seed0, which failed")]
    assert outcome.waiting == [e3]
