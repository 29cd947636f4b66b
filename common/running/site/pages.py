"""The pages of the site, as Markdown that Sphinx reads.

The committed READMEs and reports are taken as they are, but for their links: a document leads to a
document, a module to its page of the API, any other file to a page that shows it. Figures are not
read by Sphinx: they lie once beside the pages and are loaded when they come into sight.
"""

from __future__ import annotations

import html
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from common.evidence import gallery, page
from common.evidence.counting import cost, count
from common.evidence.paper import Judgement, Paper
from common.evidence.picture import MARKS, NAME
from common.evidence.story import result, story
from common.evidence.tables import escaped
from common.evidence.verdicts import VERDICTS
from common.files import ROOT, read_text
from common.running.site.place import SITE_SIZE

JudgedPapers = Sequence[tuple[Paper, Sequence[Judgement]]]

FENCE = re.compile(r"(^ *```.*?^ *```[^\S\n]*$)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^()\s]+)\)")
IMG = re.compile(r'^<img src="([^":]+\.svg)" alt="([^"]*)">$', re.MULTILINE)
"""A picture that stands alone, as README's first one does."""

HREF = re.compile(r'(<a [^>]*href=")([^":]+)\.md(#[^"]*)?"')

SIZE = re.compile(r'<svg [^>]*\bwidth="([0-9.]+)pt" height="([0-9.]+)pt"')
"""The size of a figure of matplotlib's, in points of 1/72 inch."""

LANGUAGES = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".json": "json"}


@dataclass
class Pages:
    """All pages of a site, by their path in the source folder.

    Attributes:
        documents: the committed Markdown files that are part of it, from the root.
        modules: dotted names of the modules the API has.
        texts: the text of each page.
    """

    documents: set[str]
    modules: set[str]
    texts: dict[str, str] = field(default_factory=dict)

    def add(self, path: str, text: str) -> None:
        """Take a page, its links led to where their targets are in the site."""
        parts = FENCE.split(text)
        anchors = set(re.findall(r'\bid="([^"]+)"', text))
        self.texts[path] = "".join(
            part if k % 2 else self.linked(part, PurePosixPath(path), anchors)
            for k, part in enumerate(parts))

    def linked(self, text: str, page: PurePosixPath, anchors: set[str]) -> str:
        """Text with its links rewritten; ``anchors`` are the ids that stand in the page as HTML."""
        def of_link(m: re.Match[str]) -> str:
            mark, label, target = m.groups()
            path, _, fragment = target.partition("#")
            if ":" in target or path.startswith("/") or (not path and fragment not in anchors):
                return m[0]
            if not path:
                return f'<a href="#{fragment}">{label}</a>'
            if mark:
                return figure(path, label, ROOT / posix(page.parent / path))
            return self.led(label, posix(page.parent / path), fragment, page)
        def of_image(m: re.Match[str]) -> str:
            return figure(m[1], html.unescape(m[2]), ROOT / posix(page.parent / m[1]))
        text = LINK.sub(of_link, IMG.sub(of_image, text))
        return HREF.sub(lambda m: f'{m[1]}{m[2]}.html{m[3] or ""}"', text)

    def led(self, label: str, target: str, fragment: str, page: PurePosixPath) -> str:
        """A link to a file of the repository as one to its page; without one the bare label."""
        if target in self.documents or target in self.texts:
            if fragment and f'id="{fragment}"' in read_text(ROOT / target):
                to = relative(target.removesuffix(".md") + ".html", page)
                return f'<a href="{to}#{fragment}">{label}</a>'
            return f"[{label}](/{target}{'#' * bool(fragment)}{fragment})"
        if target.endswith(".ipynb") and target.replace(".ipynb", ".md") in self.texts:
            return f"[{label}](/{target.replace('.ipynb', '.md')})"
        module = target.removesuffix(".py").replace("/", ".")
        if target.endswith(".py") and module in self.modules:
            return f"[{label}](/api/{module}.md)"
        if target.endswith(".svg"):
            return f'<a href="{relative(target, page)}">{label}</a>'
        if not (ROOT / target).is_file():
            return label
        self.add_file(target)
        return f"[{label}](/files/{target}.md)"

    def add_file(self, target: str) -> str:
        """The page that shows a text file of the repository; returns its path."""
        path = f"files/{target}.md"
        if path not in self.texts:
            content = (ROOT / target).read_text(encoding="utf-8", errors="replace")
            language = LANGUAGES.get(PurePosixPath(target).suffix, "text")
            self.texts[path] = (f"---\norphan: true\nhide-toc: true\n---\n# {target}\n\n"
                                f":::::{{container}} file\n{fenced(content, language)}\n:::::\n")
        return path


def figure(path: str, alt: str, file: Path | None = None, loading: str = "lazy") -> str:
    """A figure that leads to itself, for a phone shows it too small to be read.

    Args:
        path: its address in the page.
        alt: what it shows.
        file: the file, if it is an SVG, whose size the page then keeps free for it: a link into
            the page would otherwise miss its target once figures above it have loaded.
        loading: when the browser loads it, ``lazy`` or ``eager``.
    """
    size = SIZE.search(file.read_text(encoding="utf-8")) if file and file.is_file() else None
    room = ""
    if size:
        width, height = (f"{float(points) * 96 / 72:.0f}" for points in size.groups())
        room = f'width="{width}" height="{height}" '
    return (f'<a href="{path}"><img src="{path}" alt="{html.escape(alt, quote=True)}" '
            f'{room}loading="{loading}" class="figure"></a>')


def posix(path: PurePosixPath) -> str:
    """A path without ``..``."""
    return os.path.normpath(path).replace(os.sep, "/")


def relative(target: str, page: PurePosixPath) -> str:
    """A path of the site as a page's link has it."""
    return os.path.relpath(target, page.parent).replace(os.sep, "/")


def fenced(text: str, language: str) -> str:
    """Text as a block of code, whatever backquotes it has."""
    longest = max([2, *(len(m) for m in re.findall(r"`{3,}", text))])
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def toctree(title: str, entries: Sequence[str]) -> str:
    """A part of the sidebar that the page itself does not show."""
    caption = f":caption: {title}\n" * bool(title)
    return f":::{{toctree}}\n:hidden:\n{caption}\n" + "\n".join(entries) + "\n:::\n"


# ---- the front page and a paper's ----------------------------------------------------------------

def strip(judgements: Sequence[Judgement]) -> str:
    """What was measured in runs as a strip of its verdicts' proportions, and all of it in words."""
    counted = count(judgements)
    bars = []
    for bar, share in gallery.shares(counted):
        parts = [f'<span style="flex: {n}; background: {colour}"></span>'
                 for _, n, colour in gallery.parts(bar)]
        bars.append(f'<span class="strip" style="width: {max(4, round(100 * share))}%" '
                    f'aria-hidden="true">{"".join(parts)}</span>')
    return (f'{" ".join(bars)} '
            f'<span class="counted">{html.escape("; ".join(counted.words))}</span>')


def legend() -> str:
    """What the colours of the strips mean; the pointer tells more of each verdict."""
    signs = " ".join(
        f'<span title="{html.escape(meaning)}" style="--c: '
        f'{MARKS[verdict][1] if verdict in MARKS else gallery.NOT_RUN}">{verdict}</span>'
        for verdict, meaning in VERDICTS.items())
    return ("<p class=\"legend\">A strip counts a paper's statements by verdict, a second one the "
            f"cells of its published tables: {signs}</p>")


def card(paper: Paper, judgements: Sequence[Judgement]) -> str:
    """A paper on the front page: picture, title, what came out, verdicts, computing time."""
    about = {k: html.escape(str(v)) for k, v in paper.about.model_dump(exclude={"claims"}).items()}
    base, came_out = f"papers/{paper.name}", html.escape(result(paper, judgements))
    return (f'<a class="card" href="{base}/index.html">'
            f'<img src="{base}/figures/{gallery.PICTURE}.svg" alt="" loading="lazy">'
            f'<strong>{about["title"]}</strong> <span>{about["authors"]} {about["year"]}</span> '
            f'<span class="result">{came_out or about["shows"]}</span> '
            f'{strip(judgements)} <span class="counted">{gallery.MINUTES}: '
            f'{html.escape(cost(paper).words)}</span></a>')


def front(judged: JudgedPapers, rest: Sequence[str]) -> str:
    """The front page.

    Args:
        judged: the papers.
        rest: further documents for the sidebar, as ``title <path>``.
    """
    about = read_text(ROOT / "README.md").split("\n\n")[1]
    cards = "\n".join(card(p, js) for p, js in judged)
    papers = [f"{p.about.title} </papers/{p.name}/index>" for p, _ in judged]
    return "\n".join([
        "---\nhide-toc: true\n---", "# Papers to code", "", about, "",
        '<p class="ways"><a href="claims.html">Every claim</a> · <a href="papers/STUDY.html">What '
        'to study here</a> · <a href="papers/first_steps.html">First steps, a notebook</a> · '
        '<a href="README.html">Run it</a> · <a href="api/index.html">The code</a></p>', "",
        legend(), "", f'<div class="cards">\n{cards}\n</div>', "", SITE_SIZE, "",
        toctree("Papers", papers), toctree("This repository", rest)])


def of_paper(paper: Paper, judgements: Sequence[Judgement], modules: Sequence[str]) -> str:
    """A paper's own page: its story, verdicts and figures, and the ways into it."""
    about = paper.about
    told = re.sub(r"\[([^\]]+)\]\(#([^()]+)\)", lambda m: (
        f'<a href="../../claims.html#{paper.name}/{m[2]}">{m[1]}</a>'), story(paper, judgements))
    report = read_text(paper.folder / "REPORT.md")
    figures = {name: caption for caption, name in re.findall(
        r"!\[(.*)\]\(figures/(\w+)\.svg\)", report)}
    drawn = paper.folder / "figures"
    picture = ([figure(f"figures/{NAME}.svg", figures.pop(NAME), drawn / f"{NAME}.svg", "eager"),
                *page.verdicts_drawn(judgements)[1:]] if NAME in figures else [])
    rest = [f'{figure(f"figures/{name}.svg", name, drawn / f"{name}.svg")}\n\n{caption}'
            for name, caption in figures.items()]
    ways = ("[The method](README.md), [code beside the paper](code.md), [the report](REPORT.md), "
            f'<a href="../../claims.html#?paper={paper.name}">every claim</a>.')
    return "\n\n".join([
        "---\nhide-toc: true\n---", f"# {escaped(about.title)}",
        f"{page.cited(about)}: {escaped(about.shows)}.", ways, told,
        f'<p>{strip(judgements)}</p>', *picture, "## Figures", *rest, "## Modules",
        "\n".join(f"- [{m}](/api/{m}.md)" for m in modules),
        toctree("", ["The method <README>", "Code beside the paper <code>", "Report <REPORT>"])])
