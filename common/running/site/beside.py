"""Code beside the paper: each row of a README's table with the lines that implement it."""

from __future__ import annotations

import re
import textwrap

from common.evidence.paper import Paper
from common.evidence.tables import escaped
from common.files import ROOT
from common.running.site.names import Named, Row, rows
from common.running.site.pages import Pages, fenced


def page(paper: Paper, pages: Pages) -> str:
    """The page: the places of the paper in order at left, the code at right.

    Raises:
        UserError: a name of the table stands for nothing.
    """
    return "\n\n".join([
        "---\nhide-toc: true\n---", f"# {escaped(paper.about.title)}: code beside the paper",
        f"{escaped(paper.about.authors)} ({paper.about.year}), in the order of the "
        "[README's table](README.md); names lead to their page in the API.",
        *(pair(paper, pages, row) for row in rows(paper))]) + "\n"


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


def pair(paper: Paper, pages: Pages, row: Row) -> str:
    """A row: what the paper has, beside what the code has."""
    code = "\n\n".join(dict.fromkeys(shown(paper, pages, n) for n in row.names))
    says = f"{typeset(row.says)}\n\n{row.code}"
    return (f"::::::{{container}} pair\n:::::{{container}} says\n{says}\n:::::\n"
            f":::::{{container}} code\n{code}\n:::::\n::::::")


def shown(paper: Paper, pages: Pages, named: Named) -> str:
    """What a name of the table stands for: its lines, or what is said about it."""
    if named.kind in ("key", "experiment") or named.source is None:
        return said(paper, pages, named)
    source = named.source
    place = f"{source.path.relative_to(ROOT)}"
    if not source.name:
        page = (f"/api/{source.module}.md" if source.module in pages.modules
                else f"/{pages.add_file(place)}")
        return f"[`{place}`]({page})\n\n{fenced(source.text, 'text')}"
    link = f"<code>{source.name}</code>"
    if source.module in pages.modules:
        anchor = f"{source.module}.html#{source.module}.{source.name}"
        link = f'<a href="../../api/{anchor}">{link}</a>'
    return (f"{link} {place}, line {source.first}\n\n"
            f"{fenced(textwrap.dedent(source.text), 'python')}")


def said(paper: Paper, pages: Pages, named: Named) -> str:
    """A key, an experiment or a file, by its help and the page that shows it."""
    path = (named.path or paper.folder / "config.yaml").relative_to(ROOT).as_posix()
    link = f"[{path}](/{pages.add_file(path)})"
    if named.kind == "key":
        return f"key `{named.name}`: {paper.experiments.known[named.name].help} ({link})"
    if named.kind == "experiment":
        name = named.name.removeprefix("experiment=")
        known = paper.experiments.experiments
        text = paper.experiments.groups[name][0] if name in paper.experiments.groups else (
            known[name].help if name in known else "several")
        return f"experiment `{name}`: {text} ({link})"
    return link
