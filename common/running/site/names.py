"""What the names in a README's table *from the paper to the code* stand for.

A row pairs a place of the paper with names in backquotes: an object of the paper's modules
(``model.Network.forward``; ``.backward`` is its sibling), a module, a file, a configuration key, an
experiment, or a word that the code has (D in ``model.step``). A name that stands for nothing
is an error, so that a table cannot outlive the code it leads to.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError
from common.evidence.paper import Paper
from common.files import ROOT, read_text, shown

HEADING = re.compile(r"^## From the papers? to the code$", re.MULTILINE)

SPAN = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Code:
    """Lines of a file.

    Attributes:
        path: of the file.
        name: dotted, of the object in its module; empty for the whole file.
        first: number of its first line, from 1.
        text: the lines.
    """

    path: Path
    name: str
    first: int
    text: str

    @property
    def module(self) -> str:
        """The module's dotted name, from the root of the repository."""
        parts = self.path.relative_to(ROOT).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@dataclass(frozen=True)
class CodeName:
    """A name of a table.

    Attributes:
        name: as the table has it.
        kind: ``object``, ``module``, ``file``, ``key``, ``experiment`` or ``word``.
        source: of an object or a module; of the object that has a word.
        path: of a file.
    """

    name: str
    kind: str
    source: Code | None = None
    path: Path | None = None


@dataclass(frozen=True)
class TableRow:
    """A line of the table.

    Attributes:
        says: the place in the paper, Markdown.
        code: what stands beside it, Markdown.
        names: what its names stand for.
    """

    says: str
    code: str
    names: tuple[CodeName, ...]


def rows(paper: Paper) -> list[TableRow]:
    """A paper's table, every name in it resolved.

    Raises:
        UserError: the README has no such table, or a name stands for nothing.
    """
    readme = paper.folder / "README.md"
    _, *rest = HEADING.split(read_text(readme), maxsplit=1)
    table = re.search(r"(?:^\|.*\n)+", rest[0], re.MULTILINE) if rest else None
    if table is None:
        raise UserError(f"{shown(readme)}: expected a heading 'From the paper to the code' with a "
                        "table of two columns below it")
    found = []
    for number, line in enumerate(table[0].splitlines()[2:], 1):
        cells = [c.strip() for c in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
        if len(cells) != 2:
            raise UserError(f"{shown(readme)}: row {number} of the table from the paper to the "
                            f"code has {len(cells)} cells: expected 2")
        found.append(TableRow(cells[0], cells[1], tuple(of_cell(paper, cells[1]))))
    return found


def of_cell(paper: Paper, cell: str) -> Iterator[CodeName]:
    """What the names of a cell stand for.

    Raises:
        UserError: one of them stands for nothing.
    """
    before: list[Code] = []  # the objects so far, for siblings and parameters
    for name in SPAN.findall(cell):
        inside = re.search(rf"`{re.escape(name)}` in `([^`]+)`", cell)
        found = resolve(paper, name, before, inside[1] if inside else "")
        if found is None:
            raise UserError(f"{shown(paper.folder / 'README.md')}: the table from the paper to the "
                            f"code names {name!r}: expected an object of the paper's modules, a "
                            "file, a key, an experiment, or a word in an object named beside it")
        if found.kind == "object" and found.source:
            before.append(found.source)
        yield found


def resolve(paper: Paper, name: str, before: list[Code], inside: str = "") -> CodeName | None:
    """What one name stands for; None if nothing.

    Args:
        paper: whose README it is in.
        name: without its backquotes.
        before: the objects named before it in the cell.
        inside: the name that it is said to be in, if any.
    """
    file, _, member = name.partition(": ")  # common/evidence/plotting.py: performance_profile
    for path in (paper.folder / file, ROOT / file):
        if member and path.suffix == ".py" and path.is_file():
            source = find(path, member)
            return CodeName(name, "object", source) if source else None
        if path.exists() and re.search(r"[./]", file) and not file.startswith("."):
            if path.suffix == ".py" or path.is_dir():
                return CodeName(name, "module", whole(path))
            return CodeName(name, "file", path=path)
    if name.startswith(".") and before:
        owner = before[-1].name.rpartition(".")[0]
        source = find(before[-1].path, f"{owner}{name}" if owner else name[1:])
        return CodeName(name, "object", source) if source else None
    if source := of_paper(paper, name):
        return CodeName(name, "object" if source.name else "module", source)
    return setting(paper, name, before, inside)


def of_paper(paper: Paper, name: str) -> Code | None:
    """A module of the paper, an object of one, or a class's member without its module."""
    first, _, rest = name.partition(".")
    path = paper.folder / f"{first}.py"
    if path.is_file():
        return find(path, rest) if rest else whole(path)
    if not first[:1].isupper():
        return None
    found = (find(p, name) for p in sorted(paper.folder.glob("*.py")))
    return next((s for s in found if s), None)


def setting(paper: Paper, name: str, before: list[Code], inside: str) -> CodeName | None:
    """A key, an experiment (``name…``: several), a parameter or a word of the code."""
    known = {*paper.experiments.names(), *paper.experiments.experiments}
    experiment = name.removeprefix("experiment=")
    if experiment in known or (experiment.endswith("…") and any(
            e.startswith(experiment[:-1]) for e in known)):
        return CodeName(name, "experiment", path=paper.folder / "config.yaml")
    if name in paper.experiments.known:
        return CodeName(name, "key", path=paper.folder / "config.yaml")
    sources = [found] if (found := of_paper(paper, inside) if inside else None) else before
    word = re.compile(rf"(?<!\w){re.escape(name.partition('=')[0])}(?!\w)")
    for source in sources if inside or "=" in name else []:
        if word.search(source.text):
            return CodeName(name, "word", source)
    for source in measuring(paper, name) if not inside else []:
        return CodeName(name, "word", source)  # a metric
    return None


READERS = ("plots", "bench")
"""Modules that read metrics and make none."""

READING_METHODS = ("publish", "headlines")
"""Methods of a recipe that likewise read them: they write what is published, name what is shown."""


def measuring(paper: Paper, metric: str) -> list[Code]:
    """The functions of the paper's modules that make a metric: those with its name in their text.

    ``facts.py`` reads most metrics and makes some: its functions count where no other has the name.
    """
    found: list[Code] = []
    for path in sorted(paper.folder.glob("*.py"), key=lambda p: p.stem == "facts"):
        if path.stem not in READERS and not (path.stem == "facts" and found):
            made = [find(path, name) for name, texts, forms in named_in(path)
                    if name.rpartition(".")[2] not in READING_METHODS
                    and (metric in texts or any(f.fullmatch(metric) for f in forms))]
            found += [s for s in made if s]
    return sorted(found, key=lambda s: not s.name.endswith(".evaluate"))


def functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    """The functions of a module and of its classes, by dotted name."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            yield from functions(node, f"{prefix}{node.name}.")
        elif isinstance(node, ast.FunctionDef):
            yield f"{prefix}{node.name}", node


@functools.cache
def named_in(path: Path) -> list[tuple[str, set[str], list[re.Pattern[str]]]]:
    """The functions of a file with what may be the name of a metric in each: its texts and
    keywords, and the forms of its f-strings that have at least two letters of their own."""
    found = []
    for name, function in functions(parsed(path)[1]):
        texts: set[str] = set()
        forms = []
        for node in ast.walk(function):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.add(node.value)
            elif isinstance(node, ast.keyword) and node.arg:
                texts.add(node.arg)
            elif isinstance(node, ast.JoinedStr):
                fixed = [v.value if isinstance(v, ast.Constant) else None for v in node.values]
                if sum(len(str(v)) for v in fixed if v) > 1:
                    forms.append(re.compile("".join(
                        ".+" if v is None else re.escape(str(v)) for v in fixed)))
        found.append((name, texts, forms))
    return found


@functools.cache
def parsed(path: Path) -> tuple[list[str], ast.Module]:
    """A file's lines and its syntax tree."""
    text = read_text(path)
    return text.splitlines(), ast.parse(text)


def whole(path: Path) -> Code:
    """All of a module, or of the module that a package begins with."""
    path = path / "__init__.py" if path.is_dir() else path
    return Code(path, "", 1, "\n".join(parsed(path)[0]))


@functools.cache
def find(path: Path, name: str) -> Code | None:
    """An object of a module by its dotted name: a class, function, method or constant."""
    lines, node = parsed(path)
    body: list[ast.stmt] = node.body
    chosen: ast.stmt | None = None
    for part in name.split("."):
        chosen = next((n for n in body if part in names_of(n)), None)
        if chosen is None:
            return None
        body = getattr(chosen, "body", [])
    if chosen is None:
        return None
    first = min([chosen.lineno, *(d.lineno for d in getattr(chosen, "decorator_list", []))])
    text = lines[first - 1:chosen.end_lineno]
    return Code(path, name, first, "\n".join(text))


def names_of(node: ast.stmt) -> list[str]:
    """What a statement gives a name to."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else (
        [node.target] if isinstance(node, ast.AnnAssign) else [])
    return [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]
