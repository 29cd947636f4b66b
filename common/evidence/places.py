"""Places in a paper: its tables, figures, sections and equations, and the claims of each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from common.evidence.paper import Judgement

PLACES = (re.compile(r"(?:Tables?|Figs?\.|Algorithm) \w+(?:\([a-z]\))?(?: (?:and|to) \d+)?"),
          re.compile(r"(?:section|appendix|theorem|Proposition) [\w.]*\w", re.IGNORECASE),
          re.compile(r"eqs?\. \(\d+\)(?:(?:, |–| and | to )\(\d+\))*|abstract"))
"""Patterns of places in a paper, from those that readers know best to those they know least."""

SOURCE = re.compile(r"(?:[^,&]*, )*[^,&]* & [^,]*|[^,]*")
"""What may name a paper: all up to the first comma, or up to the one after a list of authors."""

ELSEWHERE = "Elsewhere"
"""The heading of claims that are the only ones at their place in the paper."""


def place_in_paper(where: str) -> str:
    """The table, figure, section or equation of a claim.

    If ``where`` first names one of several papers, that name is included.
    """
    first = next((m for p in PLACES if (m := p.search(where))), None)
    if first is None:
        return where
    source, *_ = SOURCE.findall(where)
    named = first.start() > len(source) and not any(p.search(source) for p in PLACES)
    return (f"{source}, " if named else "") + first[0]


def places(judgements: Iterable[Judgement]) -> str:
    """The places of several claims, each named once."""
    return " and ".join(dict.fromkeys(place_in_paper(j.claim.where) for j in judgements))


def by_place(judgements: Sequence[Judgement]) -> dict[str, list[Judgement]]:
    """Group claims by their place in the paper, in the order of claims.yaml.

    Claims alone at their place form the last group. Its name is :data:`ELSEWHERE`, or empty if
    there is no other group.
    """
    found: dict[str, list[Judgement]] = {}
    for j in judgements:
        found.setdefault(place_in_paper(j.claim.where), []).append(j)
    single = [j for js in found.values() if len(js) == 1 for j in js]
    groups = {where: js for where, js in found.items() if len(js) > 1}
    return groups | ({ELSEWHERE if groups else "": single} if single else {})
