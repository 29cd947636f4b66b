"""What a report still needs, from claims, results and measured speeds."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from common import files
from common.config import identity
from common.errors import UserError
from common.evidence import results
from common.evidence.paper import papers
from common.experiments import Experiments
from common.running import cli, plan
from common.running.plan import PendingRun
from common.segments import Segment
from common.training import precision
from tests.common.toy import YAML, Config, Toy, experiments, recorded, share


def run(threads, k=0):
    return PendingRun("demo", f"e{k}", (0,), "missing", 10, threads, 1.0, ())


def test_seeds_are_joined_where_they_stand_at_the_same_step():
    runs = [replace(run(1), experiment=e, seeds=(s,), left=left) for e, s, left in
            (("a", 0, 10), ("b", 0, 10), ("a", 1, 10), ("a", 2, 4))]
    joined = plan.batched(runs)
    assert [(r.experiment, r.seeds, r.seconds) for r in joined] == [
        ("a", (0, 1), 2.0), ("b", (0,), 1.0), ("a", (2,), 1.0)]
    assert joined[0].command[-3:] == ["seed=0,1", "train.threads=1", "train.vectorize=true"]
    assert "train.vectorize=true" not in joined[1].command


def test_a_run_no_seed_can_change_is_made_once():
    (paper,) = papers(["levenberg_marquardt"])
    paper.results = {}
    once = [c for c in paper.claims if c.each]
    assert [(r.experiment, r.seeds) for r in plan.plan(paper, once, 3)] == [("minpack", (0,))]
    often = plan.plan(paper, [c for c in paper.claims if c.id == "efficient-sine"], 2)
    assert len(often) == 6


def demo(tmp_path, found=None):
    """A paper with experiments base and faster, and these results."""
    made = experiments(tmp_path)
    return SimpleNamespace(name="demo", results=found or {}, folder=tmp_path / "papers/demo",
                           config=made.resolve, experiments=made)


def test_speeds_come_from_results_and_name_another_machine(monkeypatch, tmp_path):
    monkeypatch.setenv("PAPERS_RUNS", str(tmp_path))
    here = results.provenance().hardware
    record = recorded(seconds=50.0, segments=[share(cpu=here.cpu, capability="another")])
    another = record.segments[0].hardware.processor
    paper = demo(tmp_path)
    run = SimpleNamespace(record=record, config=identity(paper.config("base")))
    paper.results["base"] = [run]
    assert plan.known_pace(paper, "base", 1) == (0.5, (another,), False)
    record.segments.append(Segment.model_validate(share(50, **here.written())))
    known = plan.known_pace(paper, "base", 1)
    assert known == (0.5, (another,), False), "begun there, resumed here"
    record.segments.pop()
    assert plan.known_pace(paper, "faster", 1) == (None, (), False)
    results.add_pace(paper.folder / "results/faster", paper.config("faster"), "another", 2, 0.7)
    assert plan.known_pace(paper, "faster", 1) == (0.7, ("another",), False)
    assert plan.known_pace(paper, "faster", 4) == (0.7, ("another",), True), "of two threads"
    paced(paper, {1: 0.25, 2: 0.2})
    assert plan.known_pace(paper, "base", 1) == (0.25, (), False)
    paced(paper, {1: 0.25, 2: 0.2}, cpu="a third")
    assert plan.known_pace(paper, "base", 1) == (0.5, (another,), False)
    assert plan.known_pace(paper, "base", 4) == (0.5, (another,), True), "one thread"
    run.config = identity(paper.config("faster"))
    assert plan.known_pace(paper, "base", 1) == (None, (), False), "of another configuration"


def test_what_a_card_needed_says_nothing_of_a_processor(monkeypatch, tmp_path):
    monkeypatch.setenv("PAPERS_RUNS", str(tmp_path))
    paper = demo(tmp_path)
    record = recorded(seconds=50.0, segments=[share(gpu="a card")])
    paper.results["base"] = [SimpleNamespace(record=record, config=identity(paper.config("base")))]
    assert plan.known_pace(paper, "base", 1) == (None, (), False)
    monkeypatch.setattr(plan, "cards", lambda: 1)
    monkeypatch.setattr(plan, "this_machine", lambda: "a card")
    assert plan.known_pace(paper, "base", 1) == (0.5, (), False)


def test_a_time_of_fewer_threads_is_an_upper_bound():
    runs = [run(2), replace(run(2, 1), at_most=True)]
    _, known, bound, total, *notes = plan.show(runs, 1).splitlines()
    assert known.endswith("  1 s") and bound.endswith("  ≤ 1 s")
    assert total == f"2 runs, at most 2 s on {plan.cores()} cores"
    assert notes == ["(≤: measured with fewer threads than these)"]
    assert "about" in plan.show(runs[:1], 1) and "≤" not in plan.show(runs[:1], 1)


def test_a_plan_names_every_other_machine_once():
    runs = [replace(run(1, k), elsewhere=its) for k, its in enumerate([("b",), ("b", "a"), ()])]
    assert plan.show(runs, 1).splitlines()[-1] == (
        "(speeds partly measured on another machine: a, b)")
    assert "machine" not in plan.show(runs[2:], 1)


def test_what_a_run_takes_to_start_is_part_of_the_estimate():
    runs = [replace(run(1, k), seconds=s) for k, s in enumerate([2.0, 2.0, None])]
    assert plan.show(runs, 1, 20.0).splitlines()[-1] == (
        f"2 runs, about 44 s on {plan.cores()} cores, and 1 run whose speed is not known "
        "(20 s of each to start)")
    assert "2 runs, about 4 s on" in plan.show(runs, 1) and "start" not in plan.show(runs, 1)


def test_a_search_can_be_asked_for_that_no_claim_names(tmp_path):
    paper = demo(tmp_path)
    runs = plan.plan(paper, [plan.named(paper, "faster,base")], 2)
    assert [r.name for r in runs] == ["faster/seed0", "base/seed0", "faster/seed1", "base/seed1"]
    with pytest.raises(UserError, match="'slower'"):
        plan.named(paper, "slower")


def paced(paper, seconds, cpu=None):
    folder = files.runs_root() / "demo/base"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pace.json").write_text(json.dumps(
        {"seconds_per_step": seconds, "cpu": cpu or plan.this_machine(),
         "config": identity(paper.config("base"))}))


@pytest.mark.parametrize(("one", "two", "better"), [
    (0.25, 0.20, 1), (0.25, 0.125, 2), (0.38, 0.14, 2), (0.20, 0.105, 2), (0.20, 0.15, 1)])
def test_side_by_side_or_one_after_the_other(monkeypatch, tmp_path, one, two, better):
    monkeypatch.setenv("PAPERS_RUNS", str(tmp_path))
    monkeypatch.setattr(plan, "cores", lambda: 2)
    paper = demo(tmp_path)
    paced(paper, {1: one, 2: two})
    assert plan.better_threads(paper, "base") == better


def test_on_a_card_the_seeds_of_an_experiment_take_turns(monkeypatch):
    def run(experiment, seed, seconds=10.0):
        return plan.PendingRun("toy", experiment, (seed,), "missing", 100 + seed, 1, seconds, ())
    runs = [run("a", 0), run("b", 0, None), run("a", 1), run("b", 1), run("a", 2)]
    joined = plan.in_turns(runs, 2)
    assert [(r.experiment, r.seeds) for r in joined] == [
        ("a", (0, 1)), ("a", (2,)), ("b", (0, 1))]
    assert [r.seconds for r in joined] == [20.0, 10.0, None]
    assert "train.side_by_side=2" in joined[0].command and "seed=0,1" in joined[0].command
    assert not [w for w in joined[1].command if "side_by_side" in w]


def test_how_many_runs_pay_is_measured(monkeypatch):
    asked = []
    monkeypatch.setattr(plan, "measure_paces", lambda paper, wanted, patience: asked.extend(wanted))
    monkeypatch.setattr(plan, "paces_here", lambda *_: {1: 0.4, 2: 0.25, 4: 0.2, 8: 0.22})
    assert plan.how_many_pay(None, "a") == 4
    assert asked == [("a", n) for n in plan.AT_A_TIME]
    monkeypatch.setattr(plan, "paces_here", lambda *_: {})
    assert plan.how_many_pay(None, "a") == 4, "a guess, where nothing could be measured"


STARTED = """
  tuned: {help: goes on from base, start_from: base}
  twice: {help: goes on from tuned, start_from: tuned}
"""


def toy(tmp_path, more=STARTED):
    """The toy as a paper without results, and a claim about these experiments."""
    path = tmp_path / "toy/config.yaml"
    files.write_atomic(path, YAML.rstrip() + more)
    made = Experiments(Config, path)
    paper = SimpleNamespace(name="toy", results={}, folder=path.parent, config=made.resolve,
                            schema=Config, experiments=made)
    return paper, lambda *names: [SimpleNamespace(experiments=names, repeatable=False)]


def listed(runs):
    return [(r.name, r.why, r.needs) for r in runs]


def test_what_a_run_starts_from_comes_before_it(tmp_path):
    paper, claims = toy(tmp_path)
    assert listed(plan.plan(paper, claims("twice"), 2)) == [
        made for k in (0, 1) for made in (
            (f"base/seed{k}", "needed", ()),
            (f"tuned/seed{k}", "needed", (f"base/seed{k}",)),
            (f"twice/seed{k}", "missing", (f"tuned/seed{k}",)))]
    assert listed(plan.plan(paper, claims("tuned", "faster", "base"), 1)) == [
        ("base/seed0", "missing", ()), ("tuned/seed0", "missing", ("base/seed0",)),
        ("faster/seed0", "missing", ())]


def test_what_is_finished_here_or_published_need_not_be_made(tmp_path):
    paper, claims = toy(tmp_path)
    only = [("tuned/seed0", "missing", ())]
    done = cli.train(Toy, paper.experiments, "base", [0], {"train.threads": 1, "record": False})
    assert listed(plan.plan(paper, claims("tuned"), 1)) == only
    assert listed(plan.plan(paper, claims("tuned"), 2))[1:] == [
        ("base/seed1", "needed", ()), ("tuned/seed1", "missing", ("base/seed1",))]
    weights = done[0].request.folder / "checkpoint.safetensors"
    published = paper.folder / "weights/base.safetensors"
    published.parent.mkdir()
    weights.rename(published)
    assert listed(plan.plan(paper, claims("tuned"), 1)) == only
    published.unlink()
    (done[0].request.folder / "checkpoint.previous.safetensors").unlink()  # result.json is left
    runs = plan.plan(paper, claims("tuned"), 1)
    assert listed(runs)[0] == ("base/seed0", "needed", ()) and runs[0].left == 40


def test_a_file_to_start_from_is_no_run(tmp_path):
    paper, claims = toy(tmp_path, "\n  filed: {help: no run, start_from: a.safetensors}\n")
    assert listed(plan.plan(paper, claims("filed"), 1)) == [("filed/seed0", "missing", ())]


FILED = """
  student: {help: goes on from base's file, start_from: papers/toy/results/base/logits0.safetensors}
  other: {help: of another paper, start_from: papers/more/weights/base.safetensors}
"""


def test_a_file_that_a_run_leaves_comes_after_that_run(tmp_path, monkeypatch):
    paper, claims = toy(tmp_path, FILED)
    monkeypatch.setattr(plan, "ROOT", tmp_path)
    file = tmp_path / "papers/toy/results/base/logits0.safetensors"
    students = [(f"student/seed{k}", "missing", ("base/seed0",)) for k in (0, 1)]
    assert listed(plan.plan(paper, claims("student", "other"), 2)) == [
        ("base/seed0", "needed", ()), students[0], ("other/seed0", "missing", ()), students[1],
        ("other/seed1", "missing", ())], "whatever the student's seed, the file is seed 0's"
    files.write_atomic(file, "logits")
    assert listed(plan.plan(paper, claims("student"), 1)) == [("student/seed0", "missing", ())]
    assert listed(plan.plan(paper, claims("student", "base"), 2)) == [
        ("base/seed0", "missing", ()), students[0], students[1], ("base/seed1", "missing", ())]


@pytest.mark.parametrize(("file", "made"), [
    ("papers/toy/weights/base.safetensors", ("base", 0)),
    ("papers/toy/weights/base-seed3.safetensors", ("base", 3)),
    ("papers/toy/results/faster/weights2.safetensors", ("faster", 2)),
    ("papers/toy/results/unknown/weights2.safetensors", None),
    ("papers/toy/results/faster/weights٣.safetensors", None),
    (f"papers/toy/results/faster/weights{'9' * 5000}.safetensors", None),
    (f"papers/toy/weights/base-seed{'9' * 5000}.safetensors", None),
    ("papers/more/weights/base.safetensors", None), ("a.safetensors", None)])
def test_who_leaves_a_file(tmp_path, file, made):
    assert plan.maker(toy(tmp_path)[0], file) == made


def test_joined_seeds_need_what_each_of_them_needs(tmp_path):
    paper, claims = toy(tmp_path)
    assert listed(plan.batched(plan.plan(paper, claims("tuned"), 2))) == [
        ("base/seed0,1", "needed", ()),
        ("tuned/seed0,1", "missing", ("base/seed0", "base/seed1"))]


def test_seeds_that_take_turns_need_what_each_of_them_needs(tmp_path):
    paper, claims = toy(tmp_path)
    assert [(r.name, r.needs) for r in plan.in_turns(plan.plan(paper, claims("tuned"), 2), 2)] == [
        ("base/seed0,1", ()), ("tuned/seed0,1", ("base/seed0", "base/seed1"))]


def test_what_needs_a_card_is_left_out_without_one(monkeypatch):
    (paper,) = papers(["resnet"])
    claims = [c for c in paper.claims if c.experiments == ["resnet32"]]
    config = paper.config("resnet32")
    config.train.precision = "tf32"
    monkeypatch.setattr(type(paper), "config", lambda self, name: config)
    monkeypatch.setattr(precision, "choose_device", lambda name: torch.device("cpu"))
    assert claims and plan.plan(paper, claims, 2) == []
    monkeypatch.setattr(precision, "choose_device",
                        lambda name: torch.device("cuda" if name == "auto" else name))
    monkeypatch.setattr(plan, "cards", lambda: 1)
    assert {r.experiment for r in plan.plan(paper, claims, 2)} == {"resnet32"}
    config.train.device = "cpu"
    assert plan.plan(paper, claims, 2) == [], "it would be trained beside the card"
