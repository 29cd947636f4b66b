"""Reports, figures and the README's gallery, made from claims and results and nothing else.

    papers report [paper …]            # write them
    papers report --check [paper …]    # exit 1 if what is committed differs
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

from common.config import one_line
from common.errors import UserError
from common.evidence import gallery, picture, plotting, results
from common.evidence.claims import Claim
from common.evidence.counting import count, is_formula
from common.evidence.paper import Judgement, Paper, paper_names, papers
from common.evidence.story import outdated, story
from common.evidence.verdicts import CONFIDENCE, VERDICTS, confidence
from common.files import ROOT, read_text, shown, write_atomic
from common.segments import Hardware
from common.training.progress import duration

BEGIN, END = "<!-- gallery: made by papers report -->", "<!-- end of gallery -->"


def number(value: float, form: str) -> str:
    """A number as the claim wants it printed, with a true minus sign; – for NaN, ∞ for infinity."""
    if math.isnan(value):
        return "–"
    text = str(value).replace("inf", "∞") if math.isinf(value) else format(value, form)
    return text.replace("-", "−")


def measured(j: Judgement) -> str:
    """Mean, spread and interval over seeds, as the report's table shows them."""
    form = j.claim.show
    if not j.values:
        return "–"
    text = ("median " if j.by == "median" else "") + number(j.middle, form)
    if not j.claim.experiments or j.claim.repeatable:
        return text
    if math.isfinite(j.sd) and j.by == "mean":
        text += f" ± {number(j.sd, form)}"
    if j.interval is not None:
        text += f" [{number(j.interval[0], form)}, {number(j.interval[1], form)}]"
    return f"{text}, n = {len(j.values)}"


def band(j: Judgement) -> str:
    """The band in words."""
    low, high = j.claim.band
    form = j.claim.show
    if not j.claim.measure:
        return "–"
    if math.isinf(high):
        return f"≥ {number(low, form)}"
    if math.isinf(low):
        return f"≤ {number(high, form)}"
    if j.claim.judge.exactly is not None and j.claim.published is not None and low < high:
        return f"{number(j.claim.published, form)} ± {j.claim.judge.exactly:g}"
    if low == high:
        return f"= {number(low, form)}"
    return f"{number(low, form)} … {number(high, form)}"


def command(paper: Paper, j: Judgement) -> str:
    """The line that measures a claim again."""
    if not j.claim.experiments:
        return ""
    return (f"papers reproduce {paper.name} claims={j.claim.id} "
            f"seeds={max(len(j.values), 1)}")


def cell(text: str) -> str:
    """Text as a Markdown table holds it."""
    return one_line(Exception(text)).replace("|", "\\|") if text else ""


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    return "\n".join(map(line, [head, ["---"] * len(head), *rows]))


def line(cells: list[str]) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(map(cell, cells)) + " |"


def report(paper: Paper, judgements: list[Judgement], captions: dict[str, str]) -> str:
    """The text of REPORT.md."""
    about = paper.about
    parts = [
        f"# {about.title}: reproduction report",
        "<!-- made by papers report from claims.yaml and results/; do not edit -->",
        f"{about.authors} ({about.year}), [{about.link}]({about.link}). "
        f"What the code does and where it had to choose: [README.md](README.md).",
        story(paper, judgements),
        f"**Statements of the paper: {'; '.join(count(judgements).words)}.**",
        f"![{cell(picture.CAPTION)}](figures/{picture.NAME}.svg)\n\n{picture.CAPTION}"
        if picture.shown(judgements) else "",
        "## Claims",
        f"Measured values are means over seeds ± sd [{CONFIDENCE:.0%} interval of the mean], with "
        "the number of seeds n; fewer than three have one only where the spread of single runs was "
        "known beforehand. What a claim says otherwise stands below. The band was fixed before the "
        "runs, unless the verdict says that the claim was written afterwards. † marks what follows "
        "from the paper's equations or words but is not printed there.",
        *side_by_side("### Measured in runs", [j for j in judgements if not (
            j.claim.each or is_formula(j.claim))]),
        *side_by_side("### Formulas, computed from the code alone", [
            j for j in judgements if is_formula(j.claim) and not j.claim.each]),
        *(of_table(name, [j for j in judgements if j.claim.each == name])
          for name in dict.fromkeys(j.claim.each for j in judgements) if name),
        "### What the verdicts mean",
        "\n".join(f"- **{v}**: {meaning}." for v, meaning in VERDICTS.items()),
        "## Figures",
        *(f"![{cell(caption)}](figures/{name}.svg)\n\n{caption}"
          for name, caption in captions.items()),
        "## Claim by claim",
        *(details(paper, j) for j in judgements if stands_alone(j, judgements)),
        "## Runs",
        runs(paper),
    ]
    return "\n\n".join(p for p in parts if p) + "\n"


def side_by_side(title: str, judgements: list[Judgement]) -> list[str]:
    """A table of claims, the published and the measured value in a line, under its title."""
    rows = [[f"[{j.claim.id}](#{j.claim.id})", j.claim.where, j.claim.says, published(j), band(j),
             measured(j), verdict(j)] for j in judgements]
    head = ["claim", "where", "what the paper says", "published", "band", "measured", "verdict"]
    return [title, table(head, rows)] if rows else []


def verdict(j: Judgement) -> str:
    """The verdict as the tables show it."""
    return f"**{j.verdict}**" + (", claim written afterwards" if j.claim.afterwards else "")


def of_table(name: str, judgements: list[Judgement]) -> str:
    """A published table, its numbers and the measured ones side by side, a line a row."""
    columns = list(dict.fromkeys(j.claim.column for j in judgements))
    rows: dict[str, dict[str, Judgement]] = {}
    for j in judgements:
        rows.setdefault(j.claim.row, {})[j.claim.column] = j
    lines = []
    for label, found in rows.items():
        verdicts = dict.fromkeys(j.verdict for j in found.values())
        verdict = f"**{next(iter(verdicts))}**" if len(verdicts) == 1 else "; ".join(
            f"{', '.join(c for c, j in found.items() if j.verdict == v)} **{v}**" for v in verdicts
            if v != "reproduced")
        cells = [text for c in columns for text in (
            (published(found[c]), number(found[c].middle, found[c].claim.show)) if c in found
            else ("", ""))]
        lines.append([label, *cells, verdict])
    head = ["run", *(h for c in columns for h in (c, "measured")), "verdict"]
    return f"### Table {name}, published and measured\n\n{table(head, lines)}"


def stands_alone(j: Judgement, judgements: list[Judgement]) -> bool:
    """Whether a claim has a paragraph: of a table's column the first, and all that are not met."""
    like = [o for o in judgements if (o.claim.each, o.claim.column) == (
        j.claim.each, j.claim.column)]
    return not j.claim.each or j is like[0] or j.verdict != "reproduced"


def published(j: Judgement) -> str:
    """The published number as the tables show it, with a mark if it was derived, not printed."""
    if j.claim.published is None:
        return "–"
    mark = " †" if j.claim.obtained.startswith("derived") else ""
    return number(j.claim.published, j.claim.show) + mark


def details(paper: Paper, j: Judgement) -> str:
    """One claim's paragraph: how it was obtained, measured and judged, and why it failed."""
    claim = j.claim
    lines = [f'### <a id="{claim.id}"></a>{claim.id}: {j.verdict}', f"- Paper: {claim.where}; "
             + (f"value {claim.obtained}." if claim.published is not None else "no number.")]
    if claim.judge.why:
        lines.append(f"- Band {band(j)}: {one_line(Exception(claim.judge.why))}")
    if claim.afterwards:
        lines.append("- Written or mended when its results were there already: "
                     + one_line(Exception(claim.afterwards)))
    if len(j.plan) > 1 and j.values:
        looks = ", raised to ".join(map(str, j.plan))
        lines.append(f"- Runs: planned {looks} after a look at the verdict, for which the interval "
                     f"pays: it is of {confidence(j.plan):.1%}.")
    if j.by != "mean":
        lines.append(f"- Judged by the {j.by}" + (
            f" of {claim.judge.trials} trials a run." if j.by == "share" else " of its runs."))
    if j.stale:
        lines.append(f"- Stale: {j.stale}")
    if claim.because:
        failed = j.verdict in ("not reproduced", "undecided") or not claim.measure
        word = "Why" if failed else "Note"
        lines.append(f"- {word}: {one_line(Exception(claim.because))}")
    if j.verdict == "not run" and claim.measure:
        lines.append("- No run has finished; the command below starts one, or continues it."
                     + price(paper, claim))
    if command(paper, j):
        lines.append(f"- Run again: `{command(paper, j)}`")
    elif claim.measure:
        lines.append(f"- Computed from the code: `papers.{paper.name}.facts."
                     f"{claim.function}`")
    return "\n".join(lines)


def price(paper: Paper, claim: Claim) -> str:
    """What the missing runs of a claim would cost, where their pace was measured and kept."""
    said = []
    for name in claim.experiments:
        found = results.read_pace(paper.folder / "results" / name, paper.config(name))
        if found and not paper.results.get(name):
            threads, seconds = found.best()
            said.append(f" One run of {name}: about "
                        f"{duration(seconds * paper.config(name).train.steps)} "
                        f"({1000 * seconds:,.0f} ms a step on {found.cpu}, {threads} "
                        f"thread{'s' * (threads > 1)}).")
    return "".join(said)


def runs(paper: Paper) -> str:
    """The table of provenance: what ran, when the code was at which commit, on what."""
    rows = []
    for experiment, made in paper.results.items():
        alike: dict[str, list[results.Result]] = {}
        for r in made:
            alike.setdefault("; ".join(dict.fromkeys(
                on_what(s.hardware) for s in r.record.segments)), []).append(r)
        for hardware, found in alike.items():
            segments = [s for r in found for s in r.record.segments]
            commits = dict.fromkeys(s.code for s in segments)
            versions = dict.fromkeys(s.versions.torch for s in segments)
            seconds = [r.record.seconds for r in found]
            rows.append([experiment, ", ".join(str(r.seed) for r in found),
                         f"{sum(seconds) / len(seconds) / 60:.1f}", ", ".join(commits),
                         ", ".join(versions), hardware])
    if not rows:
        return "No run has finished yet."
    return table(["experiment", "seeds", "minutes a run", "commit", "torch", "hardware"], rows)


def on_what(hardware: Hardware) -> str:
    """Processor and threads; of a graphics card its name, versions and precision before them."""
    threads = hardware.threads
    cpu = f"{hardware.processor}, {threads} thread{'s' * (threads > 1)}"
    if hardware.gpu is None:
        return cpu
    words = {"": hardware.precision, "driver ": hardware.driver, "CUDA ": hardware.cuda,
             "cuDNN ": hardware.cudnn}
    said = [f"{word}{value}" for word, value in words.items() if value is not None]
    return f"{hardware.gpu} ({', '.join(said)}) with {cpu}"


def build(names: list[str]) -> tuple[dict[Path, bytes], set[Path]]:
    """Everything the named papers' reports consist of.

    Returns:
        The content of each file, and the pictures in figure folders that should not be there.
    """
    files: dict[Path, bytes] = {}
    extra: set[Path] = set()
    rows: list[str] = []
    readme = ROOT / "README.md"
    text = read_text(readme)
    for name in paper_names():
        try:
            (paper,) = papers([name])
            judgements = paper.judgements()
        except UserError as e:  # one paper's half-edited file is not another's business
            if not names or name in names:
                raise
            print(f"warning: {e}; README.md keeps its row of {name}", file=sys.stderr)
            rows += [old for old in text.splitlines() if f"(papers/{name}/README.md)" in old
                     and old.startswith("| [")]
            continue
        counted = count(judgements)
        rows.append(line(gallery.cells(paper, counted)))
        for told in outdated(paper, judgements):
            print(f"warning: {told}; tell it as it is", file=sys.stderr)
        if names and name not in names:
            continue
        captions = {}
        files[paper.folder / f"figures/{gallery.NAME}.svg"] = gallery.strip(counted).encode()
        with plotting.style():
            if (every := picture.draw(judgements)) is not None:
                files[paper.folder / f"figures/{picture.NAME}.svg"] = plotting.svg(every)
            for name, caption, made in paper.module("plots").draw(paper):
                files[paper.folder / "figures" / f"{name}.svg"] = plotting.svg(made)
                captions[name] = one_line(Exception(caption))
        if paper.about.picture not in captions:
            raise UserError(f"{shown(paper.folder)}/claims.yaml: picture "
                            f"{paper.about.picture!r} is none of its figures: "
                            f"{', '.join(captions)}")
        extra |= set((paper.folder / "figures").glob("*.svg")) - set(files)
        files[paper.folder / "REPORT.md"] = report(paper, judgements, captions).encode()
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise UserError(f"README.md: expected the gallery between the lines {BEGIN} and {END}")
    before, rest = text.split(BEGIN)
    files[readme] = "\n".join([
        before + BEGIN, table(list(gallery.HEAD), []), *rows, END + rest.split(END)[1]]).encode()
    return files, extra


def same(path: Path, one: bytes, other: bytes) -> bool:
    """Whether a file says the same; of pictures, see :func:`plotting.alike`."""
    return plotting.alike(one, other) if path.suffix == ".svg" else one == other


def main(argv: list[str]) -> int:
    """The command line; see the module's text."""
    unknown = [a for a in argv if a.startswith("-") and a not in ("--check", "--help", "-h")]
    if unknown or "--help" in argv or "-h" in argv:
        if unknown:
            raise UserError(f"unknown option {unknown[0]!r}: expected --check or names of papers")
        print(__doc__.strip())
        return 0
    names = [a for a in argv if not a.startswith("-")]
    papers(names)  # names are checked first
    files, extra = build(names)
    different = [p for p, content in files.items()
                 if not p.exists() or not same(p, p.read_bytes(), content)]
    if "--check" in argv:
        for path in sorted({*different, *extra}):
            print(f"differs from claims and results: {shown(path)}")
        if different or extra:
            print("run: papers report")
            return 1
        print(f"{len(files)} files agree with claims and results")
        return 0
    for path in different:
        write_atomic(path, files[path])
    for path in sorted(extra):
        print(f"no figure of this paper (any more), left alone: {shown(path)}", file=sys.stderr)
    print(f"wrote {len(different)} of {len(files)} files" + "".join(
        f"\n  {shown(p)}" for p in different))
    return 0
