"""A paper's story, one-sentence result and notes, checked against the verdicts they mention."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from common.errors import UserError, cut, nearest
from common.evidence.claims import SHOW
from common.evidence.paper import Judgement, Paper
from common.evidence.tables import number
from common.evidence.verdicts import VERDICTS
from common.files import shown

MENTION = re.compile(r"\{([^:{}]+): ([^{}]+)\}")
"""How a story mentions a claim: ``{id: verdict}``."""

MEASURED = re.compile(r"\{=([^:{}]+)(?::([^{}]*))?\}")
"""How a story states what a claim measured: ``{=id}``, or with another format ``{=id:.1f}``."""

BRACES = re.compile(r"\{[^{}]*\}?|\}")
"""What has braces, and so is meant to be one of these."""


def story(paper: Paper, judgements: Sequence[Judgement], report: str = "") -> str:
    """The paper's story, with its mentions of claims as links. See :func:`with_verdicts`."""
    return with_verdicts(paper, "story", judgements, report)


def notes(paper: Paper, judgements: Sequence[Judgement]) -> str:
    """The paper's notes, with their mentions of claims as links. See :func:`with_verdicts`."""
    return with_verdicts(paper, "notes", judgements)


def with_verdicts(paper: Paper, part: str, judgements: Sequence[Judgement], report: str = "",
                  ) -> str:
    """A text of the paper, with each mention of a claim replaced by a link that shows its verdict.

    If a verdict has changed since the text was written, it says so. Measured values are put in.

    Args:
        paper: the paper.
        part: which text, ``story`` or ``notes``.
        judgements: the judgements of its claims.
        report: the page that the links lead to; empty: the page with the text itself.

    Raises:
        UserError: the text mentions a claim that does not exist.
    """
    by_id = {j.claim.id: j for j in judgements}

    def of_claim(mention: re.Match[str]) -> str:
        name, then = mention.groups()
        now = mentioned(paper, part, name, by_id).verdict
        changed = "" if now == then else f", {then} when this was written"
        return f"([{now}]({report}#{name}){changed})"
    text = with_values(paper, part, by_id)
    return unbroken(MENTION.sub(of_claim, text.strip()))


def with_values(paper: Paper, part: str, by_id: Mapping[str, Judgement]) -> str:
    """A text of the paper with what claims measured in the place of ``{=id}``; – if nothing.

    Raises:
        UserError: there is no such claim, or the format is none.
    """
    def value(stated: re.Match[str]) -> str:
        name, form = stated.groups()
        j, where = mentioned(paper, part, name, by_id), f"{shown(paper.folder)}/claims.yaml: {part}"
        if form is not None and not re.fullmatch(SHOW, form):
            raise UserError(f"{where}: {stated[0]}: expected a format of numbers such as .2f, .4g "
                            "or .1%")
        return number(j.middle, form or j.claim.show)
    return MEASURED.sub(value, getattr(paper.about, part))


def mentioned(paper: Paper, part: str, name: str, by_id: Mapping[str, Judgement]) -> Judgement:
    """The judgement of a claim that a text mentions.

    Raises:
        UserError: there is no such claim.
    """
    if name not in by_id:
        raise UserError(f"{shown(paper.folder)}/claims.yaml: {part}: there is no claim {name!r}"
                        f"{nearest(name, by_id)}")
    return by_id[name]


def result(paper: Paper, judgements: Sequence[Judgement]) -> str:
    """The paper's one-sentence result, without its mentions of claims; empty if there is none.

    Raises:
        UserError: it states the value of a claim that does not exist.
    """
    text = with_values(paper, "result", {j.claim.id: j for j in judgements})
    return unbroken(re.sub(r"\s+", " ", re.sub(rf"\s*{MENTION.pattern}", "", text)).strip())


def unbroken(text: str) -> str:
    """A text whose lines do not break between a number and its percent sign."""
    return re.sub(r"(?<=\d) %", "\N{NO-BREAK SPACE}%", text)


def changed_verdicts(paper: Paper, judgements: Sequence[Judgement]) -> list[str]:
    """The mentions in result, story and notes that are no longer true, one line each.

    These are verdicts that have changed, and values of claims that have none (any more).

    Raises:
        UserError: something in braces is no mention, or mentions a claim that does not exist or a
            verdict that there is not.
    """
    by_id = {j.claim.id: j for j in judgements}
    where, changed = f"{shown(paper.folder)}/claims.yaml", []
    for part in ("result", "story", "notes"):
        for name in dict.fromkeys(m[1] for m in MEASURED.finditer(getattr(paper.about, part))):
            j = mentioned(paper, part, name, by_id)
            if not j.values:
                changed.append(f"{where}: {part}: {name} has no value, it is {j.verdict!r}")
        for braces in BRACES.findall(with_values(paper, part, by_id)):
            mention = MENTION.fullmatch(braces)
            if mention is None:
                raise UserError(f"{where}: {part}: {cut(braces, 60)!r}: expected "
                                "{id of a claim: its verdict}, with one space, or {=id} for "
                                "what it measured")
            name, then = mention.groups()
            now = mentioned(paper, part, name, by_id).verdict
            if then not in VERDICTS:
                raise UserError(f"{where}: {part}: {name}: {then!r} is no verdict"
                                f"{nearest(then, VERDICTS)}")
            if now != then:
                changed.append(f"{where}: {part}: {name} is now {now!r}, the text says {then!r}")
    return changed
