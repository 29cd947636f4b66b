"""The text of a claim's table cells (numbers, bands, intervals), and tables in Markdown."""

from __future__ import annotations

import math
import re

import numpy as np

from common.errors import on_one_line
from common.evidence.paper import Judgement, Paper
from common.evidence.verdicts import ENOUGH_SEEDS, confidence
from common.segments import Hardware

UNITS = {"%": "%", "p": "points"}
"""The units of fractions, by the last letter of a claim's format; both are hundredths."""


def number(value: float, form: str) -> str:
    """A number in the claim's format, with a true minus sign and a space before its unit.

    A format that ends with ``%`` shows a fraction in percent, one that ends with ``p`` a difference
    of fractions in points. NaN is –, infinity ∞.
    """
    if math.isnan(value):
        return "–"
    unit = UNITS.get(form[-1])
    python = form[:-1] + "%" if unit else form
    text = str(value).replace("inf", "∞") if math.isinf(value) else format(value, python)
    return text.replace("-", "−").replace("%", f"\N{NO-BREAK SPACE}{unit}")


def brief(j: Judgement) -> str:
    """Mean or median and the number of seeds, in the short form of the report's tables."""
    if not j.values:
        return "–"
    text = ("median " if j.by == "median" else "") + number(j.middle, j.claim.show)
    exact = not j.claim.experiments or j.claim.judge.exactly is not None
    return text if exact else f"{text} ({len(j.values)})"


def scattered(j: Judgement) -> bool:
    """Whether a standard deviation of the runs stands beside their mean."""
    exact = not j.claim.experiments or j.claim.judge.exactly is not None
    return bool(j.values) and not exact and j.by == "mean" and math.isfinite(j.sd)


def percent(share: float) -> str:
    """A fraction in percent, with at most three digits."""
    return f"{100 * share:.3g} %"


def spread(j: Judgement) -> str:
    """What ``±`` and the brackets of :func:`measured` are, in words; empty without an interval."""
    if j.interval is None or not j.claim.experiments:
        return ""
    deviation = "± the runs' standard deviation, " if scattered(j) else ""
    sd, form = j.claim.judge.sd, j.claim.show
    assumed = ""
    if sd is not None and j.by == "mean" and len(j.values) < ENOUGH_SEEDS and not j.sd > sd:
        assumed = f", from an assumed standard deviation of {number(sd, form)}"
    return f"{deviation}in brackets the {percent(confidence(j.plan))} interval{assumed}"


def unsettled(j: Judgement) -> str:
    """Why a claim is undecided: where its interval lies, and how many of its runs there are."""
    (low, high), whole = j.claim.band, max([*j.plan, ENOUGH_SEEDS])
    if not np.isfinite(j.values).all():
        where = "a run without a finite value leaves no mean"
    elif j.interval is None:
        where = "so few runs have no interval"
    elif j.interval[1] < low or high < j.interval[0]:
        where = "the interval lies outside the band, of too few runs"
    else:
        ends = ["lower"] * (j.interval[0] < low) + ["upper"] * (high < j.interval[1])
        over = "both ends" if len(ends) == 2 else f"the {ends[0]} end"
        where = f"the interval reaches over {over} of the band"
    have = len(j.values)
    there = f"{have} of the {whole}" if have < whole else f"all {have}"
    return f"{where}; {there} planned runs are there"


def measured(j: Judgement) -> str:
    """Mean or median, spread and interval over seeds, in full."""
    form = j.claim.show
    if not j.values:
        return "–"
    text = ("median " if j.by == "median" else "") + number(j.middle, form)
    if not j.claim.experiments or j.claim.judge.exactly is not None:
        return text
    if scattered(j):
        text += f" ± {number(j.sd, form)}"
    if j.interval is not None:
        text += f" [{number(j.interval[0], form)}, {number(j.interval[1], form)}]"
    return f"{text}, n = {len(j.values)}"


def band(j: Judgement) -> str:
    """The band as text, such as ``0.94 … 0.96``."""
    low, high = j.claim.band
    form = j.claim.show
    if not j.claim.measure:
        return "–"
    if math.isinf(high):
        return f"≥ {number(low, form)}"
    if math.isinf(low):
        return f"≤ {number(high, form)}"
    if j.claim.judge.exactly is not None and j.claim.published is not None and low < high:
        exactly = j.claim.judge.exactly
        around = f"{100 * exactly:g} points" if form[-1] in UNITS else number(exactly, "g")
        return f"{number(j.claim.published, form)} ± {around}"
    if low == high:
        return f"= {number(low, form)}"
    return f"{number(low, form)} … {number(high, form)}"


def command(paper: Paper, j: Judgement) -> str:
    """The command that measures a claim again; empty for an exact fact."""
    if not j.claim.experiments:
        return ""
    return (f"papers reproduce {paper.name} claims={j.claim.id} "
            f"seeds={max(len(j.values), 1)}")


MARKUP = re.compile(
    r"[`*~$\\]|^[#>+=-]|(?<!\w)_(?=\S)|\](?=[(\[:])|<(?=[A-Za-z/!?])|&(?=#?\w+;)")
"""What Markdown or HTML would read as more than the sign itself."""


def escaped(text: str) -> str:
    """Text of a claim as Markdown that shows it as it is written, on one line."""
    return MARKUP.sub(r"\\\g<0>", on_one_line(text))


IN_A_LINK = re.compile(rf"[\[\]]|{MARKUP.pattern}")


def linked(text: str, to: str) -> str:
    """A link in Markdown that shows a text as it is written."""
    shown = IN_A_LINK.sub(r"\\\g<0>", on_one_line(text))
    return f"[{shown}]({to})"


def cell(text: str) -> str:
    """Text as a cell of a Markdown table: on one line, with pipes escaped."""
    return on_one_line(text).replace("|", "\\|")


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    return "\n".join(map(line, [head, ["---"] * len(head), *rows]))


def line(cells: list[str]) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(map(cell, cells)) + " |"


def fold(title: str, text: str) -> str:
    """A fold that a reader can open; a heading inside would end it early on some pages."""
    return f"<details>\n<summary>{title}</summary>\n\n{text}\n\n</details>"


def as_published(j: Judgement) -> str:
    """The published number, marked † if it was derived rather than printed."""
    if j.claim.published is None:
        return "–"
    mark = " †" if j.claim.obtained.startswith("derived") else ""
    return number(j.claim.published, j.claim.show) + mark


def on_what(hardware: Hardware) -> str:
    """Processor and threads, after the graphics card with its precision and versions, if any."""
    threads = hardware.threads
    cpu = f"{hardware.processor}, {threads} thread{'s' * (threads > 1)}"
    if hardware.gpu is None:
        return cpu
    words = {"": hardware.precision, "driver ": hardware.driver, "CUDA ": hardware.cuda,
             "cuDNN ": hardware.cudnn}
    said = [f"{word}{value}" for word, value in words.items() if value is not None]
    return f"{hardware.gpu} ({', '.join(said)}) with {cpu}"
