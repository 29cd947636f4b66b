"""README's table of papers: strips that count every verdict, and a short way to its end."""

import re
from collections import Counter
from xml.etree import ElementTree

import pytest

from common.evidence import gallery
from common.evidence.counting import Count, TableCount, count
from common.evidence.paper import papers
from common.files import ROOT

SVG = "{http://www.w3.org/2000/svg}"


def parts(counted):
    drawn = ElementTree.fromstring(gallery.strip(counted))
    rects = [(float(r.get("x")), float(r.get("width")), r.find(f"{SVG}title").text)
             for r in drawn.iter(f"{SVG}rect")]
    return rects, [t.text for t in drawn.iter(f"{SVG}text")]


def test_a_strip_has_a_part_for_every_verdict_that_occurs():
    counted = Count(Counter({"not run": 56, "undecided": 2, "reproduced": 10}), 15, 14, ())
    rects, texts = parts(counted)
    assert [said for *_, said in rects] == ["10 reproduced", "2 undecided", "56 not run"]
    assert texts == ["10", "2", "56", "14 of 15 formulas hold"]
    ends = [x + width + 1 for x, width, _ in rects]
    assert [x for x, *_ in rects] == pytest.approx([0, *ends[:-1]], abs=0.11)
    assert ends[-1] == pytest.approx(gallery.WIDTH, abs=0.11)
    wide = [width + 1 - gallery.LEAST for _, width, _ in rects]
    assert wide[2] / wide[0] == pytest.approx(5.6, rel=0.02)
    assert min(width for _, width, _ in rects) >= gallery.LEAST - 1


def test_cells_of_tables_have_a_bar_of_their_own_in_the_same_measure():
    counted = Count(Counter({"not run": 1}), 8, 8, (
        TableCount("a", 44, 48, 4, Counter({"reproduced": 183, "not reproduced": 9})),
        TableCount("b", 0, 2, 3, Counter({"reproduced": 4, "undecided": 2}))))
    rects, texts = parts(counted)
    assert texts == ["1", "187", "2", "9",
                     "1 statement; below, 198 cells of tables; 8 of 8 formulas hold"]
    (one, *cells) = rects
    assert one == (0, gallery.LEAST - 1, "1 not run"), "not as wide as two hundred cells"
    assert sum(width + 1 for _, width, _ in cells) == pytest.approx(gallery.WIDTH, abs=0.2)
    alone, texts = parts(Count(Counter(), 0, 0, counted.tables))
    assert alone == cells and texts[-1] == "198 cells of tables"


@pytest.mark.parametrize("counted, texts", [
    (Count(Counter({"not run": 1}), 0, 0, ()), ["1"]),
    (Count(Counter(), 2, 2, ()), ["2 of 2 formulas hold"]),
    (Count(Counter(), 0, 0, ()), []),
])
def test_what_there_is_nothing_of_is_not_drawn(counted, texts):
    assert parts(counted)[1] == texts


def test_pictures_are_as_wide_as_meant_in_830_pixels():
    """Where the texts of a table ask for more than a page has, its pictures shrink."""
    around = 2 * 2 * 13 + 3  # a code host's padding of cells, and borders
    assert gallery.PIXELS + gallery.WIDTH + around <= 830
    widest = 7.4  # pixels of a character, mean of a line
    assert gallery.LETTERS * widest <= gallery.WIDTH
    (paper,) = papers(["deep_compression"])
    judgements = paper.judgements()
    picture, said = gallery.cells(paper, count(judgements), judgements)
    assert f'width="{gallery.PIXELS}"' in picture
    assert 'src="papers/deep_compression/figures/gallery.svg"' in picture
    assert f'href="papers/deep_compression/figures/{paper.about.picture}.svg"' in picture
    texts = [re.sub(r"<[^>]*>|\]\([^)]*\)|[*\\[]", "", t) for t in said.split("<br>")]
    assert max(map(len, texts)) <= gallery.LETTERS and len(texts) > 6
    assert paper.about.authors in " ".join(texts) and gallery.MINUTES in " ".join(texts)


def test_no_word_of_a_text_is_left_alone_in_its_last_line():
    text = "a word " * 8 + "and more"
    assert gallery.LETTERS < len(text) < 1.2 * gallery.LETTERS
    one, other = gallery.lines(text)
    assert f"{one} {other}" == text and abs(len(one) - len(other)) < 10
    assert gallery.lines("short") == ["short"] and gallery.lines("") == []


def test_readme_is_read_to_the_end_of_its_gallery():
    """At most a thousand words; what only a screen reader says, and addresses, do not count."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").split("<!-- end of gallery -->")[0]
    seen = re.sub(r"\]\([^)]*\)|<[^>]*>", " ", text)
    assert 300 < len(re.findall(r"\w[\w'’.,-]*", seen)) <= 1000
