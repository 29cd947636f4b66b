"""Texts: their numbers are the reports', their links and names lead somewhere."""

import re

import pytest

from common.evidence import tables
from common.evidence.paper import paper_names, papers
from common.files import ROOT
from common.running import forms, sure

PAGES = ["papers/STUDY.md", "README.md", "common/README.md", "common/running/README.md",
         "CONTRIBUTING.md", "CHANGELOG.md", "papers/README.md",
         *(f"papers/{n}/README.md" for n in paper_names())]
NUMBER = re.compile(r"(\S+(?:\xa0(?:%|points))?)(?:\s+(?:%|points|KB))?\s+"
                    r"\(\[([\w.-]+)\]\((?:(\w+)/)?REPORT\.md#\2\)\)")
"""A number, maybe its unit, and the claim that it is of: its name, linked to its report."""


@pytest.mark.parametrize(("page", "least"), [
    pytest.param("papers/STUDY.md", 40, marks=pytest.mark.slow),
    ("papers/deep_compression/README.md", 8)])
def test_numbers_are_the_reports(page, least):
    said = [(value, paper or page.split("/")[1], name)
            for value, name, paper in NUMBER.findall((ROOT / page).read_text())]
    assert len(said) >= least
    known = {(p.name, j.claim.id): tables.number(j.middle, j.claim.show)
             for p in papers(sorted({paper for _, paper, _ in said})) for j in p.judgements()}
    assert [(value, *claim) for value, *claim in said] == [
        (known.get(tuple(claim)), *claim) for _, *claim in said]


def test_which_network_is_what_the_tables_say():
    """What the page concludes from its tables: who is least, who is beaten, and by how much."""
    ways = {(f.paper, way): m for f in sure.recorded()
            for way, m in (("one", f.ways.one), ("drawn", f.ways.drawn)) if m is not None}
    dropout, posterior = "dropout", "bayes_by_backprop"
    assert min(ways, key=lambda w: ways[w].error) == (dropout, "one")
    assert min(ways, key=lambda w: ways[w].nll) == (dropout, "drawn")
    assert max(ways, key=lambda w: ways[w].ece) == (posterior, "drawn")
    assert ways[posterior, "one"].ece == pytest.approx(ways[dropout, "one"].ece, rel=0.02)
    assert max(ways, key=lambda w: ways[w].turned) == (posterior, "drawn")
    times = {w: m.turned / m.entropy for w, m in ways.items()}
    assert times[dropout, "drawn"] > times[posterior, "drawn"]
    for way in ("one", "drawn"):
        for m in ("entropy", "turned"):
            assert getattr(ways[posterior, way], m) > getattr(ways[dropout, way], m)
    for paper in (dropout, posterior):
        assert 0.4 < ways[paper, "one"].turned / ways[paper, "drawn"].turned < 0.6
    made = {f.name: f.forms for f in forms.recorded()}
    whole, pruned = made["resnet20"], made["resnet20_smallest-seed0"]
    for form in ("torch", "onnx"):
        assert whole["int8"].bytes < pruned[form].bytes
        assert all(whole["int8"].milliseconds[n] < t
                   for n, t in pruned[form].milliseconds.items())
    assert abs(whole["int8"].error - whole["torch"].error) < 0.3
    assert pruned["int8"].bytes / whole["int8"].bytes == pytest.approx(3 / 5, abs=0.03)
    large, student, lenet = (made[name] for name in (
        "dropout", "soft-seed0", "lenet5_compressed-seed0"))
    alone = large["int8"].milliseconds["1"]
    assert student["int8"].milliseconds["1"] / alone == pytest.approx(0.3, abs=0.03)
    assert lenet["int8"].milliseconds["1"] / alone == pytest.approx(0.5, abs=0.05)
    others = [f for f in forms.recorded() if f.data == "mnist" and f.forms != lenet]
    assert all(lenet[form].milliseconds["256"] > f.forms[form].milliseconds["256"]
               for f in others for form in lenet)
    known = {p.parts[3]: ((ROOT / p).stat().st_size, e) for p, _, e in forms.downloadable()}
    small, next_ = known["lenet300_compressed"], known["lenet5_compressed"]
    assert small[0] == min(size for size, _ in known.values())
    assert next_[0] / small[0] == pytest.approx(1.5, abs=0.05)
    assert next_[1] / small[1] == pytest.approx(0.5, abs=0.06)


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
