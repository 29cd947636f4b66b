"""A paper's folder: which results count, and when they are stale."""

import math
import sys

import pytest

from common.errors import UserError
from common.evidence import paper as paper_module
from common.evidence import results
from common.evidence.claims import Judge, Measure
from common.evidence.paper import NEEDED, Paper, paper_names, papers
from common.evidence.verdicts import decide
from common.running import command
from tests.common.few import few_of


@pytest.fixture(params=paper_names())
def paper(request):
    return papers([request.param])[0]


def measured(paper):
    """Claims whose runs are all there."""
    return [c for c in paper.claims
            if c.experiments and all(paper.results.get(e) for e in c.experiments)
            and paper.judge(c).values]


@pytest.mark.parametrize("name", few_of(paper_names(), "backprop", "batchnorm", "distillation"))
def test_an_outdated_result_makes_a_claim_stale(name):
    """Whichever of a claim's experiments it is of."""
    (paper,) = papers([name])
    claim = max(measured(paper), key=lambda c: len(set(c.experiments)))
    for name in claim.experiments:
        again = Paper(paper.folder)
        steps = paper.config(name).train.steps
        again.experiments.experiments[name].overrides["train.steps"] = 2 * steps
        judgement = again.judge(claim)
        assert judgement.verdict == "stale" and name in judgement.stale


def test_what_recheck_found_makes_a_claim_stale(monkeypatch):
    (paper,) = papers(["batchnorm"])
    claim = next(c for c in measured(paper) if "plain" in c.experiments)
    monkeypatch.setattr(results, "noted_difference", lambda folder, experiment, seed: (
        "0.5 recorded, 0.6 now" if (experiment, seed) == ("plain", 2) else ""))
    judgement = Paper(paper.folder).judge(claim)
    assert judgement.verdict == "stale"
    assert judgement.stale == "batchnorm/plain/seed2 (0.5 recorded, 0.6 now)"


def test_a_stale_result_may_lack_what_is_measured_today():
    (paper,) = papers(["batchnorm"])
    claim = next(c for c in paper.claims if c.measure and c.measure.experiment == "plain")
    paper.experiments.experiments["plain"].overrides["train.steps"] = 17
    new = claim.model_copy(update={"measure": Measure(experiment="plain", metric="new")})
    assert paper.judge(new).verdict == "stale"


def test_no_more_runs_count_than_were_planned(monkeypatch):
    (paper,) = papers(["batchnorm"])
    claim = next(c for c in measured(paper) if "plain" in c.experiments)
    before = paper.judge(claim)
    monkeypatch.setattr(paper.experiments, "_planned", {"default": (4,)})
    after = paper.judge(claim)
    assert (len(before.values), len(after.values)) == (10, 4)
    assert after.values == before.values[:4]
    assert after.verdict == decide(after.values, claim.band, claim.judge, (4,))[0]


def test_committed_runs_are_those_that_were_planned(paper):
    for claim in paper.claims:
        for name in claim.experiments:
            extra = [r.name for r in paper.results.get(name, [])
                     if r.seed >= paper.experiments.planned(name)[-1]]
            assert not extra, "more runs than config.yaml plans"


@pytest.mark.parametrize(("measure", "message"), [
    ({"function": "unbiased_factor", "arguments": {"nope": 1}}, "unexpected keyword argument"),
    ({"function": "ema_lag"}, "has no function 'ema_lag'"),
    ({"function": "steps_to_plain_accuracy", "experiments": ["bn", "plain"],
      "arguments": {"x": [1]}}, "unexpected keyword argument 'x'")])
def test_a_function_that_cannot_be_called_so_is_one_line(measure, message):
    (paper,) = papers(["batchnorm"])
    claim = measured(paper)[0].model_copy(update={"measure": Measure(**measure)})
    with pytest.raises(UserError) as e:
        paper.judge(claim)
    assert message in str(e.value) and "\n" not in str(e.value)
    assert str(e.value).count("claims.yaml") == str(e.value).count(repr(claim.id)) == 1


def test_a_median_wants_six_runs(tmp_path, monkeypatch):
    (paper,) = papers(["bayes_by_backprop"])
    claim = measured(paper)[0].model_copy(update={"judge": Judge(by="median", at_least=0)})
    monkeypatch.setattr("common.evidence.paper.read_claims", lambda path: (paper.about, [claim]))
    with pytest.raises(UserError, match="judged by its median: expected at least 6 planned seeds"):
        Paper(paper.folder)


def test_runs_that_no_seed_changes_are_one_run():
    (paper,) = papers(["filter_pruning"])
    claim = next(c for c in paper.claims if c.id == "half-lost")
    found = paper.judge(claim)
    assert (found.verdict, len(found.values), found.interval) == ("consistent", 1, None)
    counted = claim.model_copy(update={"judge": claim.judge.model_copy(update={"by": "mean"})})
    assert (paper.judge(counted).verdict, len(paper.judge(counted).values)) == ("reproduced", 3), (
        "three times the same number would have settled it")


def test_a_seed_that_changes_what_no_seed_changes_is_named():
    (paper,) = papers(["filter_pruning"])
    claim = next(c for c in paper.claims if c.id == "half-regained")
    changed = claim.model_copy(update={"judge": claim.judge.model_copy(update={"by": "one"})})
    with pytest.raises(UserError, match="'half-regained': it is judged by one run, yet seeds"):
        paper.judge(changed)


def table(tmp_path, monkeypatch, text):
    """A paper's table of this text, as its figures read it."""
    (tmp_path / "published").mkdir()
    (tmp_path / "published/t.csv").write_text(text, encoding="utf-8")
    (paper,) = papers(["hopfield"])
    monkeypatch.setattr(paper, "folder", tmp_path)
    return paper.published("t", text=("arm", "note"))


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_table_has_columns_of_numbers_and_of_text(tmp_path, monkeypatch, mark):
    found = table(tmp_path, monkeypatch, f"{mark}x,arm,note\n1,a,3\n2.5e1,b,\n-3,c,of 2\n")
    with pytest.raises(UserError, match=r"t\.csv has no column 'arms'; did you mean 'arm'"):
        found["arms"]
    assert found["x"].tolist() == [1.0, 25.0, -3.0]
    assert found["arm"].tolist() == ["a", "b", "c"] and found["note"].tolist() == ["3", "", "of 2"]


@pytest.mark.parametrize("cell", ["abc", "nan", "inf", "-Infinity", "1e999", "", " ", "1;2"])
def test_a_cell_that_is_no_number_among_numbers_is_named(tmp_path, monkeypatch, cell):
    with pytest.raises(UserError, match=r"t\.csv: y, line 3: '.*': expected a finite number") as e:
        table(tmp_path, monkeypatch, f"x,y\n1,2\n2,{cell}\n3,4\n")
    assert repr(cell) in str(e.value) and "\n" not in str(e.value)


def test_a_column_of_text_where_numbers_belong_is_named(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"t\.csv: y, line 2: 'abc': expected a finite number"):
        table(tmp_path, monkeypatch, "x,y\n1,abc\n2,abc\n3,abc\n")


@pytest.mark.parametrize(("name", "arguments", "said"), [
    ("hopfield", {"load": 0}, "ZeroDivisionError"), ("initialisation", {"n": 0}, "Error"),
    ("cyclical_lr", {"stepsize": 0}, "StopIteration (facts.py"),
    ("cyclical_lr", {"stepsize": -1}, "StopIteration (facts.py"),
    ("backprop", {"nobody": 3}, "TypeError")])
def test_arguments_that_a_function_cannot_take_end_in_one_line(name, arguments, said):
    (paper,) = papers([name])
    key = next(iter(arguments))
    claim = next(c for c in paper.claims if c.function and (
        key in c.measure.arguments or key == "nobody"))
    more = claim.measure.model_copy(update={"arguments": claim.measure.arguments | arguments})
    with pytest.raises(UserError) as e:
        paper.judge(claim.model_copy(update={"measure": more}))
    assert said in str(e.value) and claim.id in str(e.value) and key in str(e.value)
    assert ", line " in str(e.value)


@pytest.mark.parametrize(("text", "said"), [
    ("a = (", "SyntaxError '(' was never closed"), ("1 / 0", "ZeroDivisionError division by zero"),
    ("import sys\nsys.exit(7)", "SystemExit 7"), ("import nothing_such", "No module named"),
    ("def f():\n    f()\nf()", "RecursionError"), ("\0", "SyntaxError")])
def test_code_of_a_paper_that_cannot_be_imported_is_one_line(tmp_path, monkeypatch, text, said):
    monkeypatch.setattr("papers.__path__", [str(tmp_path), *sys.modules["papers"].__path__])
    (tmp_path / "lenet").mkdir()
    (tmp_path / "lenet/facts.py").write_text(text)
    (paper,) = papers(["batchnorm"])
    monkeypatch.setattr(paper, "name", "lenet")
    with pytest.raises(UserError, match=r"^papers/lenet/facts\.py cannot be imported: ") as e:
        paper.module("facts")
    assert said in str(e.value) and "\n" not in str(e.value)


@pytest.mark.parametrize("value", [math.nan, -math.nan])
def test_a_fact_that_is_no_number_is_neither_true_nor_false(monkeypatch, value):
    (paper,) = papers(["hopfield"])
    claim = next(c for c in paper.claims if c.function and not c.experiments)
    monkeypatch.setattr(paper, "function", lambda claim: lambda **arguments: value)
    with pytest.raises(UserError, match=f"'{claim.id}': .*its value is no number"):
        paper.judge(claim)


def test_unknown_papers_are_named():
    with pytest.raises(UserError, match="unknown paper 'batchnrm'; did you mean 'batchnorm'"):
        papers(["batchnrm"])


def test_what_is_half_made_is_left_out_with_a_word(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(paper_module, "ROOT", tmp_path)
    monkeypatch.setattr(paper_module, "Paper", lambda folder: folder.name)
    for name, files in (("whole", NEEDED), ("begun", ("claims.yaml", "README.md")),
                        ("planned", ("train.py",)), ("__pycache__", ("a.pyc",))):
        (tmp_path / "papers" / name).mkdir(parents=True)
        for file in files:
            (tmp_path / "papers" / name / file).touch()
    assert paper_names() == ["whole"]
    assert papers() == ["whole"]
    begun, planned = capsys.readouterr().err.splitlines()
    assert begun.startswith("papers/begun is half-made and left out: it has no config.yaml, no fac")
    assert planned.startswith("papers/planned is half-made") and "train.py" not in planned
    assert papers(["whole"]) == ["whole"] and not capsys.readouterr().err
    with pytest.raises(UserError, match=r"papers/planned is half-made: expected README\.md, c"):
        papers(["planned"])


@pytest.mark.parametrize("files", [NEEDED, ("claims.yaml", "train.py"), ()])
@pytest.mark.parametrize("words", [
    ["train", "cut"], ["reproduce", "cut", "--dry-run"], ["report", "cut"], ["recheck", "cut"],
    ["bench", "cut"], ["bundle", "pack", "cut"], ["site", "cut"]], ids=" ".join)
def test_no_command_takes_a_paper_whose_creation_was_cut_short(
        tmp_path, monkeypatch, end_of, words, files):
    for module in (paper_module, command):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    folder = tmp_path / "papers/cut"
    folder.mkdir(parents=True)
    for file in (paper_module.UNFINISHED, *files):
        (folder / file).touch()
    (folder / "train.py").write_text(
        "import sys\nfrom common.errors import exit_with\nfrom common.running import cli\n"
        "cli.one_clone = lambda root: None\n"
        "exit_with(lambda: cli.main(None, None, __file__, sys.argv[1:]))\n")
    monkeypatch.setattr(sys, "argv", sys.argv)
    code, said = end_of(lambda: command.main(words))
    assert code == 2 and said.err == (
        "error: papers/cut is half-made: expected papers new cut to be finished by the same "
        "command\n")
    assert paper_names() == []
    monkeypatch.setattr(paper_module, "CREATING", {"cut"})
    assert (paper_names() == ["cut"]) is (files == NEEDED)


@pytest.mark.parametrize("files", [NEEDED, ("claims.yaml", "config.yaml")])
def test_a_folder_that_cannot_be_imported_is_left_out_with_a_word(tmp_path, monkeypatch, capsys,
                                                                  files):
    monkeypatch.setattr(paper_module, "ROOT", tmp_path)
    monkeypatch.setattr(paper_module, "Paper", lambda folder: folder.name)
    for name, inside in (("whole", NEEDED), ("whole.bak", files), ("2nd", files)):
        (tmp_path / "papers" / name).mkdir(parents=True)
        for file in inside:
            (tmp_path / "papers" / name / file).touch()
    assert paper_names() == ["whole"] and papers() == ["whole"]
    second, bak = capsys.readouterr().err.splitlines()
    assert second.startswith("papers/2nd is left out: expected a folder's name of letters, digits")
    assert bak.startswith("papers/whole.bak is left out: expected a folder's name of letters")
    with pytest.raises(UserError, match=r"papers/whole\.bak: expected a folder's name of letters"):
        papers(["whole.bak"])
