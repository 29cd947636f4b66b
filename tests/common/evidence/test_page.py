"""The text of a report: short where everybody reads, and complete in its folds."""

import math
import re
import shutil
from dataclasses import replace

import pytest
from markdown_it import MarkdownIt

from common import files
from common.evidence import gallery, generated, page, picture, results, tables
from common.evidence import paper as paper_module
from common.evidence.claims import Claim
from common.evidence.counting import count
from common.evidence.paper import Judgement, papers

FOLD = re.compile(r"<details>.*?</details>", re.DOTALL)


def visible(text):
    """The words that a reader sees before opening anything."""
    for hidden in (FOLD, re.compile(r"<!--.*?-->", re.DOTALL), re.compile(r"!\[[^\]]*\]\([^)]*\)"),
                   re.compile(r"(?<=\])\([^)]*\)")):
        text = hidden.sub("", text)
    return [w for w in text.split() if re.search(r"\w", w)]


@pytest.fixture(scope="module")
def every():
    """Every paper with its judgements and the report that is committed."""
    return [(p, p.judgements(), (p.folder / "REPORT.md").read_text(encoding="utf-8"))
            for p in papers()]


def test_what_is_seen_is_read_in_a_few_minutes(every):
    for paper, _, text in every:
        assert len(visible(text)) <= 1500, paper.name


def test_it_opens_with_story_verdicts_and_the_headline_figure(every):
    for paper, js, text in every:
        story = text.index(page.story(paper, js))
        shown = [m[1] for m in re.finditer(r"\(figures/(\w+)\.svg\)", text)]
        first = ["verdicts"] * ("verdicts" in shown) + [paper.about.picture]
        assert shown[:len(first)] == first and len(set(shown)) == len(shown)
        assert ("verdicts" in shown) == bool(picture.caption(js)), paper.name
        assert text.count(picture.READING) == bool(picture.statements(js)), paper.name
        assert story < text.index("(figures/") < text.index("<details>")


WITHOUT = {"Hopfield 1982", "Moré, Garbow & Hillstrom 1981", "Hagan & Menhaj 1994"}
"""The papers whose address is not known here."""


def test_every_paper_that_a_report_stands_on_is_linked():
    for paper in papers():
        said = page.cited(paper.about)
        for names, link in paper.about.papers:
            assert f"{names}, [{link}]({link})" in said if link else names in WITHOUT, names
        # What README opens with and links to is the paper's own, or told of as another's.
        opening = (paper.folder / "README.md").read_text().partition("```")[0]
        beside = {"https://arxiv.org/abs/2008.02217", "https://arxiv.org/abs/1412.6544"}
        assert set(re.findall(r"\]\((https:[^)]+)\)", opening)) <= {
            *paper.about.link, *beside}, paper.name


def test_folds_are_closed_and_hold_no_heading(every):
    for paper, _, text in every:
        assert text.count("<details>") == text.count("</details>") == len(FOLD.findall(text))
        for fold in FOLD.findall(text):
            assert fold.count("<details>") == 1 and not re.search(r"^#", fold, re.MULTILINE)
            assert re.match(r"<details>\n<summary>.+</summary>\n\n", fold), paper.name


def test_what_has_not_been_run_stands_apart_with_its_cost(every):
    for paper, js, text in every:
        missing = [j for j in js if j.verdict == "not run" and not j.claim.each]
        apart = text.partition("## Not run")[2].partition("\n## ")[0]
        assert bool(missing) == bool(apart), paper.name
        assert all(f'<a id="{j.claim.id}"></a>' in apart for j in missing)
        assert not missing or (page.cost(paper).words in apart
                               and "| all planned runs, on two cores |" in apart)
        above = text.partition("## Not run")[0]
        assert "- Run: `papers" not in above and "- Run again: `papers" not in apart, paper.name


def test_a_formula_that_does_not_hold_is_seen():
    (paper,) = papers(["batchnorm"])
    def formula(name, verdict):
        return Judgement(Claim(id=name, where="eq. (1)", says=f"what {name} says", published=1.0,
                               obtained="printed", measure={"function": "f"},
                               judge={"exactly": 0}), verdict, (1.0,))
    _, said, seen, hidden = page.computed(paper, [formula("a", "reproduced"),
                                                  formula("b", "not reproduced")])
    assert said == "1 of 2 formulas hold, all but these:"
    assert "what b says" in seen and "what a says" not in seen and "what a says" in hidden
    assert page.computed(paper, [formula("a", "reproduced")])[1:3] == ["1 of 1 formula holds.", ""]


def test_a_papers_readme_opens_with_its_story():
    for paper in papers(["batchnorm", "lbfgs"]):
        text = (paper.folder / "README.md").read_text(encoding="utf-8")
        told = text.partition(generated.TOLD)[2].partition(generated.ENDED)[0]
        assert told.strip() == generated.opening(paper, paper.judgements())
        assert text.index(generated.TOLD) < 200 and "(REPORT.md)" in told


def test_every_claim_stands_in_the_report_with_its_verdict(every):
    for paper, js, text in every:
        for j in js:
            if j.claim.each:  # a table's rows are tested below
                assert f"| {j.claim.row} |" in text
                continue
            link = rf"\(#{re.escape(j.claim.id)}\)( ‡)? \|$"
            assert (rows := re.findall(rf"^\|.*{link}", text, re.M)), (paper.name, j.claim.id)
            assert f"{page.verdict(j)} |" in text or j.verdict == "not run"
            assert text.count(f'<a id="{j.claim.id}"></a>') == 1 and rows


def test_a_run_that_is_missing_has_its_cost(tmp_path, monkeypatch):
    shutil.copytree(files.ROOT / "papers/batchnorm", tmp_path / "papers/batchnorm")
    monkeypatch.setattr(paper_module, "ROOT", tmp_path)
    (paper,) = papers(["batchnorm"])
    claim = next(c for c in paper.claims if c.experiments == ["bn", "plain"])
    assert page.price(paper, claim) == ""
    results.add_pace(paper.folder / "results/bn", paper.config("bn"), "a processor", 2, 0.036)
    assert page.price(paper, claim) == "", "it has been run"
    paper.results.pop("bn")
    assert page.price(paper, claim) == (
        " One run of bn: about 30 min (36 ms a step on a processor, 2 threads).")


def test_claims_alone_at_their_places_have_a_column_of_them():
    (paper,) = papers(["batchnorm"])
    js = [Judgement(Claim(id=i, where=w, says="s"), "undecided", (1.0,))
          for i, w in (("a", "Fig. 1, p. 2"), ("b", "Table 2"))]
    for where in (page.ELSEWHERE, ""):
        table = page.section(paper, where, js)[1]
        assert "| statement | where | published |" in table
        assert "| s | Fig. 1 | – | 1 |" in table and "| s | Table 2 | – | 1 |" in table
    assert "| where |" not in page.section(paper, "Fig. 1", js[:1])[1]


def test_a_published_table_is_headed_by_its_place(every):
    found = {line for _, _, text in every for line in text.splitlines()
             if re.match("### .*, row by row", line)}
    assert {"### Table 2, row by row", "### 2016, Table 2 and 2015, Table 2, row by row",
            "### Moré, Garbow & Hillstrom 1981, section 3, row by row"} < found
    for paper, js, text in every:
        for name in {j.claim.each for j in js if j.claim.each}:
            assert not re.search(rf"(?i)\btable {name}\b", text), (paper.name, name)


def test_a_table_stands_side_by_side():
    def judged(row, column, published, value, verdict):
        claim = Claim(id=f"{column}-{row}", where="w", says="s", published=published, show=".0f",
                      each="t", row=row, column=column, judge={"exactly": 0})
        return Judgement(claim, verdict, (value,))
    js = [judged("one", "n", 3, 3, "reproduced"), judged("two", "n", 4, 5, "not reproduced"),
          judged("one", "m", 7, 7, "reproduced"), judged("two", "m", 8, 8, "reproduced")]
    assert page.row_by_row(js).splitlines()[-2:] == [
        "| one | 3 | 7 | **reproduced** |", "| two | 4; 5 | 8 | n **not reproduced** |"]
    again = replace(js[0], verdict="undecided")
    assert page.side_by_side(again) == "3; 3", "agreement is not left to the eye"
    assert [page.stands_alone(j, js) for j in js] == [True, True, True, False]


def test_rows_that_differ_are_seen_where_most_agree(every):
    texts = {paper.name: FOLD.sub("", text) for paper, _, text in every}
    assert ("44 of 48 rows agree in all 4 columns, 183 of 192 cells; those that do not:"
            in texts["lbfgs"])
    assert len(re.findall(r"^\|.*\*\*not reproduced\*\*", texts["lbfgs"], re.M)) == 4
    assert "**not reproduced** |" not in texts["deep_compression"].partition(", row by row")[2]
    assert "\n## What the paper says, and what came out\n" in texts["lbfgs"]


@pytest.mark.parametrize(("published", "obtained", "source"), [
    (1.0, "printed", "value printed."), (None, "printed: 3 sweeps", "value printed: 3 sweeps."),
    (None, "", "no number.")])
def test_a_claim_says_where_its_number_is_from(published, obtained, source):
    claim = Claim(id="a", where="w", says="s", published=published, obtained=obtained,
                  judge={"at_least": 0, "why": "x"})
    text = page.details(papers(["batchnorm"])[0], Judgement(claim, "reproduced", (1.0,), plan=(1,)))
    assert f"- Paper: w; {source}\n" in text


def test_a_second_look_and_another_way_of_judging_stand_with_the_claim():
    (paper,) = papers(["batchnorm"])
    claim = Claim(id="a", where="w", says="s", published=1.0, obtained="printed",
                  judge={"within": [-1, 1], "by": "share", "trials": 50, "why": "x"})
    text = page.details(paper, Judgement(claim, "reproduced", (1.0,) * 4, (0.9, 1.1),
                                           plan=(3, 4)))
    assert "- Runs: planned 3, raised to 4 after a look at the verdict, for which the interval " \
           "pays: it is of 97.5 %." in text
    assert "- Judged by the share of 50 trials a run." in text


@pytest.mark.parametrize(("values", "interval", "said"), [
    ((1.0, 1.3, 1.0), (0.8, 1.4), "the interval reaches over both ends of the band; all 3"),
    ((1.0, 1.3, 1.0), (0.95, 1.4), "the interval reaches over the upper end of the band; all 3"),
    ((0.9, 1.0), (0.8, 1.05), "the interval reaches over the lower end of the band; 2 of the 3"),
    ((1.4, 1.5), (1.3, 1.6), "the interval lies outside the band, of too few runs; 2 of the 3"),
    ((1.4,), None, "so few runs have no interval; 1 of the 3"),
    ((1.0, math.inf, 1.0), None, "a run without a finite value leaves no mean; all 3")])
def test_what_is_undecided_says_where_it_lies(values, interval, said):
    (paper,) = papers(["batchnorm"])
    claim = Claim(id="a", where="w", says="s", published=1.0, obtained="printed",
                  measure={"experiment": "bn", "metric": "accuracy"}, judge={"within": [-0.1, 0.1]})
    text = page.details(paper, Judgement(claim, "undecided", values, interval, plan=(3,)))
    assert f"- Undecided: {said} planned runs are there." in text
    other = page.details(paper, Judgement(claim, "reproduced", values, plan=(3,)))
    assert "Undecided:" not in other


def test_only_what_was_raised_is_said_to_be_raised():
    (paper,) = papers(["cyclical_lr"])
    text = {j.claim.id: page.details(paper, j) for j in paper.judgements()}
    raised = "planned 1, raised to 3 after a look at the verdict"
    assert (f"- Runs: {raised} for nesterov_triangular; planned 1 for nesterov_fixed. Only seeds "
            "that all of these have count, here 1. For the look the interval pays: it is of 97.5 %."
            ) in text["gain-nesterov"]
    assert f"- Runs: {raised}, for which the interval pays" in text["table3-nesterov-triangular"]
    assert "raised" not in text["gain-adagrad"]


HOSTILE = "<script>alert(1)</script> [x](http://e) `a` | b *c* _d_ &lt; $e$ \\ # f"


def shown(text):
    """What Markdown shows: the text of all that is no markup, and the kinds of all that is."""
    parsed = MarkdownIt("gfm-like", {"linkify": False}).parse(text)
    inner = [i for t in parsed for i in (t.children or [])]
    return "".join(i.content for i in inner), {i.type for i in inner} | {
        t.type for t in parsed if t.type == "html_block"}


def test_a_claims_text_is_shown_as_it_is_written():
    for text in (HOSTILE, "> a", "# a", "- a", "+ a", "=== a", "a]", "[a", "![a](b)", "[a][b]",
                 "<!-- a", "a\\", "**a**", "Var[W] (a)", "n_{i+1} < 3 & |z|", "lbfgs_<m>"):
        assert shown(tables.escaped(text)) == (text, {"text"}), text
        assert shown(tables.linked(text, "to")) == (text, {"link_open", "text", "link_close"}), text
    for text in ("Var[W] = 1/3", "n_{i+1} < 3 & |z|", "f_{λθ}(x) = λ^L", "G&B, eqs. (5), (15)"):
        assert tables.escaped(text) == text, "what is no markup stays as it is"


def test_no_text_of_a_claim_makes_a_heading_or_html_of_the_report():
    (paper,) = papers(["hopfield"])
    fields = dict.fromkeys(("title", "authors", "shows", "result"), HOSTILE)
    paper.about = paper.about.model_copy(update=fields)
    judgements = paper.judgements()
    texts = dict.fromkeys(("where", "says", "obtained", "because", "afterwards"), HOSTILE)
    hostile = [replace(j, claim=j.claim.model_copy(update=texts)) for j in judgements]
    row = gallery.cells(paper, count(judgements), judgements)
    text = page.report_text(paper, hostile, {paper.about.picture: "a figure"})
    for made in (text, tables.line(row)):
        assert "alert(1)" in made and not re.search(r"(?<!\\)<script|(?<!\\)`a`|\[x\]\(http", made)
    assert tables.line(row).count(" | ") == len(row) - 1
    assert picture.draw(hostile) is not None
