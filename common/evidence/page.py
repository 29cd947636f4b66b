"""The text of a paper's REPORT.md.

It shows the outcome at a glance: the story, a picture of all verdicts, the paper's headline figure,
and its statements in the order of its own tables and figures. The details of a claim (band,
interval, reason, command) are in a fold, and so are formulas, what has not been run, published
tables and the list of runs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from common.evidence import picture, results
from common.evidence.claims import Claim
from common.evidence.counting import (
    card_seconds,
    core_seconds,
    cost,
    count,
    in_words,
    is_formula,
    of_table,
    to_go,
)
from common.evidence.paper import Judgement, Paper
from common.evidence.story import story
from common.evidence.tables import (
    band,
    brief,
    cell,
    command,
    escaped,
    linked,
    measured,
    number,
    on_what,
    published,
    scattered,
    table,
)
from common.evidence.verdicts import VERDICTS, confidence
from common.training.progress import duration

PLACES = (re.compile(r"(?:Tables?|Figs?\.|Algorithm) \w+(?:\([a-z]\))?(?: (?:and|to) \d+)?"),
          re.compile(r"(?:section|appendix|theorem|Proposition) [\w.]*\w", re.IGNORECASE),
          re.compile(r"eqs?\. \(\d+\)|abstract"))
"""Patterns of places in a paper, from those that readers know best to those they know least."""

FIGURES = 6
"""How many figures besides the headline are shown; if there are more, they go into a fold."""

ELSEWHERE = "Elsewhere"
"""The heading of claims that are the only ones at their place in the paper."""


def report_text(paper: Paper, judgements: list[Judgement], captions: dict[str, str]) -> str:
    """The text of REPORT.md.

    Args:
        paper: the paper.
        judgements: the judgements of all its claims.
        captions: the captions of its figures by name, in order.
    """
    about = paper.about
    alone = [j for j in judgements if not j.claim.each]
    formulas = [j for j in alone if is_formula(j.claim)]
    ran = [j for j in alone if j not in formulas and j.verdict != "not run"]
    missing = [j for j in alone if j not in formulas and j.verdict == "not run"]
    drawn = {about.picture: captions[about.picture]} | captions
    headline, *others = (figure_with_caption(name, caption) for name, caption in drawn.items())
    parts = [
        f"# {escaped(about.title)}: reproduction report",
        "<!-- made by papers report from claims.yaml and results/; do not edit -->",
        f"{escaped(about.authors)} ({about.year}), [{about.link}]({about.link}). "
        f"What the code does and where it had to choose: [README.md](README.md).",
        story(paper, judgements),
        counted(judgements),
        *verdicts_drawn(judgements),
        headline,
        "## What the paper says, and what came out" if ran else "",
        "Measured: means over n seeds. A verdict leads to band, interval, reason and command, in "
        "the fold below its table. † derived from the paper, not printed there; ‡ written or "
        "mended when results were there." if ran else "",
        *(part for place, found in by_place(ran).items() for part in section(paper, place, found)),
        *(part for name in dict.fromkeys(j.claim.each for j in judgements) if name for part in (
            f"### Table {name}", *published_table(paper, name, [
                j for j in judgements if j.claim.each == name]))),
        *not_run(paper, missing),
        *computed(paper, formulas),
        "## More figures" if others else "",
        *(others if len(others) <= FIGURES else [
            fold(f"{len(others)} more figures", "\n\n".join(others))]),
        "## How it was made", *how_made(paper),
        fold("What the verdicts mean",
             "\n".join(f"- **{v}**: {meaning}." for v, meaning in VERDICTS.items())),
    ]
    return "\n\n".join(p for p in parts if p) + "\n"


def counted(judgements: Sequence[Judgement]) -> str:
    """The claims by verdict, in a line."""
    return f"**Statements of the paper: {'; '.join(count(judgements).words)}.**"


def figure_with_caption(name: str, caption: str) -> str:
    """A figure with its caption below, in Markdown."""
    return f"![{cell(caption)}](figures/{name}.svg)\n\n{caption}"


def verdicts_drawn(judgements: Sequence[Judgement]) -> list[str]:
    """The picture of all verdicts, and in a fold how it is read; nothing without measured ones."""
    if not picture.statements(judgements):
        return []
    return [figure_with_caption(picture.NAME, picture.CAPTION),
            fold("How this picture is read", picture.READING)]


def fold(title: str, text: str) -> str:
    """A fold that a reader can open; a heading inside would end it early on some pages."""
    return f"<details>\n<summary>{title}</summary>\n\n{text}\n\n</details>"


def place_in_paper(where: str) -> str:
    """The table, figure, section or equation of a claim.

    If ``where`` first names one of several papers, that name is included.
    """
    first = next((m for p in PLACES if (m := p.search(where))), None)
    if first is None:
        return where
    source, comma, _ = where.partition(", ")
    named = comma and first.start() > len(source) and not any(p.search(source) for p in PLACES)
    return (f"{source}, " if named else "") + first[0]


def by_place(judgements: Sequence[Judgement]) -> dict[str, list[Judgement]]:
    """Group claims by their place in the paper, in the order of claims.yaml.

    Claims alone at their place form the last group.
    """
    found: dict[str, list[Judgement]] = {}
    for j in judgements:
        found.setdefault(place_in_paper(j.claim.where), []).append(j)
    single = [j for js in found.values() if len(js) == 1 for j in js]
    groups = {where: js for where, js in found.items() if len(js) > 1}
    return groups | ({ELSEWHERE if groups else "": single} if single else {})


def section(paper: Paper, where: str, judgements: Sequence[Judgement]) -> list[str]:
    """The claims of one place: a narrow table, with their details in a fold."""
    title = f"### {escaped(where[0].upper() + where[1:])}" if where else ""
    return [title, statements(judgements, "measured (n)"),
            fold("Bands, intervals, reasons and commands",
                 "\n\n".join(details(paper, j) for j in judgements))]


def statements(judgements: Sequence[Judgement], ours: str) -> str:
    """A narrow table of claims, a row each.

    Args:
        judgements: the judged claims.
        ours: the heading of the column of our values.
    """
    return table(["statement", "published", ours, "verdict"],
                 [[escaped(j.claim.says), published(j), brief(j), verdict(j)] for j in judgements])


def verdict(j: Judgement) -> str:
    """The verdict as a link to the claim's details, for the tables."""
    return f"[**{j.verdict}**](#{j.claim.id})" + " ‡" * bool(j.claim.afterwards)


def not_run(paper: Paper, judgements: Sequence[Judgement]) -> list[str]:
    """The section on statements that have not been measured, with their cost."""
    if not judgements:
        return []
    ready = sum(bool(j.claim.measure) for j in judgements)
    all_runs = cost(paper)
    many = f"{len(judgements)} statement{'s' * (len(judgements) > 1)}"
    said = (f"{many} {'have' if len(judgements) > 1 else 'has'} not been measured"
            + (f"; for {ready} of them the experiments are ready" if ready else "")
            + f". Minutes on two cores: {all_runs.words}."
            + (" Nobody has measured what an untimed run costs." if all_runs.unknown else ""))
    rows = [[escaped(j.claim.says), published(j),
             in_words(*to_go([j.claim], paper)) or "no experiment",
             linked(place_in_paper(j.claim.where), f"#{j.claim.id}")] for j in judgements]
    return ["## Not run", said, fold("Which, why, and what each would cost", "\n\n".join([
        table(["statement", "published", "on two cores", "where"], rows),
        *(details(paper, j) for j in judgements)]))]


def computed(paper: Paper, judgements: Sequence[Judgement]) -> list[str]:
    """The section on formulas; those that do not hold are shown, all others are in a fold."""
    if not judgements:
        return []
    wrong = [j for j in judgements if j.verdict != "reproduced"]
    hold = (f"{len(judgements) - len(wrong)} of {len(judgements)} "
            f"formula{'s' * (len(judgements) > 1)} hold{'s' * (len(judgements) == 1)}"
            + (", all but these:" if wrong else "."))
    return ["## Computed from the code alone", hold,
            statements(wrong, "computed") if wrong else "",
            fold("Every formula", "\n\n".join([statements(judgements, "computed"), *(
                details(paper, j) for j in judgements)]))]


def published_table(paper: Paper, name: str, judgements: Sequence[Judgement]) -> list[str]:
    """A published table: the number of rows that agree, and all numbers in a fold."""
    counted = of_table(name, judgements)
    return [f"{counted.words}.", fold("Published and measured, row by row", "\n\n".join([
        row_by_row(judgements),
        *(details(paper, j) for j in judgements if stands_alone(j, judgements))]))]


def row_by_row(judgements: Sequence[Judgement]) -> str:
    """A table of published and measured numbers, with the rows of the published table."""
    columns = list(dict.fromkeys(j.claim.column for j in judgements))
    rows: dict[str, dict[str, Judgement]] = {}
    for j in judgements:
        rows.setdefault(j.claim.row, {})[j.claim.column] = j
    lines = []
    for label, found in rows.items():
        verdicts = dict.fromkeys(j.verdict for j in found.values())
        said = f"**{next(iter(verdicts))}**" if len(verdicts) == 1 else "; ".join(
            f"{', '.join(escaped(c) for c, j in found.items() if j.verdict == v)} **{v}**"
            for v in verdicts if v != "reproduced")
        cells = [text for c in columns for text in (
            (published(found[c]), number(found[c].middle, found[c].claim.show)) if c in found
            else ("", ""))]
        lines.append([escaped(label), *cells, said])
    return table(["run", *(h for c in columns for h in (escaped(c), "measured")), "verdict"], lines)


def stands_alone(j: Judgement, judgements: Sequence[Judgement]) -> bool:
    """Whether a claim has a paragraph of its own.

    In a published table only the first claim of each column and those not reproduced have one.
    """
    like = [o for o in judgements if (o.claim.each, o.claim.column) == (
        j.claim.each, j.claim.column)]
    return not j.claim.each or j is like[0] or j.verdict != "reproduced"


def details(paper: Paper, j: Judgement) -> str:
    """One claim's paragraph: its source, measurement and judgement, and why it failed."""
    claim = j.claim
    source = (f"value {escaped(claim.obtained)}." if claim.published is not None
                 else "no number.")
    lines = [f'<a id="{claim.id}"></a>**{claim.id}**: {j.verdict}\n',
             f"- Paper: {escaped(claim.where)}; {source}"]
    if j.values and claim.experiments:
        deviation = "± the runs' standard deviation, " if scattered(j) else ""
        lines.append(f"- Measured: {measured(j)}" + (
            f"; {deviation}in brackets the {percent(confidence(j.plan))} interval." if j.interval
            else "."))
    if claim.judge.why:
        lines.append(f"- Band {band(j)}: {escaped(claim.judge.why)}")
    if claim.afterwards:
        lines.append("- Written or mended when its results were there already: "
                     + escaped(claim.afterwards))
    if len(j.plan) > 1 and j.values:
        looks = ", raised to ".join(map(str, j.plan))
        lines.append(f"- Runs: planned {looks} after a look at the verdict, for which the interval "
                     f"pays: it is of {percent(confidence(j.plan))}.")
    if j.by == "one":
        lines.append("- One run counts: all of them start from the same network, and no seed "
                     "changes what is measured of it.")
    elif j.by != "mean":
        lines.append(f"- Judged by the {j.by}" + (
            f" of {claim.judge.trials} trials a run." if j.by == "share" else " of its runs."))
    if j.stale:
        lines.append(f"- Stale: {j.stale}")
    if claim.because:
        failed = j.verdict in ("not reproduced", "undecided") or not claim.measure
        word = "Why" if failed else "Note"
        lines.append(f"- {word}: {escaped(claim.because)}")
    if j.verdict == "not run" and claim.measure:
        lines.append("- No run has finished; the command below starts one, or continues it."
                     + price(paper, claim))
    if command(paper, j):
        lines.append(f"- Run again: `{command(paper, j)}`")
    elif claim.measure:
        lines.append(f"- Computed from the code: `papers.{paper.name}.facts."
                     f"{claim.function}`")
    return "\n".join(lines)


def percent(share: float) -> str:
    """A fraction in percent, with at most three digits."""
    return f"{100 * share:.3g} %"


def price(paper: Paper, claim: Claim) -> str:
    """The cost of a claim's missing runs, where ``train.py --pace --keep`` has measured it."""
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


def how_made(paper: Paper) -> list[str]:
    """How the results were made: time and machines in a sentence, every run in a fold."""
    records = [r.record for found in paper.results.values() for r in found]
    if not records:
        return ["No run has finished yet."]
    segments = [s for r in records for s in r.segments]
    machines = dict.fromkeys(s.hardware.processor for s in segments if s.hardware.gpu is None)
    cards = dict.fromkeys(f"{s.hardware.gpu} ({s.hardware.precision or 'float32'})"
                          for s in segments if s.hardware.gpu is not None)
    spent = [f"{sum(map(core_seconds, records)) / 3600:,.1f} core-hours on {', '.join(machines)}"
             ] if machines else []
    if cards:
        spent.append(f"{sum(map(card_seconds, records)) / 60:,.1f} minutes of {', '.join(cards)}")
    commits = dict.fromkeys(s.code for s in segments)
    versions = dict.fromkeys(s.versions.torch for s in segments)
    name = paper.name
    return [
        f"{len(records)} run{'s' * (len(records) > 1)} of {len(paper.results)} "
        f"experiment{'s' * (len(paper.results) > 1)}: {' and '.join(spent)}, with torch "
        f"{', '.join(versions)}, at {len(commits)} commit{'s' * (len(commits) > 1)} of this "
        f"repository. Any number again: `papers reproduce {name} claims=ID`, with the ID that its "
        f"verdict leads to. Whether today's code still does what the results say: "
        f"`papers recheck {name}`.",
        fold("Every run", runs(paper))]


def runs(paper: Paper) -> str:
    """The table of provenance: the runs, their commits, versions and hardware."""
    rows = []
    for experiment, found in paper.results.items():
        alike: dict[str, list[results.Result]] = {}
        for r in found:
            alike.setdefault("; ".join(dict.fromkeys(
                on_what(s.hardware) for s in r.record.segments)), []).append(r)
        for hardware, like in alike.items():
            segments = [s for r in like for s in r.record.segments]
            commits = dict.fromkeys(s.code for s in segments)
            versions = dict.fromkeys(s.versions.torch for s in segments)
            seconds = [r.record.seconds for r in like]
            rows.append([experiment, ", ".join(str(r.seed) for r in like),
                         f"{sum(seconds) / len(seconds) / 60:.1f}", ", ".join(commits),
                         ", ".join(versions), hardware])
    return table(["experiment", "seeds", "minutes a run", "commit", "torch", "hardware"], rows)
