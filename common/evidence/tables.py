"""What a claim's cells say: numbers, bands, intervals, verdicts, and tables of them in Markdown."""

from __future__ import annotations

import math

from common.config import one_line
from common.evidence.paper import Judgement, Paper
from common.segments import Hardware


def number(value: float, form: str) -> str:
    """A number as the claim wants it printed, with a true minus sign; – for NaN, ∞ for infinity."""
    if math.isnan(value):
        return "–"
    text = str(value).replace("inf", "∞") if math.isinf(value) else format(value, form)
    return text.replace("-", "−")


def brief(j: Judgement) -> str:
    """Mean or median, and the number of seeds, as the report's tables show them."""
    if not j.values:
        return "–"
    text = ("median " if j.by == "median" else "") + number(j.middle, j.claim.show)
    exact = not j.claim.experiments or j.claim.judge.exactly is not None
    return text if exact else f"{text} ({len(j.values)})"


def measured(j: Judgement) -> str:
    """Mean, spread and interval over seeds."""
    form = j.claim.show
    if not j.values:
        return "–"
    text = ("median " if j.by == "median" else "") + number(j.middle, form)
    if not j.claim.experiments or j.claim.judge.exactly is not None:
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


def published(j: Judgement) -> str:
    """The published number as the tables show it, with a mark if it was derived, not printed."""
    if j.claim.published is None:
        return "–"
    mark = " †" if j.claim.obtained.startswith("derived") else ""
    return number(j.claim.published, j.claim.show) + mark


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
