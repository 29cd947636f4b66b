"""Claims: the verdicts, and the file that lists them."""

import math

import numpy as np
import pytest
from scipy import stats

from common.errors import UserError
from common.evidence.claims import VERDICTS, Claim, decide, papers, read, verdict_table

HEAD = ("title: T\nauthors: A\nyear: 2000\nlink: l\nshows: s\npicture: p\nclaims:\n")


@pytest.mark.parametrize(("values", "sd", "verdict"), [
    ([0.50, 0.51, 0.49], None, "reproduced"),
    ([0.55, 0.59, 0.57], None, "undecided"),
    ([0.60, 0.61, 0.59], None, "undecided"),
    ([0.70, 0.71, 0.69], None, "not reproduced"),  # too good is as suspicious as too bad
    ([0.30, 0.31, 0.29], None, "not reproduced"),
    ([0.50, 0.50, 0.50], None, "reproduced"),
    ([0.50], None, "consistent"),
    ([0.50, 0.49], None, "consistent"),
    ([0.70], None, "undecided"),
    ([0.50, 0.70], None, "undecided"),
    ([0.50], 0.01, "consistent"),
    ([0.59], 0.01, "undecided"),
    ([0.70], 0.01, "not reproduced"),
])
def test_verdicts_of_a_band(values, sd, verdict):
    assert decide(values, (0.4, 0.6), sd)[0] == verdict
    assert verdict in VERDICTS


def test_the_interval_is_students():
    values = np.random.default_rng(0).normal(3, 2, 7)
    _, interval = decide(values, (-math.inf, math.inf))
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert interval == pytest.approx((expected.low, expected.high))


def test_the_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(1)
    hits = [low < 0 < high for _, (low, high) in
            (decide(rng.normal(0, 1, 5), (-1, 1)) for _ in range(2000))]
    assert np.mean(hits) == pytest.approx(0.95, abs=0.02)


def test_bounds_and_bands():
    def band(**judge):
        return Claim("i", "w", "s", published=2.0, judge=judge).band
    assert band(within=[-0.5, 1]) == (1.5, 3.0)
    assert band(at_least=1) == (1.0, math.inf)
    assert band(at_most=1) == (-math.inf, 1.0)
    assert band(at_least=0, at_most=1) == (0.0, 1.0)
    assert band(exactly=0) == (2.0, 2.0)


GOOD = ("- {id: a, where: w, says: s, published: 1, measure: {experiment: e, metric: m}, "
        "judge: {within: [-1, 1], why: x}}\n")


@pytest.mark.parametrize(("entry", "message"), [
    ("- {id: a, says: s}", "claim 'a': expected 'where'"),
    ("- {where: w, says: s}", "expected an id used once"),
    (GOOD + GOOD, "claim 'a': expected an id used once"),
    ("- {id: a, where: w, says: s}", "expected 'because'"),
    ("- {id: a, where: w, says: s, mesure: {}}", "unknown part 'mesure'; did you mean 'measure'"),
    (GOOD.replace("metric", "meric"), "unknown part 'meric'; did you mean 'metric'"),
    (GOOD.replace("within", "whithin"), "did you mean 'within'"),
    (GOOD.replace("within: [-1, 1], ", ""), "expected 'within', 'at_least'"),
    (GOOD.replace(", why: x", ""), "the reason for the band's width"),
    (GOOD.replace("published: 1, ", ""), "expected a 'published' value"),
    (GOOD.replace("experiment: e, ", ""), "expected 'function', or 'experiment'"),
    ("- a", "expected an id"),
    ("", "expected a list under 'claims'"),
    ("- {id: [", "not valid YAML"),
])
def test_a_damaged_claims_file_is_one_line(tmp_path, entry, message):
    (tmp_path / "claims.yaml").write_text(HEAD + entry)
    with pytest.raises(UserError) as e:
        read(tmp_path / "claims.yaml")
    assert message in str(e.value) and "\n" not in str(e.value)


def test_a_good_claims_file_is_read(tmp_path):
    (tmp_path / "claims.yaml").write_text(HEAD + GOOD)
    about, (claim,) = read(tmp_path / "claims.yaml")
    assert about["title"] == "T" and claim.experiments == ["e"]


EACH = ("- {id: 'n-{run}', each: t, row: 'run {run}', column: n, where: w, says: 'of {run}', "
        "published: '{n}', measure: {experiment: e, metric: 'n_{run}'}, "
        "judge: {exactly: '{band}', why: x}}\n")


def of_a_table(tmp_path, entry, table="run,n,band\na,3,0\nb,5,2\n"):
    (tmp_path / "published").mkdir(exist_ok=True)
    (tmp_path / "published/t.csv").write_text(table)
    (tmp_path / "claims.yaml").write_text(HEAD + entry)
    return read(tmp_path / "claims.yaml")[1]


def test_a_table_is_a_claim_for_every_row(tmp_path):
    a, b = of_a_table(tmp_path, EACH)
    assert (a.id, a.row, a.says, a.published) == ("n-a", "run a", "of a", 3.0)
    assert b.measure == {"experiment": "e", "metric": "n_b"} and b.band == (3.0, 7.0)


@pytest.mark.parametrize(("entry", "message"), [
    (EACH.replace("{n}", "{m}"), "claim 'n-{run}': published/t.csv has no column for '{m}'"),
    (EACH.replace("row: 'run {run}', ", ""), "has 'each': expected 'row'"),
    (EACH.replace("each: t", "each: u"), "published/u.csv"),
    (EACH.replace("n-{run}", "n"), "claim 'n': expected an id used once")])
def test_a_damaged_table_is_one_line(tmp_path, entry, message):
    with pytest.raises(UserError) as e:
        of_a_table(tmp_path, entry)
    assert message in str(e.value) and "\n" not in str(e.value)


@pytest.mark.parametrize(("value", "verdict"), [(3.0, "reproduced"), (4.0, "not reproduced")])
def test_one_run_is_enough_where_no_seed_changes_it(tmp_path, value, verdict):
    (claim, _) = of_a_table(tmp_path, EACH)
    assert claim.repeatable and decide([value], claim.band, None, True) == (verdict, None)


@pytest.fixture(params=[p.name for p in papers()])
def paper(request):
    return papers([request.param])[0]


def test_every_verdict_of_every_paper(paper, data_regression):
    """A changed result changes this table; look at it before accepting it."""
    data_regression.check(verdict_table(paper), basename=paper.name)


def test_committed_results_are_current_and_of_committed_code(paper):
    for result in (r for found in paper.results.values() for r in found):
        assert result.experiment in paper.experiments.experiments, f"{result.name}: unknown"
        for segment in result.record["segments"]:
            assert not segment["dirty"], f"{result.name} was made by uncommitted code"
            assert len(segment["commit"]) == 40
    assert not [j.claim.id for j in paper.judgements() if j.verdict == "stale"]


def test_a_claim_measured_without_success_says_why(paper):
    assert not [j.claim.id for j in paper.judgements()
                if j.verdict == "not reproduced" and not j.claim.because]


def test_an_outdated_result_makes_a_claim_stale(paper):
    for claim in (c for c in paper.claims if c.experiments):
        name = claim.experiments[0]
        if all(paper.results.get(e) for e in claim.experiments):
            paper.experiments.experiments[name].overrides["train.steps"] = 17
            judgement = paper.judge(claim)
            assert judgement.verdict == "stale" and name in judgement.stale
            break


def test_unknown_papers_are_named():
    with pytest.raises(UserError, match="unknown paper 'batchnrm'; did you mean 'batchnorm'"):
        papers(["batchnrm"])
