"""Results: what a run leaves, and how a damaged or outdated one is met."""

import gc
import json
import re
import shutil
from dataclasses import replace

import pytest

from common.errors import UserError
from common.evidence import results
from common.evidence.paper import papers
from common.running import cli
from common.running.requested import requested_run
from common.typed import read_json
from tests.common.toy import Config, Toy, experiments


@pytest.fixture
def paper(tmp_path):
    return experiments(tmp_path / "papers" / "toy")


def train(paper, name="base", seed=0, **overrides):
    return cli.train(Toy, paper, name, [seed], overrides)[0]


def test_a_finished_run_leaves_its_provenance(paper):
    train(paper, seed=2)
    record = json.loads((paper.path.parent / "results/base/seed2.json").read_text())
    assert record["metrics"].keys() == {"accuracy"}
    assert record["curves"]["accuracy"][0] == [10, 20, 30, 40]
    assert record["config"]["train"]["steps"] == 40
    assert len(record["data"]["fingerprint"]) == 64
    (segment,) = record["segments"]
    assert {"commit", "dirty", "versions", "hardware", "from_step"} <= segment.keys()
    text = json.dumps(record)
    assert str(paper.path.parent.parent) not in text, "a path of this machine"


class Computed(Toy):
    """The toy on data that it computes itself, whatever ``data.name`` says."""

    def splits(self):
        data, train, test = super().splits()
        return replace(data, name="patterns"), train, test


def test_the_recorded_name_is_the_data_sets_own(paper):
    done = cli.train(Computed, paper, "base", [0], {})[0]
    record = json.loads((paper.path.parent / "results/base/seed0.json").read_text())
    assert record["config"]["data"]["name"] == "digits"
    assert record["data"]["name"] == "patterns"
    described = results.write(done.request.folder / "again.json", "toy", done.request.config,
                              Computed(done.request.config).data, done.request.folder, done.ended)
    assert described.data == "patterns", "as the files of weights say"


def test_reading_gives_metrics_at_steps(paper):
    train(paper)
    (result,) = results.read_all(paper.path.parent, Config)["base"]
    assert result.at("accuracy", 40) == pytest.approx(result.at("accuracy", None), rel=1e-5)
    for metric, step in (("accuracy", 15), ("error", None), ("error", 10)):
        with pytest.raises(UserError, match="toy/base/seed0"):
            result.at(metric, step)


def test_a_run_with_other_keys_is_not_recorded(paper):
    done = train(paper, **{"optim.lr": 0.3, "train.threads": 1})
    assert not (paper.path.parent / "results").exists()
    assert (done.request.folder / "result.json").exists()
    assert done.request.folder.parent.name == "base,optim.lr=0.3"


def test_an_override_equal_to_the_experiments_own_value_is_recorded(paper):
    train(paper, **{"optim.lr": 0.1})
    assert (paper.path.parent / "results/base/seed0.json").exists()


def test_a_run_in_a_precision_that_counts_is_recorded_and_current(paper):
    text = paper.path.read_text()
    for counting in (False, True):
        paper.path.write_text(text + "precisions: [float32, bfloat16]\n" * counting)
        known = type(paper)(Config, paper.path)
        done = train(known, **{"train.precision": "bfloat16", "fresh": True})
        folder = done.request.folder
        assert folder.parent.name == "base,train.precision=bfloat16", "beside float32's"
        assert done.request.recorded is counting
        result = results.parse(folder / "result.json", Config)
        assert results.is_current(result, known.resolve("base"), known) is counting


class Cut(Toy):
    """The toy, interrupted in its 25th update."""

    def step(self, number):
        if number == 25:
            raise RuntimeError("the machine is gone")
        return super().step(number)


@pytest.mark.parametrize(("counting", "name", "refusal"), [
    (True, "base", None),
    (False, "base", "train.precision (bfloat16 there, float32 here)"),
    (True, "faster", "optim.lr (0.1 there, 0.2 here)"),
])
def test_a_run_goes_on_in_another_precision_that_counts(paper, counting, name, refusal):
    """Begun in TF32 on a card, say, and finished on a CPU."""
    with paper.path.open("a") as config:
        config.write("precisions: [float32, bfloat16]\n" * counting)
    known = type(paper)(Config, paper.path)
    other = {"train.precision": "bfloat16"}
    with pytest.raises(RuntimeError, match="gone"):
        cli.train(Cut, known, "base", [0], other)
    here = requested_run(known, name, 0, {}).folder
    shutil.copytree(requested_run(known, "base", 0, other).folder, here)
    if refusal:
        with pytest.raises(UserError, match=re.escape(refusal)):
            train(known, name)
        return
    done = train(known)
    assert [s.from_step for s in done.ended.segments] == [0, 20]
    result = results.parse(here / "result.json", Config)
    assert result.config["train.precision"] == "float32"
    assert results.is_current(result, known.resolve("base"), known)


def test_running_again_says_what_stood_there(paper):
    first = train(paper)
    again = train(paper, fresh=True)
    assert first.before is None and again.before == first.metrics == again.metrics


def test_a_result_of_another_configuration_is_not_current(paper):
    train(paper)
    (result,) = results.read_all(paper.path.parent, Config)["base"]
    assert results.is_current(result, paper.resolve("base", 5, {"train.threads": 2}), paper)
    assert not results.is_current(result, paper.resolve("faster"), paper)


@pytest.mark.parametrize("damage", [
    lambda t: t[:100], lambda t: "{}", lambda t: t.replace('"metrics"', '"merits"'),
    lambda t: t.replace('"seed": 0', '"seed": 7'), lambda t: "[]"])
def test_a_damaged_result_is_named(paper, damage):
    train(paper)
    path = paper.path.parent / "results/base/seed0.json"
    path.write_text(damage(path.read_text()))
    with pytest.raises(UserError, match=r"seed0.json is") as e:
        results.read_all(paper.path.parent, Config)
    assert "\n" not in str(e.value)


def changed(part, value):
    def change(record):
        *way, last = part.split(".")
        for k in way:
            record = record[int(k) if isinstance(record, list) else k]
        if value is None:
            del record[last]
        else:
            record[last] = value
    return change


@pytest.mark.parametrize(("part", "value", "message"), [
    ("paper", "resnet", "is of resnet/base/seed0"), ("seed", 0.5, "seed: 0.5: expected a whole"),
    ("segments.0.hardware", None, "expected 'segments.0.hardware'"),
    ("segments.0.hardware.threads", "two", "threads: 'two': expected a whole number"),
    ("segments.0.dirty", "no", "dirty: 'no': expected true or false"),
    ("segments", [], "segments: []: expected at least 1"),
    ("metrics", [1], "metrics: [1]: expected a mapping"),
    ("metrics.loss", "low", "metrics.loss: 'low': expected a number"),
    ("metrics.loss", float("nan"), "metrics.loss: nan: expected a number"),
    ("curves", {"a": 3}, "curves.a: 3: expected a list"),
    ("curves", {"a": [[1], [1, 2]]}, "curves.a: expected as many values as steps"),
    ("seconds", "x", "seconds: 'x': expected a number"), ("config", "x", "config: 'x': expected"),
    ("data", "x", "data: 'x': expected a mapping"), ("data.name", None, "expected 'data.name'"),
    ("more", 1, "unknown part 'more'"),
    ("curves", {"a": [[2, 1], [0, 0]]}, "curves.a: expected steps in ascending order"),
    ("config", {}, "config.train.steps: None: expected a whole number"),
    ("config.train", "x", "config.train.steps: None: expected a whole number"),
    ("config.train.steps", 0, "config.train.steps: 0: expected a whole number from 1 to"),
    ("config.optim.lr", 10**400, "config.optim.lr: a number of 1,329 bits: expected at most 1.8e"),
    ("config.optim.lr", [1, -10**400], "config.optim.lr: a number of 1,329 bits: expected at"),
    ("config.train.steps", 10**400, "config.train.steps: a number of 1,329 bits: expected at"),
    ("config.train.steps", 10**9 + 1, "config.train.steps: 1000000001: expected a whole number"),
    ("metrics", {}, "metrics: {}: expected at least 1"), ("seed", 2**31, "seed: 2147483648: "),
    ("seconds", 1e308, "seconds: 1e+308: expected at most 1e+09"), ("seconds", -1, "seconds: -1: "),
    *((f"segments.0.{k}", v, f"segments.0.{k}: {v}: expected") for k, v in (
        ("hardware.threads", 10**6), ("hardware.threads", 0), ("hardware.cores", 10**6),
        ("hardware.cores", -1), ("side_by_side", 0), ("side_by_side", 10**6), ("processes", 0),
        ("processes", 10**6), ("from_step", -1), ("from_step", 10**10),
        ("from_seconds", -1.0), ("from_seconds", 1e10))),
    ("curves", {"a": [[-1, 2], [0, 0]]}, "curves.a: step -1: expected steps from 0 to"),
    ("curves", {"a": [[1, 1e300], [0, 0]]}, "curves.a: step 1e+300: expected steps from 0"),
    ("curves", {"a": [[1, float("inf")], [0, 0]]}, "curves.a: step inf: expected steps from 0"),
    ("metrics.loss", 10**400, "metrics.loss: "), ("seconds", 10**400, "seconds: "),
    ("config.train.steps", 1.5, "config.train.steps: 1.5: expected a whole number"),
    ("segments.0.from_step", 10**9, "segments: from_step: [1000000000]: expected ascending steps"),
    ("segments.0.from_seconds", 1e8, "segments: from_seconds: [100000000.0]: expected ascending"),
])
def test_a_part_of_the_wrong_type_is_named(paper, part, value, message):
    train(paper)
    path = paper.path.parent / "results/base/seed0.json"
    record = json.loads(path.read_text())
    changed(part, value)(record)
    path.write_text(json.dumps(record))
    with pytest.raises(UserError) as e:
        results.read_all(paper.path.parent, Config)
    assert message in str(e.value) and "\n" not in str(e.value)


@pytest.mark.parametrize(("old", "new", "message"), [
    ('{"accuracy": ', '{"accuracy": 0.5, "accuracy": ', "'accuracy' is given twice, as 0.5 and"),
    ('"seed": 0', '"seed": 1, "seed": 0', "'seed' is given twice, as 1 and"),
    ('"lr": 0.1', '"lr": 0.1, "lr": 0.1', "'lr' is given twice, as 0.1 and 0.1: expected each")])
def test_a_key_given_twice_is_named(paper, old, new, message):
    train(paper)
    path = paper.path.parent / "results/base/seed0.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(UserError, match=r"seed0\.json is damaged") as e:
        results.read_all(paper.path.parent, Config)
    assert message in str(e.value) and "\n" not in str(e.value)


def test_what_no_report_reads_is_listed(paper):
    folder = paper.path.parent / "results"
    read = ["base/seed0.json", "base/seed12.json", "base/pace.json", "base/seed0.differs",
            "base/weights0.safetensors", "faster/seed0.json", ".gitkeep"]
    unread = ["old/seed0.json", "seed0.json", "base/sead0.json", "base/seed01.json", "gone/x.txt"]
    for name in (*read, *unread):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    found = results.unread(paper.path.parent, paper.experiments)
    assert sorted(p.relative_to(folder).as_posix() for p in found) == [
        "base/sead0.json", "base/seed01.json", "gone", "old", "seed0.json"]


@pytest.mark.parametrize("content", [
    "", "[]", "{}", '{"cpu": "a", "seconds_per_step": {}, "config": {}}',
    *(f'{{"cpu": {cpu}, "seconds_per_step": {{"{n}": {s}}}, "config": {{}}{more}}}'
      for cpu, n, s, more in (("1", 1, 1, ""), ('"a"', "a", 1, ""), ('"a"', 0, 1, ""),
                              ('"a"', -1, 1, ""), ('"a"', 1, 0, ""), ('"a"', 1, -1, ""),
                              ('"a"', 1, "NaN", ""), ('"a"', 1, "1e308", ""), ('"a"', 1, '"x"', ""),
                              ('"a"', 1, 1, ', "more": 1'), ('"a"', 1, 1, ', "cpu": "b"')))])
def test_a_damaged_pace_is_none(paper, content):
    folder = paper.path.parent / "results/base"
    results.add_pace(folder, paper.resolve("base"), "a", 1, 0.5)
    assert results.read_pace(folder, paper.resolve("base"))
    (folder / "pace.json").write_text(content)
    assert results.read_pace(folder, paper.resolve("base")) is None
    with pytest.raises(UserError, match=r"pace\.json"):
        read_json(results.PaceFile, folder / "pace.json")


def test_what_never_happens_may_take_infinitely_long(paper):
    train(paper)
    path = paper.path.parent / "results/base/seed0.json"
    record = json.loads(path.read_text())
    record["metrics"]["epoch"] = float("inf")
    path.write_text(json.dumps(record))
    assert results.read_all(paper.path.parent, Config)["base"][0].metrics["epoch"] == float("inf")


def test_a_kept_pace_is_the_reports(paper, capsys):
    folder = paper.path.parent / "results/base"
    base = paper.resolve("base")
    print(cli.pace(Toy, paper, "base", {}))
    assert results.read_pace(folder, base) is None, "only with --keep"
    cli.pace(Toy, paper, "base", {"train.threads": 1}, keep=True)
    found = results.read_pace(folder, base)
    assert found.cpu == results.provenance().hardware.processor
    assert 0 < found.seconds[1] < 1
    results.add_pace(folder, base, found.cpu, 4, 1e-5)
    found = results.read_pace(folder, base)
    assert found.best() == (4, 1e-5) and 1 in found.seconds
    results.add_pace(folder, base, "another", 2, 0.5)
    found = results.read_pace(folder, base)
    assert (found.cpu, found.seconds) == ("another", {2: 0.5})
    for damage in ("", "{}", '{"cpu": 1, "seconds_per_step": {"a": 1}, "config": {}}',
                   '{"cpu": "a", "seconds_per_step": {"2": 1}}'):
        (folder / "pace.json").write_text(damage)
        assert results.read_pace(folder, base) is None


def test_a_pace_is_of_its_configuration(paper):
    folder = paper.path.parent / "results/base"
    results.add_pace(folder, paper.resolve("base"), "a processor", 2, 0.5)
    assert results.read_pace(folder, paper.resolve("base", 3, {"train.steps": 7})), "steps aside"
    larger = paper.resolve("base", 0, {"train.batch_size": 3})
    assert results.read_pace(folder, larger) is None
    results.add_pace(folder, larger, "a processor", 1, 0.25)
    assert results.read_pace(folder, larger).seconds == {1: 0.25}, "the other's is dropped"
    with pytest.raises(UserError, match=r"--keep: expected base as .*without train.batch_size"):
        cli.pace(Toy, paper, "base", {"train.batch_size": 3}, keep=True)


def test_long_curves_are_thinned_and_keep_their_ends():
    lines = [{"step": k, "loss": 1 / k} for k in range(1, 1001)]
    steps, values = results.curves(lines)["train_loss"]
    assert len(steps) == results.POINTS and steps[0] == 1 and steps[-1] == 1000
    assert values[-1] == 0.001


@pytest.mark.slow
def test_the_kept_paces_are_of_todays_configurations():
    for paper in papers():
        for path in (paper.folder / "results").glob("*/pace.json"):
            name = path.parent.name
            assert results.read_pace(path.parent, paper.config(name)), f"{path} is stale or damaged"
            assert not paper.results.get(name), f"{path} says less than the results beside it"


@pytest.mark.parametrize(("text", "said"), [
    ("{a: 1}", "is damaged: it is not JSON: Expecting property name"),
    ("", "is damaged: it is not JSON: Expecting value"),
    ("[" * 100_000, "is damaged: it is not JSON: it is nested too deeply"),
    (None, "is damaged: No such file or directory; ")])
def test_what_is_no_json_is_said_without_pythons_names(tmp_path, text, said):
    if text is not None:
        (tmp_path / "r.json").write_text(text)
    with pytest.raises(UserError) as e:
        results.parse(tmp_path / "r.json", Config)
    assert said in str(e.value) and "Error" not in str(e.value)


@pytest.mark.parametrize("collects", [True, False])
def test_reading_leaves_the_garbage_collector_as_it_was(tmp_path, collects):
    damaged = tmp_path / "toy/results/base/seed0.json"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("{")
    (gc.enable if collects else gc.disable)()
    try:
        with pytest.raises(UserError, match="is damaged"):
            results.read_all(tmp_path / "toy", Config)
        assert gc.isenabled() is collects
    finally:
        gc.enable()
