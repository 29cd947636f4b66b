"""Start a paper: a folder and its tests that run and pass at once.

    papers new lenet
    papers new lenet title="LeNet" authors="LeCun et al." year=1998
"""

from __future__ import annotations

import keyword
import re
import shutil
from pathlib import Path

import yaml

from common.config import one_line
from common.errors import UserError, nearest
from common.evidence import report
from common.evidence.paper import papers, verdict_table
from common.files import ROOT, shown, write_atomic

TEMPLATE = Path(__file__).with_name("template")


def check_name(name: str) -> None:
    """Refuse a name that is taken or cannot be a Python package.

    Raises:
        UserError: naming it and what was expected.
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
"""Lies in a paper's folder while it is being made."""


def fill(text: str, name: str, about: dict[str, str]) -> str:
    """The template's text with the paper's name and what is known about it."""
    text = text.replace("NAME_CLASS", "".join(part.title() for part in name.split("_")))
    text = text.replace("NAME", name)
    for k, v in about.items():
        text = text.replace(k.upper(), v)
    return text


def create(name: str, about: dict[str, str]) -> list[Path]:
    """Write the folder and the tests; returns the files made.

    Raises:
        UserError: the name cannot be used, or the files cannot be written; then nothing is left.
    """
    check_name(name)
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


def main(argv: list[str]) -> int:
    """The command line; see the module's text."""
    if not argv or argv[0] in ("--help", "-h"):
        print(__doc__.strip())
        return 0
    about = {"title": argv[0], "authors": "Authors", "year": "2000"}
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
    print(f"next: python papers/{argv[0]}/train.py experiment=quick   "
          "(papers/README.md says what goes where)")
    return 0
