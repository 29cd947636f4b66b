"""What ``claims.yaml`` says of the paper itself, before its claims.

:mod:`common.evidence.claims` shows the file.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from common.errors import shorten
from common.typed import FORMS, Line, Model, form

NAME = form(r"^\w[\w.+-]*$", "text of letters, digits and signs of _ . + - alone, no sign first")
"""Allowed names of claims and of tables in ``published/``."""

LINK = form(r"^https?://[^\s<>\[\]]+$",
            "an address from http:// or https:// on, without spaces, angle or square brackets")


def _addresses(given: Any) -> list[str]:
    """An address, or those of several papers, as a list; '' is that of a paper without one."""
    listed = given if isinstance(given, list) and any(given) else [given]
    for one in listed:
        known = isinstance(one, str) and re.fullmatch(LINK, one)
        if not known and not (one == "" and len(listed) > 1):
            raise ValueError(f"{shorten(repr(one))}: expected {FORMS[LINK]}")
    return listed


class Curve(Model):
    """A published curve; the fields are those of ``claims.yaml``."""

    table: str = Field(pattern=NAME)
    steps: str
    each: float = Field(1.0, gt=0)
    values: list[str] = Field(min_length=1)
    metric: str
    experiments: list[str] = Field(min_length=1)
    says: str = "published"


class About(Model):
    """The part of ``claims.yaml`` that describes the paper.

    Attributes:
        authors: of a report on several papers ``Liu & Nocedal 1989; Moré et al.``: authors and
            year of each but the last, whose year is ``year``.
        link: the paper's address; of several papers a list with one for each, '' where none is
            known.
        shows: what the paper shows, in a clause.
        picture: name of the headline figure.
        story: refers to claims, see :mod:`common.evidence.story`.
        notes: what is not settled, and what was tried; refers to claims, too.
        curves: published curves, each for some of its runs.
    """

    title: Line
    authors: Line
    year: int = Field(ge=0, le=2999)  # 0: not filled in yet, as in a new paper
    link: Annotated[list[str], BeforeValidator(_addresses)]
    shows: Line
    picture: str = Field(pattern=NAME)
    result: str = ""
    story: str = ""
    notes: str = ""
    curves: list[Curve] = Field(default_factory=list)

    @property
    def papers(self) -> list[tuple[str, str]]:
        """Authors and year of each paper, with its address or ''."""
        return list(zip(f"{self.authors} {self.year}".split("; "), self.link, strict=True))

    @model_validator(mode="after")
    def _linked(self) -> About:
        named = self.authors.split("; ")
        if len(named) != len(self.link):
            raise ValueError(f"link: {len(self.link)} in it: expected an address for each of the "
                             f"{len(named)} papers in 'authors', '' where none is known")
        return self
