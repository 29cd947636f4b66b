"""A static site of papers, reports, claims and code, to be read from the file system.

    papers site                        # all of it, into site/
    papers site batchnorm lbfgs        # of these papers alone
    papers site to=../elsewhere        # into another folder
    papers site only=claims            # the claims explorer alone, which needs no Sphinx

Then open site/index.html. Nothing in it needs a network or a server. Made by Sphinx:
pip install -e '.[site]'.

Exit status: 0, or 1 if Sphinx had something to say about a page or a cell of the notebook failed;
the site is there all the same.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import re
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.errors import UserError, asks_for_help, nearest, say
from common.evidence.paper import Paper, papers
from common.files import ROOT, read_text, shown
from common.running.processes import terminated_like_ctrl_c
from common.running.site import beside, explorer, pages, search, steps
from common.running.site.place import expect_free, instead_of, megabytes, state_size, write
from common.running.words import texts_of
from common.typed import parse_json

HERE = Path(__file__).parent
NOTEBOOK = f"papers/{steps.NAME}"

REST = {"README": "Run it", NOTEBOOK: "First steps, a notebook",
        "papers/STUDY": "What to study here", "papers/README": "Adding a paper",
        "common/README": "How it is built", "common/running/README": "Many runs, other machines",
        "CONTRIBUTING": "How a change is made", "CHANGELOG": "What changed"}
"""Documents beside the papers, with their names in the sidebar."""

EXTRAS = ("bench", "plots", "__main__")
"""Modules that the API leaves out: nobody calls them but a command, which shows what they make."""


def documents(judged: pages.JudgedPapers) -> set[str]:
    """The committed Markdown files that are part of the site, from the root."""
    globs = [ROOT.glob("*.md"), (ROOT / "common").glob("*.md"), (ROOT / "common").glob("*/*.md"),
             (ROOT / "papers").glob("*.md"),
             *(p.folder.rglob("*.md") for p, _ in judged)]
    return {p.relative_to(ROOT).as_posix() for g in globs for p in g}


def modules(judged: pages.JudgedPapers) -> dict[str, str]:
    """The modules of the API with the first line of what each says about itself.

    Raises:
        UserError: a module cannot be imported.
    """
    folders = [ROOT / "common", *(p.folder for p, _ in judged)]
    listed: dict[str, str] = {}
    for path in sorted(p for folder in folders for p in folder.rglob("*.py")):
        if "template" in path.parts or path.stem in EXTRAS or not path.read_text().strip():
            continue
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        try:
            text = importlib.import_module(name).__doc__ or ""
        except ImportError as e:
            raise UserError(f"{shown(path)} cannot be imported for its API page: {e}") from e
        listed[name] = text.strip().splitlines()[0] if text.strip() else ""
    return listed


# ---- the API -------------------------------------------------------------------------------------

def of_module(name: str) -> str:
    """The API page of a module; its docstrings are reStructuredText."""
    return (f"---\norphan: true\n---\n# {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n"
            "   :members:\n   :undoc-members:\n   :show-inheritance:\n```\n")


def api_index(listed: dict[str, str]) -> str:
    """The list of modules, by room and paper."""
    text, before = ["# The code", ""], ""
    for name, line in listed.items():
        room = ".".join(name.split(".")[:2]) if f"{name}".count(".") > 1 or name.startswith(
            "papers.") else "common"
        if room != before:
            text += ["", f"## {room}", ""]
            before = room
        text.append(f"- [{name.removeprefix(f'{room}.')}](/api/{name}.md): {line}")
    return "\n".join(text) + "\n"


def readable(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Docstrings as they were meant: |x| is an absolute value, an indented block is code.

    A literal over two lines is put on one, for napoleon takes a colon in it for that of a type.
    The arguments are those of Sphinx's event; ``lines`` are changed in place.
    """
    text = re.sub(r"``[^`]*``", lambda m: " ".join(m[0].split()), "\n".join(lines))
    parts = re.split(r"(``.*?``|`.*?`)", text)
    text = "".join(p if k % 2 else p.replace("|", "\\|") for k, p in enumerate(parts))
    if what == "module":
        text = re.sub(r"((?:^|\n)(?!\.\.)\S[^\n]*(?<!::)\n)\n(?=    \S)", r"\1\n::\n\n", text)
    lines[:] = text.split("\n")


# ---- building ------------------------------------------------------------------------------------

def sources(judged: pages.JudgedPapers, listed: dict[str, str],
            notebook: str = "") -> dict[str, str]:
    """The text of every page, that of the notebook given."""
    site = pages.Pages(documents(judged), set(listed))
    if notebook:
        site.add(f"{NOTEBOOK}.md", notebook)
    for path in sorted(site.documents):
        text = read_text(ROOT / path)
        if path == "README.md":  # whose title is the site's
            text = re.sub("^# .*", f"# {REST['README']}", text, count=1)
        site.add(path, text)
    for paper, judgements in judged:
        base = f"papers/{paper.name}"
        own = [m for m in listed if m.startswith(f"papers.{paper.name}.")]
        site.texts[f"{base}/code.md"] = beside.page(paper, site)
        site.add(f"{base}/index.md", pages.of_paper(paper, judgements, own))
    for name in listed:
        site.texts[f"api/{name}.md"] = of_module(name)
    site.texts["api/index.md"] = api_index(listed)
    rest = [f"{title} </{path}>" for path, title in REST.items()
            if f"{path}.md" in {*site.documents, *site.texts}]
    site.add("index.md", pages.front(judged, [*rest, "The code </api/index>"]))
    return site.texts


CONF = '''"""Made by papers site."""

project = "Papers to code"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "Papers to code"
html_static_path = ["_static"]
html_css_files = ["style.css"]
html_copy_source = False
html_show_sphinx = False
html_use_index = False
html_domain_indices = False
html_show_copyright = False
templates_path = ["_templates"]
html_sidebars = {"**": ["sidebar/brand.html", "sidebar/search.html", "claims.html",
                        "sidebar/scroll-start.html", "sidebar/navigation.html",
                        "sidebar/scroll-end.html"]}
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
autodoc_use_type_comments = False
autodoc_typehints_format = "short"
napoleon_use_ivar = True
suppress_warnings = ["toc.not_included", "ref.python", "myst.header"]


def setup(app):
    from common.running.site.build import readable
    from common.running.site.columns import name_columns
    app.connect("autodoc-process-docstring", readable, priority=400)  # before napoleon
    app.connect("doctree-read", name_columns)
'''

SIDEBAR = ('<div class="sidebar-tree"><ul><li class="toctree-l1"><a class="reference internal" '
           'href="{{ pathto("claims.html", 1) }}">Every claim</a></li></ul></div>\n')


def needed() -> None:
    """Make sure of Sphinx, its reader of Markdown and its theme, and of what executes a notebook.

    Raises:
        UserError: one of them is not installed.
    """
    for name in ("sphinx.application", "myst_parser", "furo", "nbclient", "ipykernel"):
        try:
            importlib.import_module(name)
        except ImportError as e:
            raise UserError(f"papers site needs {name.partition('.')[0]}, which is not installed: "
                            "pip install -e '.[site]'") from e


def build(judged: pages.JudgedPapers, listed: dict[str, str], to: Path, claims: str,
          notebook: dict[str, Any] | None = None) -> list[str]:
    """Have Sphinx build the site into an empty folder; returns its warnings.

    Args:
        judged: the papers.
        listed: the modules of the API, see :func:`modules`.
        to: the folder.
        claims: the claims explorer's page.
        notebook: of first steps, executed, as JSON; None for the committed one, without outputs.

    Raises:
        UserError: Sphinx is not installed, or fails.
    """
    needed()
    from sphinx.application import Sphinx
    warnings = io.StringIO()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        stage("the text of every page")
        notebook = notebook or parse_json(read_text(ROOT / f"{NOTEBOOK}.ipynb"))
        text_of_steps, pictures = steps.page(notebook)
        written = sources(judged, listed, text_of_steps)
        for path, text in written.items():
            write(work / path, text)
        write(work / "conf.py", CONF)
        write(work / "_templates" / "claims.html", SIDEBAR)
        write(work / "_templates" / "search.html", search.PAGE)
        for name in ("style.css", "excerpts.js"):
            write(work / "_static" / name, (HERE / name).read_text(encoding="utf-8"))
        stage(f"{len(written)} pages, by Sphinx, which takes longest")
        with contextlib.redirect_stdout(io.StringIO()):
            app = Sphinx(work, work, to, work / ".doctrees", "html", status=None, warning=warnings)
            app.build(force_all=True)
    if app.statuscode:
        raise UserError(f"Sphinx could not build the site: {warnings.getvalue().strip()[-300:]}")
    stage("the search's texts, and figures")
    search.write_texts(to)
    for figures in (ROOT / "papers").glob("*/figures"):  # README shows all papers
        shutil.copytree(figures, to / figures.relative_to(ROOT))
    for figure in (ROOT / "papers").glob("*.svg"):  # of several papers
        shutil.copy2(figure, to / figure.relative_to(ROOT))
    write(to / f"{NOTEBOOK}.ipynb", json.dumps(notebook, ensure_ascii=False, indent=1) + "\n")
    for name, picture in pictures.items():
        (to / "papers" / name).parent.mkdir(exist_ok=True)
        (to / "papers" / name).write_bytes(picture)
    write(to / "claims.html", claims)
    state_size(to)
    return [w for w in warnings.getvalue().splitlines() if w.strip()]


def stage(what: str) -> None:
    """Say what comes next; all of it takes minutes."""
    print(f"now {what}", flush=True)


def with_reports(chosen: Sequence[Paper]) -> list[Paper]:
    """Those that have a report; of the others a word."""
    for p in chosen:
        if not (p.folder / "REPORT.md").is_file():
            say(f"{shown(p.folder)} is left out: it has no REPORT.md yet, which papers report "
                f"{p.name} makes")
    return [p for p in chosen if (p.folder / "REPORT.md").is_file()]


def main(argv: Sequence[str]) -> int:
    """The command line; see the module's text."""
    if asks_for_help(argv, __doc__):
        return 0
    began = time.monotonic()
    keys = {"to": str(ROOT / "site"), "only": ""}
    for k, v in texts_of(w for w in argv if "=" in w).items():
        if k not in keys:
            raise UserError(f"unknown key {k!r}{nearest(k, keys)}")
        keys[k] = v
    if keys["only"] not in ("", "claims"):
        raise UserError(f"only={keys['only']}: expected claims, or nothing for the whole site")
    expect_free(Path(keys["to"]), keys["to"])  # before the papers are read, which takes long
    chosen = papers([*dict.fromkeys(w for w in argv if "=" not in w)])
    if not keys["only"]:
        needed()
        chosen = with_reports(chosen)
    warnings: list[str] = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(terminated_like_ctrl_c())  # which leaves nothing half-built behind
        to = stack.enter_context(instead_of(Path(keys["to"]).resolve()))  # what a link leads to
        if not keys["only"]:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            executed = stack.enter_context(steps.executing(Path(folder)))
        stage(f"the verdicts of {len(chosen)} paper{'s' * (len(chosen) != 1)}")
        judged = [(p, p.judgements()) for p in chosen]
        listed = {} if keys["only"] else modules(judged)
        stage("the claims explorer")
        study = explorer.skills(read_text(ROOT / "papers" / "STUDY.md"))
        claims = explorer.page(judged, study, listed)
        if not keys["only"]:
            stage("the notebook, which is executed meanwhile")
            notebook, failed = executed()
            warnings = [*filter(None, [failed]), *build(judged, listed, to, claims, notebook)]
        else:
            write(to / "claims.html", claims)
    to = Path(keys["to"])
    for warning in warnings:
        say(warning)
    print(f"{shown(to / ('claims.html' if keys['only'] else 'index.html'))}: {megabytes(to):.1f} "
          f"MB, of which the claims explorer {megabytes(to, 'claims.html'):.1f} MB" + (
              "" if keys["only"] else f", the search's texts {megabytes(to, search.TEXTS):.1f} MB")
          + f"; in {time.monotonic() - began:.0f} s")
    return 1 if warnings else 0
