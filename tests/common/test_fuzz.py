"""Whatever is typed or stands in a file: it is used, or one line says why not.

Each test makes up a few examples; with ``PAPERS_FUZZ=300`` it goes on for 300 seconds, and prints
how many there were (``pytest -n 0 -s -m 'slow or not slow' tests/common/test_fuzz.py``).
"""

import contextlib
import copy
import functools
import io
import json
import os
import shutil
import time

import pytest
import yaml
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from common import files
from common.errors import exit_with
from common.evidence import counting, gallery, generated, page, picture
from common.evidence import paper as paper_module
from common.evidence.paper import Paper
from common.running import bundle, cli, command
from tests.common.toy import YAML, Config, Toy, experiments

pytestmark = pytest.mark.slow
SECONDS = float(os.environ.get("PAPERS_FUZZ") or 0)


def tried(strategy, check):
    """Hold a check to a few examples, or to as many as there is time for."""
    ends, made = time.monotonic() + SECONDS, 0

    def one(example):
        nonlocal made
        made += 1
        check(example)
    while not made or time.monotonic() < ends:
        settings(max_examples=10 if SECONDS else 5, deadline=None, database=None,
                 suppress_health_check=list(HealthCheck))(given(strategy)(one))()
    print(f"\n{made} examples")


def ends_well(main):
    """Run a program in this process: it succeeds, or says one line and ends with status 2."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        with pytest.raises(SystemExit) as left:
            exit_with(main)
    said = err.getvalue()
    note(f"status {left.value.code}: {said}")
    assert left.value.code in (0, 1, 2)
    if left.value.code == 2:
        lines = [line for line in said.splitlines() if line.startswith(("error: ", "refused "))]
        assert len(lines) == 1 and said.rstrip("\n").endswith(lines[0]), said
        assert "Traceback" not in said


# ---- what examples are made of -------------------------------------------------------------------

SPECIAL = ["", "0", "1", "2", "-1", "1.5", "1e3", "1e400", ".nan", "-.inf", "true", "no", "null",
           "~", "0010", "1:30", "0x10", "[", "[]", "[1]", "[x, 2]", "{}", "{a: 1}", "a: b",
           "&a [*a]", "*a", "!!int x", "${x}", "${oc.env:HOME}", "???", "'", '"', "#", "- 1",
           "../x", "/", "\x00",
           "\udcff", "σ", "٣", "\n", "a\nb", "9" * 400, "x" * 400, "digits", "mushroom", "cpu",
           "cuda:9", "meta", "x.safetensors", "test", "validation", "base", "float32", "2026-01-01"]
texts = st.sampled_from(SPECIAL) | st.text(max_size=12) | st.integers().map(str) | st.floats().map(
    str)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(SPECIAL[:40])
    | st.text(max_size=8), lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=6)


@st.composite
def damaged(draw, content):
    """Bytes with a few places cut out, doubled or written over."""
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        end = min(len(content), at + draw(st.integers(0, 12)))
        put = draw(st.binary(max_size=6) | texts.map(lambda t: t.encode("utf-8", "replace"))
                   | st.just(content[at:end] * 2))
        content = content[:at] + put + content[end:]
    return content


@st.composite
def changed(draw, tree):
    """A tree with one to three of its parts replaced, renamed or left out."""
    tree = copy.deepcopy(tree)
    for _ in range(draw(st.integers(1, 3))):
        inner, last = tree, None
        while last is None or (inner[last] and isinstance(inner[last], dict | list)
                               and draw(st.integers(0, 3))):
            inner = inner if last is None else inner[last]
            last = draw(st.sampled_from(list(inner) if isinstance(inner, dict)
                                        else range(len(inner))))
        how = draw(st.sampled_from(["replaced", "renamed", "left out"]))
        if how == "replaced":
            inner[last] = draw(anything)
        elif isinstance(inner, dict) and how == "renamed":
            inner[draw(st.text(max_size=8) | st.integers())] = inner.pop(last)
        else:
            del inner[last]
        if not tree:
            break
    return tree


def of_yaml(text):
    """A YAML file's content, damaged as bytes or changed in its parts."""
    return damaged(text.encode()) | changed(yaml.safe_load(text)).map(
        lambda tree: yaml.dump(tree, allow_unicode=True).encode("utf-8", "replace"))


def of_json(text):
    """A JSON file's content, likewise."""
    return damaged(text.encode()) | changed(json.loads(text)).map(
        lambda tree: json.dumps(tree).encode())


# ---- the command line ----------------------------------------------------------------------------

KEYS = ["experiment", "seed", "budget", "record", "start_from", "optim.lr", "data.name",
        "data.evaluate_on", "data.validation", "train.batch_size", "train.log_every",
        "train.eval_every", "train.checkpoint_every", "train.checkpoint_seconds", "train.precision",
        "train.device", "train.side_by_side", "train.capture", "tracking.project", "train.stpes",
        "x"]
words = st.builds("{}={}".format, st.sampled_from(KEYS), texts) | texts | st.sampled_from(
    ["--pace", "--keep", "--help", "-h", "--", "-x"])


def test_the_command_line_of_a_paper(tmp_path, monkeypatch):
    monkeypatch.setattr(cli, "PACE_SECONDS", 0.01)
    train = str(experiments(tmp_path / "papers/toy").path.with_name("train.py"))
    monkeypatch.setattr(cli, "one_clone", lambda root: None)
    tried(st.lists(words, max_size=4), lambda given: ends_well(lambda: cli.main(
        Toy, Config, train, [*given, "record=false", "fresh=true", "train.steps=2"])))


OF_COMMANDS = {
    "reproduce": ["batchnorm", "--dry-run"], "recheck": ["batchnorm", "at_most=x"], "report": ["x"],
    "export": ["x"], "bundle": ["pack", "x"], "bench": ["batchnorm", "x=1"], "new": ["batchnorm"],
    "site": ["x"], "notebook": ["x"], "train": ["x"], "x": []}
"""Words that keep a command from doing what it says."""

options = st.builds("{}={}".format, st.sampled_from(
    ["claims", "seeds", "jobs", "budget", "pace", "launcher", "at_most", "experiments", "to", "x"]),
    texts)


def test_the_commands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tried(st.tuples(st.sampled_from(sorted(OF_COMMANDS)), st.lists(options | texts, max_size=3)),
          lambda given: ends_well(lambda: command.main(
              [given[0], *OF_COMMANDS[given[0]], *given[1]])))


# ---- files that people write ---------------------------------------------------------------------

RICH = YAML + """
  rates: {help: rates, from: base, vary: {optim.lr: [0.1, 0.2]}, precisions: [float32]}
  both: {help: all, runs: [base, rates]}
seeds: {base: [3, 5], default: 2}
precisions: [float32]
"""


def test_config_yaml(tmp_path):
    known = experiments(tmp_path / "papers/toy")

    def look(content):
        known.path.write_bytes(content)

        def all_of_it():
            made = type(known)(Config, known.path)
            cli.help_text(made, "train.py", "A toy.")
            for name in made.names():
                for one in made.expand(name):
                    made.resolve(one, 1, {"train.steps": 2})
                    made.planned(one)
        ends_well(all_of_it)
    tried(of_yaml(RICH), look)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A paper's folder with few results."""
    source, folder = files.ROOT / "papers/batchnorm", tmp_path / "papers/batchnorm"
    for part in ("claims.yaml", "config.yaml", "train.py", "results/bn/seed0.json",
                 "results/plain/seed0.json", "published"):
        target = folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (source / part).is_dir() else shutil.copy)(source / part, target)
    for module in (paper_module, generated):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    return folder


def reported(folder):
    """Everything that a report says, but for the paper's own pictures."""
    paper = Paper(folder)
    judgements = paper.judgements()
    counted = counting.count(judgements)
    gallery.strip(counted)
    gallery.cells(paper, counted, judgements)
    picture.draw(judgements)
    generated.changed_verdicts(paper, judgements)
    page.report_text(paper, judgements, {str(paper.about.picture): "a figure"})
    for name in sorted(p.stem for p in (folder / "published").glob("*.csv")):
        paper.published(name)


@pytest.mark.parametrize("file", [
    "claims.yaml", "results/bn/seed0.json", "published/fig1bc.csv", "results/bn/pace.json",
    "results/bn/seed0.differs"])
def test_a_papers_files(small, file):
    reported(small)
    path = small / file
    content = path.read_text(encoding="utf-8") if path.exists() else json.dumps(
        {"cpu": "c", "seconds_per_step": {"1": 0.1}, "config": {"train.steps": 3}})

    def look(damage):
        path.write_bytes(damage)
        ends_well(lambda: reported(small))
    tried({".yaml": of_yaml, ".json": of_json}.get(path.suffix, lambda t: damaged(t.encode()))(
        content), look)


# ---- files that programs write -------------------------------------------------------------------

@pytest.mark.parametrize("file", ["metrics.jsonl", "checkpoint.safetensors", "config.json"])
def test_a_runs_files(tmp_path, file, monkeypatch):
    monkeypatch.setattr(cli, "one_clone", lambda root: None)
    train = str(experiments(tmp_path / "papers/toy").path.with_name("train.py"))
    again = ["record=false", "train.steps=6", "train.eval_every=2", "train.log_every=2"]
    cli.main(Toy, Config, train, again)
    (run,) = (p.parent for p in files.runs_root().rglob(file))
    shutil.copytree(run, tmp_path / "kept")
    content = (run / file).read_bytes()

    def look(damage):
        shutil.rmtree(run)
        shutil.copytree(tmp_path / "kept", run)
        (run / file).write_bytes(damage)
        ends_well(lambda: cli.main(Toy, Config, train, again))
    tried(damaged(content) | damaged(content[:300]), look)


@pytest.mark.parametrize("file", ["base.safetensors", "base.json"])
def test_files_of_weights(tmp_path, file, monkeypatch):
    monkeypatch.setattr(cli, "one_clone", lambda root: None)
    known = experiments(tmp_path / "papers/toy")
    train, weights = str(known.path.with_name("train.py")), tmp_path / "papers/toy/weights"
    cli.main(Toy, Config, train, ["record=false", "train.steps=2"])
    weights.mkdir()
    shutil.copy(next(files.runs_root().rglob("checkpoint.safetensors")),
                weights / "base.safetensors")
    (weights / "base.json").write_text(json.dumps(
        {"experiment": "base", "seed": 0, "config": {"data": {"name": "digits"}}}))
    content = (weights / file).read_bytes()

    def look(damage):
        (weights / file).write_bytes(damage)
        for start in ("base", str(weights / "base.safetensors")):
            again = ["experiment=faster", f"start_from={start}", "train.steps=1", "record=false",
                     "fresh=true"]
            ends_well(functools.partial(cli.main, Toy, Config, train, again))
    tried(damaged(content) | (of_json(content.decode()) if file.endswith("json")
                              else damaged(content[:600])), look)


def test_files_to_accept_or_to_unpack(tmp_path, monkeypatch):
    from common.running import collect
    monkeypatch.chdir(tmp_path)
    tar = collect.tar_of({"papers/batchnorm/results/bn/seed0.json": b"{}",
                          "runs/batchnorm/bn/seed0/config.json": b"{}"}, "0" * 40)
    (tmp_path / "manifest.json").write_text("{}")

    def look(damage):
        (tmp_path / "a.tar").write_bytes(damage)
        ends_well(lambda: bundle.main(["accept", "a.tar"]))
        (tmp_path / "manifest.json").write_bytes(damage)
        ends_well(lambda: bundle.main(["unpack", "."]))
    tried(damaged(tar) | st.binary(max_size=50) | anything.map(lambda a: json.dumps(a).encode()),
          look)
