"""The notebook of first steps as a page of the site, with the outputs of its cells.

Cells and outputs become Markdown like every other page's, so that links lead to pages of the site,
and figures and colours are those of the rest.
"""

from __future__ import annotations

import base64
import contextlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.files import ROOT, read_text
from common.running.site.pages import fenced, figure
from common.typed import parse_json

NAME = "first_steps"
"""Of the notebook in papers/, and of its page."""

INTRODUCTION = (
    f'<a href="{NAME}.ipynb" download>Download this notebook</a> with its outputs, or open '
    f"`papers/{NAME}.ipynb` in a clone, where it is without.")

COLOUR = re.compile(r"\x1b\[[\d;]*m")
"""What a terminal would colour the text of an error with."""


def page(notebook: dict[str, Any]) -> tuple[str, dict[str, bytes]]:
    """The page's Markdown, and its pictures by their path beside the page.

    Args:
        notebook: as its file has it, in JSON.
    """
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else fenced(source, "python"))
        for output in cell.get("outputs", []):
            shown = of_output(output, f"{NAME}/{len(pictures) + 1}", pictures)
            parts.append(f":::::{{container}} output\n{shown}\n:::::")
    parts.insert(1, INTRODUCTION)
    return "\n\n".join(parts) + "\n", pictures


def of_output(output: dict[str, Any], path: str, pictures: dict[str, bytes]) -> str:
    """What a cell said or showed, in the richest form a page can have.

    Args:
        output: of a code cell.
        path: of a picture, without its suffix.
        pictures: where a picture is put.
    """
    if output["output_type"] == "error":
        return fenced(COLOUR.sub("", "\n".join(output["traceback"])), "text")
    if output["output_type"] == "stream":
        return fenced("".join(output["text"]), "text")
    data = {k: "".join(v) for k, v in output["data"].items()}
    if text := data.get("text/markdown"):
        return re.sub(r"^#+ (.*)$", r"**\1**", text, flags=re.MULTILINE)  # sections are the cells'
    for kind, suffix in (("image/svg+xml", "svg"), ("image/png", "png")):
        if kind in data:
            content = data[kind]
            pictures[f"{path}.{suffix}"] = (
                content.encode() if suffix == "svg" else base64.b64decode(content))
            return figure(f"{path}.{suffix}", "what the cell above draws")
    return fenced(data["text/plain"], "text")


@contextlib.contextmanager
def executing(folder: Path) -> Iterator[Callable[[], tuple[dict[str, Any], str]]]:
    """Execute the notebook in another process, on another core, while the block goes on.

    Args:
        folder: for the notebook's file.

    Yields:
        A function that waits for the end: the notebook as JSON, and what was said of a failure.
    """
    path = folder / f"{NAME}.ipynb"
    process = subprocess.Popen([sys.executable, "-m", "common.running", "notebook", f"to={path}"],
                               cwd=ROOT, text=True, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE)

    def ended() -> tuple[dict[str, Any], str]:
        said = process.communicate()[1].strip()
        if not path.exists():
            raise UserError(f"the notebook could not be executed: {said[-300:]}")
        return parse_json(read_text(path)), said.split("\n")[-1] if process.returncode else ""

    try:
        yield ended
    finally:
        process.kill()  # nothing, if it has ended
        process.wait()
