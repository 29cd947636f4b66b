"""What the explorer says of a claim that one run settles."""

import pytest

from common.evidence.claims import Claim
from common.evidence.paper import Judgement
from common.running.site import explorer


def said(browser, name):
    """The text beside a word of the claim's list."""
    return browser.driver.execute_script(
        "return [...document.querySelectorAll('#claim dt')].find(e => e.textContent == "
        "arguments[0])?.nextSibling.textContent", name)


def test_one_run_has_no_mean(browser, page):
    browser.open(page, "#lbfgs/lbfgs-watson_9")
    assert said(browser, "judged by") == "the one run"


@pytest.mark.parametrize("wide", [400, 1280])
def test_a_narrow_band_is_seen_on_both_sides_of_the_published_value(browser, page, wide):
    browser.open(page, "#lbfgs/lbfgs-watson_9", width=wide)
    left, right, published = browser.js(
        "(svg => [+svg.querySelector('.band').getAttribute('x'), "
        "+svg.querySelector('.band').getAttribute('x') "
        "+ +svg.querySelector('.band').getAttribute('width'), "
        "+svg.querySelector('.published').getAttribute('x1')])"
        "(document.querySelector('#claim svg.values'))")
    assert left + 2 < published < right - 2


@pytest.mark.parametrize("wide", [400, 1280])
def test_small_numbers_on_the_axis_look_like_the_claims(browser, page, wide):
    browser.open(page, "#lbfgs/lbfgs-watson_9", width=wide)
    ticks = browser.js("[...document.querySelectorAll('#claim text.tick')].map(e => "
                       "e.textContent)")
    assert ticks == ["2e−06", "4e−06", "6e−06"]


@pytest.mark.parametrize("authors, where, shown", [
    ("A & B 1989; C & D", "C & D 1990, section 3", "C & D 1990, section 3"),
    ("A & B 1989; C & D", "A & B, Fig. 2", "A & B 1989, Fig. 2"),
    ("A & B 1989; C & D", "C & D, Fig. 2", "C & D 1990, Fig. 2"),
    ("A & B", "Fig. 2", "A & B 1990; Fig. 2")])
def test_a_paper_is_named_once(browser, page, authors, where, shown):
    browser.open(page)
    assert browser.driver.execute_script(
        "papers.p = { authors: arguments[0], year: 1990 };"
        "return placed({ paper: 'p', where: arguments[1] })", authors, where) == shown
    browser.open(page, "#lbfgs/lbfgs-watson_9")
    assert said(browser, "paper").count("Moré") == 1


@pytest.mark.parametrize(("judge", "values", "said"), [
    ({"within": [-1, 1]}, (1.0, 2.0), "mean"), ({"within": [-1, 1]}, (1.0,), "mean"),
    ({"within": [-1, 1], "by": "one"}, (1.0,), "one run"), ({"exactly": 0}, (1.0,), "one run")])
def test_what_a_claim_is_judged_by(judge, values, said):
    claim = Claim(id="a", where="w", says="s", published=1.0, obtained="printed",
                  measure={"experiment": "bn", "metric": "accuracy"}, judge=judge)
    assert explorer.by(Judgement(claim, "undecided", values)) == said
