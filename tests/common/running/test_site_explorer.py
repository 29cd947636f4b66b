"""The claims explorer: its data, and what a reader does with it in a real browser."""

import json
import math
import re
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from common.evidence.counting import count
from common.evidence.paper import papers
from common.evidence.verdicts import VERDICTS
from common.files import ROOT
from common.running.site import build, explorer

ENTER, ESCAPE, END, HOME, ARROW_LEFT = (  # WebDriver's codes
    "\ue007", "\ue00c", "\ue010", "\ue011", "\ue012")
OPENED = "document.activeElement.id === 'claim'"  # a claim is shown, and has the focus
NAMES = ["batchnorm", "lbfgs"]
STUDY = explorer.skills((ROOT / "papers" / "STUDY.md").read_text())


def judged(names):
    return [(p, p.judgements()) for p in papers(names)]


@pytest.fixture(scope="module")
def found():
    return judged(NAMES)


@pytest.fixture(scope="module")
def page(found, tmp_path_factory):
    path = tmp_path_factory.mktemp("site") / "claims.html"
    path.write_text(explorer.page(found, STUDY))
    return path


def data_of(path):
    text = path.read_text()
    blocks = re.findall(r'<script type="application/json" id="([\w-]+)">(.*?)</script>', text)
    return {name: json.loads(content) for name, content in blocks}


# ---- the data ------------------------------------------------------------------------------------

def test_skills_are_those_of_the_study_page():
    assert STUDY["batch normalisation"] == ["batchnorm"]
    assert STUDY["second order"] == ["lbfgs", "levenberg_marquardt"]
    assert explorer.skills("| skill | read |\n| --- | --- |\n| a | [b](c/d.md), "
                           "[e](../common/f.py) |\n\ntext\n") == {"a": ["c"]}


def test_every_claim_is_there_with_its_verdict_and_kind(found, page):
    claims = data_of(page)["data"]["claims"]
    assert [(c["paper"], c["id"], c["verdict"]) for c in claims] == [
        (p.name, j.claim.id, j.verdict) for p, js in found for j in js]
    kinds = {c["id"]: c["kind"] for c in claims}
    assert kinds["alg1-mean"] == "formula" and kinds["fig1a-bn-10k"] == "measured"
    assert kinds["fig3-inception-steps"] == "out"
    assert sum(k == "row" for k in kinds.values()) == 48 * 4  # the minima of lbfgs
    (ready,) = (c for c in claims if c["paper"] == "lbfgs" and c["verdict"] == "not run")
    assert ready["kind"] in ("ready", "out")
    assert [c["kind"] in ("ready", "out") for c in claims] == [
        c["verdict"] == "not run" for c in claims]


def test_values_and_curves_are_those_of_the_results(page):
    found = data_of(page)
    (claim,) = (c for c in found["data"]["claims"] if c["id"] == "fig1a-bn-10k")
    assert claim["metrics"] == ["accuracy"] and claim["experiments"] == ["bn"]
    lines = found["curves-batchnorm"]["bn"]["accuracy"]
    for (seed, steps, values), (own, value, text) in zip(lines, claim["values"], strict=True):
        record = json.loads((ROOT / f"papers/batchnorm/results/bn/seed{seed}.json").read_text())
        real = dict(zip(*record["curves"]["accuracy"], strict=True))
        assert own == seed and math.isclose(value, real[10000], rel_tol=1e-5)
        assert text == f"{100 * real[10000]:.2f}\N{NO-BREAK SPACE}%"
        assert (steps[0], steps[-1]) == (min(real), max(real)) and len(steps) <= 120
        assert np.allclose(values, [real[s] for s in steps], rtol=1e-3)
    runs = found["data"]["papers"][0]["runs"]["bn"]
    assert [r[0] for r in runs] == [line[0] for line in lines]


def test_a_band_or_a_value_at_zero_is_one(found, page):
    """Nought is a number, where what is missing stands for no end of a band."""
    of = {(c["paper"], c["id"]): c for c in data_of(page)["data"]["claims"]}
    assert of["lbfgs", "lbfgs-rosenbrock_2"]["at"] == 0
    for paper, judgements in found:
        for j in judgements:
            said = of[paper.name, j.claim.id]
            shown = [said.get(k) for k in ("low", "high", "at")]
            assert shown == [*map(explorer.finite, (*j.claim.band, j.claim.published))]


def test_a_metric_is_in_percent_if_its_claims_are(page):
    assert [p["percent"] for p in data_of(page)["data"]["papers"]] == [["accuracy"], []]


def run_of(**curves):
    return SimpleNamespace(seed=7, curves={
        name: (np.arange(len(values)), np.array(values)) for name, values in curves.items()})


@pytest.mark.parametrize("loss, accuracy, step", [
    ([4., 3, 2, 2, 2, 2], [0.1, 0.2, 0.3, 0.4, 0.4, 0.4], 3),  # evaluated a step later
    ([4., 3, 2, 1, 0.5, 0.4], [0.1, 0.2, 0.3, 0.3, 0.3, 0.3], math.inf),
    ([4., 3, 2, 2, 2, 2], [0.1, 0.2, 0.3, 0.3, 0.3, math.nan], 5),
    ([4., 3, 2, 1, 1], [0.1] * 5, math.inf),  # twice the same is no end
    ([2.] * 6, [0.1] * 6, math.inf),  # it never changed
    ([math.nan] * 6, [0.1] * 6, math.inf)])
def test_a_run_has_settled_where_nothing_changes_any_more(loss, accuracy, step):
    assert explorer.settled(run_of(train_loss=loss, accuracy=accuracy)) == step
    assert explorer.settled(run_of(accuracy=accuracy)) == math.inf


def test_a_curve_ends_where_its_run_settled():
    run = run_of(train_loss=[4., 3, 2, 2, 2, 2], accuracy=[0.1, 0.2, 0.3, 0.4, 0.4, 0.4])
    assert explorer.line_of(run, "train_loss", 3.0) == [7, [0, 1, 2, 3], [4, 3, 2, 2], True]
    short = explorer.line_of(run_of(train_loss=[4., 3, 2]), "train_loss", math.inf)
    assert short == [7, [0, 1, 2], [4, 3, 2]]


def test_a_run_is_looked_through_once_for_where_it_settled(found, monkeypatch):
    paper, judgements = found[0]
    seen, settled = [], explorer.settled
    monkeypatch.setattr(explorer, "settled", lambda run: (seen.append(id(run)), settled(run))[1])
    claims = [explorer.of_claim(paper, j)[0] for j in judgements]
    curves = explorer.curves_of(paper, claims)
    drawn = sum(len(lines) for metrics in curves.values() for lines in metrics.values())
    assert len(seen) == len(set(seen)) < drawn


def test_published_curves_are_those_of_the_tables(page):
    found = data_of(page)["published-batchnorm"]
    assert sorted(found) == ["bn", "bn_best", "plain", "plain_best"]
    ((says, steps, values),) = found["plain"]["accuracy"]
    table = np.genfromtxt(ROOT / "papers/batchnorm/published/fig1a_without_bn.csv",
                          delimiter=",", skip_header=1)
    assert says == "published" and (steps[0], steps[-1]) == (3579, int(1000 * table[-1, 0]))
    assert np.allclose([values[0], values[-1]], table[[0, -1], 1], rtol=1e-4)


@pytest.mark.parametrize("name", [p.name for p in papers() if p.about.curves])
def test_every_published_curve_is_drawn_beside_some_claim(name):
    (paper,) = papers([name])
    claims = [explorer.of_claim(paper, j)[0] for j in paper.judgements()]
    for curve in paper.about.curves:
        for experiment in curve.experiments:
            assert [c for c in claims if experiment in c.get("experiments", [])
                    and curve.metric in c.get("metrics", [])], f"{curve.table}: {experiment}"


@pytest.mark.parametrize("length", [1, 2, 3, 120, 121, 1000])
def test_thinning_keeps_both_ends(length):
    steps, values = explorer.on_screen(np.arange(length), np.full(length, math.inf))
    assert steps[0] == 0 and steps[-1] == length - 1 and len(steps) == min(length, 120)
    assert sorted(set(steps)) == steps and set(values) == {None}


def test_no_text_ends_the_data_or_becomes_a_tag():
    text = explorer.block("a", {"b": "</script><img onerror=x>"})
    assert text.count("<") == 2 and json.loads(text.split(">", 1)[1].rsplit("<", 1)[0]) == {
        "b": "</script><img onerror=x>"}


def test_the_script_makes_no_markup_of_texts():
    scripts = [(explorer.HERE / n).read_text() for n in ("explorer.js", "curves.js")]
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(",
                         "".join(scripts))


def test_a_claim_says_what_stands_behind_its_measured_value(page):
    of = {c["id"]: c.get("spread") for c in data_of(page)["data"]["claims"]}
    assert of["fig1a-bn-10k"] == "± the runs' standard deviation, in brackets the 95 % interval"
    assert of["alg1-mean"] is None, "computed: nothing scatters"


@pytest.mark.slow
def test_every_measured_claim_shows_its_code_and_a_command():
    for paper in papers():
        for claim in paper.claims:
            if claim.measure:
                assert explorer.measure_of(paper, claim), f"{paper.name}/{claim.id}"


def test_the_command_of_a_formula_computes_it(found, capsys):
    paper, judgements = found[0]
    (j,) = (j for j in judgements if j.claim.id == "alg2-unbiased")
    line = re.fullmatch(r'python -c "(.*)"', explorer.command(paper, j))[1]
    exec(line)
    assert capsys.readouterr().out.strip() == "1.016949152542"


def test_the_explorer_alone_needs_no_sphinx(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sphinx", None)
    assert build.main(["batchnorm", "only=claims", f"to={tmp_path / 'a'}"]) == 0
    assert "the claims explorer" in capsys.readouterr().out
    assert (tmp_path / "a" / "claims.html").is_file()


# ---- in a browser --------------------------------------------------------------------------------

def test_it_opens_with_what_was_measured_and_counts_as_the_reports_do(browser, page, found):
    browser.open(page)
    said = browser.all("#count")[0].text
    counted = [count(js) for _, js in found]
    statements = sum((c.statements for c in counted), Counter())
    assert f"Statements of the papers: {statements['reproduced']} reproduced, " in said
    assert f"{statements['not run']} not run. Formulas: " in said
    hold, formulas = (sum(getattr(c, k) for c in counted) for k in ("hold", "formulas"))
    assert f"Formulas: {hold} of {formulas} hold." in said
    (minima,) = counted[1].tables
    assert f"published tables: {minima.agree} of {minima.rows} agree in all columns." in said
    headings = "[...document.querySelectorAll('#list h2')].map(e => e.textContent)"
    assert browser.js(headings)[0].startswith("Measured in runs ")
    browser.press("#more", ENTER)
    assert browser.js(headings)[-1].startswith("Formulas, computed from the code alone ")
    last = browser.js("document.querySelector('#list section:last-child').textContent"
                      ".replaceAll('\\u00a0', ' ')")
    assert "computed 0" in last and "measured 0" not in last
    browser.choose("kind", "formula")
    assert "Statements" not in browser.all("#count")[0].text and not browser.errors


def test_filters(browser, page, found):
    browser.open(page)
    everything = sum(len(js) for _, js in found)
    assert browser.all("#count")[0].text.startswith(f"{everything} claims. Statements")
    assert len(browser.all("#list li")) == 100
    browser.press("#more", ENTER)
    assert browser.js("document.querySelectorAll('#list li').length") == everything

    browser.choose("paper", "batchnorm")
    assert f"{len(found[0][1])} of {everything} claims" in browser.all("#count")[0].text
    browser.choose("verdict", "not reproduced")
    failed = [j for j in found[0][1] if j.verdict == "not reproduced"]
    assert len(browser.all("#list li")) == len(failed)
    browser.press("#text", "median hardly")
    assert [e.get_attribute("href").split("#")[1] for e in browser.all("#list a")] == [
        "batchnorm/fig1c-median", "batchnorm/fig1c-median-points"]
    browser.press("#filters button", ENTER)  # all claims
    browser.wait("document.querySelectorAll('#list li').length > 1")
    browser.choose("skill", "second order")
    browser.choose("kind", "formula")
    shown = [e.get_attribute("href").split("#")[1] for e in browser.all("#list a")]
    assert len(shown) == 8 and all(s.startswith("lbfgs/") for s in shown)
    assert browser.js("location.hash") == "#?kind=formula&skill=second+order"
    browser.open(page, "#?paper=batchnorm&verdict=undecided")
    assert len(browser.all("#list li")) == sum(j.verdict == "undecided" for j in found[0][1])
    assert not browser.errors


def test_a_claims_own_address(browser, page):
    browser.open(page, "#batchnorm/fig1a-bn-10k")
    text = browser.all("#claim")[0].text
    record = json.loads((ROOT / "papers/batchnorm/results/bn/seed0.json").read_text())
    commit = record["segments"][0]["commit"][:10]
    for said in ("with BN, test accuracy after 10,000 steps", "reproduced", "96.60 %", "n = 10",
                 "95.60 % … 97.60 %", "papers reproduce batchnorm claims=fig1a-bn-10k seeds=10",
                 "BatchNormRecipe.evaluate", "def evaluate(self", commit):
        assert said in text.replace("\N{NO-BREAK SPACE}", " "), said
    assert not browser.all("#filters") and browser.js("document.title") == (
        "batchnorm/fig1a-bn-10k")
    assert len(browser.all("#claim path.curve:not(.theirs)")) == 10
    assert len(browser.all("#claim path.theirs")) == 1
    assert not browser.errors


def test_alone_it_leads_nowhere_else(browser, page):
    browser.open(page, "#batchnorm/fig1a-bn-10k")
    assert not [e for e in browser.all("a[href]") if "claims.html#" not in e.get_attribute("href")]


def test_keyboard_alone_leads_to_a_claim_and_back(browser, page):
    browser.open(page, "#?paper=batchnorm")
    browser.press("#list section:first-child li:first-child a", ENTER)
    browser.wait(OPENED)
    before = browser.js("document.title")
    (following,) = [e for e in browser.all("#claim nav a") if e.text == "next"]
    following.send_keys(ENTER)
    browser.wait(f"document.title.startsWith('batchnorm/') && document.title !== '{before}'")
    browser.driver.switch_to.active_element.send_keys(ESCAPE)
    browser.wait("document.title === 'Claims'")
    assert browser.all("#filters") and browser.js("location.hash") == "#?paper=batchnorm"


def test_an_address_of_nothing_is_said(browser, page):
    browser.open(page, "#batchnorm/%E0%A4%A")
    assert "There is no claim" in browser.all("#count")[0].text
    browser.open(page, "#?paper=nosuch&verdict=constructor&text=bn")
    assert browser.all("#count")[0].text.startswith(
        "There is no paper nosuch. There is no verdict constructor. ")
    assert not browser.errors


@pytest.mark.parametrize("hash", ["", "#batchnorm/fig1a-speed", "#batchnorm/alg1-mean",
                                  "#batchnorm/fig3-inception-steps", "#lbfgs/minima-rosenbrock_2"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_readable_on_a_phone_and_in_the_dark(browser, page, hash, dark):
    browser.open(page, hash, width=400, dark=dark)
    assert not browser.scrolls_sideways
    ground, ink = (brightness(browser.js(f"getComputedStyle(document.body).{k}"))
                   for k in ("backgroundColor", "color"))
    lighter, darker = max(ground, ink), min(ground, ink)
    assert (ground < ink) == dark and (lighter + 0.05) / (darker + 0.05) > 7  # WCAG's AAA
    assert not browser.errors


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_verdicts_can_be_read(browser, page, dark):
    browser.open(page, dark=dark)
    ground = brightness(browser.js("getComputedStyle(document.body).backgroundColor"))
    for verdict in VERDICTS:
        kind = verdict.replace(" ", "-")
        ink = brightness(browser.js(
            f"(() => {{ const e = document.createElement('p'); e.className = 'v-{kind}';"
            "document.body.append(e); return getComputedStyle(e).color; })()"))
        assert (max(ground, ink) + 0.05) / (min(ground, ink) + 0.05) > 4.5, verdict  # WCAG's AA


def brightness(colour):
    """Relative luminance of a colour such as ``rgb(1, 2, 3)``, as WCAG defines it."""
    parts = [int(v) / 255 for v in re.findall(r"\d+", colour)[:3]]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


@pytest.mark.slow
def test_all_claims_are_painted_within_three_seconds(browser, whole):
    path = whole / "claims.html"
    assert path.stat().st_size < 5e6
    browser.open(path)
    paint = browser.js("performance.getEntriesByName('first-contentful-paint')[0]?.startTime "
                       "?? performance.now()")  # what is not painted yet counts until now
    assert paint < 3000 and len(browser.all("#list li")) == 100
    for paper in data_of(path)["data"]["papers"]:
        browser.open(path, f"#?paper={paper['name']}")
        browser.wait("document.querySelector('#list li a') !== null")  # drawn after it is loaded
        browser.press("#list section:first-child li:first-child a", ENTER)
        browser.wait(OPENED)
        assert browser.all("#claim h2") and not browser.errors, paper["name"]
