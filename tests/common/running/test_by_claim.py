"""What reproduce says about the claims it was asked for."""

import copy

import pytest

from common.evidence.paper import papers
from common.running.by_claim import outcome_by_claim
from common.running.runs import Outcome, PendingRun


@pytest.fixture(scope="module")
def batchnorm():
    return papers(["batchnorm"])[0]


def run(seed):
    return PendingRun("batchnorm", "bn", (seed,), "asked for", 1, 1, None, ())


def test_every_seed_made_now_is_shown_beside_what_stood_there(batchnorm):
    (claim,) = [c for c in batchnorm.claims if c.id == "fig1a-bn-10k"]
    now = copy.copy(batchnorm)
    now.results = batchnorm.results | {"bn": [copy.deepcopy(r) for r in batchnorm.results["bn"]]}
    steps, values = now.results["bn"][3].curves["accuracy"]
    values[steps == 10_000] = 0.5
    text = outcome_by_claim(batchnorm, now, [claim], [run(3), run(4)], Outcome(waiting=[run(4)]))
    head, line = text.splitlines()
    before = batchnorm.results["bn"][3].at("accuracy", 10_000)
    assert head.startswith("fig1a-bn-10k: published 96.60\N{NO-BREAK SPACE}%, measured ")
    assert line.replace("\N{NO-BREAK SPACE}", " ") == (
        "    seed 3, measured now: 50.00 % (the result that stood here before: "
        f"{100 * before:.2f} %)")
    del now.results["bn"][3]
    missing = outcome_by_claim(batchnorm, now, [claim], [run(5)], Outcome())
    assert "seed 5, measured now: " in missing and "seed 3" not in missing


def test_a_verdict_after_a_failure_says_whose_it_is(batchnorm):
    (claim,) = [c for c in batchnorm.claims if c.id == "fig1a-bn-10k"]
    outcome = Outcome(failed=[(run(0), "died")])
    text = outcome_by_claim(batchnorm, batchnorm, [claim], [run(0)], outcome)
    assert "measured now" not in text
    assert text.endswith("a run of it failed just now; this is of the results that were there")
