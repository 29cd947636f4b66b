"""The report: generated, deterministic, and checked against what is committed."""

import math
import re
import shutil

import pytest

from common import files
from common.errors import UserError
from common.evidence import paper as paper_module
from common.evidence import report, results
from common.evidence.claims import Claim
from common.evidence.paper import Judgement, papers


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


@pytest.mark.parametrize("path", ["papers/batchnorm/REPORT.md", "README.md",
                                  "papers/batchnorm/figures/fig1a.svg"])
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


def test_what_is_no_picture_may_lie_beside_the_figures(copy):
    (copy / "papers/batchnorm/figures/notes.txt").write_text("mine")
    assert report.main(["--check", "batchnorm"]) == 0


def test_a_changed_result_is_noticed(copy):
    path = next((copy / "papers/batchnorm/results").glob("bn/seed*.json"))
    path.unlink()
    assert report.main(["--check", "batchnorm"]) == 1


def test_every_claim_stands_in_the_report_with_its_verdict():
    for paper in papers():
        text = (paper.folder / "REPORT.md").read_text()
        for j in paper.judgements():
            if j.claim.each:  # a table's rows are tested below
                assert f"| {j.claim.row} |" in text
                continue
            (row,) = re.findall(rf"^\| \[{re.escape(j.claim.id)}\].*$", text, re.M)
            assert row.endswith(f"{report.verdict(j)} |")


def test_a_run_that_is_missing_has_its_cost(copy):
    (paper,) = papers(["batchnorm"])
    claim = next(c for c in paper.claims if c.experiments == ["bn", "plain"])
    assert report.price(paper, claim) == ""
    results.add_pace(paper.folder / "results/bn", paper.config("bn"), "a processor", 2, 0.036)
    assert report.price(paper, claim) == "", "it has been run"
    paper.results.pop("bn")
    assert report.price(paper, claim) == (
        " One run of bn: about 30 min (36 ms a step on a processor, 2 threads).")


@pytest.mark.parametrize(("obtained", "mark"), [
    ("printed", ""), ("derived: half of it", " †"), ("read off the figure", ""),
    ("quoted by a note", "")])
def test_a_published_number_that_is_not_printed_has_a_mark(obtained, mark):
    claim = Claim(id="a", where="Table 1", says="so", published=0.5, obtained=obtained,
                  show=".2f")
    judgement = Judgement(claim, "reproduced", (0.5,))
    assert report.published(judgement) == "0.50" + mark


def test_a_table_stands_side_by_side():
    def judged(row, column, published, value, verdict):
        claim = Claim(id=f"{column}-{row}", where="w", says="s", published=published, show=".0f",
                      each="t", row=row, column=column, judge={"exactly": 0})
        return Judgement(claim, verdict, (value,))
    js = [judged("one", "n", 3, 3, "reproduced"), judged("two", "n", 4, 5, "not reproduced"),
          judged("one", "m", 7, 7, "reproduced"), judged("two", "m", 8, 8, "reproduced")]
    assert report.of_table("t", js).splitlines()[-2:] == [
        "| one | 3 | 3 | 7 | 7 | **reproduced** |",
        "| two | 4 | 5 | 8 | 8 | n **not reproduced** |"]
    assert [report.stands_alone(j, js) for j in js] == [True, True, True, False]


@pytest.mark.parametrize(("words", "message"), [
    (["--chek"], "unknown option '--chek'"), (["nopaper"], "unknown paper 'nopaper'")])
def test_bad_words(words, message):
    with pytest.raises(UserError, match=message):
        report.main(words)


def test_a_readme_without_gallery_is_refused(copy):
    (copy / "README.md").write_text("# nothing")
    with pytest.raises(UserError, match="expected the gallery"):
        report.main(["batchnorm"])


def test_tables_hold_any_text():
    assert report.table(["a"], [["x | y\nz"]]).splitlines()[-1] == "| x \\| y z |"


def test_numbers_have_true_minus_signs():
    assert report.number(-0.5, ".1%") == "−50.0%"
    assert report.number(float("nan"), ".1f") == "–"
    assert report.number(float("inf"), ".0f") == "∞" and report.number(-float("inf"), "d") == "−∞"


def test_a_second_look_and_another_way_of_judging_stand_with_the_claim():
    (paper,) = papers(["batchnorm"])
    claim = Claim(id="a", where="w", says="s", published=1.0, obtained="printed",
                  judge={"within": [-1, 1], "by": "share", "trials": 50, "why": "x"})
    text = report.details(paper, Judgement(claim, "reproduced", (1.0,) * 4, (0.9, 1.1),
                                           plan=(3, 4)))
    assert "- Runs: planned 3, raised to 4 after a look at the verdict, for which the interval " \
           "pays: it is of 97.5%." in text
    assert "- Judged by the share of 50 trials a run." in text


def test_what_is_judged_by_its_median_is_shown_by_it():
    claim = Claim(id="a", where="w", says="s", published=1.0, measure={"experiment": "e"},
                  judge={"by": "median"})
    shown = report.measured(Judgement(claim, "undecided", (1.0, 2.0, math.inf), (1.0, math.inf)))
    assert shown == "median 2 [1, ∞], n = 3"
