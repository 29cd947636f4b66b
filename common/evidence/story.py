"""A paper's story, one-sentence result and notes, checked against the verdicts they mention."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from common.errors import UserError, cut, nearest
from common.evidence.paper import Judgement, Paper
from common.evidence.verdicts import VERDICTS
from common.files import shown

MENTION = re.compile(r"\{([^:{}]+): ([^{}]+)\}")
"""How a story mentions a claim: ``{id: verdict}``."""

BRACES = re.compile(r"\{[^{}]*\}?|\}")
"""What has braces, and so is meant to be a mention."""


def story(paper: Paper, judgements: Sequence[Judgement], report: str = "") -> str:
    """The paper's story, with its mentions of claims as links. See :func:`with_verdicts`."""
    return with_verdicts(paper, "story", judgements, report)


def notes(paper: Paper, judgements: Sequence[Judgement]) -> str:
    """The paper's notes, with their mentions of claims as links. See :func:`with_verdicts`."""
    return with_verdicts(paper, "notes", judgements)


def with_verdicts(paper: Paper, part: str, judgements: Sequence[Judgement], report: str = "",
                  ) -> str:
    """A text of the paper, with each mention of a claim replaced by a link that shows its verdict.

    If a verdict has changed since the text was written, it says so.

    Args:
        paper: the paper.
        part: which text, ``story`` or ``notes``.
        judgements: the judgements of its claims.
        report: the page that the links lead to; empty: the page with the text itself.

    Raises:
        UserError: the text mentions a claim that does not exist.
    """
    verdicts = {j.claim.id: j.verdict for j in judgements}

    def of_claim(mention: re.Match[str]) -> str:
        name, then = mention.groups()
        now = verdict_now(paper, part, name, verdicts)
        changed = "" if now == then else f", {then} when this was written"
        return f"([{now}]({report}#{name}){changed})"
    return unbroken(MENTION.sub(of_claim, getattr(paper.about, part).strip()))


def verdict_now(paper: Paper, part: str, name: str, verdicts: Mapping[str, str]) -> str:
    """The verdict of a claim that a text mentions.

    Raises:
        UserError: there is no such claim.
    """
    if name not in verdicts:
        raise UserError(f"{shown(paper.folder)}/claims.yaml: {part}: there is no claim {name!r}"
                        f"{nearest(name, verdicts)}")
    return verdicts[name]


def result(paper: Paper) -> str:
    """The paper's one-sentence result, without its mentions of claims; empty if there is none."""
    return unbroken(re.sub(r"\s+", " ", re.sub(rf"\s*{MENTION.pattern}", "", paper.about.result)
                           ).strip())


def unbroken(text: str) -> str:
    """A text whose lines do not break between a number and its percent sign."""
    return re.sub(r"(?<=\d) %", "\N{NO-BREAK SPACE}%", text)


def changed_verdicts(paper: Paper, judgements: Sequence[Judgement]) -> list[str]:
    """The mentions in result, story and notes whose verdict has changed, one line each.

    Raises:
        UserError: something in braces is no mention, or mentions a claim that does not exist or a
            verdict that there is not.
    """
    verdicts = {j.claim.id: j.verdict for j in judgements}
    where, changed = f"{shown(paper.folder)}/claims.yaml", []
    for part in ("result", "story", "notes"):
        for braces in BRACES.findall(getattr(paper.about, part)):
            mention = MENTION.fullmatch(braces)
            if mention is None:
                raise UserError(f"{where}: {part}: {cut(braces, 60)!r}: expected "
                                "{id of a claim: its verdict}, with one space")
            name, then = mention.groups()
            now = verdict_now(paper, part, name, verdicts)
            if then not in VERDICTS:
                raise UserError(f"{where}: {part}: {name}: {then!r} is no verdict"
                                f"{nearest(then, VERDICTS)}")
            if now != then:
                changed.append(f"{where}: {part}: {name} is now {now!r}, the text says {then!r}")
    return changed
