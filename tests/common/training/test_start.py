"""Runs that start from another experiment's weights, or from a file of weights."""

import json
import shutil

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from common import files
from common.config import identity
from common.errors import UserError
from common.evidence import results
from common.experiments import Experiments
from common.running import cli
from common.training import checkpoint, loop, start, weight_files
from tests.common.toy import YAML, Config, Toy

MORE = """
  tuned: {help: goes on from base, start_from: base, optim: {lr: 0.01}}
  twice: {help: from one that is from another, start_from: tuned}
"""
QUICK = {"train.threads": 1, "train.device": "cpu"}


def known(tmp_path, more=MORE):
    folder = tmp_path / "toy"
    files.write_atomic(folder / "config.yaml", YAML.rstrip() + more)
    return Experiments(Config, folder / "config.yaml")


def train(experiments, name, seed=0, recipe=Toy, **overrides):
    (done,) = cli.train(recipe, experiments, name, [seed], QUICK | overrides)
    return done


class Seen(Toy):
    """Keeps the weights that its first step meets."""

    first = None

    def update(self, row):
        if Seen.first is None:
            Seen.first = {k: v.clone() for k, v in self.model.state_dict().items()}
        return super().update(row)


@pytest.fixture
def seen(monkeypatch):
    monkeypatch.setattr(Seen, "first", None)
    return Seen


def model_of(folder):
    return checkpoint.load(folder)["recipe"]["model"]


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


@pytest.mark.parametrize("seed", [0, 3])
def test_the_finished_run_of_the_same_seed_is_where_it_starts(tmp_path, seen, seed):
    experiments = known(tmp_path)
    made = {k: model_of(train(experiments, "base", k).request.folder) for k in (0, 3)}
    tuned = train(experiments, "tuned", seed, recipe=seen)
    assert same(seen.first, made[seed]) and not same(made[0], made[3])
    assert not same(model_of(tuned.request.folder), made[seed]), "it was trained"
    record = json.loads((tuned.request.folder / "result.json").read_text())
    assert record["config"]["start_from"] == "base"
    assert [s["started_from"] for s in record["segments"]] == [
        {"name": "base", "sha256": checkpoint.digest("", made[seed])}]


def test_a_resumed_run_needs_its_source_no_more_and_says_it_once(tmp_path):
    experiments = known(tmp_path)
    base = train(experiments, "base").request.folder
    calm = train(experiments, "tuned").request.folder
    whole = model_of(calm)
    shutil.rmtree(calm)

    class Stops(Toy):
        def update(self, row):
            if int(row["number"]) == 25:
                raise KeyboardInterrupt
            return super().update(row)
    with pytest.raises(KeyboardInterrupt):
        train(experiments, "tuned", recipe=Stops)
    assert checkpoint.newest_step(calm) == 20
    shutil.rmtree(base)
    again = train(experiments, "tuned")
    assert same(model_of(again.request.folder), whole)
    segments = json.loads((calm / "result.json").read_text())["segments"]
    assert ["started_from" in s for s in segments] == [True, False]
    with pytest.raises(UserError, match="no finished run of base/seed0"):
        train(experiments, "tuned", fresh=True)


def test_several_seeds_as_one_network_start_each_from_its_own(tmp_path):
    class Plain(Toy):
        def build(self):
            super().build()
            self.model[2] = nn.Identity()  # dropout cannot be batched
    experiments = known(tmp_path)
    for k in (0, 1):
        train(experiments, "base", k, recipe=Plain)
    both = cli.train(Plain, experiments, "tuned", [0, 1], QUICK)
    digests = [json.loads((d.request.folder / "result.json").read_text())
               ["segments"][0]["started_from"]["sha256"] for d in both]
    assert digests == [checkpoint.digest("", model_of(files.runs_root() / f"toy/base/seed{k}"))
                       for k in (0, 1)] and digests[0] != digests[1]


def test_without_the_run_it_is_one_line_that_says_what_makes_it(tmp_path):
    experiments = known(tmp_path)
    line = (r"^start_from=base: there is no finished run of base/seed2 as config\.yaml has it; "
            r"python papers/toy/train\.py experiment=base seed=2 makes it$")
    with pytest.raises(UserError, match=line):
        train(experiments, "tuned", 2)
    folder = train(experiments, "base", 2).request.folder
    state = checkpoint.load(folder)
    checkpoint.save(folder, state | {"finished": False})
    with pytest.raises(UserError, match=line):
        train(experiments, "tuned", 2)
    checkpoint.save(folder, state)
    changed = known(tmp_path)
    changed.path.write_text(changed.path.read_text().replace("steps: 40", "steps: 50"))
    with pytest.raises(UserError, match=line):
        train(Experiments(Config, changed.path), "tuned", 2)
    changed.path.write_text(changed.path.read_text().replace("steps: 50", "steps: 40"))
    train(Experiments(Config, changed.path), "tuned", 2)


@pytest.mark.parametrize(("file", "said", "seed", "there"), [
    ("base", None, 0, True), ("base", None, 1, False), ("base-seed1", None, 1, True),
    ("base-seed1", None, 0, False), ("base", {"seed": 0}, 0, True), ("base", {"seed": 1}, 0, False),
    ("base", {"seed": 0, "lr": 3.0}, 0, False)])
def test_published_weights_count_where_they_are_of_the_run(tmp_path, file, said, seed, there):
    experiments = known(tmp_path)
    weights = {k: v + 1 for k, v in Toy(experiments.resolve("base")).model.state_dict().items()}
    path = experiments.path.parent / "weights" / f"{file}.safetensors"
    path.parent.mkdir()
    save_file(weights | {"input.mean": torch.zeros(1, 8, 8)}, path)
    if said is not None:
        own = identity(experiments.resolve("base"))
        config = own | {"optim.lr": said.get("lr", own["optim.lr"])}
        path.with_suffix(".json").write_text(json.dumps(
            {"experiment": "base", "seed": said["seed"], "config": config}))
    found = start.find(experiments, "base", seed)
    assert (found is not None) == there
    if there:
        recipe = Toy(experiments.resolve("tuned", seed))
        start.begin(recipe, lambda config: start.load(experiments, config))
        assert same(recipe.model.state_dict(), weights)
        assert recipe.started_from == {"name": "base", "sha256": checkpoint.digest("", weights)}


@pytest.mark.parametrize(("text", "message"), [
    ("no", "is not JSON"), ("[]", "[]: expected a mapping"), ("{}", "expected 'experiment'"),
    ('{"experiment": "base", "seed": "0", "config": {}}', "seed: '0': expected a whole number"),
    ('{"experiment": "base", "seed": 0, "config": []}', "config: []: expected a mapping")])
def test_a_damaged_file_beside_published_weights_is_one_line(tmp_path, text, message):
    experiments = known(tmp_path)
    path = experiments.path.parent / "weights/base.safetensors"
    path.parent.mkdir()
    save_file(dict(Toy(experiments.resolve("base")).model.state_dict()), path)
    path.with_suffix(".json").write_text(text)
    with pytest.raises(UserError) as e:
        start.find(experiments, "base", 0)
    assert message in str(e.value) and "base.json" in str(e.value) and "\n" not in str(e.value)


def filed(tmp_path, path):
    return known(tmp_path, f"\n  filed: {{help: from a file, start_from: {path}}}\n")


def test_a_file_of_weights_or_a_checkpoint(tmp_path, seen, monkeypatch):
    experiments = known(tmp_path)
    folder = train(experiments, "base").request.folder
    path = tmp_path / "some.safetensors"
    save_file(model_of(folder), path)
    train(filed(tmp_path, path), "filed", recipe=seen)
    assert same(seen.first, model_of(folder))
    assert same(start.read_file(folder / checkpoint.NAME, "x"), model_of(folder))
    with pytest.raises(UserError, match=r"is a checkpoint: expected a file of weights$"):
        weight_files.read(folder / checkpoint.NAME)
    (folder / checkpoint.NAME).write_bytes(path.read_bytes()[:-4])
    with pytest.raises(UserError, match=r"^start_from=x: .* is damaged or no file of weights: "):
        start.read_file(folder / checkpoint.NAME, "x")
    monkeypatch.setattr(start, "ROOT", tmp_path)
    assert same(start.load(experiments, experiments.resolve(
        "base", 0, {"start_from": "some.safetensors"})).tensors, model_of(folder))


@pytest.mark.parametrize(("change", "line"), [
    (lambda w: w.update({"1.bias": torch.zeros(3)}), r"1\.bias is \(3,\) there, \(16,\) here$"),
    (lambda w: w.pop("4.weight"), r"4\.weight is absent there, \(10, 16\) here$")])
def test_what_does_not_fit_is_named(tmp_path, change, line):
    path = tmp_path / "other.safetensors"
    experiments = filed(tmp_path, path)
    weights = dict(Toy(experiments.resolve("base")).model.state_dict())
    change(weights)
    save_file(weights, path)
    with pytest.raises(UserError, match=r"start_from=.*other\.safetensors: .*other\.safetensors "
                                        "does not fit: " + line):
        train(experiments, "filed")
    assert not list(files.runs_root().glob("**/*.safetensors"))


def test_a_checkpoint_of_which_torch_makes_no_tensor_is_one_line(tmp_path):
    state = {"image": torch.ones(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)}
    checkpoint.save(tmp_path, state)
    path = tmp_path / checkpoint.NAME
    with safe_open(path, "pt") as f:
        skeleton = f.metadata()["state"]
    flat = {"/image": torch.ones(3)}
    save_file(flat, path, {"state": skeleton, "digest": checkpoint.digest(skeleton, flat)})
    with pytest.raises(UserError, match="is damaged or no file of weights: required rank 4"):
        start.read_file(path)


def test_a_file_that_is_missing_or_damaged(tmp_path):
    path = tmp_path / "none.safetensors"
    experiments = filed(tmp_path, path)
    with pytest.raises(UserError, match=r"^start_from=.*: cannot read .*none\.safetensors: No"):
        train(experiments, "filed")
    path.write_bytes(b"no weights")
    with pytest.raises(UserError, match="is damaged or no file of weights"):
        train(experiments, "filed")


@pytest.mark.parametrize(("name", "source", "line"), [
    ("base", "tunde", r"^start_from=tunde: unknown experiment, and no file that ends in "
     r"\.safetensors; did you mean 'tuned'\?$"),
    *(("base", file, rf"^start_from={file}: unknown experiment, and no file that ends in "
       r"\.safetensors; known: ") for file in ("/etc/passwd", "weights.pt", "../x", ".")),
    ("base", "base", "^start_from=base: expected another experiment than itself$"),
    ("base", "twice", "^start_from=base: goes in a circle: base, twice, tuned, base$")])
def test_an_experiment_to_start_from_is_another_that_is_there(tmp_path, name, source, line):
    experiments = known(tmp_path)
    with pytest.raises(UserError, match=line):
        experiments.resolve(name, 0, {"start_from": source})
    assert experiments.resolve("twice").start_from == "tuned"


def test_the_file_is_named_where_it_says_so(tmp_path):
    experiments = known(tmp_path, "\n  bad: {help: x, start_from: bas}\n")
    with pytest.raises(UserError, match=r"config\.yaml: bad: start_from=bas: unknown experiment"):
        experiments.resolve("bad")
    assert experiments.resolve("base").start_from == ""


def test_a_paper_may_take_what_fits(tmp_path):
    class Head(Toy):
        def start_with(self, weights):
            body = {k: v for k, v in weights.items() if not k.startswith("4.")}
            self.model.load_state_dict(body, strict=False)
            return body
    experiments = known(tmp_path)
    base = model_of(train(experiments, "base").request.folder)
    recipe = Head(experiments.resolve("tuned"))
    new = recipe.model[4].weight.clone()
    start.begin(recipe, lambda config: start.load(experiments, config))
    assert torch.equal(recipe.model[4].weight, new)
    assert torch.equal(recipe.model[1].weight, base["1.weight"])
    assert recipe.started_from["sha256"] != checkpoint.digest("", base)


def test_no_weights_are_left_out_in_silence(tmp_path):
    experiments = known(tmp_path)
    with pytest.raises(UserError, match="start_from=base: expected a run that the paper's"):
        loop.run(Toy(experiments.resolve("tuned")), tmp_path / "run", "tuned",
                 results.origin(torch.device("cpu")))


def test_a_mean_image_comes_with_the_weights_where_there_is_one():
    donor, mine, mean = nn.Linear(3, 2), nn.Linear(3, 2), torch.zeros(1, 4, 4)
    there = torch.rand(1, 4, 4)
    taken, found = start.fit_with_mean(mine, mean, donor.state_dict() | {"epoch": torch.ones(1)})
    assert torch.equal(mine.weight, donor.weight) and found is mean
    assert taken.keys() == donor.state_dict().keys()
    taken, found = start.fit_with_mean(mine, mean, donor.state_dict() | {"input.mean": there})
    assert torch.equal(found, there) and torch.equal(taken["input.mean"], there)
    with pytest.raises(UserError, match=r"input\.mean is \(4, 4\) there, \(1, 4, 4\) here"):
        start.fit_with_mean(mine, mean, donor.state_dict() | {"input.mean": there[0]})


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_file_of_weights_that_are_not_finite_is_refused(tmp_path, wrong):
    path = tmp_path / "w.safetensors"
    save_file({"a": torch.ones(2), "b": torch.tensor([1.0, wrong])}, path)
    with pytest.raises(UserError, match=r"start_from=x: .*tensor b: expected finite weights") as e:
        start.read_file(path, "x")
    assert "\n" not in str(e.value)
