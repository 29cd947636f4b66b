"""Start a paper: a folder and its tests that run and pass at once.

    papers new lenet
    papers new lenet title="LeNet" authors="LeCun et al." year=1998
"""

from __future__ import annotations

import keyword
import re
import shutil
import sys
from pathlib import Path

import yaml

from common.config import one_line
from common.errors import UserError, nearest
from common.files import ROOT, shown, write_atomic

TEMPLATE = Path(__file__).with_name("template")

LEFT: dict[str, dict[str, tuple[str, str]]] = {
    "README.md": {
        "What the paper claims, in a sentence or two.": ("the first paragraph", "what it claims"),
        "| section, table or figure |": ("From the paper to the code", "a row for each place"),
        "- What it says that matters for a reproduction": (
            "Notes from the paper", "what it says, each with its place"),
        "1. Where the paper is silent: what was": (
            "Deviations and choices", "each choice, and why"),
        "- What would close the gap, or could not": (
            "Open questions", "what could not be found out")},
    "claims.yaml": {
        "authors: \"Authors\"": ("authors", "who wrote the paper"),
        "year: 0\n": ("year", "the year it appeared"),
        "link: https://example.org": ("link", "the address of the paper"),
        "shows: what the reader will see": ("shows", "what it shows, in half a sentence"),
        "where: Table 0": ("where", "the table of the paper and its cell"),
        "where: Fig. 0": ("where", "the figure of the paper"),
        "One claim of each kind; replace them": (
            "the comment above 'claims'", "the paper's own claims"),
        "accuracy on a data set that is not at hand": ("says", "what is not measured here"),
        "say what it would need.": ("because", "what a run would need")},
    "config.yaml": {"Say what a run costs.": ("the first line", "what a run costs")},
    "model.py": {'"""The paper\'s method, in its symbols and with': (
        "the module's docstring", "which method, and which equations")},
    "train.py": {'"""The paper\'s training; loss, step and evaluation are': (
        "the recipe's docstring", "how this paper trains")},
    "bench.py": {'"""The paper\'s speed claim, or ours, as a ratio."""': (
        "the module's docstring", "what is timed against what")}}
"""The placeholders of the template: by file, the text to find, its place, and what to write."""


def left_in(folder: Path) -> list[str]:
    """The placeholders of :data:`LEFT` that are still in a paper's files, one line each."""
    said = []
    for file, words in LEFT.items():
        path = folder / file
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        said += [f"{shown(path)}: {where}: still the template's {word.strip()!r}: write {what}"
                 for word, (where, what) in words.items() if word in text]
    return said


def check_name(name: str) -> None:
    """Refuse a name that is taken or cannot be a Python package.

    Raises:
        UserError: the name is refused.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,49}", name) or keyword.iskeyword(name):
        raise UserError(f"{name!r} cannot be a paper's name: expected at most 50 lower-case "
                        "letters, digits and underscores, starting with a letter, and no Python "
                        "keyword")
    if (ROOT / "papers" / name / UNFINISHED).exists():  # an earlier attempt was cut short
        return
    for folder in (ROOT / "papers" / name, ROOT / "tests" / "papers" / name):
        if folder.exists():
            raise UserError(f"{shown(folder)} exists: choose another name")


UNFINISHED = ".unfinished"
"""A file that marks a paper's folder while it is being created."""


def unknown(name: str) -> dict[str, str]:
    """Placeholders for title, authors and year, where only the name is known."""
    return {"title": name, "authors": "Authors", "year": "0"}


def fill(text: str, name: str, about: dict[str, str]) -> str:
    """Fill the template's text with the paper's name, title, authors and year."""
    text = text.replace("NAME_CLASS", "".join(part.title() for part in name.split("_")))
    text = text.replace("NAME", name)
    for k, v in about.items():
        text = text.replace(k.upper(), v)
    return text


def create(name: str, about: dict[str, str]) -> list[Path]:
    """Write the folder and the tests; returns the files written.

    Raises:
        UserError: the name cannot be used, or the files cannot be written; nothing is left behind.
    """
    check_name(name)
    say("reading the papers there are …")
    from common.evidence import report  # imported here because it takes seconds
    from common.evidence.paper import papers, verdict_table
    folder, tests = ROOT / "papers" / name, ROOT / "tests" / "papers" / name
    made = []
    try:
        write_atomic(folder / UNFINISHED, "")
        for source, target in ((TEMPLATE / "paper", folder), (TEMPLATE / "tests", tests)):
            for path in sorted(p for p in source.iterdir() if p.is_file()):
                file = target / path.name.replace("NAME", name)
                write_atomic(file, fill(path.read_text(encoding="utf-8"), name, about))
                made.append(file)
        write_atomic(folder / "results" / ".gitkeep", "")  # git keeps no empty folders
        say("its report and figure, and its line in README's table, for which every paper is "
            "judged …")
        report.main([name])
        verdicts = ROOT / "tests" / "common" / "evidence" / "test_claims" / f"{name}.yml"
        write_atomic(verdicts, yaml.safe_dump(verdict_table(papers([name])[0])))
        made += [folder / "REPORT.md", verdicts]
        (folder / UNFINISHED).unlink()
    except Exception:
        for path in (folder, tests):
            shutil.rmtree(path, ignore_errors=True)
        raise
    return made


def say(what: str) -> None:
    """Print progress to stderr at once; standard output lists only the files written."""
    print(what, file=sys.stderr, flush=True)


def main(argv: list[str]) -> int:
    """The command line; see the module's docstring."""
    if not argv or argv[0] in ("--help", "-h"):
        print(__doc__.strip())
        return 0
    about = unknown(argv[0])
    for word in argv[1:]:
        k, sign, v = word.partition("=")
        if not sign:
            raise UserError(f"cannot read {word!r}: expected key=value")
        if k not in about:
            raise UserError(f"unknown key {k!r}{nearest(k, about)}")
        about[k] = one_line(Exception(v)).replace('"', "'")
    if not about["year"].isdigit():
        raise UserError(f"year={about['year']}: expected a whole number")
    for path in create(argv[0], about):
        print(shown(path))
    say("pytest tests/common/test_house.py names what the template left to write")
    print(f"next: python papers/{argv[0]}/train.py experiment=quick   "
          "(papers/README.md says what goes where)")
    return 0
