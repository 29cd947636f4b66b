"""Claims: the file that lists them, and every paper's verdicts."""

import json
import math

import pytest

from common.errors import UserError
from common.evidence.claims import Claim, Measure, read_claims, read_table
from common.evidence.paper import paper_names, papers, verdict_table
from common.evidence.verdicts import decide

HEAD = ("title: T\nauthors: A\nyear: 2000\nlink: https://l\nshows: s\npicture: p\nclaims:\n")


def test_bounds_and_bands():
    def band(**judge):
        return Claim(id="i", where="w", says="s", published=2.0, judge=judge).band
    assert band(within=[-0.5, 1]) == (1.5, 3.0)
    assert band(at_least=1) == (1.0, math.inf)
    assert band(at_most=1) == (-math.inf, 1.0)
    assert band(at_least=0, at_most=1) == (0.0, 1.0)
    assert band(exactly=0) == (2.0, 2.0)


GOOD = ("- {id: a, where: w, says: s, published: 1, obtained: printed, "
        "measure: {experiment: e, metric: m}, judge: {within: [-1, 1], why: x}}\n")


@pytest.mark.parametrize(("entry", "message"), [
    ("- {id: a, says: s}", "claim 'a': expected 'where'"),
    ("- {where: w, says: s}", "claim 'without id': expected 'id'"),
    (GOOD + GOOD, "claim 'a': expected a unique id"),
    ("- {id: a, where: w, says: s}", "expected 'because'"),
    ("- {id: a, where: w, says: s, mesure: {}}", "unknown part 'mesure'; did you mean 'measure'"),
    (GOOD.replace("metric", "meric"), "unknown part 'measure.meric'; did you mean 'metric'"),
    (GOOD.replace("within", "whithin"), "did you mean 'within'"),
    (GOOD.replace("within: [-1, 1], ", ""), "expected 'within', 'at_least'"),
    (GOOD.replace(", why: x", ""), "the reason for the band's width"),
    (GOOD.replace("published: 1, ", ""), "expected a 'published' value"),
    (GOOD.replace("obtained: printed, ", ""), "expected 'obtained' to give the number's source"),
    (GOOD.replace("obtained: printed", "obtained: from memory"), "beginning with one of printed, "),
    (GOOD.replace("obtained: printed", "obtained: 3"), "obtained: 3: expected text"),
    (GOOD.replace("why: x}", "why: x}, afterwards: true"), "afterwards: True: expected text"),
    (GOOD.replace("published: 1", "published: abc"), "published: 'abc': expected a number"),
    (GOOD.replace("{within: [-1, 1], why: x}", "[1]"), "judge: [1]: expected a mapping"),
    (GOOD.replace("[-1, 1]", "[1, -1]"), "the band ends at 0, below its beginning 2"),
    (GOOD.replace("[-1, 1]", "[-1]"), "judge.within: [-1]: expected at least 2 in it"),
    (GOOD.replace("[-1, 1]", "[-.inf, 1]"), "judge.within.0: -inf: expected a finite number"),
    (GOOD.replace("published: 1", "published: .nan"), "published: nan: expected a finite number"),
    (GOOD.replace("within: [-1, 1]", "at_least: 2, at_most: 1"), "ends at 1, below its beginning"),
    (GOOD.replace("within: [-1, 1]", "exactly: -1"), "judge.exactly: -1: expected at least 0"),
    (GOOD.replace("why: x", "why: x, sd: -1"), "judge.sd: -1: expected at least 0"),
    (GOOD.replace("why: x", "why: x, sd: yes"), "judge.sd: True: expected a number"),
    (GOOD.replace("why: x", "why: x, at_most: 3"), "expected one of 'within', 'exactly' and"),
    (GOOD.replace("why: x", "why: x, by: mode"),
     "judge.by: 'mode': expected one of 'mean', 'median', 'share' or 'one'"),
    (GOOD.replace("why: x", "why: x, by: share"), "expected 'trials', the number in a run"),
    (GOOD.replace("why: x", "why: x, trials: 9"), "expected 'trials', the number in a run"),
    (GOOD.replace("why: x", "why: x, by: share, trials: 0"), "judge.trials: 0: expected above 0"),
    (GOOD.replace("why: x", f"why: x, by: share, trials: {10**9 + 1}"),
     "judge.trials: 1000000001: expected at most 1e+09"),
    *((GOOD.replace("experiment: e, metric: m", f"function: f, {more}"),
       f"claim 'a': measure: {more.split(':')[0]} is not used with a function: expected it left")
      for more in ("metric: m", "step: 3", "experiment: e", "versus: e")),
    *((GOOD.replace("metric: m", f"metric: m, {more}"),
       f"claim 'a': measure: {more.split(':')[0]} is not used with a metric: expected it left")
      for more in ("arguments: {n: 3}", "experiments: [e]")),
    *((GOOD.replace(f"{k}: {k[0]}", f'{k}: "{k[0]}\\n# H"'),
       f"claim 'a': {k}: '{k[0]}\\n# H': expected a single line") for k in ("where", "says")),
    (GOOD.replace("obtained: printed", r'obtained: "printed\n"'),
     r"obtained: 'printed\n': expected a single line"),
    (GOOD.replace("experiment: e, ", ""), "expected 'function', or 'experiment'"),
    (GOOD.replace("metric: m", "metric: [m]"), "measure.metric: ['m']: expected text"),
    (GOOD.replace("metric: m", "metric: m, step: x"), "measure.step: 'x': expected a whole number"),
    (GOOD.replace("metric: m", "metric: m, step: -1"), "measure.step: -1: expected at least 0"),
    *((GOOD.replace("why: x}", f"why: x}}, show: {show!r}"),
       f"show: {show!r}: expected a format of numbers such as .2f")
      for show in ("%d", "%", "", "d", "s", "c", "x", "n", ".2", "f", "|>9.2f", "0>9f", ".999f")),
    (GOOD.replace("obtained: printed", "obtained: quoted by"), "beginning with one of printed, "),
    (GOOD.replace("published: 1, obtained: printed", "obtained: x").replace("within: [-1, 1]",
     "at_least: 1"), "beginning with one of printed, "),
    *((GOOD.replace("printed", f"'{source}'"), "expected a name after 'quoted by'") for source in (
        "quoted by a public note", "quoted by two notes, Table 1", "quoted by later work: Fig. 2",
        "quoted by an extract of arXiv 1712.09913v3", "derived: 1 less 0, quoted by others")),
    (GOOD + GOOD.replace("id: a", "id: A"), "claim 'A': expected a unique id"),
    (GOOD.replace("metric: m", "metric: m, versus: e"), "versus: e: expected another experiment"),
    *((GOOD.replace("experiment: e, metric: m", "function: f").replace(
        "why: x", f"why: x, by: {by}"), "expected experiments in 'measure', whose runs")
      for by in ("median", "one", "share, trials: 3")),
    *((GOOD.replace("id: a", f"id: '{name}'"), f"id: '{name}': expected text of letters")
      for name in ("..", ".a", "-a", "+")),
    (GOOD.replace("id: a", "id: 3"), "claim 3: id: 3: expected text"),
    (GOOD.replace("id: a", "id: ../x"), "id: '../x': expected text of letters"),
    (GOOD.replace("id: a", "id: 'a b'"), "id: 'a b': expected text of letters"),
    (GOOD.replace("why: x}", "why: x}, show: '99999999'"), "'99999999': expected a format of"),
    ("- a", "claim 'without id': 'a': expected a mapping"),
    ("", "claims: None: expected a list"),
    ("- {id: [", "not valid YAML"),
])
def test_a_damaged_claims_file_is_one_line(tmp_path, entry, message):
    (tmp_path / "claims.yaml").write_text(HEAD + entry)
    with pytest.raises(UserError) as e:
        read_claims(tmp_path / "claims.yaml")
    assert message in str(e.value) and "\n" not in str(e.value)


@pytest.mark.parametrize("text", ["a\n# H", "a\r\n# H", "\n# H", "a\n", "a\u2028b"])
@pytest.mark.parametrize("field", ["title: T", "authors: A", "shows: s", "picture: p",
                                   "link: https://l"])
def test_what_describes_a_paper_is_of_a_line_each(tmp_path, field, text):
    name = field.partition(":")[0]
    (tmp_path / "claims.yaml").write_text(HEAD.replace(field, f"{name}: {json.dumps(text)}") + GOOD)
    with pytest.raises(UserError, match=rf"claims\.yaml: {name}: .*expected") as e:
        read_claims(tmp_path / "claims.yaml")
    assert len(str(e.value).splitlines()) == 1


@pytest.mark.parametrize("field", [
    "link: javascript:alert(1)//https://a", "link: ftp://a", "link: a.org",
    "link: ''", "picture: ../../etc/passwd",
    "picture: ''", "picture: .svg"])
def test_a_paper_has_an_address_and_a_picture_of_its_own(tmp_path, field):
    name = field.partition(":")[0]
    head = "".join(field + "\n" if row.startswith(f"{name}:") else row
                   for row in HEAD.splitlines(keepends=True))
    (tmp_path / "claims.yaml").write_text(head + GOOD)
    with pytest.raises(UserError, match=rf"claims\.yaml: {name}: .*expected (an addr|text of)"):
        read_claims(tmp_path / "claims.yaml")


@pytest.mark.parametrize(("content", "message"), [
    (b"", "expected a line of names and at least one of values"),
    (b"a,b\n", "expected a line of names and at least one of values"),
    (b"a,b,a\n1,2,3\n", "line 1: the name 'a' is given twice: expected each once"),
    (b"a,b\n1,2\n3\n", "line 3: expected a value for every name in the first line, a, b"),
    (b"a,b\n1,2,3\n", "line 2: expected a value for every name"),
    (b"a,b\n\xe9,2\n", "is no CSV table in UTF-8")])
def test_a_table_that_is_none_is_one_line(tmp_path, content, message):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(UserError) as e:
        read_table(tmp_path / "t.csv")
    assert message in str(e.value) and "\n" not in str(e.value)


def test_a_column_that_code_reads_by_name_and_a_table_lacks_is_named(tmp_path):
    (tmp_path / "t.csv").write_text("steps;loss\n1;2\n")
    with pytest.raises(UserError, match=r"t\.csv has no column 'steps'; did you mean 'steps;loss'"):
        read_table(tmp_path / "t.csv")[0]["steps"]


def test_a_mark_of_the_byte_order_is_no_part_of_the_first_name(tmp_path):
    (tmp_path / "t.csv").write_text("\ufeffa,b\n1,2\n", encoding="utf-8")
    assert read_table(tmp_path / "t.csv") == [{"a": "1", "b": "2"}]


def test_a_good_claims_file_is_read(tmp_path):
    (tmp_path / "claims.yaml").write_text(HEAD + GOOD)
    about, (claim,) = read_claims(tmp_path / "claims.yaml")
    assert about.title == "T" and claim.experiments == ["e"]


@pytest.mark.parametrize("name", ["a replication at TU Delft", '"re_warm" (a notebook)',
                                  "the notes at https://a.b", "me/my-repository, an exercise"])
def test_a_source_with_a_name_is_read(tmp_path, name):
    (tmp_path / "claims.yaml").write_text(HEAD + GOOD.replace("printed", f"'quoted by {name}'"))
    assert read_claims(tmp_path / "claims.yaml")[1][0].obtained == f"quoted by {name}"


EACH = ("- {id: 'n-{run}', each: t, row: 'run {run}', column: n, where: w, says: 'of {run}', "
        "published: '{n}', obtained: printed, measure: {experiment: e, metric: 'n_{run}'}, "
        "judge: {exactly: '{band}', why: x}}\n")


def of_a_table(tmp_path, entry, table="run,n,band\na,3,0\nb,5,2\n"):
    (tmp_path / "published").mkdir(exist_ok=True)
    (tmp_path / "published/t.csv").write_text(table)
    (tmp_path / "claims.yaml").write_text(HEAD + entry)
    return read_claims(tmp_path / "claims.yaml")[1]


def test_a_table_is_a_claim_for_every_row(tmp_path):
    a, b = of_a_table(tmp_path, EACH)
    assert (a.id, a.row, a.says, a.published) == ("n-a", "run a", "of a", 3.0)
    assert b.measure == Measure(experiment="e", metric="n_b") and b.band == (3.0, 7.0)


CURVE = "{table: t, steps: run, values: [n], metric: m, experiments: [e]}"


@pytest.mark.parametrize(("curve", "message"), [
    (CURVE, ""),
    (CURVE.replace("[n]", "[n, bond]"), "no column 'bond'; did you mean 'band'"),
    (CURVE.replace("steps: run", "steps: runs"), "published/t.csv has no column 'runs'"),
    (CURVE.replace("table: t", "table: u"), "published/u.csv"),
    *((CURVE.replace("table: t", f"table: {name}"), "curves.0.table: ") for name in (
        r'"t\0"', "../t", "''")),
    (CURVE.replace("[n]", "[]"), "values: []: expected at least 1 in it"),
    (CURVE.replace("metric", "meric"), "unknown part 'curves.0.meric'; did you mean 'metric'"),
    (CURVE.replace("}", ", sais: x}"), "unknown part 'curves.0.sais'; did you mean 'says'"),
    (CURVE.replace("metric: m", "metric: m, each: 0"), "each: 0: expected above 0")])
def test_a_published_curve_is_read_with_its_columns(tmp_path, curve, message):
    of_a_table(tmp_path, GOOD)  # writes the table
    (tmp_path / "claims.yaml").write_text(HEAD.replace("claims:", f"curves: [{curve}]\nclaims:")
                                          + GOOD)
    if not message:
        (made,) = read_claims(tmp_path / "claims.yaml")[0].curves
        assert (made.values, made.each, made.says) == (["n"], 1, "published")
        return
    with pytest.raises(UserError) as e:
        read_claims(tmp_path / "claims.yaml")
    assert message in str(e.value) and "\n" not in str(e.value)


@pytest.mark.parametrize(("entry", "message"), [
    (EACH.replace("{n}", "{m}"), "claim 'n-{run}': published/t.csv has no column for '{m}'"),
    (EACH.replace("row: 'run {run}', ", ""), "has 'each': expected 'row'"),
    (EACH.replace("each: t", "each: u"), "published/u.csv"),
    *((EACH.replace("each: t", f"each: {name}"), "expected the name of a table in published/")
      for name in (r'"t\0"', "../t", "''", "[t]")),
    *((EACH.replace("'of {run}'", f"'of {part}'"), "has no column for") for part in (
        "{}", "{0}", "{run.nope}", "{run[99]}", "{run[a]}", "{run:d}", "{run")),
    (EACH.replace("n-{run}", "n"), "claim 'n': expected a unique id")])
def test_a_damaged_table_is_one_line(tmp_path, entry, message):
    with pytest.raises(UserError) as e:
        of_a_table(tmp_path, entry)
    assert message in str(e.value) and "\n" not in str(e.value)


@pytest.mark.parametrize(("value", "verdict"), [(3.0, "reproduced"), (4.0, "not reproduced")])
def test_one_run_is_enough_where_no_seed_changes_it(tmp_path, value, verdict):
    (claim, _) = of_a_table(tmp_path, EACH)
    assert claim.repeatable and decide([value], claim.band, claim.judge) == (verdict, None)


@pytest.fixture(scope="module", params=paper_names())
def paper(request):
    """Every paper, which no test here changes."""
    return papers([request.param])[0]


def test_every_verdict_of_every_paper(paper, data_regression):
    """A changed result changes this table; look at it before accepting it."""
    data_regression.check(verdict_table(paper), basename=paper.name)


def test_committed_results_are_current_and_of_committed_code(paper):
    for result in (r for found in paper.results.values() for r in found):
        assert result.experiment in paper.experiments.experiments, f"{result.name}: unknown"
        for segment in result.record.segments:
            assert not segment.dirty, f"{result.name} was made by uncommitted code"
            assert len(segment.commit) == 40
    assert not [j.claim.id for j in paper.judgements() if j.verdict == "stale"]


def test_a_claim_measured_without_success_says_why(paper):
    assert not [j.claim.id for j in paper.judgements()
                if j.verdict == "not reproduced" and not j.claim.because]
