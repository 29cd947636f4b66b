"""The explorer's curves: what is drawn over what, on axes that a reader can read."""

import json
import math
import re
from itertools import pairwise

import numpy as np
import pytest

from common.evidence.paper import papers
from common.files import ROOT
from common.running.site import explorer

END, HOME, ARROW_LEFT = "\ue010", "\ue011", "\ue012"  # WebDriver's codes


def page_of(names, folder):
    path = folder / "claims.html"
    study = explorer.skills((ROOT / "papers" / "STUDY.md").read_text())
    path.write_text(explorer.page([(p, p.judgements()) for p in papers(names)], study))
    return path


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return page_of(["batchnorm", "lbfgs"], tmp_path_factory.mktemp("site"))


@pytest.mark.parametrize("claim, own", [("fig1a-bn-10k", True), ("fig1a-gap-end", False),
                                        ("fig1a-speed", False)])
def test_the_published_value_is_drawn_only_over_curves_of_its_own_metric(browser, page, claim, own):
    browser.open(page, f"#batchnorm/{claim}")
    for mark in (".published", ".band"):
        assert browser.js(f"document.querySelector('svg[tabindex] {mark}') !== null") == own
    assert browser.all("#claim svg[tabindex] path.curve")


@pytest.mark.slow
@pytest.mark.parametrize("paper, claim, heading, said", [
    ("lbfgs", "lbfgs-watson_9", None, None),  # a step of its runs is another problem
    ("deep_linear", "mnist-orthogonal", None, None),  # another depth
    ("levenberg_marquardt", "nfev-0", None, None),
    ("levenberg_marquardt", "iterations", "Training of its runs",
     "train_loss by step; the claim's own number is computed from what the runs measured"),
    ("dropout", "sec72-mean-dropout", "Training of its runs",
     "train_loss by step; the claim's own number is measured at the end"),
    ("dropout", "fig4-gap-50k", "Its runs", "error by step")])  # over a curve at one step
def test_a_curve_that_is_not_the_claims_own_says_so(browser, tmp_path, paper, claim, heading, said):
    (found,) = papers([paper])
    j = next(j for j in found.judgements() if j.claim.id == claim)
    path = tmp_path / "claims.html"
    path.write_text(explorer.page([(found, [j])], {}))
    browser.open(path, f"#{paper}/{claim}")
    assert bool(browser.all("#claim svg[tabindex]")) == bool(heading)
    headings = [e.text for e in browser.all("#claim h3")]
    assert [h for h in headings if h.endswith("ts runs")] == ([heading] if heading else [])
    assert said is None or said in [e.text for e in browser.all("#claim h3 + .small")]
    assert not browser.errors


def test_published_curves_are_dashed_and_named(browser, page):
    browser.open(page, "#batchnorm/fig1a-gap-end")
    curves = browser.js("[...document.querySelectorAll('#claim path.theirs')].map(e => "
                        "[getComputedStyle(e).strokeDasharray, e.style.stroke])")
    assert [c != "none" for c, _ in curves] == [True] * 2 and curves[0][1] != curves[1][1]
    legend = [e.text for e in browser.all("#claim .legend .theirs")]
    assert legend == ["bn, published", "plain, published"]
    browser.press("#claim svg[tabindex]", HOME)
    assert "published" not in browser.all(".readout")[0].text  # its curve begins later
    browser.press("#claim svg[tabindex]", END, *[ARROW_LEFT] * 20)
    said = browser.all(".readout")[0].text
    step = int(re.match(r"step ([\d,]+)", said)[1].replace(",", "")) / 1000
    for arm, name in (("bn", "with"), ("plain", "without")):
        table = np.genfromtxt(ROOT / f"papers/batchnorm/published/fig1a_{name}_bn.csv",
                              delimiter=",", skip_header=1).T
        value = float(re.search(rf"\b{arm}, published ([\d.]+) %", said)[1]) / 100
        assert math.isclose(value, np.interp(step, *table), abs_tol=2e-4)
    assert not browser.errors


@pytest.mark.parametrize("given, value", [
    ("0", "null"), ("1", 10), ("2", 15), ("3", 20), ("4", "null")])
def test_a_published_value_lies_between_its_points(browser, page, given, value):
    browser.open(page)
    assert browser.js(f"between({{steps: [1, 3], values: [10, 20]}}, {given}) === {value}")


@pytest.mark.parametrize("claim, some", [("fig1a-bn-10k", "90 %"), ("fig1a-gap-end", "80 %")])
def test_axes_have_round_numbers(browser, page, claim, some):
    browser.open(page, f"#batchnorm/{claim}")
    steps, values = ([e.text for e in browser.all(f"#claim svg[tabindex] text.{axis}")]
                     for axis in "xy")
    assert steps[-5:] == ["10,000", "20,000", "30,000", "40,000", "50,000"]
    assert some in values and 3 <= len(values) <= 6 and not browser.errors


@pytest.mark.parametrize("given, ticks", [
    ("0.0987, 0.979", [0.2, 0.4, 0.6, 0.8]), ("0, 7, true", [0, 2, 4, 6]),
    ("1, 3, true", [1, 2, 3]),
    ("0.967, 0.9671", [0.967, 0.96702, 0.96704, 0.96706, 0.96708, 0.9671]), ("4, 4", [4]),
    ("4, 4, true", [4]), ("-25, 5", [-20, -10, 0])])
def test_ticks_are_round_and_few(browser, page, given, ticks):
    browser.open(page)
    assert browser.js(f"ticks({given})") == ticks


@pytest.mark.parametrize("given, ends", [
    ("1.31, 4.8, [1.31, 1.4]", [1, 4.8]), ("0.1, 0.979, [0.979, 0.97]", [0.1, 1]),
    ("0, 9, [1, 3]", [0, 9]), ("4, 4, [4]", [4, 4]), ("0.001, 2.2, [0.001, 2.2]", [0, 2.5])])
def test_an_axis_has_ticks_about_what_curves_end_with(browser, page, given, ends):
    browser.open(page)
    assert browser.js(f"surrounding({given})") == ends


def test_no_run_ends_beyond_the_ticks_of_its_axis(browser, tmp_path):
    browser.open(page_of(["dropout"], tmp_path), "#dropout/fig4-standard-200k")
    ticks = browser.js("[...document.querySelectorAll('#claim svg[tabindex] text.y')].map(e => "
                       "+e.textContent)")
    assert ticks[0] <= 1.31 and len(ticks) <= 6  # the least of its runs' errors


@pytest.mark.parametrize("claim", ["batchnorm/fig1a-bn-10k", "warm_start/mlp-damaged"])
def test_a_phones_axis_keeps_its_numbers_apart(browser, tmp_path, claim):
    browser.open(page_of([claim.partition("/")[0]], tmp_path), f"#{claim}", width=400)
    ends = browser.js("[...document.querySelectorAll('#claim svg[tabindex] text.x')].map(e => "
                      "[e.getBoundingClientRect().left, e.getBoundingClientRect().right])")
    assert len(ends) >= 2
    assert all(right + 5 < left for (_, right), (left, _) in pairwise(ends))
    dots = len(browser.all("#claim circle.end"))
    assert dots == (10 if "warm" in claim else 0), "a run of ours that stopped early"
    assert ("ends in a dot" in browser.all("#claim")[0].text) == bool(dots)


def test_a_curve_tells_its_values_to_mouse_and_keyboard(browser, page):
    browser.open(page, "#batchnorm/fig1a-bn-10k")
    record = json.loads((ROOT / "papers/batchnorm/results/bn/seed0.json").read_text())
    last = record["curves"]["accuracy"][1][-1]
    chart = "#claim svg[tabindex]"
    browser.press(chart, END)
    said = browser.all(".readout")[0].text
    assert said.startswith("step 50,000: bn") and f"seed 0: {100 * last:.4g} %" in said
    browser.press(chart, ARROW_LEFT)
    assert not browser.all(".readout")[0].text.startswith("step 50,000")
    browser.point_at(chart)
    step = int(re.match(r"step ([\d,]+)", browser.all(".readout")[0].text)[1].replace(",", ""))
    assert 20000 < step < 30000  # the middle
    assert not browser.errors


@pytest.mark.parametrize("claim, key", [
    ("batchnorm/fig1a-speed", ["a run", "mean 8,825", "95 % interval", "band, 7,500 … 22,500",
                               "published, 15,000"]),
    ("batchnorm/fig1a-faster", ["a run", "mean", "95 % interval", "band, "]),
    ("lbfgs/lbfgs-bard_3", ["the run", "band, ", "published, "])])
@pytest.mark.parametrize("wide", [400, 1280])
def test_a_claims_values_have_an_axis_and_a_key(browser, page, claim, key, wide):
    browser.open(page, f"#{claim}", width=wide)
    texts = [e.text for e in browser.all("svg.values + .legend span")]
    assert len(texts) == len(key) and all(map(str.startswith, texts, key)), texts
    marks = dict(zip(("run", "middle", "interval", "band", "published"),
                     browser.js("['.run', '.middle', '.interval', '.band', '.published'].map("
                                "e => document.querySelectorAll('svg.values ' + e).length)"),
                     strict=True))
    said = " ".join(key)
    assert marks["run"] and marks["band"] == 1
    assert marks["middle"] == marks["interval"] == said.count("interval")
    assert marks["published"] == said.count("published")
    boxes = browser.js("[...document.querySelectorAll('svg.values text.tick')].map(e => "
                       "(b => [b.left, b.right])(e.getBoundingClientRect()))")
    assert len(boxes) >= 2 and boxes[0][0] >= 0 and boxes[-1][1] <= wide
    assert all(a[1] + 4 < b[0] for a, b in pairwise(boxes))
    assert not browser.scrolls_sideways and not browser.errors


def test_the_axis_of_values_says_where_they_lie(browser, page):
    browser.open(page, "#batchnorm/fig1a-speed")
    names = browser.js("[...document.querySelectorAll('text.tick')].map(e => e.textContent)")
    ticks, published, mean = (
        browser.js(f"[...document.querySelectorAll('svg.values {mark}')].map(e => "
                   f"+e.getAttribute('{name}'))")
        for mark, name in (("text.tick", "x"), ("line.published", "x1"), (".middle", "cx")))
    values = [float(name.replace(",", "")) for name in names]
    assert values == [10_000, 15_000, 20_000] and published == ticks[1:2]
    by = (ticks[1] - ticks[0]) / 5_000
    assert mean[0] == pytest.approx(ticks[0] + by * (8_825 - 10_000))
