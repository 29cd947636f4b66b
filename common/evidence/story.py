"""A paper's story and one-sentence result, checked against the verdicts they mention."""

from __future__ import annotations

import re
from collections.abc import Sequence

from common.errors import UserError, nearest
from common.evidence.paper import Judgement, Paper
from common.files import shown

MENTION = re.compile(r"\{([^:{}]+): ([^{}]+)\}")
"""How a story mentions a claim: ``{id: verdict}``."""


def story(paper: Paper, judgements: Sequence[Judgement], report: str = "") -> str:
    """The paper's story, with each mention of a claim replaced by a link that shows its verdict.

    If a verdict has changed since the story was written, the text says so.

    Args:
        paper: the paper.
        judgements: the judgements of its claims.
        report: the page that the links lead to; empty: the page with the story itself.

    Raises:
        UserError: the story mentions a claim that does not exist.
    """
    verdicts = {j.claim.id: j.verdict for j in judgements}

    def of_claim(mention: re.Match[str]) -> str:
        name, then = mention.groups()
        if name not in verdicts:
            raise UserError(f"{shown(paper.folder)}/claims.yaml: story: there is no claim {name!r}"
                            f"{nearest(name, verdicts)}")
        now = verdicts[name]
        changed = "" if now == then else f", {then} when this was written"
        return f"([{now}]({report}#{name}){changed})"
    return unbroken(MENTION.sub(of_claim, paper.about.story.strip()))


def result(paper: Paper) -> str:
    """The paper's one-sentence result, without its mentions of claims; empty if there is none."""
    return unbroken(re.sub(r"\s+", " ", re.sub(rf"\s*{MENTION.pattern}", "", paper.about.result)
                           ).strip())


def unbroken(text: str) -> str:
    """A text whose lines do not break between a number and its percent sign."""
    return re.sub(r"(?<=\d) %", "\N{NO-BREAK SPACE}%", text)


def changed_verdicts(paper: Paper, judgements: Sequence[Judgement]) -> list[str]:
    """The mentions in story and result whose verdict has changed, one line each.

    Raises:
        UserError: the result mentions a claim that does not exist.
    """
    verdicts = {j.claim.id: j.verdict for j in judgements}
    where = f"{shown(paper.folder)}/claims.yaml"
    for name, _ in MENTION.findall(paper.about.result):
        if name not in verdicts:
            raise UserError(f"{where}: result: there is no claim {name!r}{nearest(name, verdicts)}")
    return [f"{where}: {part}: {name} is {verdicts[name]} by now, not {then}"
            for part in ("result", "story")
            for name, then in MENTION.findall(getattr(paper.about, part))
            if name in verdicts and verdicts[name] != then]
