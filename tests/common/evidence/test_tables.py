"""Numbers, marks and tables of a report."""

import math

import pytest

from common.evidence import tables
from common.evidence.claims import Claim
from common.evidence.paper import Judgement
from common.evidence.verdicts import decide


@pytest.mark.parametrize(("obtained", "mark"), [
    ("printed", ""), ("derived: half of it", " †"), ("read off the figure", ""),
    ("quoted by a note", "")])
def test_a_published_number_that_is_not_printed_has_a_mark(obtained, mark):
    claim = Claim(id="a", where="Table 1", says="so", published=0.5, obtained=obtained,
                  show=".2f")
    judgement = Judgement(claim, "reproduced", (0.5,))
    assert tables.as_published(judgement) == "0.50" + mark


def test_tables_hold_any_text():
    assert tables.table(["a"], [["x | y\nz"]]).splitlines()[-1] == "| x \\| y z |"


def test_numbers_have_true_minus_signs():
    assert tables.number(-0.5, ".1%") == "−50.0\N{NO-BREAK SPACE}%"
    assert tables.number(float("nan"), ".1f") == "–"
    assert tables.number(float("inf"), ".0f") == "∞" and tables.number(-float("inf"), "d") == "−∞"


def test_a_difference_of_fractions_is_shown_in_points():
    assert tables.number(-0.0107, ".2p") == "−1.07\N{NO-BREAK SPACE}points"
    claim = Claim(id="a", where="w", says="s", published=0.01, show=".1p",
                  measure={"experiment": "e"}, judge={"within": [-0.005, 0.005]})
    assert tables.band(Judgement(claim, "undecided", (0.02,))) == (
        "0.5\N{NO-BREAK SPACE}points … 1.5\N{NO-BREAK SPACE}points")


def test_what_is_judged_by_its_median_is_shown_by_it():
    claim = Claim(id="a", where="w", says="s", published=1.0, measure={"experiment": "e"},
                  judge={"by": "median"})
    shown = tables.measured(Judgement(claim, "undecided", (1.0, 2.0, math.inf), (1.0, math.inf)))
    assert shown == "median 2 [1, ∞], n = 3"


def test_a_brief_value_has_its_number_of_runs():
    claim = Claim(id="a", where="w", says="s", show=".1f", measure={"experiment": "e"})
    assert tables.brief(Judgement(claim, "undecided", (1.0, 2.0))) == "1.5 (2)"
    assert tables.brief(Judgement(claim, "not run")) == "–"
    exact = claim.model_copy(update={"measure": None})
    assert tables.brief(Judgement(exact, "reproduced", (1.0,))) == "1.0"


@pytest.mark.parametrize("values, said", [
    ((1.0,), ", from an assumed standard deviation of 0.5"),
    ((1.0, 1.1), ", from an assumed standard deviation of 0.5"), ((1.0, 4.0), ""),
    ((1.0, 1.1, 1.2), "")])
def test_an_interval_of_few_runs_says_what_it_rests_on(values, said):
    claim = Claim(id="a", where="w", says="s", show=".1f", published=1.0,
                  measure={"experiment": "e"}, judge={"within": [-1, 1], "sd": 0.5})
    interval = decide(values, claim.band, claim.judge)[1]
    told = tables.spread(Judgement(claim, "undecided", values, interval, plan=(3,)))
    assert told.endswith(f"in brackets the 95 % interval{said}")


@pytest.mark.parametrize("values, by, exactly, said", [
    ((1.0, 2.0), "mean", None, True), ((1.0, 2.0), "median", None, False),
    ((1.0,), "mean", None, False), ((1.0, math.inf), "mean", None, False),
    ((), "mean", None, False), ((1.0, 2.0), "mean", 0.5, False)])
def test_a_standard_deviation_is_explained_where_it_is_shown(values, by, exactly, said):
    judge = {"exactly": exactly} if exactly else {"by": by}
    claim = Claim(id="a", where="w", says="s", published=1.0, measure={"experiment": "e"},
                  judge=judge)
    judgement = Judgement(claim, "undecided", values)
    assert tables.scattered(judgement) == said == ("±" in tables.measured(judgement))
