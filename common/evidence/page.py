"""The text of a paper's REPORT.md.

It shows the outcome at a glance: the story, a picture of all verdicts, the paper's headline figure,
and its statements in the order of its own tables and figures. The details of a claim (band,
interval, reason, command) are in a fold, and so are formulas, what has not been run, published
tables and the list of runs.
"""

from __future__ import annotations

from collections.abc import Sequence

from common.evidence import picture, results
from common.evidence.about import About
from common.evidence.claims import Claim
from common.evidence.counting import (
    cost,
    count,
    in_words,
    is_formula,
    of_table,
    to_go,
)
from common.evidence.how_made import how_made
from common.evidence.paper import Judgement, Paper
from common.evidence.places import ELSEWHERE, by_place, place_in_paper, places
from common.evidence.story import notes, story
from common.evidence.tables import (
    as_published,
    band,
    brief,
    cell,
    command,
    escaped,
    fold,
    linked,
    measured,
    number,
    percent,
    spread,
    table,
    unsettled,
)
from common.evidence.verdicts import VERDICTS, confidence
from common.training.progress import duration

FIGURES = 6
"""How many figures besides the headline are shown; if there are more, they go into a fold."""


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
    rows = [j for j in judgements if j.claim.each]
    drawn = {about.picture: captions[about.picture]} | captions
    headline, *others = (figure_with_caption(name, caption) for name, caption in drawn.items())
    parts = [
        f"# {escaped(about.title)}: reproduction report",
        "<!-- made by papers report from claims.yaml and results/; do not edit -->",
        f"{cited(about)}. What the code does and where it had to choose: [README.md](README.md).",
        story(paper, judgements),
        counted(judgements),
        *verdicts_drawn(judgements),
        headline,
        "## What the paper says, and what came out" if ran or rows else "",
        "Measured: means over n seeds. A verdict leads to band, interval, reason and command, in "
        "the fold below its table. † derived from the paper, not printed there; ‡ written or "
        "mended when results were there." if ran else "",
        *(part for place, found in by_place(ran).items() for part in section(paper, place, found)),
        *(part for name in dict.fromkeys(j.claim.each for j in rows)
          for part in published_table(paper, [j for j in rows if j.claim.each == name])),
        *not_run(paper, missing),
        *computed(paper, formulas),
        "## More figures" if others else "",
        *(others if len(others) <= FIGURES else [
            fold(f"{len(others)} more figures", "\n\n".join(others))]),
        *not_settled(paper, judgements),
        "## How it was made", *how_made(paper),
        fold("What the verdicts mean",
             "\n".join(f"- **{v}**: {meaning}." for v, meaning in VERDICTS.items())),
    ]
    return "\n\n".join(p for p in parts if p) + "\n"


def cited(about: About) -> str:
    """Authors and year of a report's papers, each with its address."""
    return "; ".join(f"{escaped(names)}, [{link}]({link})" if link else escaped(names)
                     for names, link in about.papers)


def counted(judgements: Sequence[Judgement]) -> str:
    """The claims by verdict, in a line."""
    return f"**Statements of the paper: {'; '.join(count(judgements).words)}.**"


def figure_with_caption(name: str, caption: str) -> str:
    """A figure with its caption below, in Markdown."""
    return f"![{cell(caption)}](figures/{name}.svg)\n\n{caption}"


def verdicts_drawn(judgements: Sequence[Judgement]) -> list[str]:
    """The picture of all verdicts, and in a fold how it is read; nothing without measured ones."""
    if not (said := picture.caption(judgements)):
        return []
    return [figure_with_caption(picture.NAME, said), *(
        [fold("How this picture is read", picture.READING)] if picture.statements(judgements)
        else [])]


def not_settled(paper: Paper, judgements: Sequence[Judgement]) -> list[str]:
    """The paper's notes in a fold; nothing if there are none."""
    text = notes(paper, judgements)
    return ["## Open questions", fold("What is not settled, and what was tried", text)] * bool(text)


def section(paper: Paper, where: str, judgements: Sequence[Judgement]) -> list[str]:
    """The claims of one place: a narrow table, with their details in a fold."""
    apart = where in (ELSEWHERE, "")
    return [heading(where) if where else "", statements(judgements, "measured (n)", apart),
            fold("Bands, intervals, reasons and commands",
                 "\n\n".join(details(paper, j) for j in judgements))]


def heading(where: str) -> str:
    """The heading of a place in the paper."""
    return f"### {escaped(where[0].upper() + where[1:])}"


def statements(judgements: Sequence[Judgement], ours: str, apart: bool = False) -> str:
    """A narrow table of claims, a row each.

    Args:
        judgements: the judged claims.
        ours: the heading of the column of our values.
        apart: whether their places in the paper differ, so that a column gives each one's.
    """
    return table(["statement", *["where"] * apart, "published", ours, "verdict"], [
        [escaped(j.claim.says), *[escaped(place_in_paper(j.claim.where))] * apart, as_published(j),
         brief(j), verdict(j)] for j in judgements])


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
    of_them = "all" if ready == len(judgements) > 1 else f"{ready}"
    them = "them" if len(judgements) > 1 else "it"
    said = (f"{many} {'have' if len(judgements) > 1 else 'has'} not been measured"
            + (f"; for {of_them} of them the experiments are ready" if ready else
               f", and no experiment here would measure {them}")
            + f". Minutes on two cores: {all_runs.words}."
            + (" Nobody has measured what an untimed run costs." if all_runs.unknown else ""))
    rows = [[escaped(j.claim.says), as_published(j),
             in_words(*to_go([j.claim], paper)) or "no experiment",
             linked(place_in_paper(j.claim.where), f"#{j.claim.id}")] for j in judgements]
    return ["## Not run", said, fold("Which, why, and what each would cost", "\n\n".join([
        table(["statement", "published", "all planned runs, on two cores", "where"], rows),
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
            statements(wrong, "computed", apart=True) if wrong else "",
            fold("Every formula", "\n\n".join([statements(judgements, "computed", apart=True), *(
                details(paper, j) for j in judgements)]))]


def published_table(paper: Paper, judgements: Sequence[Judgement]) -> list[str]:
    """A published table: the number of rows that agree, and all numbers in a fold.

    If most rows agree, those that do not are shown.
    """
    counted = of_table(judgements)
    wrong = {j.claim.row for j in judgements if j.verdict != "reproduced"}
    seen = 0 < len(wrong) < counted.agree
    return [heading(f"{places(judgements)}, row by row"),
            counted.words + ("; those that do not:" if seen else "."),
            *([CELLS, row_by_row([j for j in judgements if j.claim.row in wrong])] if seen else []),
            fold("Every row, published and measured", "\n\n".join([
                CELLS, row_by_row(judgements),
                *(details(paper, j) for j in judgements if stands_alone(j, judgements))]))]


CELLS = "Two numbers in a cell: published, then measured; a single one is both."
"""How :func:`row_by_row` is read."""


def row_by_row(judgements: Sequence[Judgement]) -> str:
    """A table of published and measured numbers, with the rows of the published table.

    A cell has both, in this order, or one number where they agree and look the same.
    """
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
        cells = [side_by_side(found[c]) if c in found else "" for c in columns]
        lines.append([escaped(label), *cells, said])
    return table(["run", *map(escaped, columns), "verdict"], lines)


def side_by_side(j: Judgement) -> str:
    """The published and the measured number, or one where they agree and look the same."""
    theirs, ours = as_published(j), number(j.middle, j.claim.show)
    one = j.verdict == "reproduced" and theirs.removesuffix(" †") == ours
    return theirs if one else f"{theirs}; {ours}"


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
    source = f"value {escaped(claim.obtained)}." if claim.obtained else "no number."
    lines = [f'<a id="{claim.id}"></a>**{claim.id}**: {j.verdict}\n',
             f"- Paper: {escaped(claim.where)}; {source}"]
    if j.values and claim.experiments:
        lines.append(f"- Measured: {'; '.join(filter(None, (measured(j), spread(j))))}.")
    if claim.judge.why:
        lines.append(f"- Band {band(j)}: {escaped(claim.judge.why)}")
    if claim.afterwards:
        lines.append("- Written or mended when its results were there already: "
                     + escaped(claim.afterwards))
    if len(j.plan) > 1 and j.values:
        lines.append(f"- Runs: {planned(paper, j)}it is of {percent(confidence(j.plan))}.")
    if j.by == "one":
        lines.append("- One run counts: all of them start from the same network, and no seed "
                     "changes what is measured of it.")
    elif j.by != "mean":
        lines.append(f"- Judged by the {j.by}" + (
            f" of {claim.judge.trials} trials a run." if j.by == "share" else " of its runs."))
    if j.stale:
        lines.append(f"- Stale: {j.stale}")
    if j.verdict == "undecided":
        lines.append(f"- Undecided: {unsettled(j)}.")
    if claim.because:
        failed = j.verdict in ("not reproduced", "undecided") or not claim.measure
        word = "Why" if failed else "Note"
        lines.append(f"- {word}: {escaped(claim.because)}")
    if j.verdict == "not run" and claim.measure:
        lines.append("- No run has finished; the command below starts one, or continues it."
                     + price(paper, claim))
    if command(paper, j):
        word = "Run" if j.verdict == "not run" else "Run again"
        lines.append(f"- {word}: `{command(paper, j)}`")
    elif claim.measure:
        lines.append(f"- Computed from the code: `papers.{paper.name}.facts."
                     f"{claim.function}`")
    return "\n".join(lines)


def planned(paper: Paper, j: Judgement) -> str:
    """How many runs a claim planned and to what the number was raised, for which its interval pays.

    Where experiments differ in this, each has its own number, and the seeds that all have count.
    """
    plans = {e: raised(paper.experiments.planned(e)) for e in j.claim.experiments}
    if len(set(plans.values())) < 2:
        return f"{raised(j.plan)}, for which the interval pays: "
    return (f"{'; '.join(f'{plan} for {e}' for e, plan in plans.items())}. Only seeds that all of "
            f"these have count, here {len(j.values)}. For the look the interval pays: ")


def raised(plan: Sequence[int]) -> str:
    """How many runs were planned, and to what the number was raised."""
    return (f"planned {', raised to '.join(map(str, plan))}"
            + " after a look at the verdict" * (len(plan) > 1))




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
