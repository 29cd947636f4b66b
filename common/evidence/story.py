"""A paper's story: what it claims, what came out, what did not, held to the verdicts."""

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


def outdated(paper: Paper, judgements: Sequence[Judgement]) -> list[str]:
    """The claims whose verdict is no longer what the story says, a line each."""
    verdicts = {j.claim.id: j.verdict for j in judgements}
    where = f"{shown(paper.folder)}/claims.yaml: story"
    return [f"{where}: {name} is {verdicts[name]} by now, not {then}"
            for name, then in MENTION.findall(paper.about.story)
            if name in verdicts and verdicts[name] != then]
