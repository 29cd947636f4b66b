"""The site as Sphinx builds it: whole, without dead links, readable on a phone and in the dark."""

import functools
import json
import os
import re
import sys
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest

from common.errors import UserError
from common.evidence.paper import papers
from common.files import ROOT
from common.running.site import build

NAME = "batchnorm"
PAGES = ["index", f"papers/{NAME}/index", f"papers/{NAME}/README", f"papers/{NAME}/REPORT",
         f"papers/{NAME}/code", f"api/papers.{NAME}.model", "papers/STUDY", "papers/first_steps"]

BEYOND = ("[...document.querySelectorAll('td:last-child a strong')].filter(e => e.checkVisibility()"
          " && e.getBoundingClientRect().right > 400).map(e => e.parentElement.hash)")
"""The claims whose verdict a phone shows only to those who move the table."""


@functools.cache
def page_of(path):
    """A page, read once."""
    return Page(path)


class Page(HTMLParser):
    """The links of a page, what it loads to be drawn, and its ids."""

    def __init__(self, path):
        super().__init__()
        self.links, self.loads, self.ids = [], [], set()
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.ids |= {given[k] for k in ("id", "name") if given.get(k)}
        self.links += [given[k] for k in ("href", "src") if given.get(k)]
        if tag in ("link", "script", "img", "iframe"):
            self.loads += self.links[-1:]


def dead(site):
    """The links of a site that lead nowhere, and those that need a network to draw a page."""
    found = {p: page_of(p) for p in site.rglob("*.html")}
    for path, page in found.items():
        for link in page.links:
            target, _, fragment = unquote(link).partition("#")
            if target.startswith(("https:", "http:", "data:", "mailto:")):
                continue
            file = (path.parent / target.split("?")[0]).resolve() if target else path
            known = found.get(file)
            if not file.exists() or (known and fragment and "claims.html" not in target
                                     and "api" not in file.parts and fragment not in known.ids):
                yield f"{path.relative_to(site)}: {link}"


@pytest.mark.slow
def test_nothing_is_warned_of_and_no_link_is_dead(small):
    site, warnings = small  # a second build in one process finds its nodes known
    assert not [w for w in warnings if "is already registered" not in w]
    assert not list(dead(site))


def test_a_dead_link_would_be_found(tmp_path):
    (tmp_path / "a.html").write_text('<a href="b.html">b</a><a href="#c">c</a><p id="d">'
                                     '<a href="#d">d</a><img src="https://e.org/f.png">')
    assert list(dead(tmp_path)) == ["a.html: b.html", "a.html: #c"]


@pytest.mark.slow
def test_pages_need_no_network(small):
    site, _ = small
    for path in site.rglob("*.html"):
        assert not [x for x in page_of(path).loads if "//" in x], path.name
    for path in site.rglob("*.css"):
        assert "url(http" not in path.read_text() and "@import" not in path.read_text()


@pytest.mark.slow
def test_a_paper_has_its_story_report_method_and_code(small):
    site, _ = small
    folder = site / "papers" / NAME
    index = (folder / "index.html").read_text()
    for page in ("README.html", "code.html", "REPORT.html", "../../claims.html#?paper=batchnorm"):
        assert f'href="{page}"' in index
    assert {p.name for p in folder.glob("figures/*.svg")} == {
        p.name for p in (ROOT / "papers" / NAME / "figures").glob("*.svg")}
    assert 'id="fig1a-speed"' in (folder / "REPORT.html").read_text()
    assert "<h1>Run it<" in (site / "README.html").read_text()  # the front page has the site's name


@pytest.mark.slow
def test_the_notebook_is_a_page_and_a_file(whole):
    site = whole
    text = (site / "papers" / "first_steps.html").read_text()
    assert "4. Check one number" in text and "cell_type" not in text
    assert "first_steps.html" in (site / "index.html").read_text()
    assert json.loads((site / "papers" / "first_steps.ipynb").read_text())["cells"]
    assert not (site / "files" / "papers" / "first_steps.ipynb.html").exists()
    assert "measured  96" in text and text.count('class="figure"') >= 3


@pytest.mark.slow
def test_names_beside_the_paper_lead_to_their_place_in_the_api(small):
    site, _ = small
    page = Page(site / "papers" / NAME / "code.html")
    links = [x for x in page.links if f"/api/papers.{NAME}.model.html#" in x]
    ids = Page(site / "api" / f"papers.{NAME}.model.html").ids
    assert len(links) >= 6 and not [x for x in links if x.partition("#")[2] not in ids]


@pytest.mark.slow
def test_the_explorer_leads_to_pages_that_are_there(small):
    site, _ = small
    text = (site / "claims.html").read_text()
    data = json.loads(re.search(r'id="data">(.*?)</script>', text)[1])
    for thing in [*data["papers"], *(s for s in data["sources"].values() if "page" in s)]:
        path, _, anchor = thing["page"].partition("#")
        assert not anchor or anchor in page_of(site / path).ids, thing["page"]
    assert any("page" in s for s in data["sources"].values())


@pytest.mark.slow
def test_the_search_knows_words_of_the_pages(small):
    site, _ = small
    assert "mini-batch" in (site / "papers" / NAME / "REPORT.html").read_text()
    assert "sigmoid" in (site / "searchindex.js").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("width, dark", [(400, False), (400, True), (1200, False), (1200, True)],
                         ids=["phone", "phone, dark", "wide", "wide, dark"])
def test_pages_in_a_browser(browser, small, page, width, dark):
    site, _ = small
    browser.open(site / f"{page}.html", width=width, dark=dark)
    assert not browser.scrolls_sideways
    ground = browser.js("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ground.strip("rgba()").split(",")[:3])) < 150) == dark
    assert browser.all("h1") and not browser.errors


@pytest.mark.slow
def test_lines_of_code_fit_or_scroll_in_their_block(browser, small):
    site, _ = small
    browser.open(site / f"papers/{NAME}/code.html", width=1280)
    blocks = browser.js("[...document.querySelectorAll('.pair pre')].map(e => "
                        "[e.scrollWidth - e.clientWidth, getComputedStyle(e).overflowX])")
    assert blocks and all(over == "auto" for _, over in blocks)
    assert all(hidden <= 0 for hidden, _ in blocks), "no line of this paper is over 100 characters"


@pytest.mark.slow
@pytest.mark.parametrize("width", [400, 1280], ids=["phone", "wide"])
def test_a_long_block_of_code_says_what_is_hidden_and_unfolds(browser, small, width):
    site, _ = small
    browser.open(site / f"papers/{NAME}/code.html", width=width)
    measure = """(e => { const style = getComputedStyle(e), line = parseFloat(style.lineHeight);
        return [e.scrollHeight, e.clientHeight].map(h => Math.round((h - parseFloat(
            style.paddingTop) - parseFloat(style.paddingBottom)) / line)); })"""
    folded = browser.js(f"[...document.querySelectorAll('.folded')].map(e => [e.id, "
                        f"e.querySelector('.more').innerText, {measure}(e.querySelector('pre'))])")
    assert len(folded) >= 2
    for fold, more, (lines, seen) in folded:
        assert seen in (30, 29), "a bar to scroll by takes some of a line"
        assert lines > 35 and more == f"… {lines - 30} more lines", fold
    assert browser.js("[...document.querySelectorAll('.pair pre')].every(e => "
                      f"{measure}(e)[0] <= 35 || e.closest('.folded'))"), "another one is cut"
    fold, _, (lines, _) = folded[-1]
    browser.press(f"#{fold} .more a", "\ue007")
    browser.wait(f"{measure}(document.querySelector('#{fold} pre'))[1] >= {lines - 1}")
    assert not browser.all(f"#{fold} .more") and not browser.errors


@pytest.mark.slow
def test_search_works_from_the_file_system(browser, small):
    site, _ = small
    browser.open(site / "search.html")
    browser.driver.get((site / "search.html").as_uri() + "?q=sigmoid")
    browser.wait("document.querySelectorAll('#search-results li .context').length > 0")
    for excerpt in browser.all("#search-results li .context"):
        assert len(excerpt.text) <= 260
    (excerpt,) = [e for e in browser.all("#search-results li") if e.find_element(
        "css selector", "a").get_attribute("href").endswith(f"papers/{NAME}/index.html")]
    marked = [e.text for e in excerpt.find_elements("css selector", ".context .highlighted")]
    assert marked and {m.lower() for m in marked} == {"sigmoid"}
    assert not browser.errors


@pytest.mark.slow
@pytest.mark.parametrize("text, words, place", [
    ("a" * 300 + " rate, batch", ["batch", "rate"], 301), ("batch rate", ["nothing"], 0),
    ("rate " + "a" * 300 + " rate batch rate" + "b" * 300 + " batch", ["batch", "rate"], 306)])
def test_an_excerpt_is_where_the_words_stand_together(browser, small, text, words, place):
    site, _ = small
    browser.open(site / "search.html")
    assert browser.js(f"densest({json.dumps(text)}, {json.dumps(words)})") == place


# ---- the command ---------------------------------------------------------------------------------

@pytest.mark.parametrize("words, said", [
    (["nothing"], "unknown paper 'nothing'"),
    (["too=a"], "unknown key 'too'; did you mean 'to'?"),
    (["only=code"], "only=code: expected claims, or nothing"),
])
def test_words_it_does_not_know_are_said(words, said):
    with pytest.raises(UserError) as e:
        build.main(words)
    assert said in str(e.value)


def test_it_says_what_it_is_at(tmp_path, capsys):
    assert build.main([NAME, "only=claims", f"to={tmp_path / 'site'}"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == ["now the verdicts of 1 paper", "now the claims explorer"]
    assert re.match(rf"{tmp_path}.* MB; in \d+ s$", said[-1]) and len(said) == 3


def test_without_sphinx_one_line_says_what_to_install(tmp_path, monkeypatch, end_of):
    for name in [n for n in sys.modules if n.partition(".")[0] == "sphinx"] + ["sphinx"]:
        monkeypatch.setitem(sys.modules, name, None)
    code, said = end_of(lambda: build.main([NAME, f"to={tmp_path / 'site'}"]))
    assert code == 2 and said.err.count("\n") == 1
    assert "is not installed: pip install -e '.[site]'" in said.err
    assert not (tmp_path / "site").exists()


def test_the_list_of_modules_names_a_room_once():
    text = build.api_index({"common": "All.", "common.config": "Keys.",
                            "common.training.loop": "L.", "papers.batchnorm.model": "BN."})
    assert [l for l in text.splitlines() if l] == [
        "# The code", "## common", "- [common](/api/common.md): All.",
        "- [config](/api/common.config.md): Keys.", "## common.training",
        "- [loop](/api/common.training.loop.md): L.", "## papers.batchnorm",
        "- [model](/api/papers.batchnorm.model.md): BN."]


def test_docstrings_are_read_as_they_were_meant():
    lines = ["Largest |x| of ``a | b``, see ``{one:", "two}``.", "", "    papers site", "", "Then."]
    build.readable(None, "module", "", None, None, lines)
    assert lines == ["Largest \\|x\\| of ``a | b``, see ``{one: two}``.", "", "::", "",
                     "    papers site", "", "Then."]


# ---- all of it -----------------------------------------------------------------------------------

@pytest.mark.slow
def test_the_whole_site(browser, whole):
    site = whole
    assert os.environ.get("PAPERS_SITE") or not list(dead(site)), "there small is the whole one"
    assert sum(p.stat().st_size for p in site.rglob("*")) < 60e6
    for paper in papers():
        for page in ("index", "README", "code", "REPORT"):
            browser.open(site / "papers" / paper.name / f"{page}.html", width=400)
            assert not browser.scrolls_sideways and not browser.errors, f"{paper.name}/{page}"
        beyond = browser.js(BEYOND)  # of the report, the last of its pages
        assert not beyond, f"{paper.name}: verdicts beyond the screen's edge: {beyond}"
    browser.open(site / "claims.html")
    assert len(browser.all("#list li")) == 100 and not browser.errors
    for claim in ("bayes_by_backprop/table1-gaussian-800", "x" * 5000):  # long names, and a card's
        browser.open(site / "claims.html", f"#{claim}", width=400)
        assert not browser.scrolls_sideways
        assert all(e.rect["x"] + e.rect["width"] <= 400 for e in browser.all("#claim td"))
