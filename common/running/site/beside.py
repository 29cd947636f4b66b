"""Code beside the paper: each row of a README's table with the lines that implement it.

Of docstrings only the first paragraph is shown: the whole of them stands in the API.
"""

from __future__ import annotations

import ast
import html
import itertools
import re
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml

from common.evidence.paper import Paper
from common.evidence.tables import escaped
from common.files import ROOT, read_text
from common.running.site.names import CodeName, TableRow, rows
from common.running.site.pages import Pages, fenced


def page(paper: Paper, pages: Pages) -> str:
    """The page: the places of the paper in order at left, the code at right.

    Raises:
        UserError: a name of the table stands for nothing.
    """
    return "\n\n".join([
        "---\nhide-toc: true\n---", f"# {escaped(paper.about.title)}: code beside the paper",
        f"{escaped(paper.about.authors)} ({paper.about.year}), in the order of the "
        "[README's table](README.md); names lead to their page in the API, which has the whole of "
        "their docstrings.",
        *(unfolding(pair(paper, pages, row), f"row-{k}")
          for k, row in enumerate(rows(paper), 1))]) + "\n"


SHOWN_LINES = 30
"""Of a long block of code, for which style.css has room. The rest is scrolled to, or unfolded."""

FEW = 5
"""A block that has no more lines than so many besides is shown whole."""

BLOCK = re.compile(r"^(`{3,})[^`\s].*\n(?::emphasize-lines: .*\n\n)?((?:.*\n)*?)\1$", re.MULTILINE)


def unfolding(text: str, name: str) -> str:
    """A row's Markdown, with a link below each long block: how many lines are out of sight.

    The link leads to the block itself, which then has room for all of its lines.

    Args:
        text: of the row.
        name: of the row, in the page.
    """
    numbers = itertools.count(1)

    def folded(block: re.Match[str]) -> str:
        more = block[2].count("\n") - SHOWN_LINES
        if more <= FEW:
            return block[0]
        place = f"{name}-{next(numbers)}"
        return (f'<div class="folded" id="{place}">\n\n{block[0]}\n\n<p class="more">'
                f'<a href="#{place}">… {more} more lines</a></p>\n\n</div>')
    return BLOCK.sub(folded, text)


SCRIPT = re.compile(r"(?<![a-zA-Z0-9_])([^\W\d_])_|([^\W_]|[)}])\^")
"""A single letter with something below it, or anything with something above it."""

GROUP = re.compile(r"\(([^()]*)\)|\{([^{}]*)\}|([^\W_]{1,4})(?![^\W_])")
"""What is below or above: in parentheses or braces, which are not shown, or a short word."""


def typeset(text: str) -> str:
    """A formula's x_j and e^(−y²) with real subscripts and superscripts, but for what is code."""
    parts = re.split(r"(`[^`]*`)", text)
    for k in range(0, len(parts), 2):
        done, rest = "", parts[k]
        while found := SCRIPT.search(rest):
            inner = GROUP.match(rest, found.end())
            tag = "sub" if found[1] else "sup"
            if inner:
                done += (rest[:found.end() - 1]
                         + f"<{tag}>{next(g for g in inner.groups() if g)}</{tag}>")
            else:
                done += rest[:found.end()]
            rest = rest[(inner or found).end():]
        parts[k] = done + rest
    return "".join(parts)


PIECE = re.compile(r"([,;:] (?![^()]*\)))")
"""What separates the pieces of a place's text, outside parentheses."""


def stated(says: str) -> str:
    """A place of the paper, its equations and assignments in a formula's letters."""
    return "".join(f'<span class="formula">{piece}</span>' if re.search("[=←∝]", says_piece)
                   else piece for piece, says_piece in (
                       (typeset(p), re.sub(r"`[^`]*`", "", p)) for p in PIECE.split(says)))


def breaking(code: str) -> str:
    """Markdown whose names in backquotes may go on in the next line, after a dot or the like."""
    return re.sub("`([^`]+)`", lambda m: '<code class="docutils literal">' + re.sub(
        r"([._/=])(?=\w)", r"\1<wbr>", html.escape(m[1])) + "</code>", code)


def pair(paper: Paper, pages: Pages, row: TableRow) -> str:
    """A row: what the paper has, beside what the code has."""
    code = "\n\n".join(dict.fromkeys(shown(paper, pages, n, row) for n in row.names))
    says = f"{stated(row.says)}\n\n{breaking(row.code)}"
    return (f"::::::{{container}} pair\n:::::{{container}} says\n{says}\n:::::\n"
            f":::::{{container}} code\n{code}\n:::::\n::::::")


def shown(paper: Paper, pages: Pages, named: CodeName, row: TableRow) -> str:
    """What a name of the table stands for: its lines, or what is said about it."""
    source = named.source
    if source is None or named.kind in ("key", "experiment"):
        return said(paper, pages, named, row)
    place = f"{source.path.relative_to(ROOT)}"
    if not source.name:
        page = (f"/api/{source.module}.md" if source.module in pages.modules
                else f"/{pages.add_file(place)}")
        return f"[`{place}`]({page})\n\n{fenced(implementing(source.text), 'python')}"
    page = (f"api/{source.module}.html#{source.module}.{source.name}"
            if source.module in pages.modules
            else pages.add_file(place).removesuffix(".md") + ".html")
    link = f'<a href="../../{page}"><code>{source.name}</code></a>'
    words = [n.name.partition("=")[0] for n in row.names
             if n.kind == "word" and n.source == source]
    text = implementing(source.text)
    return f"{link} {place}, line {source.first}\n\n{emphasised(text, having(text, words))}"


def emphasised(text: str, numbers: Sequence[int]) -> str:
    """Python as a block of code, some of its lines emphasised."""
    if not numbers:
        return fenced(text, "python")
    return fenced(f":emphasize-lines: {','.join(map(str, numbers))}\n\n{text}",
                  "{code-block} python")


def having(text: str, words: Sequence[str]) -> list[int]:
    """The numbers, from 1, of the lines that have one of some words."""
    if not words:
        return []
    found = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, words))})(?!\w)")
    return [k for k, line in enumerate(text.splitlines(), 1) if found.search(line)]


DOCUMENTED = ast.FunctionDef | ast.ClassDef | ast.Module


def implementing(text: str) -> str:
    """Lines of Python without imports, and of each docstring the first paragraph alone."""
    lines = textwrap.dedent(text).splitlines()
    tree = ast.parse("\n".join(lines))
    left_out: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node):
            first, end = node.body[0].lineno - 1, node.body[0].end_lineno or 0
            blank = next((k for k in range(first, end) if not lines[k].strip()), end)
            if blank < end:
                lines[blank - 1] += '"""'
                left_out |= set(range(blank, end))
    for top in tree.body:
        if isinstance(top, ast.Import | ast.ImportFrom):
            left_out |= set(range(top.lineno - 1, top.end_lineno or 0))
    kept = "\n".join(line for k, line in enumerate(lines) if k not in left_out)
    return re.sub(r"\n{4,}", "\n\n\n", kept).strip("\n")


def entries(path: Path, part: str, chosen: Callable[[str], bool]) -> str:
    """The lines of a part of a YAML file: those entries whose names are chosen.

    Args:
        path: of the file.
        part: a key of the whole.
        chosen: says of a name whether it is wanted.
    """
    text = read_text(path)
    lines = text.splitlines()
    whole = yaml.compose(text)
    assert isinstance(whole, yaml.MappingNode), path
    of_part = next(v for k, v in whole.value if k.value == part)
    found = []
    for name, value in of_part.value:
        if chosen(name.value):
            end = value.end_mark.line + (value.end_mark.column > 0)
            found += lines[name.start_mark.line:end]
            while not found[-1].strip() or found[-1].lstrip().startswith("#"):
                found.pop()
    return textwrap.dedent("\n".join(found))


def said(paper: Paper, pages: Pages, named: CodeName, row: TableRow) -> str:
    """A key, an experiment or a file, by its help, the page that shows it and its lines, if few."""
    config = paper.folder / "config.yaml"
    path = (named.path or config).relative_to(ROOT).as_posix()
    link = f"[{path}](/{pages.add_file(path)})"
    if named.kind == "key":
        return f"key `{named.name}`: {paper.experiments.known[named.name].help} ({link})"
    if named.kind == "experiment":
        name = named.name.removeprefix("experiment=")
        known = paper.experiments.experiments
        text = paper.experiments.groups[name][0] if name in paper.experiments.groups else (
            known[name].help if name in known else "several")
        lines = entries(config, "experiments", lambda found: found == name or (
            name.endswith("…") and found.startswith(name[:-1])))
        return f"experiment `{name}`: {text} ({link})" + (
            f"\n\n{fenced(lines, 'yaml')}" if lines else "")
    if named.path == config and "experiment" not in {n.kind for n in row.names}:
        return f"{link}, what all experiments share\n\n" + fenced(
            entries(config, "defaults", lambda _: True), "yaml")
    return link
