"""The report: generated, deterministic, and checked against what is committed."""

import re
import shutil
import sys

import pytest

from common import files
from common.errors import UserError
from common.evidence import paper as paper_module
from common.evidence import report


def live_in(folder, monkeypatch):
    for module in (paper_module, report):
        monkeypatch.setattr(module, "ROOT", folder)


@pytest.fixture(scope="module")
def one_paper(tmp_path_factory):
    """README.md and a single paper, whose report and gallery agree."""
    folder = tmp_path_factory.mktemp("one_paper")
    shutil.copytree(files.ROOT / "papers/batchnorm", folder / "papers/batchnorm")
    shutil.copy(files.ROOT / "README.md", folder)
    with pytest.MonkeyPatch.context() as monkeypatch:
        live_in(folder, monkeypatch)
        assert report.main(["batchnorm"]) == 0
        assert report.main(["--check"]) == 0
    return folder


@pytest.fixture
def copy(one_paper, tmp_path, monkeypatch):
    """A copy of it that a test may damage."""
    shutil.copytree(one_paper, tmp_path, dirs_exist_ok=True)
    live_in(tmp_path, monkeypatch)
    return tmp_path


@pytest.mark.slow
def test_what_is_committed_is_what_is_generated(capsys):
    assert report.main(["--check"]) == 0, capsys.readouterr().out


@pytest.mark.parametrize("path", [
    "papers/batchnorm/REPORT.md", pytest.param("README.md", marks=pytest.mark.slow),
    pytest.param("papers/batchnorm/figures/fig1a.svg", marks=pytest.mark.slow)])
def test_an_edited_file_is_noticed_and_rebuilt(copy, path, capsys):
    content = (copy / path).read_text()
    (copy / path).write_text(re.sub(r"</svg>|\d+ reproduced|\*\*reproduced", "9", content))
    assert report.main(["--check", "batchnorm"]) == 1
    assert path.split("/")[-1] in capsys.readouterr().out
    assert report.main(["batchnorm"]) == 0
    assert (copy / path).read_text() == content


def test_a_half_edited_file_of_one_paper_is_not_anothers_business(copy, capsys):
    """The other's row in README.md stays as it was."""
    readme = copy / "README.md"
    kept = "| [Other](papers/other/README.md) | … |"
    readme.write_text(readme.read_text().replace(report.END, f"{kept}\n{report.END}"))
    (copy / "papers/other").mkdir()
    for name in paper_module.NEEDED:
        (copy / "papers/other" / name).write_text("claims:")
    assert report.main(["batchnorm"]) == 0 and kept in readme.read_text()
    assert "README.md keeps its row of other" in capsys.readouterr().err
    for words in (["--check"], ["--check", "other"], []):
        with pytest.raises(UserError, match=r"papers/other/claims\.yaml"):
            report.main(words)


def test_a_stray_figure_is_noticed_and_not_deleted(copy, capsys):
    (copy / "papers/batchnorm/figures/old.svg").write_text("")
    assert report.main(["--check", "batchnorm"]) == 1
    assert report.main(["batchnorm"]) == 0
    assert "left alone: " in capsys.readouterr().err
    assert (copy / "papers/batchnorm/figures/old.svg").exists(), "it may be somebody's work"


def test_a_result_that_nothing_reads_is_named_and_left(copy, capsys):
    folder = copy / "papers/batchnorm/results"
    (folder / "bm").mkdir()
    (folder / "bm/seed0.json").write_text((folder / "bn/seed0.json").read_text().replace(
        '"experiment": "bn"', '"experiment": "bm"'))
    shutil.copy(folder / "bn/seed0.json", folder / "bn/sead0.json")
    assert report.main(["--check", "batchnorm"]) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "nothing reads" in line]
    assert len(told) == 2 and "results/bm: expected a folder named after an exp" in told[0]
    assert "results/bn/sead0.json: expected" in told[1] and (folder / "bm/seed0.json").is_file()


def test_what_is_no_picture_may_lie_beside_the_figures(copy):
    (copy / "papers/batchnorm/figures/notes.txt").write_text("mine")
    assert report.main(["--check", "batchnorm"]) == 0


def test_a_changed_result_is_noticed(copy):
    path = next((copy / "papers/batchnorm/results").glob("bn/seed*.json"))
    path.unlink()
    assert report.main(["--check", "batchnorm"]) == 1


@pytest.mark.parametrize(("words", "message"), [
    (["--chek"], "unknown option '--chek'"), (["nopaper"], "unknown paper 'nopaper'")])
def test_bad_words(words, message):
    with pytest.raises(UserError, match=message):
        report.main(words)


def test_a_readme_without_gallery_is_refused(copy):
    (copy / "README.md").write_text("# nothing")
    with pytest.raises(UserError, match="expected the lines <!-- gallery"):
        report.main(["batchnorm"])


@pytest.mark.parametrize(("terminal", "slow", "before", "after"), [
    (True, 10.0, "papers/a …\n", ""), (True, -1.0, "papers/a …\n", ""),
    (False, -1.0, "", "papers/a: 0 s\n"), (False, 10.0, "", "")])
def test_a_report_says_where_it_is(monkeypatch, capsys, terminal, slow, before, after):
    monkeypatch.setattr(report, "SLOW", slow)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    names = report.announced(["a"])
    assert next(names) == "a" and capsys.readouterr().err == before
    assert list(names) == [] and capsys.readouterr().err == after


def test_every_paper_of_a_report_is_announced(monkeypatch):
    seen = []
    monkeypatch.setattr(report, "announced", lambda names: seen.extend(names) or [])
    report.build([])
    assert seen == paper_module.paper_names()
