"""Reports, figures and the README's gallery, made from claims and results and nothing else."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from matplotlib.figure import Figure

from common.errors import UserError, on_one_line, say, warn
from common.evidence import gallery, page, picture, plotting, results
from common.evidence.counting import count
from common.evidence.lookup import FAULTS, located
from common.evidence.paper import Judgement, Paper, paper_names, papers
from common.evidence.results import Result
from common.evidence.story import changed_verdicts, story
from common.evidence.tables import line, table
from common.files import ROOT, read_text, shown, write_atomic

BEGIN, END = "<!-- gallery: made by papers report -->", "<!-- end of gallery -->"
"""The lines before and after the gallery in README.md."""

TOLD, ENDED = "<!-- story: made by papers report from claims.yaml -->", "<!-- end of story -->"
"""The lines before and after the story and the picture of verdicts in a paper's README.md."""


def between(path: Path, text: str, begin: str, end: str, made: str) -> str:
    """The text of a file with what stands between two marker lines replaced.

    Args:
        path: of the file, for messages.
        text: its present text.
        begin, end: the marker lines.
        made: the new text between them.

    Raises:
        UserError: the marker lines do not occur once each, in this order.
    """
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise UserError(f"{shown(path)}: expected the lines {begin} and {end}, between which "
                        "papers report writes")
    before, rest = text.split(begin)
    return f"{before}{begin}\n{made}\n{end}{rest.split(end)[1]}"


def opening(paper: Paper, judgements: list[Judgement]) -> str:
    """The generated opening of a paper's README.md: its story, and a picture of all verdicts."""
    seen = picture.caption(judgements)
    drawn = f"![{seen}](figures/{picture.NAME}.svg)" if seen else ""
    said = f"{page.counted(judgements)} [Report](REPORT.md)"
    return "\n\n".join(p for p in (story(paper, judgements, "REPORT.md"), said, drawn) if p)


def drawn(paper: Paper) -> Iterator[tuple[str, str, Figure]]:
    """Yield (name, caption, figure) of the paper's own figures, as its ``plots.py`` draws them.

    Raises:
        UserError: the results or published tables do not hold what the figures need.
    """
    for runs in paper.results.values():
        for run in runs[1:]:
            expect_alike(run, runs[0])
    with drawing(paper):
        yield from paper.module("plots").draw(paper)


def expect_alike(run: Result, other: Result) -> None:
    """Refuse two runs of an experiment that cannot be drawn as one.

    Code that has learned to measure more may leave older runs with less than newer ones.

    Raises:
        UserError: each has a metric that the other lacks, or a curve has different lengths.
    """
    what, here, there = "", points(run), points(other)
    if run.metrics.keys() - other.metrics and other.metrics.keys() - run.metrics:
        what = "other metrics"
    if odd := [c for c in here if c in there and here[c] != there[c]]:
        what = f"curves {odd[0]!r} of {here[odd[0]]} and {there[odd[0]]} points"
    if what:
        raise UserError(f"results of {run.name} and {other.name} have {what}: expected "
                        "those of one configuration; run the one again that is not of the present")


def for_gallery(paper: Paper) -> Figure:
    """The paper's picture for README's gallery, as its ``plots.py`` draws it.

    Raises:
        UserError: there is no such picture, or the results or published tables do not hold what it
            needs.
    """
    plots = paper.module("plots")
    if not hasattr(plots, "gallery"):
        raise UserError(f"{shown(paper.folder)}/plots.py has no function 'gallery': expected one "
                        "that draws the paper's picture for README's gallery")
    with drawing(paper):
        return plots.gallery(paper)


@contextmanager
def drawing(paper: Paper) -> Iterator[None]:
    """A context in which what a paper's ``plots.py`` cannot draw ends in one line."""
    try:
        yield
    except FAULTS as e:
        raise UserError(f"{shown(paper.folder)}/plots.py cannot draw what results/ and published/ "
                        f"hold: {located(e)}") from e


def points(run: Result) -> dict[str, int]:
    """The number of points of each of a run's curves."""
    return {name: len(steps) for name, (steps, _) in run.curves.items()}


SLOW = 10.0
"""Seconds after which a paper has a line of its own where nobody watches."""


def announced(names: Iterable[str]) -> Iterator[str]:
    """The names of papers, each with a line on the standard error stream.

    In a terminal the line comes first; elsewhere it comes afterwards, if the paper took long.
    """
    for name in names:
        started = time.monotonic()
        if sys.stderr.isatty():
            say(f"papers/{name} …")
        yield name
        if not sys.stderr.isatty() and (took := time.monotonic() - started) > SLOW:
            say(f"papers/{name}: {took:.0f} s")


def rows_of(readme: str) -> dict[str, str]:
    """The rows of README's gallery, by paper."""
    rows = readme.partition(BEGIN)[2].partition(END)[0].splitlines()
    return {m[1]: row for row in rows if (m := re.search(r"\(papers/([^/]+)/README\.md\)", row))}


def build(names: list[str], outdated: list[str] | None = None,
          ) -> tuple[dict[Path, bytes], set[Path]]:
    """Build all files of the named papers' reports, and README's gallery, where others keep a row.

    Args:
        names: of the papers; empty: all.
        outdated: takes what stories and results of the papers say of verdicts that have changed.

    Returns:
        The content of each file, and the pictures in ``figures/`` that belong to no report.
    """
    files: dict[Path, bytes] = {}
    extra: set[Path] = set()
    readme = ROOT / "README.md"
    text = read_text(readme)
    rows = rows_of(text)
    for name in announced(names or paper_names()):
        (paper,) = papers([name])
        judgements = paper.judgements()
        counted, changed = count(judgements), changed_verdicts(paper, judgements)
        rows[name] = line(gallery.cells(paper, counted, judgements))
        for path in results.unread(paper.folder, paper.experiments.experiments):
            warn(f"nothing reads {shown(path)}: expected a folder named after an experiment, with "
                 "seed<k>.json or pace.json in it")
        for told in changed:
            warn(f"{told}; update the text")
        if outdated is not None:
            outdated += changed
        captions = {}
        files[paper.folder / f"figures/{gallery.STRIP}.svg"] = gallery.strip(counted).encode()
        with plotting.style():
            if (every := picture.draw(judgements)) is not None:
                files[paper.folder / f"figures/{picture.NAME}.svg"] = plotting.svg(every)
            for name, caption, fig in drawn(paper):
                files[paper.folder / "figures" / f"{name}.svg"] = plotting.svg(fig)
                captions[name] = on_one_line(caption)
            picture_file = paper.folder / f"figures/{gallery.PICTURE}.svg"
            files[picture_file] = plotting.svg(for_gallery(paper))
        if paper.about.picture not in captions:
            raise UserError(f"{shown(paper.folder)}/claims.yaml: picture "
                            f"{paper.about.picture!r} is not one of its figures: "
                            f"{', '.join(captions)}")
        extra |= set((paper.folder / "figures").glob("*.svg")) - set(files)
        files[paper.folder / "REPORT.md"] = page.report_text(paper, judgements, captions).encode()
        own = paper.folder / "README.md"
        files[own] = between(own, read_text(own), TOLD, ENDED, opening(paper, judgements)).encode()
    files[readme] = between(readme, text, BEGIN, END, "\n".join([
        table(list(gallery.HEAD), []), *(rows[n] for n in paper_names() if n in rows)])).encode()
    return files, extra


def same(path: Path, one: bytes, other: bytes) -> bool:
    """Whether two versions of a file agree; pictures agree by :func:`plotting.alike`."""
    return plotting.alike(one, other) if path.suffix == ".svg" else one == other


def main(argv: list[str], shared: Callable[[], dict[Path, bytes]] = dict) -> int:
    """The command line, see :mod:`common.running.report`.

    Args:
        argv: ``--check`` or names of papers.
        shared: builds what belongs to no single paper; it is left alone where papers are named.
    """
    if unknown := [a for a in argv if a.startswith("-") and a != "--check"]:
        raise UserError(f"unknown option {unknown[0]!r}: expected --check or names of papers")
    names = [a for a in argv if not a.startswith("-")]
    papers(names)  # refuses unknown names first
    outdated: list[str] = []
    files, extra = build(names, outdated)
    if not names:
        files |= shared()
    different = [p for p, content in files.items()
                 if not p.exists() or not same(p, p.read_bytes(), content)]
    if "--check" in argv:
        for path in sorted({*different, *extra}):
            print(f"differs from claims and results: {shown(path)}")
        if different or extra:
            print("run: papers report")
        if different or extra or outdated:
            return 1
        print(f"{len(files)} files agree with claims and results")
        return 0
    for path in different:
        write_atomic(path, files[path])
    for path in sorted(extra):
        say(f"no figure of this paper (any more), left alone: {shown(path)}")
    print(f"wrote {len(different)} of {len(files)} files" + "".join(
        f"\n  {shown(p)}" for p in different))
    return 0
