"""What comes home is looked at, and goes to its place or nowhere."""

import importlib
import json
import shutil
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save

from common.config import identity
from common.errors import UserError
from common.running import accept, cli, collect
from common.training import checkpoint
from papers.deep_compression import coding
from tests.common.toy import Config, Toy, experiments, share


def git(folder, *words):
    return subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(folder),
                           *words], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The record of a finished run of the toy, base/seed0."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PAPERS_RUNS", str(folder / "runs"))
        cli.train(Toy, experiments(folder / "papers/toy"), "base", [0], {"train.threads": 1})
    return (folder / "papers/toy/results/base/seed0.json").read_text()


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A repository with the toy's folder; ``commits`` are one of its history and one beside it."""
    root = tmp_path / "home"
    known = experiments(root / "papers/toy")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "first")
    first = git(root, "rev-parse", "HEAD")
    git(root, "commit", "-qm", "beside", "--allow-empty")
    beside = git(root, "rev-parse", "HEAD")
    git(root, "reset", "-q", "--hard", first)
    git(root, "commit", "-qm", "second", "--allow-empty")
    monkeypatch.setattr(accept, "ROOT", root)
    monkeypatch.setenv("PAPERS_RUNS", str(root / "runs"))
    paper = SimpleNamespace(name="toy", folder=root / "papers/toy", schema=Config,
                            experiments=known, config=known.resolve, results={})

    def papers(names):
        if names != ["toy"]:
            raise UserError(f"unknown paper {names[0]!r}")
        return [paper]
    monkeypatch.setattr(accept, "papers", papers)
    return SimpleNamespace(root=root, first=first, beside=beside, paper=paper)


PLACE = "papers/toy/results/base/seed0.json"


def result(made, commit, **changes):
    """The record as if it had been made at a commit."""
    record = json.loads(made) | changes
    for segment in record["segments"]:
        segment |= {"commit": commit, "dirty": False}
    return json.dumps(record).encode()


def take(tmp_path, files, replace=False):
    path = tmp_path / "collected.001.tar"
    path.write_bytes(collect.tar_of(files, "unknown"))
    return accept.accept([path], replace)


def test_a_result_goes_to_its_place(tmp_path, home, made, capsys):
    content = result(made, home.first)
    assert take(tmp_path, {PLACE: content}).taken == [PLACE]
    assert (home.root / PLACE).read_bytes() == content
    again = take(tmp_path, {PLACE: content})
    assert not again.taken and not again.refused
    assert capsys.readouterr().out == f"accepted {PLACE}\n"


def test_a_result_may_measure_more_than_earlier_ones(tmp_path, home, made):
    record = json.loads(made)
    home.paper.results = {"base": [SimpleNamespace(metrics={"accuracy": 0.5})]}
    more = record["metrics"] | {"another": 1.0}
    assert take(tmp_path, {PLACE: result(made, home.first, metrics=more)}).taken == [PLACE]
    home.paper.results = {"base": [SimpleNamespace(metrics={"accuracy": 0.5, "gone": 1.0})]}
    refused = take(tmp_path, {PLACE: result(made, home.first)}, replace=True).refused
    assert "not those of the experiment: gone missing" in refused[0][1]


def test_a_different_result_is_replaced_only_when_told(tmp_path, home, made):
    take(tmp_path, {PLACE: result(made, home.first)})
    other = result(made, home.first, seconds=3.0)
    refused = take(tmp_path, {PLACE: other}).refused
    assert len(refused) == 1 and "a different one is here; replace=true" in refused[0][1]
    assert not take(tmp_path, {PLACE: other}).unreadable
    assert (home.root / PLACE).read_bytes() != other
    take(tmp_path, {PLACE: other}, replace=True)
    assert (home.root / PLACE).read_bytes() == other


def altered(made, commit, **changes):
    record = json.loads(result(made, commit))
    record["segments"][-1] |= changes
    return json.dumps(record).encode()


@pytest.mark.parametrize(("name", "content", "why"), [
    (PLACE, lambda m, h: result(m, h.beside), "which is not in this branch's history"),
    (PLACE, lambda m, h: result(m, "f" * 40), "which is not in this branch's history"),
    (PLACE, lambda m, h: result(m, "HEAD"), "the commit 'HEAD': expected one"),
    (PLACE, lambda m, h: result(m, "unknown"), "the commit 'unknown': expected one"),
    (PLACE, lambda m, h: altered(m, h.first, dirty=True), "differed from commit"),
    (PLACE, lambda m, h: altered(m, h.first, dirty="no"), "dirty: 'no': expected true or false"),
    (PLACE, lambda m, h: json.dumps(json.loads(m) | {"segments": {"a": 1}}).encode(),
     "segments: {'a': 1}: expected a list"),
    (PLACE, lambda m, h: result(m, h.first)[:90], "not a readable result"),
    (PLACE, lambda m, h: b"{}", "not a readable result"),
    (PLACE, lambda m, h: result(m, h.first, seed=1), "it belongs to toy/base/seed1"),
    (PLACE, lambda m, h: result(m, h.first, paper="other"), "it belongs to other/base/seed0"),
    (PLACE, lambda m, h: result(m, h.first, experiment="faster"), "it belongs to toy/faster/seed0"),
    (PLACE, lambda m, h: result(m, h.first, segments=[{}]), "segments.0.versions"),
    (PLACE, lambda m, h: result(m, h.first, metrics={}),
     "not a readable result: metrics: {}: expected at least 1 in it"),
    (PLACE, lambda m, h: b"[" * 100_000, "not a readable result"),
    (PLACE, lambda m, h: json.dumps(json.loads(result(m, h.first)) | {"config": {
        "optim": {"lr": 0.7}, "train": {"steps": 40}}}).encode(),
     "a configuration that is not base's"),
    ("papers/toy/results/base/pace.json", lambda m, h: b'"hello"',
     "not a pace: 'hello': expected a mapping"),
    ("papers/toy/results/base/pace.json", lambda m, h: b"[" * 100_000, "not readable as JSON"),
    ("papers/toy/results/base/seed00.json", lambda m, h: result(m, h.first), "expected a result"),
    ("papers/toy/results/bass/seed0.json", lambda m, h: result(m, h.first), "did you mean 'base'"),
    ("papers/tyo/results/base/seed0.json", lambda m, h: result(m, h.first), "unknown paper"),
    *((f"papers/toy/results/base/seed{seed}.json", lambda m, h: result(m, h.first),
       "expected a result") for seed in ("٣", "²", "-1", "9" * 11, "9" * 5000)),
    *((name.format("9" * 5000), lambda m, h: b"", "expected a result") for name in (
        "papers/toy/results/base/view{}.safetensors",
        "runs/toy/base/seed{}/checkpoint.safetensors")),
    (f"papers/toy/weights/base-seed{'9' * 5000}.json", lambda m, h: b"", "unknown experiment"),
    ("papers/toy/train.py", lambda m, h: b"", "expected a result"),
    ("common/a.py", lambda m, h: b"", "expected a result"),
    (".git/hooks/pre-commit", lambda m, h: b"", "expected a result"),
    ("../outside", lambda m, h: b"", "expected an ordinary file inside it"),
    ("/outside", lambda m, h: b"", "expected an ordinary file inside it"),
    ("papers/toy/results/base/weights0.safetensors", lambda m, h: save({"w": torch.ones(2)}),
     "the result it goes with is not here"),
    ("runs/toy/base/seed0/train.py", lambda m, h: b"", "expected metrics.jsonl"),
    ("runs/toy/base/seed0/checkpoint.safetensors", lambda m, h: b"", "checkpoint is damaged")])
def test_what_does_not_belong_is_refused_in_a_line(tmp_path, home, made, capsys, name, content,
                                                   why):
    before = sorted(p for p in home.root.rglob("*") if ".git" not in p.parts)
    ((_, said),) = take(tmp_path, {name: content(made, home)}).refused
    assert why in said and capsys.readouterr().err.count("\n") == 1
    assert sorted(p for p in home.root.rglob("*") if ".git" not in p.parts) == before


def test_one_damaged_file_stops_no_other(tmp_path, home, made):
    (tmp_path / "bad.tar").write_bytes(b"no")
    (tmp_path / "good.tar").write_bytes(collect.tar_of({PLACE: result(made, home.first)}, ""))
    done = accept.accept([tmp_path / "bad.tar", tmp_path / "gone.tar", tmp_path / "good.tar"])
    assert done.taken == [PLACE] and [n for n, _ in done.refused] == ["bad.tar", "gone.tar"]
    assert done.unreadable


def test_weights_go_with_their_result(tmp_path, home, made):
    names = ["papers/toy/results/base/weights0.safetensors", "papers/toy/weights/base.safetensors"]
    first, second = ({n: save({"w": torch.full((2,), float(k))}) for n in names} for k in range(2))
    done = take(tmp_path, {PLACE: result(made, home.first), **first})
    assert done.taken == [PLACE, *names]
    assert [n for n, _ in take(tmp_path, second).refused] == names
    cards = take(tmp_path, {"papers/toy/weights/base.md": b"# a card",
                            "papers/toy/weights/base-seed1.md": b""})
    assert cards.taken == ["papers/toy/weights/base.md"]
    damaged = take(tmp_path, {"papers/toy/weights/base.md": b"\xff"}).refused
    assert damaged[0][1] == "not readable as text"
    damaged = take(tmp_path, {"papers/toy/weights/base.safetensors": b"no"}).refused
    assert damaged[0][1] == "not readable as safetensors"
    (home.root / PLACE).unlink()
    newer = result(made, home.first, seconds=2.0)
    done = take(tmp_path, {PLACE: newer, **second})
    assert done.taken == [PLACE, *names]
    assert (home.root / names[0]).read_bytes() == second[names[0]]


def test_a_network_in_a_papers_own_format_goes_with_its_result(tmp_path, home, made):
    home.paper.module = lambda name: importlib.import_module(f"papers.deep_compression.{name}")
    names = [PLACE.replace(".json", suffix) for suffix in (".dcn", ".md")]
    layer = {"fc.weight": np.ones((2, 3), "f4"), "fc.bias": np.ones(2, "f4")}
    files = {names[0]: coding.encode(layer), names[1]: b"# a card"}
    refused = take(tmp_path, files).refused
    assert refused == [(n, "the result it goes with is not here") for n in names]
    assert take(tmp_path, {PLACE: result(made, home.first), **files}).taken == [PLACE, *names]
    for damaged in (files[names[0]][:-1], coding.encode({"fc.bias": layer["fc.bias"]})):
        refused = take(tmp_path, {names[0]: damaged}, replace=True).refused
        assert refused == [(names[0], "not readable by papers/toy/shipped.py")]
    newer = {names[0]: coding.encode(layer | {"fc.bias": np.zeros(2, "f4")}), names[1]: b"# anew"}
    assert [n for n, _ in take(tmp_path, newer).refused] == names
    both = {PLACE: result(made, home.first, seconds=2.0), **newer}
    assert take(tmp_path, both, replace=True).taken == [PLACE, *names]
    assert (home.root / names[0]).read_bytes() == newer[names[0]]


def paused(home, folder, step, **changes):
    """The files of a run that stopped at a step."""
    state = {"config": identity(home.paper.config("base")) | {"data.fingerprint": "f"},
             "segments": [share(commit=home.first)], "step": step, "recipe": {}, "random": {},
             "window": [0.0, 0], "seconds": 1.0, "metrics": {}, "finished": False} | changes
    checkpoint.save(folder, state)
    files = {checkpoint.NAME: (folder / checkpoint.NAME).read_bytes(),
             "metrics.jsonl": b'{"step": 10}\n'}
    shutil.rmtree(folder)
    return {f"runs/toy/base/seed0/{k}": v for k, v in files.items()}


def test_a_run_goes_on_at_home_from_the_furthest_checkpoint(tmp_path, home):
    folder = home.root / "runs/toy/base/seed0"
    done = take(tmp_path, paused(home, tmp_path / "c", 20))
    assert done.taken == ["runs/toy/base/seed0"]
    assert checkpoint.newest_step(folder) == 20 and (folder / "metrics.jsonl").exists()
    assert not take(tmp_path, paused(home, tmp_path / "c", 10)).taken
    assert checkpoint.newest_step(folder) == 20
    take(tmp_path, paused(home, tmp_path / "c", 30))
    assert checkpoint.newest_step(folder) == 30


def test_a_run_of_which_a_file_cannot_be_written_has_no_checkpoint(tmp_path, home, monkeypatch):
    """It would not fit the metrics that lie beside it."""
    write, written = accept.write_atomic, []

    def full(path, content):
        if written:
            raise UserError("cannot write: No space left on device")
        written.append(path)
        write(path, content)
    monkeypatch.setattr(accept, "write_atomic", full)
    done = take(tmp_path, paused(home, tmp_path / "c", 20))
    assert not done.taken and "No space left" in done.refused[0][1]
    assert checkpoint.newest_step(home.root / "runs/toy/base/seed0") == 0 and len(written) == 1


def test_a_run_in_a_precision_that_counts_comes_home_too(tmp_path, home, monkeypatch):
    other = home.paper.experiments.resolve("base", 0, {"train.precision": "bfloat16"})
    config = identity(other) | {"data.fingerprint": "f"}
    name = "runs/toy/base,train.precision=bfloat16/seed0"
    files = {k.replace("runs/toy/base/seed0", name): v
             for k, v in paused(home, tmp_path / "c", 20, config=config).items()}
    assert "does not count in bfloat16" in take(tmp_path, files).refused[0][1]
    monkeypatch.setattr(home.paper.experiments, "counts", lambda flat, own: flat["optim.lr"] == 0.1)
    assert take(tmp_path, files).taken == [name]
    assert checkpoint.newest_step(home.root / name) == 20


@pytest.mark.parametrize(("changes", "why"), [
    ({"segments": [share(commit="f" * 40)]}, "not in this branch's history"),
    ({"config": {"optim.lr": 3.0}}, "a configuration that is not base's"),
    ({"segments": None}, "damaged: its state: segments: None: expected a list"),
    ({"segments": [1]}, "segments.0: 1: expected a mapping"), ({"config": None}, "damaged")])
def test_a_checkpoint_of_other_code_is_refused(tmp_path, home, changes, why):
    done = take(tmp_path, paused(home, tmp_path / "c", 20, **changes))
    assert not done.taken and why in done.refused[0][1]
    assert not (home.root / "runs").exists()


def test_a_checkpoint_of_which_torch_makes_no_tensor_is_refused(tmp_path, home):
    image = torch.ones(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    files = paused(home, tmp_path / "c", 20, recipe={"image": image})
    name = f"runs/toy/base/seed0/{checkpoint.NAME}"
    (tmp_path / checkpoint.NAME).write_bytes(files[name])
    with safe_open(tmp_path / checkpoint.NAME, "pt") as f:
        skeleton, flat = f.metadata()["state"], {k: torch.ones(3) for k in f.keys()}
    files[name] = save(flat, {"state": skeleton, "digest": checkpoint.digest(skeleton, flat)})
    done = take(tmp_path, files)
    assert not done.taken and "its checkpoint is damaged: required rank 4" in done.refused[0][1]


def test_without_history_nothing_is_accepted(tmp_path, home):
    shutil.rmtree(home.root / ".git")
    with pytest.raises(UserError, match=r"there is no \.git here"):
        accept.accept([])
