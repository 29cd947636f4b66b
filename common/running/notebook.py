"""The notebook for those who start in one, made from a Python file of cells.

    papers notebook             # write papers/first_steps.ipynb from papers/first_steps.py
    papers notebook --check     # exit 1 if what is committed differs
    papers notebook to=FILE     # execute it, and write it with its outputs to another file

A line ``# %%`` begins a cell of code, ``# %% [markdown]`` one of text, whose lines are comments.
What stands before the first cell is about the file and is left out. The notebook is committed
without outputs: times and pictures differ from machine to machine, and the next result would put
out of date what it shows of a report. papers site executes it and makes a page that shows them.
Needs pip install -e '.[notebook]'.

Exit status: 0, or 1 if the committed file differs or a cell fails.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.errors import UserError, asks_for_help, say
from common.files import ROOT, read_text, shown, write_atomic
from common.running.words import texts_of

SOURCE = ROOT / "papers" / "first_steps.py"

CELL = re.compile(r"^# %%(.*)\n", re.MULTILINE)


def cells(text: str) -> list[tuple[str, str]]:
    """Split a Python file into cells: the kind, ``code`` or ``markdown``, and the text of each.

    Raises:
        UserError: a cell is of another kind, or a text cell has a line that is not a comment.
    """
    _, *parts = CELL.split(text)
    found = []
    for mark, body in zip(parts[::2], parts[1::2], strict=True):
        kind = mark.strip() or "code"
        if kind not in ("code", "[markdown]"):
            raise UserError(f"a cell begins with '# %%{mark}': expected '# %%' or "
                            "'# %% [markdown]'")
        lines = body.strip("\n").split("\n")
        if kind != "code":
            if wrong := [line for line in lines if line and not re.match(r"#( |$)", line)]:
                raise UserError(f"a cell of text has the line {wrong[0]!r}: expected comments")
            lines = [line[2:] for line in lines]
        found.append((kind.strip("[]"), "\n".join(lines)))
    return found


def notebook(text: str) -> Any:
    """Convert a Python file of cells to a notebook without outputs, always with the same bytes.

    Raises:
        UserError: see :func:`cells`; or nbformat is not installed.
    """
    try:
        from nbformat import v4
    except ImportError as e:
        raise UserError("papers notebook needs nbformat, which is not installed: "
                        "pip install -e '.[notebook]'") from e
    make = {"code": v4.new_code_cell, "markdown": v4.new_markdown_cell}
    made = [make[kind](source, id=f"cell-{k}") for k, (kind, source) in enumerate(cells(text), 1)]
    return v4.new_notebook(cells=made, metadata={
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "language_info": {"name": "python"}})


def written(text: str) -> str:
    """The content of the notebook's file."""
    from nbformat import writes
    return writes(notebook(text)) + "\n"


def execute(made: Any) -> str:
    """Execute a notebook's cells in papers/ and keep their outputs; returns how a cell failed.

    Runs go to a folder of their own, so that none is continued and none is left behind; outputs
    call it ``runs``, as a reader's would.

    Raises:
        UserError: nbclient or ipykernel is not installed.
    """
    try:
        import ipykernel  # noqa: F401
        from nbclient import NotebookClient
        from nbclient.exceptions import CellExecutionError
    except ImportError as e:
        raise UserError(f"executing the notebook needs {e.name}, which is not installed: "
                        "pip install -e '.[notebook]'") from e
    client = NotebookClient(made, timeout=300, record_timing=False,
                            resources={"metadata": {"path": str(SOURCE.parent)}})
    inherited = {k: v for k, v in os.environ.items() if k != "MPLBACKEND"}  # ours is agg
    with tempfile.TemporaryDirectory() as runs:
        failed = ""
        try:
            client.execute(env=inherited | {"PYTHONPATH": str(ROOT), "PAPERS_RUNS": runs})
        except CellExecutionError as e:
            failed = f"{e.ename}: {e.evalue}"
        for output in (o for cell in made.cells for o in cell.get("outputs", [])):
            if "text" in output:
                output["text"] = output["text"].replace(runs, "runs")
    return failed


def main(argv: Sequence[str]) -> int:
    """The command line; see the module's docstring."""
    if asks_for_help(argv, __doc__):
        return 0
    if other := [w for w in argv if w != "--check" and not re.match("to=.", w)]:
        raise UserError("to=: expected a file, such as to=first_steps.ipynb" if other[0] == "to="
                        else f"unknown word {other[0]!r}: expected --check, to=FILE or nothing")
    to = texts_of(w for w in argv if w != "--check").get("to", "")
    if to and "--check" in argv:
        raise UserError(f"to={to}: not used with --check, which writes nothing: expected one of "
                        "the two")
    path: Path = SOURCE.with_suffix(".ipynb")
    made = notebook(text := read_text(SOURCE))  # says what is missing
    if to:
        from nbformat import writes
        failed = execute(made)
        write_atomic(Path(to), writes(made) + "\n")
        if failed:
            say(f"a cell of {shown(SOURCE)} fails: {failed}")
        return 1 if failed else 0
    content = written(text)
    if "--check" in argv:
        same = path.exists() and read_text(path) == content
        print(f"{shown(path)} {'agrees with' if same else 'differs from'} {shown(SOURCE)}")
        return 0 if same else 1
    write_atomic(path, content)
    print(f"wrote {shown(path)}")
    return 0
