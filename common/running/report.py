"""Reports, and what else is generated and committed: tables of papers/STUDY.md, the notebook.

    papers report [paper …]            # write the papers' reports, figures and README's gallery
    papers report --check [paper …]    # exit 1 if what is committed differs

Without names also papers/STUDY.md's tables of exported networks and of files to download with their
picture, from the measurements in ``exports/``, and papers/first_steps.ipynb, where nbformat is
installed.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

from common.errors import asks_for_help
from common.evidence import generated
from common.files import ROOT, read_text
from common.running import forms, notebook, sure

STUDY = ROOT / "papers" / "STUDY.md"

TABLES: dict[str, Callable[[], str]] = {
    "exports": lambda: forms.table(forms.recorded()),
    "certainty": lambda: sure.table(sure.recorded()),
    "downloads": lambda: forms.downloads(forms.downloadable())}
"""The generated tables of papers/STUDY.md, each between two lines of :func:`markers`."""


def markers(name: str) -> tuple[str, str]:
    """The lines before and after a generated table."""
    return f"<!-- {name}: made by papers report -->", f"<!-- end of {name} -->"


def shared_files() -> dict[Path, bytes]:
    """The content of each generated file that belongs to no single paper.

    Raises:
        UserError: a measurement is damaged, or papers/STUDY.md lacks a line of :func:`markers`.
    """
    text = read_text(STUDY)
    for name, made in TABLES.items():
        text = generated.between(STUDY, text, *markers(name), f"\n{made().strip()}\n")
    files = {STUDY: text.encode(), ROOT / forms.PICTURE: forms.drawn(forms.recorded())}
    if importlib.util.find_spec("nbformat"):
        written = notebook.written(read_text(notebook.SOURCE))
        files[notebook.SOURCE.with_suffix(".ipynb")] = written.encode()
    return files


def main(argv: list[str]) -> int:
    """The command line; see the module's docstring."""
    if asks_for_help(argv, __doc__):
        return 0
    return generated.main(argv, shared_files)
