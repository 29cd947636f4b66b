"""How results were made: minutes of processors and of cards, and every run."""

from dataclasses import replace

from common.evidence.how_made import SHARED, how_made
from common.evidence.paper import papers


def test_minutes_of_a_card_are_said_to_be_those_of_processes():
    for paper in papers(["batchnorm", "cyclical_lr", "airbench"]):
        said, runs = how_made(paper)
        shares = [s for found in paper.results.values() for r in found for s in r.record.segments]
        on_card = any(s.hardware.gpu for s in shares)
        assert on_card == (paper.name != "batchnorm")
        assert ("process-minutes of" in said) == (SHARED in said) == on_card, paper.name
        taken = {s.side_by_side for s in shares if s.side_by_side}
        assert all(f", {n} runs in turn" in runs for n in taken), paper.name


def test_runs_of_code_that_was_not_committed_are_counted():
    (paper,) = papers(["batchnorm"])
    assert "not committed" not in how_made(paper)[0]
    run, *others = paper.results["bn"]
    segments = [run.record.segments[0].model_copy(update={"dirty": True})]
    record = run.record.model_copy(update={"segments": segments})
    paper.results["bn"] = [replace(run, record=record), *others]
    assert " Runs of code with changes that were not committed: 1." in how_made(paper)[0]


def test_every_run_is_there():
    (paper,) = papers(["batchnorm"])
    *_, runs = how_made(paper)
    assert all(f"| {name} | {', '.join(str(r.seed) for r in found)} |" in runs
               for name, found in paper.results.items())
    paper.results.clear()
    assert how_made(paper) == ["No run has finished yet."]
