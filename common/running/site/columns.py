"""Names of columns inside the cells of a report's tables, for screens too narrow for a table.

A phone shows a row as a block, the statement over the whole width and the numbers below it, where
the head of the table cannot say which is which. Elsewhere the names are hidden, see style.css.
"""

from __future__ import annotations

from typing import Any

FIRST, LAST = "statement", "verdict"
"""A table of statements begins with the one; a cell of the other says itself what it is."""


def name_columns(app: Any, doctree: Any) -> None:
    """Put the names into every table of statements of a page.

    The arguments are those of Sphinx's event ``doctree-read``; ``doctree`` is changed in place.
    """
    from docutils import nodes
    for table in doctree.findall(nodes.table):
        head, *rows = ([*row.findall(nodes.entry)] for row in table.findall(nodes.row))
        names = [entry.astext() for entry in head]
        if names[0] != FIRST:
            continue
        table["classes"].append("statements")
        for row in rows:
            for name, entry in zip(names[1:], row[1:], strict=True):
                if name != LAST and entry.children:
                    entry[0].insert(0, nodes.inline("", f"{name} ", classes=["column"]))
