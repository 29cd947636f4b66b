"""Verdicts: what may be concluded from a few runs, by each way of judging them."""

import math

import numpy as np
import pytest
from scipy import stats

from common.evidence import verdicts
from common.evidence.verdicts import VERDICTS, Judge, decide

BAND = 0.4, 0.6


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
    ([0.20, 0.80], 0.01, "undecided"),  # what is seen overrides what was known beforehand
    ([0.50, math.nan, 0.51], None, "undecided"),
    ([0.50, math.inf], None, "undecided"),
    ([0.50, 0.51, math.inf], None, "undecided"),
    ([math.inf] * 3, None, "undecided"),
])
def test_verdicts_of_a_band(values, sd, verdict):
    found, interval = decide(values, BAND, Judge(sd=sd))
    assert found == verdict in VERDICTS
    assert interval is None or not any(map(math.isnan, interval))


def test_all_planned_runs_have_to_be_in():
    values = [0.50, 0.51, 0.49, 0.50]
    assert decide(values, BAND, plan=(4,))[0] == "reproduced"
    assert decide(values, BAND, plan=(5,))[0] == "consistent"
    assert decide([v + 1 for v in values], BAND, plan=(4,))[0] == "not reproduced"
    assert decide([v + 1 for v in values], BAND, plan=(5,))[0] == "undecided"


def test_the_interval_is_students():
    values = np.random.default_rng(0).normal(3, 2, 7)
    _, interval = decide(values, (-math.inf, math.inf))
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert interval == pytest.approx((expected.low, expected.high))


def test_a_second_look_is_paid_for():
    values = np.random.default_rng(0).normal(3, 2, 7)
    _, interval = decide(values, (-math.inf, math.inf), plan=(3, 7))
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.975)
    assert interval == pytest.approx((expected.low, expected.high))


def test_looking_twice_errs_no_more_often_than_it_says():
    """Runs of a mean on the band's edge, stopped at 3 where that decides, else raised to 10."""
    rng, wrong = np.random.default_rng(2), 0
    for _ in range(3000):
        values = rng.normal(0, 1, 10)
        first, _ = decide(values[:3], (-100, 0), plan=(3, 3))
        verdict = first if "reproduced" in first else decide(values, (-100, 0), plan=(3, 10))[0]
        wrong += "reproduced" in verdict
    assert wrong / 3000 < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 3000)


def test_the_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(1)
    hits = [low < 0 < high for _, (low, high) in
            (decide(rng.normal(0, 1, 5), (-1, 1)) for _ in range(2000))]
    assert np.mean(hits) == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize("n", [6, 8, 9, 17, 40])
@pytest.mark.parametrize("level", [0.95, 0.975])
def test_the_median_has_the_interval_of_its_order_statistics(n, level):
    values = np.random.default_rng(n).exponential(size=n)
    if n == 6 and level > 0.97:  # the extremes hold it in 1 - 2/64 of all cases
        assert verdicts.of_median(values, level) is None
        return
    k = int(stats.binom.ppf((1 - level) / 2, n, 0.5))  # at most level / 2 lies below
    ordered = np.sort(values)
    assert verdicts.of_median(values, level) == (ordered[k - 1], ordered[n - k])


def test_fewer_than_six_runs_say_nothing_about_a_median():
    by = Judge(by="median")
    assert decide([0.5] * 5, BAND, by) == ("undecided", None)
    assert decide([0.5] * 5, BAND, by, (6,)) == ("consistent", None)
    assert decide([0.5] * 6, BAND, by, (6,))[0] == "reproduced"
    assert decide([0.7] * 6, BAND, by, (6,))[0] == "not reproduced"


@pytest.mark.parametrize("runs", [6, 10])
def test_skewed_runs_are_judged_by_their_median_as_often_right_as_it_says(runs):
    """Runs that now and then never get there: half of the time, so the median is on the edge."""
    rng, wrong = np.random.default_rng(3), 0
    for _ in range(2000):
        values = np.where(rng.random(runs) < 0.5, 0.5, np.inf)
        wrong += "reproduced" in decide(values, BAND, Judge(by="median"), (runs,))[0]
    assert wrong / 2000 < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 2000)


def test_infinite_values_have_a_median_and_no_mean():
    by, nine = Judge(by="median"), [0.5] * 9
    assert decide([*nine, math.inf], BAND, Judge(), (10,)) == ("undecided", None)
    assert decide([*nine, math.inf], BAND, by, (10,)) == ("reproduced", (0.5, 0.5))
    verdict, interval = decide([0.5] * 5 + [math.inf], BAND, by, (6,))
    assert verdict == "undecided" and interval == (0.5, math.inf)
    verdict, interval = decide([math.inf] * 6, BAND, by, (6,))
    assert verdict == "not reproduced" and interval == (math.inf, math.inf)


@pytest.mark.parametrize("n", [1, 2])
def test_a_few_runs_have_the_normal_interval_of_their_mean(n):
    values = [0.5, 0.52][:n]
    _, interval = decide(values, BAND, Judge(sd=0.1))
    expected = stats.norm(np.mean(values), 0.1 / math.sqrt(n)).interval(0.95)
    assert interval == pytest.approx(expected)


@pytest.mark.parametrize(("successes", "trials"), [(0, 20), (1, 20), (13, 50), (300, 300)])
@pytest.mark.parametrize("level", [0.95, 0.975])
def test_a_share_has_clopper_and_pearsons_interval(successes, trials, level):
    expected = stats.binomtest(successes, trials).proportion_ci(level, method="exact")
    found = verdicts.of_share(successes, trials, level)
    assert found == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_a_share_is_of_all_trials_of_all_runs():
    judge = Judge(by="share", trials=50)
    _, interval = decide([0.5, 0.52, 0.48], BAND, judge)
    expected = stats.binomtest(75, 150).proportion_ci(0.95, method="exact")
    assert interval == pytest.approx((expected.low, expected.high))


def test_runs_that_no_seed_can_change_are_judged_one_by_one():
    assert decide([3.0], (3, 3), Judge(exactly=0)) == ("reproduced", None)
    assert decide([3.0, 4.0], (3, 3), Judge(exactly=0)) == ("not reproduced", None)
