"""A paper's story, and its result in a sentence, held to the verdicts they speak of."""

from __future__ import annotations

import re
from collections.abc import Sequence

from common.errors import UserError, nearest
from common.evidence.paper import Judgement, Paper
from common.files import shown

MENTION = re.compile(r"\{([^:{}]+): ([^{}]+)\}")
"""How a story speaks of a claim: ``{id: verdict}``."""


def story(paper: Paper, judgements: Sequence[Judgement], report: str = "") -> str:
    """The paper's story, with a link to every claim it speaks of, and that claim's verdict.

    Where the verdict has changed since the story was told, the text says so.

    Args:
        paper: whose.
        judgements: of its claims.
        report: the page that the links lead to; the one that tells the story where it is empty.

    Raises:
        UserError: it speaks of a claim that is not there.
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
    return MENTION.sub(of_claim, paper.about.story.strip())


def result(paper: Paper) -> str:
    """What came out in a sentence, without the verdicts it is held to; empty if nothing is said."""
    return re.sub(r"\s+", " ", re.sub(rf"\s*{MENTION.pattern}", "", paper.about.result)
                  ).strip()


def outdated(paper: Paper, judgements: Sequence[Judgement]) -> list[str]:
    """The claims whose verdict is no longer what story and result say, a line each.

    Raises:
        UserError: the result speaks of a claim that is not there.
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
