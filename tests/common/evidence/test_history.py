"""Promises: a band edited afterwards, a forged commit, other data, another table."""

import json
import re
import subprocess
from types import SimpleNamespace
from typing import ClassVar

import pytest

from common.conditions import NEVER
from common.data import FINGERPRINTS, digits
from common.errors import UserError
from common.evidence import history
from common.evidence.claims import read_claims
from common.evidence.paper import paper_names, papers
from common.evidence.results import Result
from common.experiments import Experiments
from common.files import ROOT
from tests.common.toy import Config, recorded, share

HEAD = "title: T\nauthors: A\nyear: 2000\nlink: https://l\nshows: s\npicture: p\nclaims:\n"
CLAIM = ("- {id: a, where: w, says: s, published: 1, obtained: printed, "
         "measure: {experiment: e, metric: m, versus: f}, judge: {within: [-1, 1], why: x}}\n")
TABLE = ("- {id: 'n-{run}', each: t, row: '{run}', column: n, where: w, says: s, "
         "published: '{n}', obtained: printed, measure: {experiment: e, metric: m}, "
         "judge: {exactly: 0, why: x}}\n")
EXPERIMENTS = """experiments:
  e: {help: one}
  f: {help: another, optim: {lr: 0.2}}
  both: {help: a group whose name says nothing of its members, runs: [e, f]}
"""


class Nameless(Config):
    honoured: ClassVar = {"data.name": NEVER}


@pytest.fixture
def clone(tmp_path):
    return Clone(tmp_path / "clone")


class Clone:
    """A repository with one paper, whose two runs were made by its first commit."""

    def __init__(self, root):
        self.root, self.folder = root, root / "papers/toy"
        (self.folder / "published").mkdir(parents=True)
        self.write(CLAIM + TABLE, "run,n\nx,1\ny,2\n")
        self.configure("")
        self.git("init", "-q")
        self.git("add", ".")
        self.commit()
        self.made_by = self.git("rev-parse", "HEAD")
        self.data = {"name": "digits", "fingerprint": FINGERPRINTS["digits"]}

    def git(self, *words):
        return subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C",
                               str(self.root), *words], check=True, capture_output=True,
                              text=True).stdout.strip()

    def write(self, claims, table):
        (self.folder / "claims.yaml").write_text(HEAD + claims)
        (self.folder / "published/t.csv").write_text(table)

    def configure(self, seeds):
        (self.folder / "config.yaml").write_text(EXPERIMENTS + seeds)

    def commit(self):
        self.git("commit", "-qam", "one", "--allow-empty")

    def record(self, commit, wanted="digits"):
        return recorded(segments=[share(commit=commit)], data=self.data, metrics={"m": 1.0},
                        config={"data": {"name": wanted}, "train": {"steps": 1}})

    def keep(self, commit):
        """Commit a result file that names a commit."""
        file = self.folder / "results/e/seed0.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(self.record(commit).written()))
        self.git("add", ".")
        self.commit()

    def broken(self):
        record = self.record(self.made_by)
        made = {e: [Result("toy", e, 0, record.metrics, {}, {}, record)] for e in ("e", "f")}
        return history.broken(self.paper(Nameless(), made), history.History(self.root))

    def paper(self, config, made=(), known=None):
        _, claims = read_claims(self.folder / "claims.yaml")
        experiments = (Experiments(Config, self.folder / "config.yaml") if known is None
                       else SimpleNamespace(experiments=known))
        return SimpleNamespace(name="toy", folder=self.folder, claims=claims, results=made,
                               config=lambda name: config, experiments=experiments)


def test_what_stood_before_its_results_is_kept(clone):
    assert clone.broken() == []
    clone.write(CLAIM.replace("why: x", "why: y").replace("says: s", "says: t") + TABLE,
                "run,n\nx,1\ny,2\n")
    clone.commit()
    assert clone.broken() == [], "words may be mended"


@pytest.mark.parametrize(("old", "new", "said"), [
    ("[-1, 1]", "[-1, 2]", "judge was {'within': [-1, 1]} in .*, and is {'within': [-1, 2]}"),
    ("published: 1", "published: 2", "published was 1 in .*, and is 2"),
    ("metric: m, versus", "metric: k, versus", "measure was .*'m'.* and is .*'k'"),
    ("id: a", "id: b", "claim b did not stand in"),
    ("exactly: 0", "exactly: 1", "claim n-{run}: judge was {'exactly': 0} in")])
@pytest.mark.parametrize("committed", [True, False])
def test_what_was_edited_afterwards_is_found(clone, old, new, said, committed):
    clone.write((CLAIM + TABLE).replace(old, new), "run,n\nx,1\ny,2\n")
    if committed:
        clone.commit()
    (line, *_) = clone.broken()
    assert re.search(said.replace("[", r"\[").replace("{", r"\{"), line), line


def test_a_table_edited_afterwards_is_found(clone):
    clone.write(CLAIM + TABLE, "run,n\nx,1\ny,3\n")
    (line,) = clone.broken()
    assert "table t.csv was another in" in line


def test_columns_that_are_no_numbers_of_a_claim_may_be_mended(clone):
    clone.write(CLAIM + TABLE, "run,because,n\nx,a word,1\ny,,2\n")
    assert clone.broken() == []


def test_what_says_that_it_was_written_afterwards_is_allowed(clone):
    mended = CLAIM.replace("[-1, 1]", "[-1, 2]")
    clone.write(mended.replace("id: a", "id: a, afterwards: the page was misread") + TABLE,
                "run,n\nx,1\ny,2\n")
    assert clone.broken() == []


@pytest.mark.parametrize(("old", "new", "said"), [
    ("[-1, 2]", "[-9, 9]", "judge was {'within': [-1, 2]} in .*, which gave its reason, and is"),
    ("published: 1", "published: 3", "published was 1 in .*, which gave its reason, and is 3"),
    ("[-1, 2]", "[-1, 2]", ""), ("misread, a", "misread twice, a", ""), ("says: s", "says: t", "")])
@pytest.mark.parametrize("committed", [True, False])
def test_what_was_written_afterwards_is_fixed_from_then_on(clone, old, new, said, committed):
    first = CLAIM.replace("[-1, 1]", "[-1, 2]").replace(
        "id: a", "id: a, afterwards: 'the page was misread, alas'") + TABLE
    table = "run,n\nx,1\ny,2\n"
    clone.write(first, table)
    clone.commit()
    clone.write(first.replace("says: s", "says: something else"), table)
    clone.commit()
    clone.write(first.replace(old, new), table)
    if committed:
        clone.commit()
    lines = clone.broken()
    assert re.search(said.replace("[", r"\[").replace("{", r"\{"), lines[0]) if said else not lines


def test_a_forged_commit_is_found(clone):
    clone.made_by = "0" * 40
    assert clone.broken() == [f"toy/{e}/seed0: commit 0000000000 is not of this history"
                              for e in "ef"]


def test_a_commit_of_another_branch_is_found(clone):
    first = clone.made_by
    clone.git("checkout", "-qb", "aside")
    clone.commit()
    clone.made_by = clone.git("rev-parse", "HEAD")
    clone.git("checkout", "-q", first)
    assert "is not of this history" in clone.broken()[0]


def test_the_same_numbers_under_another_commit_are_found(clone):
    """A wider band, and the commit that has it written into the result, or the run repeated."""
    clone.keep(clone.made_by)
    clone.write((CLAIM + TABLE).replace("[-1, 1]", "[-1, 2]"), "run,n\nx,1\ny,2\n")
    clone.commit()
    clone.made_by = clone.git("rev-parse", "HEAD")
    clone.keep(clone.made_by)
    assert "judge was {'within': [-1, 1]} in" in clone.broken()[0]


@pytest.mark.parametrize(("before", "after", "kept"), [
    ("seeds: 3", "seeds: [3, 10]", True), ("seeds: 3", "seeds: 10", False),
    ("seeds: {default: 3, e: [3, 40]}", "seeds: {default: 3, e: 40}", False),
    ("seeds: {default: 3, e: [3, 40]}", "seeds: {default: 5, e: [3, 40], f: 3}", True),
    ("seeds: {both: 3}", "seeds: {both: 10}", False),
    ("seeds: {both: 3}", "seeds: {both: [3, 10]}", True),
    ("seeds: {default: 9, both: 3}", "seeds: {default: 5, both: 3}", True),
    ("seeds: 3", "", True), ("seeds: 5", "", False), ("", "seeds: 9", True)])
def test_a_plan_may_be_raised_and_not_rewritten(clone, before, after, kept):
    clone.configure(before)
    clone.git("add", ".")
    clone.commit()
    clone.made_by = clone.git("rev-parse", "HEAD")
    clone.configure(after)
    clone.commit()
    assert (clone.broken() == []) is kept


@pytest.mark.parametrize("wanted", ["mnist", "digits"])
def test_renamed_data_are_found_where_their_name_is_honoured(clone, wanted):
    clone.data = {"name": "mnist60k", "fingerprint": "f" * 64}
    result = Result("toy", "e", 0, {}, {}, {}, clone.record(clone.made_by, wanted))
    ours = history.History(clone.root)
    (line,) = history.of_result(clone.paper(Config()), result, ours)
    assert f"its data are called mnist60k and should be {wanted}" in line
    assert not list(history.of_result(clone.paper(Nameless()), result, ours))
    assert not list(history.of_result(clone.paper(Config(), known=()), result, ours))


@pytest.mark.parametrize("name", ["digits", "parity", "xor"])
def test_other_data_are_found(clone, name):
    clone.data = {"name": name, "fingerprint": "f" * 64}
    (line, _) = clone.broken()
    assert f"its data are called {name} and have the fingerprint ffffffffff, not" in line


def test_without_history_it_says_so(tmp_path):
    with pytest.raises(UserError, match="no history here"):
        history.History(tmp_path)


def test_the_bundled_data_are_those_that_are_known():
    assert digits().fingerprint == FINGERPRINTS["digits"]


@pytest.fixture(scope="module")
def ours():
    try:
        return history.History(ROOT)
    except UserError as e:
        pytest.skip(str(e))


@pytest.mark.parametrize("name", paper_names())
def test_every_paper_keeps_its_promises(ours, name):
    (paper,) = papers([name])
    assert history.broken(paper, ours) == []


def test_a_mark_of_the_byte_order_does_not_change_a_table():
    assert history.numbers("\ufeffrun,n\na,3\n", ["run", "n"]) == [["a", "3"]]
