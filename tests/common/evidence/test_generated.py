"""The report: generated, deterministic, and checked against what is committed."""

import json
import re
import shutil
import sys

import pytest

from common import files
from common.errors import UserError
from common.evidence import generated
from common.evidence import paper as paper_module
from common.evidence.paper import Paper, papers


def live_in(folder, monkeypatch):
    for module in (paper_module, generated):
        monkeypatch.setattr(module, "ROOT", folder)


@pytest.fixture(scope="module")
def one_paper(tmp_path_factory):
    """README.md and a single paper, whose report and gallery agree."""
    folder = tmp_path_factory.mktemp("one_paper")
    shutil.copytree(files.ROOT / "papers/batchnorm", folder / "papers/batchnorm")
    shutil.copy(files.ROOT / "README.md", folder)
    with pytest.MonkeyPatch.context() as monkeypatch:
        live_in(folder, monkeypatch)
        assert generated.main(["batchnorm"]) == 0
        assert generated.main(["--check"]) == 0
    return folder


@pytest.fixture
def copy(one_paper, tmp_path, monkeypatch):
    """A copy of it that a test may damage."""
    shutil.copytree(one_paper, tmp_path, dirs_exist_ok=True)
    live_in(tmp_path, monkeypatch)
    return tmp_path


@pytest.mark.slow
def test_what_is_committed_is_what_is_generated(capsys):
    assert generated.main(["--check"]) == 0, capsys.readouterr().out


@pytest.mark.parametrize("path", [
    "papers/batchnorm/REPORT.md", pytest.param("README.md", marks=pytest.mark.slow),
    pytest.param("papers/batchnorm/figures/fig1a.svg", marks=pytest.mark.slow)])
def test_an_edited_file_is_noticed_and_rebuilt(copy, path, capsys):
    content = (copy / path).read_text()
    (copy / path).write_text(re.sub(r"</svg>|\d+ reproduced|\*\*reproduced", "9", content))
    assert generated.main(["--check", "batchnorm"]) == 1
    assert path.split("/")[-1] in capsys.readouterr().out
    assert generated.main(["batchnorm"]) == 0
    assert (copy / path).read_text() == content


@pytest.mark.slow
def test_a_check_fails_where_a_text_names_another_verdict(copy, capsys):
    path = copy / "papers/batchnorm/claims.yaml"
    path.write_text(path.read_text().replace("{fig1a-speed: reproduced}",
                                             "{fig1a-speed: undecided}"))
    generated.main(["batchnorm"])
    capsys.readouterr()
    assert generated.main(["--check", "batchnorm"]) == 1
    printed = capsys.readouterr()
    assert "fig1a-speed is now 'reproduced', the text says 'undecided'" in printed.err


def renamed(record):
    record["metrics"] = {"x": 1.0}


def without_curves(record):
    record["curves"] = {}


def with_empty_curves(record):
    record["curves"] = {k: [[], []] for k in record["curves"]}


def shorter(record):
    record["curves"] = {k: [s[:max(1, len(s) - 1)], v[:max(1, len(s) - 1)]]
                        for k, (s, v) in record["curves"].items()}


def other_column(table):
    return table.replace(table.split("\n")[0].split(",")[-1], "x", 1)


def all_text(table):
    first, *rest = table.splitlines()
    return "\n".join([first, *(f"{row.rsplit(',', 1)[0]},abc" for row in rest)]) + "\n"


@pytest.mark.parametrize(("path", "edit", "said"), [
    ("hopfield/results/basin_0.1/seed0.json", renamed, "metric"),
    ("lbfgs/results/adam/seed0.json", renamed, "metric"),
    ("backprop/results/symmetry/seed0.json", renamed, "symmetry/seed0 have other metrics"),
    ("batchnorm/results/sweep_plain_4.0/seed0.json", without_curves, "damaged: curves: {}"),
    ("hopfield/results/basin_0.1/seed0.json", with_empty_curves, "damaged: curves."),
    ("batchnorm/results/bn/seed0.json", shorter, "curves 'train_loss' of 200 and 199 points"),
    ("batchnorm/results/bn/seed1.json", shorter, "bn/seed1 and batchnorm/bn/seed0"),
    ("resnet/published/fig6.csv", other_column, "fig6.csv has no column 'train_end'"),
    ("resnet/published/fig6.csv", all_text, "fig6.csv: train_end, line 2: 'abc'"),
    ("dropout/published/fig9.csv", other_column, "fig9.csv has no column 'b_train'"),
    ("dropout/published/fig9.csv", all_text, "fig9.csv: b_train, line 2: 'abc'"),
    ("batchnorm/published/fig1a_without_bn.csv", all_text, "line 2: 'abc'")])
def test_a_file_without_what_the_figures_read_ends_in_one_line(tmp_path, path, edit, said):
    name = path.split("/")[0]
    shutil.copytree(files.ROOT / "papers" / name, tmp_path / name, ignore=shutil.ignore_patterns(
        "*.safetensors", "*.svg"))
    changed = tmp_path / path
    if changed.suffix == ".json":
        record = json.loads(changed.read_text())
        edit(record)
        changed.write_text(json.dumps(record))
    else:
        changed.write_text(edit(changed.read_text()))
    with pytest.raises(UserError) as e:
        paper = Paper(tmp_path / name)
        [*generated.drawn(paper)]
    assert said in str(e.value) and "\n" not in str(e.value)


def test_a_run_that_measures_more_than_older_ones_is_drawn_with_them(tmp_path):
    """As after one run was made again by code that has learned to measure more."""
    shutil.copytree(files.ROOT / "papers/hopfield", tmp_path / "hopfield")
    changed = tmp_path / "hopfield/results/crosstalk_0.105/seed0.json"
    record = json.loads(changed.read_text())
    record["metrics"]["more"], record["curves"]["more"] = 1.0, [[1], [1.0]]
    changed.write_text(json.dumps(record))
    assert [*generated.drawn(Paper(tmp_path / "hopfield"))]


@pytest.mark.parametrize("fault", [KeyError("x"), IndexError("x"), ValueError("x"), TypeError("x"),
                                   ZeroDivisionError("x"), RuntimeError("x")])
def test_figures_that_cannot_be_drawn_say_where(fault, monkeypatch):
    (paper,) = papers(["backprop"])

    def draw(paper):
        yield "first", "", None
        raise fault

    monkeypatch.setattr(paper.module("plots"), "draw", draw)
    said = rf"draw .*: {type(fault).__name__} .*x.* \(test_generated\.py, line \d+\)"
    with pytest.raises(UserError, match=rf"backprop/plots\.py cannot {said}"):
        [*generated.drawn(paper)]


def test_a_picture_for_the_gallery_that_cannot_be_drawn_says_where(monkeypatch):
    (paper,) = papers(["backprop"])
    plots = paper.module("plots")

    def gallery(paper):
        raise KeyError("x")

    monkeypatch.setattr(plots, "gallery", gallery)
    with pytest.raises(UserError, match=r"backprop/plots\.py cannot draw .*: KeyError 'x'"):
        generated.for_gallery(paper)
    monkeypatch.delattr(plots, "gallery")
    with pytest.raises(UserError, match=r"backprop/plots\.py has no function 'gallery'"):
        generated.for_gallery(paper)


def test_a_half_edited_file_of_one_paper_is_not_anothers_business(copy):
    """The other's row in README.md stays as it was."""
    readme = copy / "README.md"
    kept = "| [Other](papers/other/README.md) | … |"
    readme.write_text(readme.read_text().replace(generated.END, f"{kept}\n{generated.END}"))
    (copy / "papers/other").mkdir()
    for name in paper_module.NEEDED:
        (copy / "papers/other" / name).write_text("claims:")
    assert generated.main(["batchnorm"]) == 0 and kept in readme.read_text()
    for words in (["--check"], ["--check", "other"], []):
        with pytest.raises(UserError, match=r"papers/other/claims\.yaml"):
            generated.main(words)


def test_a_stray_figure_is_noticed_and_not_deleted(copy, capsys):
    (copy / "papers/batchnorm/figures/old.svg").write_text("")
    assert generated.main(["--check", "batchnorm"]) == 1
    assert generated.main(["batchnorm"]) == 0
    assert "left alone: " in capsys.readouterr().err
    assert (copy / "papers/batchnorm/figures/old.svg").exists(), "it may be somebody's work"


def test_a_result_that_nothing_reads_is_named_and_left(copy, capsys):
    folder = copy / "papers/batchnorm/results"
    (folder / "bm").mkdir()
    (folder / "bm/seed0.json").write_text((folder / "bn/seed0.json").read_text().replace(
        '"experiment": "bn"', '"experiment": "bm"'))
    shutil.copy(folder / "bn/seed0.json", folder / "bn/sead0.json")
    assert generated.main(["--check", "batchnorm"]) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "nothing reads" in line]
    assert len(told) == 2 and "results/bm: expected a folder named after an exp" in told[0]
    assert "results/bn/sead0.json: expected" in told[1] and (folder / "bm/seed0.json").is_file()


def test_what_is_no_picture_may_lie_beside_the_figures(copy):
    (copy / "papers/batchnorm/figures/notes.txt").write_text("mine")
    assert generated.main(["--check", "batchnorm"]) == 0


def test_a_changed_result_is_noticed(copy):
    path = next((copy / "papers/batchnorm/results").glob("bn/seed*.json"))
    path.unlink()
    assert generated.main(["--check", "batchnorm"]) == 1


@pytest.mark.parametrize(("words", "message"), [
    (["--chek"], "unknown option '--chek'"), (["nopaper"], "unknown paper 'nopaper'")])
def test_bad_words(words, message):
    with pytest.raises(UserError, match=message):
        generated.main(words)


def test_a_readme_without_gallery_is_refused(copy):
    (copy / "README.md").write_text("# nothing")
    with pytest.raises(UserError, match="expected the lines <!-- gallery"):
        generated.main(["batchnorm"])


@pytest.mark.parametrize(("terminal", "slow", "before", "after"), [
    (True, 10.0, "papers/a …\n", ""), (True, -1.0, "papers/a …\n", ""),
    (False, -1.0, "", "papers/a: 0 s\n"), (False, 10.0, "", "")])
def test_a_report_says_where_it_is(monkeypatch, capsys, terminal, slow, before, after):
    monkeypatch.setattr(generated, "SLOW", slow)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    names = generated.announced(["a"])
    assert next(names) == "a" and capsys.readouterr().err == before
    assert list(names) == [] and capsys.readouterr().err == after


def test_every_paper_of_a_report_is_announced_and_no_other_is_read(monkeypatch):
    seen = []
    monkeypatch.setattr(generated, "announced", lambda names: seen.extend(names) or [])
    generated.build(["backprop"])
    assert seen == ["backprop"]
    generated.build([])
    assert seen == ["backprop", *paper_module.paper_names()]


def test_every_paper_has_a_row_in_readmes_gallery():
    readme = (files.ROOT / "README.md").read_text(encoding="utf-8")
    rows = generated.rows_of(readme + "\n| [Else](papers/backprop/README.md) |\n")
    assert list(rows) == paper_module.paper_names()
    assert all(row.startswith(f'| <a href="papers/{name}/') for name, row in rows.items())
