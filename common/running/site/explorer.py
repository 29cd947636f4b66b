"""The claims explorer: every claim of every paper in one HTML page that needs nothing else.

The page is :file:`explorer.html` with its style, its script and the data inside. What is said of a
claim comes from the same functions as the reports; the curves are thinned to what a screen shows.
"""

from __future__ import annotations

import ast
import json
import math
import re
import textwrap
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import on_one_line
from common.evidence import results, tables
from common.evidence.claims import Claim
from common.evidence.counting import is_formula
from common.evidence.paper import Judgement, Paper
from common.evidence.results import Result
from common.evidence.verdicts import VERDICTS
from common.files import ROOT
from common.running.site.jobs import of_jobs
from common.running.site.names import Code, find, functions, measuring, parsed

HERE = Path(__file__).parent

SHOWN_POINTS = 120
"""Of a curve, evenly chosen; a phone has 400 pixels."""

KINDS = {"measured": "measured in runs", "ready": "not run yet; its experiment is ready",
         "out": "not run; there is no experiment for it", "row": "number of a published table",
         "formula": "formula, computed from the code alone"}
"""In the order of the list. The first three are the statements that a report counts by verdict."""

HEADINGS = {"measured": "Measured in runs", "ready": "Not run yet",
            "out": "Not run: no experiment here", "row": "Published tables, number by number",
            "formula": "Formulas, computed from the code alone"}
"""Above the claims of each kind."""

Study = dict[str, list[str]]
"""A skill to the papers that teach it."""


def kind(j: Judgement) -> str:
    """A key of :data:`KINDS`."""
    if j.claim.each:
        return "row"
    if is_formula(j.claim):
        return "formula"
    return "out" if not j.claim.measure else "ready" if j.verdict == "not run" else "measured"


def skills(text: str) -> Study:
    """The skills of STUDY.md's first table, each with the papers its row links to.

    Args:
        text: of ``papers/STUDY.md``.
    """
    found: Study = {}
    table = re.search(r"\| skill \|.*\n\|[ -]*---.*\n((?:\|.*\n)+)", text)
    for line in table[1].splitlines() if table else []:
        skill = line.strip("| ").split(" | ")[0]
        links = re.findall(r"\]\(([a-z_0-9]+)/", line)
        found[skill] = [p for p in dict.fromkeys(links) if p != "common"]
    return found


# ---- a claim -------------------------------------------------------------------------------------

def of_claim(paper: Paper, j: Judgement) -> tuple[dict[str, Any], list[Code]]:
    """What the page knows about a claim, and the code that measures it."""
    claim, (low, high) = j.claim, j.claim.band
    code = measure_of(paper, claim)
    metrics, beside = metrics_of(paper, j, code)
    said = {
        "paper": paper.name, "id": claim.id, "kind": kind(j), "verdict": j.verdict,
        "row": [claim.each, claim.row] if claim.each else None,
        "where": claim.where, "says": claim.says, "obtained": claim.obtained,
        "published": tables.as_published(j).removesuffix(" †"),  # derived is said in words
        "band": tables.band(j), "measured": tables.measured(j), "spread": tables.spread(j),
        "why": claim.judge.why, "because": claim.because,
        "afterwards": claim.afterwards, "stale": j.stale, "by": by(j),
        "command": command(paper, j), "code": [key(s) for s in code],
        "experiments": list(dict.fromkeys(claim.experiments)),
        "metrics": metrics, "beside": beside,
        "own": claim.measure.metric if claim.measure and not claim.measure.versus else "",
        "unit": tables.UNITS.get(claim.show[-1], ""),
        "step": claim.measure.step if claim.measure else None,
        "at": finite(claim.published), "low": finite(low), "high": finite(high),
        "middle": finite(j.middle), "interval": [finite(v) for v in j.interval or ()],
        "values": [[seed, finite(v), tables.number(v, claim.show)]
                   for seed, v in zip(seeds_of(paper, j), j.values, strict=False)],
    }
    return {k: on_one_line(str(v)) if k in ("why", "because", "afterwards", "says") else v
            for k, v in said.items() if v or (v == 0 and v is not False)}, code


def by(j: Judgement) -> str:
    """What of its runs a claim is judged by; of one that no seed can change there is only one."""
    alone = j.by == "one" or (j.claim.judge.exactly is not None and len(j.values) == 1)
    return "one run" if alone else j.by


def of_source(source: Code, modules: Container[str]) -> dict[str, Any]:
    """What the page knows about a piece of code; its page in the API, where there is one."""
    said = {"path": source.path.relative_to(ROOT).as_posix(), "line": source.first,
            "text": textwrap.dedent(source.text)}
    page = f"api/{source.module}.html"
    if not re.search(r"(^|\.)_", source.name):  # what is private stands in no API page
        page += f"#{key(source)}"
    return said | ({"page": page} if source.module in modules else {})


def finite(value: float | None) -> float | None:
    """A number as JSON has it, to six digits; None for what it has not."""
    return float(f"{value:.6g}") if value is not None and math.isfinite(value) else None


def seeds_of(paper: Paper, j: Judgement) -> list[int]:
    """The seeds behind a judgement's values; one that means nothing for a formula."""
    if not (j.claim.experiments and j.values):
        return [0]
    runs = [{r.seed for r in paper.results.get(e, []) if r.seed < j.plan[-1]}
            for e in j.claim.experiments]
    return sorted(set.intersection(*runs))


def command(paper: Paper, j: Judgement) -> str:
    """The line that checks a claim; empty where nothing measures it."""
    if j.claim.experiments or not j.claim.measure:
        return tables.command(paper, j)
    name = j.claim.function
    given = ", ".join(f"{k}={v!r}" for k, v in j.claim.measure.arguments.items())
    return f'python -c "from papers.{paper.name}.facts import {name}; print({name}({given}))"'


def key(source: Code) -> str:
    """A piece of code's dotted name."""
    return f"{source.module}.{source.name}"


def measure_of(paper: Paper, claim: Claim) -> list[Code]:
    """The code that measures a claim: its function and what that calls in the same file, or the
    functions that make its metric, at most three."""
    if claim.function:
        return called(paper.folder / "facts.py", claim.function)
    if claim.measure is None or claim.measure.metric is None:
        return []
    found = measuring(paper, claim.measure.metric)
    return (found or evaluations(paper))[:3]


def evaluations(paper: Paper) -> list[Code]:
    """Where metrics come from whose names are made at run time: a worklist's jobs, evaluations."""
    found = [find(path, name) for path in sorted(paper.folder.glob("*.py"))
             for name, _ in functions(parsed(path)[1])
             if name.endswith((".do", ".evaluate")) and path.stem != "facts"]
    return [s for s in found if s]


def called(path: Path, name: str, seen: tuple[str, ...] = ()) -> list[Code]:
    """A function of a file, then those functions of the file that it calls, at most six."""
    source = find(path, name)
    if source is None or name in seen:
        return []
    found = [source]
    for node in ast.walk(ast.parse(source.text)):
        if isinstance(node, ast.Name) and node.id not in (f.name for f in found):
            found += [s for s in called(path, node.id, (*seen, *(f.name for f in found)))
                      if s.text.startswith("def") and s not in found]
    return found[:6]


# ---- its runs ------------------------------------------------------------------------------------

def metrics_of(paper: Paper, j: Judgement, code: Sequence[Code]) -> tuple[list[str], str]:
    """The metrics whose curves show what a claim is about, at most three; where there are none, the
    loss, and how the claim's own number came about."""
    runs = [r for e in j.claim.experiments for r in paper.results.get(e, [])[:1]]
    if any(of_jobs(paper, r) for r in runs):
        return [], ""
    known = [m for m in dict.fromkeys(m for r in runs for m in r.curves) if drawn(runs, m)]
    named = [(j.claim.measure and j.claim.measure.metric) or ""]
    if j.claim.function:
        named += re.findall(r"[\"']([\w./-]+)[\"']", "\n".join(s.text for s in code))
    chosen = [m for m in dict.fromkeys(named) if m in known]
    if chosen or "train_loss" not in known:
        return chosen[:3], ""
    return ["train_loss"], ("is computed from what the runs measured" if j.claim.function
                            else "is measured at the end")


def in_percent(paper: Paper) -> list[str]:
    """The metrics that a paper's claims show in percent, or a difference of them in points."""
    return sorted({c.measure.metric for c in paper.claims
                   if c.measure and c.measure.metric and c.show[-1] in tables.UNITS})


def drawn(runs: Sequence[Result], metric: str) -> bool:
    """Whether a metric makes a curve in one of the runs."""
    return any(len(r.curves[metric][0]) > 2 for r in runs if metric in r.curves)


def curves_of(paper: Paper, claims: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The curves the claims show: experiment to metric to what :func:`line_of` says of its runs."""
    wanted = {(e, m) for c in claims for e in c.get("experiments", [])
              for m in c.get("metrics", [])}
    found: dict[str, Any] = {}
    ends: dict[tuple[str, int], float] = {}  # of a run, whatever the metric
    for experiment, metric in sorted(wanted):
        lines = []
        for r in paper.results.get(experiment, []):
            if metric in r.curves:
                if (experiment, r.seed) not in ends:
                    ends[experiment, r.seed] = settled(r)
                lines.append(line_of(r, metric, ends[experiment, r.seed]))
        if lines:
            found.setdefault(experiment, {})[metric] = lines
    return found


def settled(run: Result) -> float:
    """The step from which nothing in a run changes to its last digit; infinite if something does.

    A recipe may stop before the last of its steps, and its curves then repeat their last values.
    """
    ends = {m: unchanged(values) for m, (_, values) in run.curves.items() if len(values) > 2}
    if not 1 < ends.get("train_loss", 0) < len(run.curves["train_loss"][1]) - 2:
        return math.inf
    return float(max(run.curves[m][0][k] for m, k in ends.items()))


def unchanged(values: Sequence[float] | np.ndarray) -> int:
    """The place from which all values are the same; of values that end in NaN, the last one."""
    last = len(values) - 1
    return next((min(k + 1, last) for k in range(last, -1, -1) if values[k] != values[last]), 0)


def line_of(run: Result, metric: str, end: float) -> list[Any]:
    """A run's seed, steps and values; if it settled, only those up to there, and then true.

    Args:
        run: a result.
        metric: one of its curves.
        end: the step where it :func:`settled`.
    """
    steps, values = on_screen(*run.curves[metric])
    kept = sum(s <= end for s in steps if s is not None) if len(steps) > 2 else len(steps)
    return [run.seed, steps[:kept], values[:kept], *[True] * (kept < len(steps))]


def published_of(paper: Paper) -> dict[str, Any]:
    """The published curves: experiment to metric to [name, steps, values] of each."""
    found: dict[str, Any] = {}
    for curve in paper.about.curves:
        table = paper.published(curve.table)
        for name in curve.values:
            line = [curve.says, *on_screen(curve.each * table[curve.steps], table[name])]
            for experiment in curve.experiments:
                found.setdefault(experiment, {}).setdefault(curve.metric, []).append(line)
    return found


def on_screen(steps: Sequence[float] | np.ndarray, values: Sequence[float] | np.ndarray
              ) -> list[list[float | None]]:
    """A curve's steps and values, thinned to :data:`SHOWN_POINTS` and rounded to four digits."""
    points = results.thinned(list(zip(steps, values, strict=True)), SHOWN_POINTS)
    return [[int(step) for step, _ in points],
            [float(f"{value:.4g}") if math.isfinite(value) else None for _, value in points]]


def runs_of(paper: Paper) -> dict[str, list[list[Any]]]:
    """Experiment to [seed, minutes, commit, torch, hardware] of its runs."""
    def of_run(r: Result) -> list[Any]:
        parts = r.record.segments
        return [r.seed, round(r.record.seconds / 60, 1),
                ", ".join(dict.fromkeys(s.code for s in parts)),
                ", ".join(dict.fromkeys(s.versions.torch for s in parts)),
                "; ".join(dict.fromkeys(tables.on_what(s.hardware) for s in parts))]
    needed = {e for c in paper.claims for e in c.experiments}
    return {e: [of_run(r) for r in runs] for e, runs in paper.results.items() if e in needed}


# ---- the page ------------------------------------------------------------------------------------

def page(judged: Sequence[tuple[Paper, Sequence[Judgement]]], study: Study,
         modules: Container[str] = ()) -> str:
    """The explorer's HTML.

    Args:
        judged: the papers with their judgements.
        study: the skills, see :func:`skills`.
        modules: those with a page in the site's API; without any the page stands alone.
    """
    sources: dict[str, dict[str, Any]] = {}
    papers, claims, curves, published = [], [], {}, {}
    for paper, judgements in judged:
        own = []
        for said, code in (of_claim(paper, j) for j in judgements):
            own.append(said)
            sources |= {key(s): of_source(s, modules) for s in code}
        claims += own
        curves[paper.name] = curves_of(paper, own)
        published[paper.name] = published_of(paper)
        about = paper.about
        papers.append({"name": paper.name, "title": about.title, "authors": about.authors,
                       "year": about.year, "runs": runs_of(paper),
                       "percent": in_percent(paper),
                       "page": f"papers/{paper.name}/index.html" if modules else ""})
    names = {p["name"] for p in papers}
    data = {"papers": papers, "kinds": KINDS, "headings": HEADINGS,
            "verdicts": VERDICTS, "sources": sources,
            "skills": {k: v for k, v in study.items() if names & set(v)}, "claims": claims}
    blocks = [block("data", data), *(block(f"curves-{k}", v) for k, v in curves.items()),
              *(block(f"published-{k}", v) for k, v in published.items() if v)]
    text, style, *scripts = ((HERE / name).read_text(encoding="utf-8") for name in (
        "explorer.html", "explorer.css", "explorer.js", "curves.js"))
    parts = {"STYLE": style, "SCRIPT": "\n".join(scripts), "DATA": "\n".join(blocks)}
    return re.sub(r"<!--(STYLE|DATA|SCRIPT)-->", lambda m: parts[m[1]], text)


def block(name: str, content: Any) -> str:
    """Data as a script element that nothing executes; no text in it can end the element."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    text = text.replace("<", "\\u003c")
    return f'<script type="application/json" id="{name}">{text}</script>'
