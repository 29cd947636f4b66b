"""The explorer's text filter: places and numbers are whole, words may be parts."""

import pytest

from common.evidence.paper import papers
from common.running.site import explorer


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("site") / "claims.html"
    path.write_text(explorer.page([(p, p.judgements()) for p in papers(["dropout"])], {}))
    return path


@pytest.mark.parametrize("asked, yes, no", [
    ("Fig. 1", ["Fig. 1", "Fig. 1(a)", "Fig. 1, caption", "Figs. 1 and 2", "fig1a-x"],
     ["Fig. 10", "Table 1", "Figs. 2 to 6", "Fig. 2, Table 1", "eq. (1), Fig. 8"]),
    ("fig 1(a)", ["Fig. 1(a)", "Fig. 1a"], ["Fig. 1", "Fig. 1(b)"]),
    ("words, Fig. 1", ["Fig. 1: a word, words"], ["Fig. 2: words 1", "Fig. 1"]),
    ("figs. 4", ["Figs. 2 to 6", "Fig. 4"], ["Figs. 14 to 15"]),
    ("Table 9, Fig. 2.", ["Fig. 2, Table 9"], ["Fig. 9, Table 2", "Table 9"]),
    ("table 9", ["Tables 8 and 9", "Liu, tables 1 to 12"], ["Table 19", "Table 90", "9"]),
    ("section 4.2", ["section 4.2, Fig. 6", "sections 4.1, 4.2"], ["section 4", "section 4.21"]),
    ("§4.2", ["section 4.2, Fig. 6"], ["section 4", "section 4.21", "4.2 points"]),
    ("§§ 3 and 4", ["sections 3 and 4"], ["section 3", "section 4.2"]),
    ("section 4", ["Section 4, p. 9"], ["section 4.2", "section 14", "section 1, p. 4"]),
    ("eq. 15", ["eqs. (1), (15)", "equation 15"], ["eq. (5)", "eqs. (1), (5)"]),
    ("p. 5", ["section 3, p. 5", "pp. 4–5"], ["p. 14", "p. 51", "p = 5"]),
    ("10", ["after 10 epochs", "n = 10.", "x_10"], ["log10", "10,000", "0.10", "10.5", "b10"]),
    ("10,000", ["10,000 steps"], ["110,000", "10,000,000"]),
    ("median hard", ["hardly a median"], ["median"]),
    ("fig4-standard", ["fig4-standard-200k"], ["fig4-dropout"]),
    ("10k", ["fig1a-bn-10k"], ["bn-100"])])
def test_places_and_numbers_are_whole_and_words_are_parts(browser, page, asked, yes, no):
    browser.open(page)
    found = browser.driver.execute_script(
        "return arguments[1].map(t => asked(arguments[0].toLowerCase())"
        ".every(test => test({ sought: t.toLowerCase() })))", asked, yes + no)
    assert found == [True] * len(yes) + [False] * len(no)


def test_the_filters_example_finds_its_own_figure_alone(browser, page):
    browser.open(page, "#?text=Fig. 4")
    shown = browser.js("[...document.querySelectorAll('#list .says .small')].map(e => "
                       "e.textContent)")
    assert shown and all("Fig. 4" in s for s in shown) and not browser.errors
