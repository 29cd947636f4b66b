"""Claims counted as what they are, and the cost of all runs of a report."""
from dataclasses import replace

import pytest

from common.evidence import counting, results
from common.evidence.claims import Claim
from common.evidence.counting import Cost, count
from common.evidence.paper import Judgement, papers
from tests.common.toy import recorded, share

RUN, FORMULA = {"experiment": "e", "metric": "m"}, {"function": "f"}


def judged(verdict, measure=RUN, **where):
    return Judgement(Claim(id="i", where="w", says="s", measure=measure, **where), verdict)


def test_formulas_tables_and_statements_are_counted_apart():
    rows = [judged(verdict, each="t", row=row, column=column) for row, column, verdict in (
        ("1", "a", "reproduced"), ("1", "b", "reproduced"), ("2", "a", "reproduced"),
        ("2", "b", "not reproduced"), ("3", "a", "not run"), ("3", "b", "not run"))]
    found = count([judged("reproduced"), judged("undecided"),
                   judged("undecided", afterwards="why"),
                   judged("not run", None), judged("reproduced", FORMULA),
                   judged("not reproduced", FORMULA), *rows])
    assert found.statements == {"reproduced": 1, "undecided": 2, "not run": 1}
    assert found.words == ["1 reproduced, 2 undecided, 1 not run",
                           "1 of these claims written afterwards", "1 of 2 formulas hold",
                           "1 of 3 rows agree in all 2 columns, 3 of 6 cells (w)"]


def test_every_verdict_is_given_and_nothing_twice():
    for paper in papers():
        js = paper.judgements()
        found = count(js)
        rows = {(j.claim.each, j.claim.row) for j in js if j.claim.each}
        assert sum(found.statements.values()) + found.formulas == len(
            [j for j in js if not j.claim.each])
        assert sum(t.rows for t in found.tables) <= len(rows)


def test_words_of_a_cost():
    assert Cost(1200, 0, 0).words == "10 spent"
    assert Cost(1200, 240, 0).words == "10 spent; to go: 2 min"
    assert Cost(1200, 1, 0).words == "10 spent; to go: 1 min", "what is missing is never nothing"
    assert Cost(1200, 0, 1).words == "10 spent; to go: 1 untimed run"
    assert Cost(1200, 240, 3).words == "10 spent; to go: 2 min, 3 untimed runs"
    assert Cost(1200, 240, 3, 90).words == (
        "10 spent, 1.5 process-minutes on a card; to go: 2 min, 3 untimed runs")


def test_the_cost_is_of_all_planned_runs(tmp_path, monkeypatch):
    (paper,) = papers(["batchnorm"])
    whole = counting.cost(paper)
    assert (whole.missing, whole.unknown) == (0, 0)
    seconds = [counting.core_seconds(r.record) for r in paper.results["bn"]]
    paper.results["bn"] = paper.results["bn"][:4]
    some = counting.cost(paper)
    assert whole.spent - some.spent == pytest.approx(sum(seconds[4:]))
    assert some.missing == pytest.approx(6 * sum(seconds[:4]) / 4)
    paper.results.pop("bn")
    assert counting.cost(paper).unknown == 10
    needs, other = (next(c for c in paper.claims if ("bn" in c.experiments) == needs)
                    for needs in (True, False))
    assert counting.to_go([needs], paper) == (0, 10) and counting.to_go([other], paper) == (0, 0)
    monkeypatch.setattr(paper, "folder", tmp_path)
    results.add_pace(tmp_path / "results/bn", paper.config("bn"), "a processor", 2, 0.036)
    assert counting.cost(paper).missing == pytest.approx(10 * 2 * 0.036 * 50_000)


def test_a_resumed_runs_cost_counts_the_threads_it_had_at_each_step():
    record = recorded(seconds=60.0, segments=[
        share(0, threads=1), share(20, threads=2), share(70, threads=2), share(90, threads=4)])
    assert counting.core_seconds(record) == pytest.approx(60 * (0.2 * 1 + 0.7 * 2 + 0.1 * 4))


def test_the_seconds_of_each_part_of_a_run_count_where_they_were_kept():
    """A card makes most of the steps in a small part of the time."""
    card, processor = share(0, threads=2, gpu="a card"), share(90, threads=2)
    one = recorded(seconds=60.0, segments=[card, processor | {"from_seconds": 4.0}])
    assert counting.card_seconds(one) == pytest.approx(4)
    assert counting.core_seconds(one) == pytest.approx(56 * 2)
    old = recorded(seconds=60.0, segments=[
        card, share(50, threads=2), processor | {"from_seconds": 40.0}])
    assert counting.card_seconds(old) == pytest.approx(30), "of one part they are not known"


def test_time_on_a_card_is_counted_apart(monkeypatch):
    record = recorded(seconds=60.0, segments=[
        share(0, threads=2, gpu="a card"), share(75, threads=2)])
    assert counting.card_seconds(record) == pytest.approx(45)
    assert counting.core_seconds(record) == pytest.approx(15 * 2)
    (paper,) = papers(["batchnorm"])
    before = counting.cost(paper)
    one, *others = paper.results["bn"]
    on_card = [replace(r, record=r.record.model_copy(update={"segments": [
        s.model_copy(update={"hardware": s.hardware.model_copy(update={"gpu": "a card"})})
        for s in r.record.segments]})) for r in others]
    paper.results["bn"] = [one, *on_card[:-1]]
    after = counting.cost(paper)
    one = counting.core_seconds(paper.results["bn"][0].record)
    assert after.missing == pytest.approx(one), "what a card took says nothing of processors"
    assert before.spent - after.spent > 8 * one / 2 and after.on_card > 0
