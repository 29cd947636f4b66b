"""How papers reproduce ends: in time, interrupted, or with nothing left to train."""

import json
import time

import pytest

from common.errors import UserError
from common.evidence.paper import papers
from common.files import run_folder
from common.running import closing, reproduce
from common.running.plan import plan
from common.running.runs import Outcome
from common.training.budget import Budget


@pytest.fixture
def batchnorm():
    return papers(["batchnorm"])[0]


def test_a_report_that_takes_too_long_is_left_out_and_its_command_said(monkeypatch):
    budget, started = Budget("0.2s"), time.monotonic()
    monkeypatch.setattr(closing.generated, "main", lambda argv: time.sleep(20))
    assert closing.report_in_time("demo", budget) == (
        "the budget is used up before the report is made: papers report demo makes it")
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("text", ["", "9m"])
def test_a_report_in_time_is_made(monkeypatch, text):
    asked = []
    monkeypatch.setattr(closing.generated, "main", asked.append)
    assert closing.report_in_time("demo", Budget(text)) == "report: papers/demo/REPORT.md"
    assert asked == [["demo"]]


@pytest.mark.parametrize(("budget", "kept"), [("", 60), ("1h", 60), ("90s", 22.5), ("8m", 60)])
def test_runs_leave_time_for_the_report(budget, kept):
    assert closing.kept_for_report(Budget(budget)) == pytest.approx(kept, abs=0.5)


def test_a_budget_that_ends_before_another():
    one = Budget("90s")
    assert one.before(20).left == pytest.approx(one.left - 20, abs=0.5)
    assert Budget().before(60).left == float("inf")


def test_an_interrupt_names_what_is_left_or_that_nothing_is(batchnorm):
    runs = plan(batchnorm, batchnorm.claims, again=True)[:2]
    some = closing.said_of(batchnorm, closing.Interrupted(Outcome(paused=runs[:1],
                                                                  waiting=runs[1:])))
    assert str(some).startswith("interrupted; the same command goes on: ")
    assert f"{runs[0].name}: paused at step 0 of " in str(some)
    assert f"{runs[1].name}: not started" in str(some) and "\n" not in str(some)
    none = closing.said_of(batchnorm, closing.Interrupted(Outcome()))
    assert str(none) == ("interrupted; every run has ended: papers report batchnorm makes the "
                         "report")


def test_an_interrupted_report_is_said_to_lack(monkeypatch):
    def interrupt(argv):
        raise KeyboardInterrupt
    monkeypatch.setattr(closing.generated, "main", interrupt)
    with pytest.raises(KeyboardInterrupt, match=r"before the report was made: papers report demo"):
        closing.report_in_time("demo", Budget())


def test_a_claim_whose_runs_were_finished_here_says_that_nothing_was_trained(
        batchnorm, capsys, monkeypatch):
    """As a command does that was typed twice."""
    claim = next(c for c in batchnorm.claims if c.id == "fig1a-bn-10k")
    folder = run_folder("batchnorm", "bn", 0)
    folder.mkdir(parents=True)
    record = (batchnorm.folder / "results/bn/seed0.json").read_text(encoding="utf-8")
    (folder / "result.json").write_text(json.dumps(json.loads(record)), encoding="utf-8")
    assert closing.finished_before(batchnorm, [claim], 1) == ["batchnorm/bn/seed0"]
    assert closing.finished_before(batchnorm, [claim], None) == ["batchnorm/bn/seed0"]
    monkeypatch.setattr(reproduce, "make_runs", lambda *a: pytest.fail("it trained"))
    assert reproduce.main(["batchnorm", "claims=fig1a-bn-10k", "seeds=1"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("finished before, nothing was trained: batchnorm/bn/seed0 (")
    assert "fig1a-bn-10k: published" in said


def test_a_metric_that_no_run_has_ends_reproduce_after_the_first_run(batchnorm, monkeypatch):
    from common.running import by_claim
    claim = next(c for c in batchnorm.claims if c.id == "fig1a-bn-10k")
    wrong = claim.model_copy(update={"measure": claim.measure.model_copy(
        update={"metric": "acuracy"})})
    (run,) = plan(batchnorm, [claim], seeds=1, again=True)
    run.folder.mkdir(parents=True)
    record = (batchnorm.folder / "results/bn/seed0.json").read_text(encoding="utf-8")
    (run.folder / "result.json").write_text(record, encoding="utf-8")
    assert by_claim.finished_and_measured(batchnorm, [claim], run)
    with pytest.raises(UserError, match=r"claims.yaml: claim 'fig1a-bn-10k': .*'acuracy'"):
        by_claim.finished_and_measured(batchnorm, [wrong], run)
