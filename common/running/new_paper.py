"""Start a paper: a folder that trains at once, and tests, which say what is still to be written.

    papers new lenet
    papers new lenet title="LeNet" authors="LeCun et al." year=1998
"""

from __future__ import annotations

import contextlib
import json
import keyword
import math
import os
import re
import unicodedata
from pathlib import Path

import yaml

from common.errors import UserError, asks_for_help, nearest, on_one_line, say
from common.evidence.paper import CREATING, UNFINISHED
from common.files import ROOT, locked, no_name_on_windows, shown, write_atomic
from common.running.words import texts_of
from common.typed import Model, read_json

TEMPLATE = Path(__file__).with_name("template")

LEFT: dict[str, dict[str, tuple[str, str]]] = {
    "README.md": {
        "What the paper claims, in a sentence or two.": ("the first paragraph", "what it claims"),
        "| section, table or figure |": ("From the paper to the code", "a row for each place"),
        "- What it says that matters for a reproduction": (
            "Notes from the paper", "what it says, each with its place"),
        "1. Where the paper is silent: what was": (
            "Deviations and choices", "each choice, and why")},
    "claims.yaml": {
        "authors: \"Authors\"": ("authors", "who wrote the paper"),
        "year: 0\n": ("year", "the year it appeared"),
        "https://example.org": ("link", "the address of the paper"),
        "shows: what the reader will see": ("shows", "what it shows, in half a sentence"),
        "where: Table 0": ("where", "the table of the paper and its cell"),
        "where: Fig. 0": ("where", "the figure of the paper"),
        "- What would close the gap, or could not": (
            "notes", "what could not be found out, or no notes"),
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
    """Refuse a name that cannot be a Python package and a folder everywhere.

    Raises:
        UserError: the name is refused.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,49}", name) or keyword.iskeyword(name):
        raise UserError(f"{name!r} cannot be a paper's name: expected at most 50 lower-case "
                        "letters, digits and underscores, starting with a letter, and no Python "
                        "keyword")
    if no_name_on_windows(name):
        raise UserError(f"{name!r} cannot be a paper's name: Windows allows no folder of this name")
    if name in ("common", "papers", "tests"):
        raise UserError(f"{name!r} cannot be a paper's name: expected another than those of this "
                        "repository's packages")


def check_free(name: str) -> None:
    """Refuse a name that is taken, unless its creation was cut short.

    Raises:
        UserError: the name is refused.
    """
    if (ROOT / "papers" / name / UNFINISHED).exists():
        return
    for folder in (ROOT / "papers", ROOT / "tests" / "papers"):
        for there in (folder / name, folder / f"{name}.py"):
            if there.exists():
                raise UserError(f"{shown(there)} exists: choose another name")


class Begun(Model):
    """The content of the mark in a folder that is being created: what the files are filled with."""

    title: str
    authors: str
    year: str


def begun_with(name: str, about: dict[str, str]) -> dict[str, str]:
    """What a paper's files are filled with, if its creation was cut short as it was then.

    Args:
        name: the paper.
        about: title, authors and year, as they are asked for now.

    Raises:
        UserError: another title, other authors or another year are asked for.
    """
    mark = ROOT / "papers" / name / UNFINISHED
    if not mark.exists() or not mark.read_bytes().strip():
        return about
    began = read_json(Begun, mark).written()
    for k, v in about.items():
        if v not in (began[k], unknown(name)[k]):
            raise UserError(f"{k}={v}: expected {k}={began[k]}, with which {shown(mark.parent)} "
                            "was begun and cut short; or remove that folder and its tests first")
    return began


def unknown(name: str) -> dict[str, str]:
    """Placeholders for title, authors and year, where only the name is known."""
    return {"title": name, "authors": "Authors", "year": "0"}


def check_value(key: str, value: str) -> str:
    """A title, authors or a year, as the files will hold it.

    Raises:
        UserError: the value cannot stand in YAML, in a docstring and in a table alike.
    """
    strange = {c for c in value if unicodedata.category(c) in CONTROL}
    if key == "year":
        bad = not re.fullmatch("(1[89]|2[0-9])[0-9]{2}", value)
        expected = "a year from 1800 to 2999"
    else:
        bad = not value.strip() or bool(strange or re.search(r"""\\|\"{3}|'{3}""", value))
        expected = "some text without backslashes, control characters or triple quotes"
    if bad:
        visible = "".join("?" if c in strange else c for c in value)
        raise UserError(f"{key}={visible}: expected {expected}")
    return on_one_line(value)


CONTROL = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode's categories of control characters: they show nothing, or break a line."""


def fill(text: str, name: str, about: dict[str, str]) -> str:
    """Fill the template's text with the paper's name, title, authors and year.

    Authors between semicolons are of a paper each, see :class:`common.evidence.claims.About`.
    A placeholder that stands in double quotes is in YAML, and is filled with a quoted scalar.
    """
    words = {f'"{k.upper()}"': quoted(v) for k, v in about.items()}
    words["NAME_CLASS"] = "".join(part.title() for part in name.split("_"))
    addresses = ["https://example.org"] * len(about["authors"].split("; "))
    words["LINK"] = addresses[0] if len(addresses) == 1 else f"[{', '.join(addresses)}]"
    words |= {"NAME": name} | {k.upper(): v for k, v in about.items()}
    return re.sub("|".join(words), lambda found: words[found[0]], text)


def quoted(text: str) -> str:
    """A text as a YAML scalar in double quotes, on one line."""
    return yaml.safe_dump(text, default_style='"', allow_unicode=True, width=math.inf).strip()


def create(name: str, about: dict[str, str]) -> list[Path]:
    """Write the folder and the tests, but for files that are there; returns the files written.

    Raises:
        UserError: the name cannot be used, another process is creating a paper, or the files
            cannot be written; what this process wrote is then removed, and nothing else.
    """
    check_name(name)
    with locked(ROOT / "runs" / ".new",  # one for all papers: each writes README's table
                "another 'papers new' is at work in this clone: try again when it has ended"):
        check_free(name)
        return write(name, about)


def write(name: str, about: dict[str, str]) -> list[Path]:
    """The work of :func:`create`, for a name that is free, in a clone that is locked."""
    about = begun_with(name, about)
    folder, tests = ROOT / "papers" / name, ROOT / "tests" / "papers" / name
    verdicts = ROOT / "tests" / "common" / "evidence" / "test_claims" / f"{name}.yml"
    before = {folder, tests, *folder.rglob("*"), *tests.rglob("*")}
    before = {path for path in before if os.path.lexists(path)}
    made: list[Path] = []
    CREATING.add(name)
    try:
        if not (folder / UNFINISHED).exists():
            put(folder / UNFINISHED, json.dumps(about) + "\n", made)
        for source, target in ((TEMPLATE / "paper", folder), (TEMPLATE / "tests", tests)):
            for path in sorted(p for p in source.iterdir() if p.is_file()):
                put(target / path.name.replace("NAME", name),
                    fill(path.read_text(encoding="utf-8"), name, about), made)
        put(folder / "results" / ".gitkeep", "", made)  # git keeps no empty folders
        say(f"{shown(folder)} and {shown(tests)} are there; judging every paper, for its line in "
            "README's table …")
        from common.evidence import generated  # imported here because it takes seconds
        from common.evidence.paper import papers, verdict_table
        put(verdicts, yaml.safe_dump(verdict_table(papers([name])[0])), made)
        generated.main([name])  # README comes last: no line of a paper that is not there
        (folder / UNFINISHED).unlink()
    except Exception:
        made += {folder / "REPORT.md", *folder.glob("figures/*.svg"),
                 *folder.rglob("__pycache__/*")} - before
        remove(made, {folder, folder / "results", folder / "figures",
                      *folder.rglob("__pycache__"), tests} - before)
        raise
    finally:
        CREATING.discard(name)
    return [path for path in made if not path.name.startswith(".")] + [folder / "REPORT.md"]


def put(path: Path, text: str, made: list[Path]) -> None:
    """Write a file and add it to ``made``; name one that is there and differs, and leave it."""
    if not os.path.lexists(path):
        write_atomic(path, text)
        made.append(path)
    elif path.read_bytes() != text.encode():
        say(f"{shown(path)} differs from the template's: left alone")


def remove(files: list[Path], folders: set[Path]) -> None:
    """Remove files, and folders that are then empty; the mark stays where anything else does."""
    for path in sorted(files, key=lambda path: path.name == UNFINISHED):
        others = (p for p in path.parent.rglob("*") if p != path and not p.is_dir())
        if path.name != UNFINISHED or not any(others):
            path.unlink(missing_ok=True)
    for path in sorted(folders, reverse=True):  # the inner ones first
        with contextlib.suppress(OSError):  # not empty: somebody else wrote there
            path.rmdir()


def main(argv: list[str]) -> int:
    """The command line; see the module's docstring."""
    if asks_for_help(argv or ["--help"], __doc__):
        return 0
    about = unknown(argv[0])
    for k, v in texts_of(argv[1:]).items():
        if k not in about:
            raise UserError(f"unknown key {k!r}{nearest(k, about)}")
        about[k] = check_value(k, v)
    for path in create(argv[0], about):
        print(shown(path))
    say("pytest tests/common/test_house.py names what the template left to write")
    print(f"next: python papers/{argv[0]}/train.py experiment=quick   "
          "(papers/README.md says what goes where)")
    return 0
