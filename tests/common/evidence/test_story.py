"""Stories speak of verdicts as they are."""

import re
from types import SimpleNamespace

import pytest

from common.errors import UserError
from common.evidence.claims import Claim
from common.evidence.paper import Judgement, paper_names, papers
from common.evidence.story import MEASURED, MENTION, changed_verdicts, notes, result, story
from common.files import ROOT

END = re.compile(r"(?<!et al)[.!?](?=\s|$)")
"""Where a sentence ends."""

SPEED = Claim(id="speed", where="", says="", show=".3f")

JUDGED = [Judgement(SPEED, "reproduced", (0.9121, 0.9139)),
          Judgement(Claim(id="end", where="", says=""), "stale")]


def of(text):
    return SimpleNamespace(folder=ROOT / "papers/toy", about=SimpleNamespace(
        story=text, result="", notes="")), JUDGED


def test_verdicts_become_links():
    text = "It is faster {speed: reproduced}.\n"
    assert story(*of(text)) == "It is faster ([reproduced](#speed))."
    assert changed_verdicts(*of(text)) == []
    assert story(*of("No claim, {braces} and all.")) == "No claim, {braces} and all."
    assert story(*of("")) == ""


def test_a_verdict_that_has_changed_is_shown_and_named():
    text = "It is faster {speed: undecided}."
    assert story(*of(text)) == (
        "It is faster ([reproduced](#speed), undecided when this was written).")
    assert changed_verdicts(*of(text)) == [
        "papers/toy/claims.yaml: story: speed is now 'reproduced', the text says 'undecided'"]


def test_a_result_is_held_to_its_verdicts_and_does_not_show_them():
    paper, judged = of("")
    paper.about.result = "It is\n  faster {speed: reproduced}, and ends {end: reproduced} high\n"
    assert result(paper, judged) == "It is faster, and ends high"
    assert changed_verdicts(paper, judged) == [
        "papers/toy/claims.yaml: result: end is now 'stale', the text says 'reproduced'"]
    paper.about.result = "It is faster {sped: reproduced}"
    with pytest.raises(UserError, match=r"result: there is no claim 'sped'; did you mean 'speed'"):
        changed_verdicts(paper, judged)


def test_notes_mention_claims_as_the_story_does():
    paper, judged = of("")
    paper.about.notes = "- Is it {speed: reproduced}?\n- Or {end: undecided}?\n"
    assert notes(paper, judged) == (
        "- Is it ([reproduced](#speed))?\n- Or ([stale](#end), undecided when this was written)?")
    assert changed_verdicts(paper, judged) == [
        "papers/toy/claims.yaml: notes: end is now 'stale', the text says 'undecided'"]


@pytest.mark.parametrize("text, said", [
    ("{=speed}", "0.913"), ("{=speed:.1%}", "91.3\N{NO-BREAK SPACE}%"),
    ("{=speed:.1f} % {speed: reproduced}", "0.9\N{NO-BREAK SPACE}% ([reproduced](#speed))")])
def test_measured_values_are_put_in(text, said):
    paper, judged = of(text)
    assert story(paper, judged) == said and changed_verdicts(paper, judged) == []
    paper.about.result = "It is {=speed} {speed: reproduced}"
    assert result(paper, judged) == "It is 0.913"


def test_a_value_that_has_gone_stale_is_a_dash_and_named():
    paper, judged = of("It ends at {=end:.1f} {end: stale}, {=end}.")
    assert story(paper, judged) == "It ends at – ([stale](#end)), –."
    assert changed_verdicts(paper, judged) == [
        "papers/toy/claims.yaml: story: end has no value, it is 'stale'"]


@pytest.mark.parametrize("text, said", [
    ("{=sped}", "story: there is no claim 'sped'; did you mean 'speed'"),
    ("{=speed:.1}", r"story: \{=speed:.1\}: expected a format"),
    ("{=speed:}", "expected a format")])
def test_values_that_are_not_there_are_refused(text, said):
    for told in (story, changed_verdicts):
        with pytest.raises(UserError, match=said):
            told(*of(f"It is {text}."))


@pytest.mark.parametrize("text, said", [
    ("{speed:reproduced}", r"story: '\{speed:reproduced\}': expected \{id of a claim: its verdict"),
    ("{speed}", "expected"), ("{speed: reproduced", "expected"), ("speed: reproduced}", "expected"),
    ("{speed: reproducd}", "speed: 'reproducd' is no verdict; did you mean 'reproduced'"),
    ("{speed: not  reproduced}", "is no verdict"), ("{sped: reproduced}", "no claim 'sped'")])
def test_braces_that_mention_nothing_are_refused(text, said):
    with pytest.raises(UserError, match=said):
        changed_verdicts(*of(f"It is faster {text}."))


def test_a_claim_that_is_not_there_is_one_line():
    with pytest.raises(UserError, match=r"there is no claim 'sped'; did you mean 'speed'\?"):
        story(*of("{sped: reproduced}"))


@pytest.mark.parametrize("name", paper_names())
def test_every_paper_with_results_tells_its_story_as_it_is(name):
    (paper,) = papers([name])
    judgements = paper.judgements()
    text = story(paper, judgements)
    assert bool(text) == bool(paper.results)
    assert changed_verdicts(paper, judgements) == [], "update the text"
    assert len(text.split()) <= 150, "a story is told in a minute"
    told = result(paper, judgements)
    assert bool(told) == bool(paper.results) and len(told.split()) <= 20


@pytest.mark.parametrize("name", paper_names())
def test_a_story_is_three_sentences(name):
    """What the paper claims, what came out, and what did not and why."""
    (paper,) = papers([name])
    told = MENTION.sub("", MEASURED.sub("1", paper.about.story)).strip()
    if told:
        assert told.endswith(".") and len(END.findall(told)) == 3
