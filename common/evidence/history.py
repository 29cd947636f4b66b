"""Checks, against git's history, that claims were fixed before their results.

The commit that made a result must be part of this history, and ``claims.yaml`` must already have
contained the claim's band, published value, measure and table in that commit. The data must have
the fingerprint that everybody's data of that name have.

A claim that was written or changed after its results were known says so, with the reason, in
``afterwards``; the report shows it beside the verdict. From the commit that gave the reason on it
is fixed like the others.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import io
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from common.config import unused
from common.data import FINGERPRINTS
from common.errors import UserError
from common.evidence.paper import Paper
from common.evidence.provenance import git
from common.evidence.results import Result, path_of

RESULTS = "papers/*/results/*/seed*.json"

PROMISED = ("published", "measure", "judge")
"""The parts of a claim that must be fixed before its result; in ``judge`` all but the reason."""


class History:
    """The commits of a clone, and the files as they stood in them.

    Args:
        root: the clone.

    Raises:
        UserError: the clone does not have its whole history.
    """

    def __init__(self, root: Path):
        self.root = root
        if git(root, "rev-parse", "--is-shallow-repository") != "false":
            raise UserError("no history here: expected a clone of its whole history")
        self.order = {c: k for k, c in enumerate(
            (git(root, "rev-list", "--topo-order", "--reverse", "HEAD") or "").split())}
        self.commits = self.order.keys()
        self.versions: dict[str, set[str]] = {}
        log = git(root, "log", "--format=", "--raw", "--no-abbrev", "--no-renames", "--", RESULTS)
        for line in (log or "").splitlines():
            words, _, path = line.partition("\t")
            self.versions.setdefault(path, set()).add(words.split()[3])

    @functools.cache  # noqa: B019, a history lives only for one check
    def blob(self, commit: str, path: str) -> str:
        """The hash of the git blob of a file in a commit; empty if the file was not there."""
        return git(self.root, "rev-parse", "--verify", "--quiet", f"{commit}:{path}") or ""

    @functools.cache  # noqa: B019, likewise
    def claims(self, blob: str) -> dict[str, dict[str, Any]]:
        """The entries of a ``claims.yaml`` by id, without expanding tables."""
        return entries(self.text(blob))

    def explained(self, file: str, name: str, reason: str) -> str:
        """The commit that wrote the reason which a claim gives in ``afterwards``.

        Args:
            file: the path of its ``claims.yaml``.
            name: the claim.
            reason: the reason as it is now.

        Returns:
            The first of the latest versions in a row that have it; empty if none has it yet.
        """
        first = ""
        for commit in (git(self.root, "log", "--format=%H", "--", file) or "").split():
            entry = self.claims(self.blob(commit, file)).get(name) or {}
            if entry.get("afterwards") != reason:
                break
            first = commit
        return first

    def text(self, blob: str) -> str:
        """The content of a git blob; empty for an empty hash."""
        return (blob and git(self.root, "cat-file", "blob", blob)) or ""

    def made_by(self, path: str, result: Result) -> str:
        """The first commit that is known to have made a result's numbers.

        A repeated run gives the same bits, and its rewritten file names a later commit. So earlier
        versions of the file with the same metrics are considered, too.
        """
        commits = [result.record.segments[-1].commit]
        for blob in self.versions.get(path, ()):
            with contextlib.suppress(ValueError, KeyError, TypeError):
                before = json.loads(self.text(blob))
                if before["metrics"] == result.metrics:
                    commits.append(before["segments"][-1]["commit"])
        return min(commits, key=lambda c: self.order.get(c, math.inf))


def entries(text: str) -> dict[str, dict[str, Any]]:
    """The entries of a ``claims.yaml`` by id, as they are written."""
    found = load_yaml(text).get("claims") or []
    return {e["id"]: e for e in found if isinstance(e, dict) and "id" in e}


def load_yaml(text: str) -> dict[str, Any]:
    """Parse a YAML mapping, with the fast parser if it is available; empty for no text."""
    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {}


def broken(paper: Paper, history: History) -> list[str]:
    """Every violation in a paper's results, claims and plans, one line each."""
    made = [r for runs in paper.results.values() for r in runs]
    return [*(line for r in made for line in of_result(paper, r, history)),
            *of_claims(paper, history), *of_plans(paper, history)]


def of_result(paper: Paper, result: Result, history: History) -> Iterator[str]:
    """Commits of a result that are not in this history, and data that do not match their name."""
    for segment in result.record.segments:
        if segment.commit not in history.commits:
            yield f"{result.name}: commit {segment.commit[:10]} is not of this history"
    name, found = result.record.data.name, result.record.data.fingerprint
    wanted, known = result.record.config["data"]["name"], paper.experiments.experiments
    if name != wanted and result.experiment in known and (
            "data.name" not in unused(paper.config(result.experiment))):
        yield f"{result.name}: its data are called {name} and should be {wanted}"
    if FINGERPRINTS.get(name, found) != found:
        yield (f"{result.name}: its data are called {name} and have the fingerprint {found[:10]}, "
               f"not {FINGERPRINTS[name][:10]}")


def of_claims(paper: Paper, history: History) -> Iterator[str]:
    """Claims that differ from what they were in the commits that made their results."""
    file = (paper.folder / "claims.yaml").relative_to(history.root).as_posix()
    here = entries((paper.folder / "claims.yaml").read_text(encoding="utf-8-sig"))
    wanted = {c.id: c for c in paper.claims}
    for name, entry in here.items():
        if reason := entry.get("afterwards"):
            if commit := history.explained(file, name, reason):
                yield from changes(paper, history, file, entry, commit, "which gave its reason")
            continue
        claims = [wanted[name]] if name in wanted else [
            c for c in paper.claims if c.each and c.each == entry.get("each")]
        runs = {e: {r.seed: r for r in paper.results.get(e, [])}
                for c in claims for e in c.experiments}
        seeds = set.intersection(*map(set, runs.values())) if runs else set()
        first = {made_by(paper, history, r[k]): r[k] for r in runs.values() for k in seeds}
        for commit, result in first.items():
            if commit in history.commits:
                yield from changes(paper, history, file, entry, commit,
                                   f"which made {result.name}")


def made_by(paper: Paper, history: History, result: Result) -> str:
    """See :meth:`History.made_by`."""
    path = path_of(paper.folder, result.experiment, result.seed).relative_to(history.root)
    return history.made_by(path.as_posix(), result)


def of_plans(paper: Paper, history: History) -> Iterator[str]:
    """Plans that were changed after their runs in any way other than being raised.

    Commits from before plans were written down are not checked.
    """
    file = (paper.folder / "config.yaml").relative_to(history.root).as_posix()
    for name, runs in paper.results.items():
        for commit in {made_by(paper, history, r) for r in runs} & history.commits:
            before = plans(history.text(history.blob(commit, file)))
            if before is None:
                continue
            planned = paper.experiments.planned
            was, new = planned(name, before), planned(name)
            if new[:len(was)] != was:
                yield (f"{paper.name}: {name}: {list(was)} runs were planned in {commit[:10]}, "
                       f"which made some, and {list(new)} are now")


def plans(config: str) -> dict[str, tuple[int, ...]] | None:
    """The ``seeds`` of a ``config.yaml`` by name; None if there are none."""
    given = load_yaml(config).get("seeds")
    named = given if given is None or isinstance(given, dict) else {"default": given}
    return named and {str(k): tuple(n) if isinstance(n, list) else (n,) for k, n in named.items()}


def changes(paper: Paper, history: History, file: str, entry: dict[str, Any], commit: str,
            what: str) -> Iterator[str]:
    """How a claim differs from what it was in a commit, and what that commit did."""
    blob, name = history.blob(commit, file), entry["id"]
    before = history.claims(blob).get(name) if blob else None
    if before is None:
        yield f"{paper.name}: claim {name} did not stand in {commit[:10]}, {what}"
        return
    for part in PROMISED:
        was, now = (without_reason(e.get(part)) for e in (before, entry))
        if was != now:
            yield (f"{paper.name}: claim {name}: {part} was {was} in {commit[:10]}, {what}, and is "
                   f"{now}")
    if table := entry.get("each"):
        path = paper.folder / "published" / f"{table}.csv"
        there = history.text(history.blob(commit, path.relative_to(history.root).as_posix()))
        columns = re.findall(r"{(\w+)}", str([entry.get(part) for part in ("id", *PROMISED)]))
        if numbers(there, columns) != numbers(path.read_text(encoding="utf-8-sig"), columns):
            yield f"{paper.name}: table {path.name} was another in {commit[:10]}, {what}"


def numbers(table: str, columns: list[str]) -> list[list[str | None]]:
    """The values of some columns of a CSV table, row by row."""
    return [[row.get(c) for c in columns] for row in csv.DictReader(
        io.StringIO(table.removeprefix("\ufeff")))]


def without_reason(part: Any) -> Any:
    """A part of a claim without ``why``, whose wording may change."""
    return {k: v for k, v in part.items() if k != "why"} if isinstance(part, dict) else part
