"""Texts: their numbers are the reports', their links and names lead somewhere."""

import re

import pytest

from common.evidence import report
from common.evidence.paper import paper_names, papers
from common.files import ROOT

PAGES = ["papers/STUDY.md", "README.md", "common/README.md", "common/running/README.md",
         "CONTRIBUTING.md", "CHANGELOG.md", "papers/README.md",
         *(f"papers/{n}/README.md" for n in paper_names())]
NUMBER = re.compile(r"(\S+)\s\(`(\w+)/([\w.-]+)`\)")


@pytest.mark.parametrize(("page", "least"), [("papers/STUDY.md", 15),
                                             ("papers/deep_compression/README.md", 6)])
def test_numbers_are_the_reports(page, least):
    said = NUMBER.findall((ROOT / page).read_text())
    assert len(said) >= least
    known = {(p.name, j.claim.id): report.number(j.middle, j.claim.show)
             for p in papers(sorted({paper for _, paper, _ in said})) for j in p.judgements()}
    assert [(value, *claim) for value, *claim in said] == [
        (known.get(tuple(claim)), *claim) for _, *claim in said]


def anchors(text):
    """The addresses of a page's headings, as code hosts make them."""
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in heads}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    path = ROOT / page
    lost = []
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        file, _, heading = target.partition("#")
        if re.match(r"https?:", target):
            continue
        there = (path.parent / file).resolve() if file else path
        if not there.exists() or (heading and there.suffix == ".md" and not (
                heading in anchors(there.read_text()) or f'id="{heading}"' in there.read_text())):
            lost.append(target)
    assert not lost


def test_named_objects_exist_in_the_files_beside_them():
    text, lost = (ROOT / "papers/STUDY.md").read_text(), []
    objects = re.compile(r"((?:`\w+`(?:, | and )?)+)(?: of `\w+`)? in \[[^\]]+\]\(([^)]+)\)")
    for names, file in objects.findall(text):
        code = (ROOT / "papers" / file).read_text()
        lost += [(n, file) for n in re.findall(r"`(\w+)`", names)
                 if not re.search(rf"\b{n}\b", code)]
    assert not lost
