"""Links of committed documents, as they lead from page to page of the site."""

import html
import re

import pytest
from markdown_it import MarkdownIt

from common.evidence import gallery, picture
from common.evidence.counting import cost
from common.evidence.paper import papers
from common.evidence.story import result
from common.evidence.verdicts import VERDICTS
from common.files import ROOT
from common.running.site import pages, steps
from common.running.site.pages import Pages

DOCUMENTS = {"README.md", "papers/README.md", "papers/batchnorm/README.md",
             "papers/batchnorm/REPORT.md"}


def linked(text, page="papers/batchnorm/README.md"):
    made = Pages(DOCUMENTS, {"papers.batchnorm.model"})
    made.add(page, text)
    return made.texts.pop(page), made.texts


@pytest.mark.parametrize("text, expected", [
    ("[a](REPORT.md)", "[a](/papers/batchnorm/REPORT.md)"),
    ("[a](../README.md#what-makes)", "[a](/papers/README.md#what-makes)"),
    ("[a](REPORT.md#alg1-mean)", '<a href="REPORT.html#alg1-mean">a</a>'),
    ("[`a`](model.py)", "[`a`](/api/papers.batchnorm.model.md)"),
    ("[a](figures/fig1a.svg)", '<a href="figures/fig1a.svg">a</a>'),
    ("![a < b](figures/none.svg)",
     '<a href="figures/none.svg"><img src="figures/none.svg" alt="a &lt; b" loading="lazy" '
     'class="figure"></a>'),
    ('<img src="figures/none.svg" alt="a &lt; b">',
     '<a href="figures/none.svg"><img src="figures/none.svg" alt="a &lt; b" loading="lazy" '
     'class="figure"></a>'),
    ('| <img src="figures/none.svg" alt="b"> |', '| <img src="figures/none.svg" alt="b"> |'),
    ("[a](results/)", "a"),
    ("[a](/api/papers.batchnorm.model.md)", "[a](/api/papers.batchnorm.model.md)"),
    ("[a](../nothing/README.md)", "a"),
    ("[a](#a-heading)", "[a](#a-heading)"),
    ('<a id="b"></a>[a](#b)', '<a id="b"></a><a href="#b">a</a>'),
    ("[a](https://arxiv.org/abs/1502.03167)", "[a](https://arxiv.org/abs/1502.03167)"),
    ('<a href="REPORT.md">a</a>', '<a href="REPORT.html">a</a>'),
    ("```\n[a](REPORT.md)\n```", "```\n[a](REPORT.md)\n```"),
])
def test_links_lead_to_pages(text, expected):
    found, more = linked(text)
    assert found == expected and not more


@pytest.mark.parametrize("name", ["fig1a", "verdicts"])
def test_a_page_keeps_room_for_its_figures(name):
    """In CSS pixels, of which matplotlib's points are three quarters."""
    svg = (ROOT / f"papers/batchnorm/figures/{name}.svg").read_text()
    _, _, width, height = map(float, svg.partition('viewBox="')[2].partition('"')[0].split())
    text, _ = linked(f"![a](figures/{name}.svg)")
    assert f'width="{width / 0.75:.0f}" height="{height / 0.75:.0f}"' in text


def test_a_file_that_is_no_page_gets_one():
    found, more = linked("[a](config.yaml)")
    assert found == "[a](/files/papers/batchnorm/config.yaml.md)"
    text = more["files/papers/batchnorm/config.yaml.md"]
    assert (ROOT / "papers/batchnorm/config.yaml").read_text().rstrip() in text


def test_the_notebook_is_led_to_as_a_page():
    made = Pages(DOCUMENTS, set(), {"papers/first_steps.md": "# First steps"})
    made.add("README.md", "[a](papers/first_steps.ipynb)")
    assert made.texts["README.md"] == "[a](/papers/first_steps.md)" and len(made.texts) == 2


def test_a_notebooks_page_has_cells_and_their_outputs():
    outputs = [
        {"output_type": "stream", "text": ["a ```\n", "b\n"]},
        {"output_type": "display_data", "data": {"text/plain": "<M>", "text/markdown": "# R\n\nc"}},
        {"output_type": "display_data", "data": {"text/plain": "<F>", "image/png": "UE5H\n"}},
        {"output_type": "display_data", "data": {"text/plain": "<S>", "image/svg+xml": ["<svg/>"]}},
        {"output_type": "execute_result", "data": {"text/plain": "7"}},
        {"output_type": "error", "traceback": ["\x1b[31mZeroDivisionError\x1b[0m"]}]
    text, pictures = steps.page({"cells": [
        {"cell_type": "markdown", "source": ["# First\n", "\n", "[x](README.md)"]},
        {"cell_type": "code", "source": "x = 1", "outputs": outputs}]})
    assert text.startswith("# First\n\n[x](README.md)\n\n<a href")
    shown = re.findall(r":::::\{container\} output\n(.*?)\n:::::", text, re.DOTALL)
    assert shown[:2] == ["````text\na ```\nb\n````", "**R**\n\nc"]
    assert [re.search(r'src="([^"]+)"', s)[1] for s in shown[2:4]] == [
        "first_steps/1.png", "first_steps/2.svg"]
    assert shown[4:] == ["```text\n7\n```", "```text\nZeroDivisionError\n```"]
    assert pictures == {"first_steps/1.png": b"PNG", "first_steps/2.svg": b"<svg/>"}
    assert "```python\nx = 1\n```" in text


def test_a_block_of_code_holds_any_text():
    assert pages.fenced("a\n```\nb\n````\n", "text") == "`````text\na\n```\nb\n````\n`````"


def test_the_strip_has_the_proportions_of_the_verdicts():
    (paper,) = papers(["batchnorm"])
    judgements = paper.judgements()
    measured = [j.verdict for j in judgements if j.claim.experiments or not j.claim.measure]
    text = pages.strip(judgements)
    for verdict in set(measured):
        assert f"{measured.count(verdict)} {verdict}" in text
        assert f"flex: {measured.count(verdict)};" in text


def test_the_front_page_says_what_the_strips_colours_mean():
    (paper,) = papers(["batchnorm"])
    text = pages.front([(paper, paper.judgements())], [])
    said = {verdict: colour for colour, verdict in re.findall(r'--c: (#\w+)">([^<]+)<', text)}
    assert list(said) == list(VERDICTS)
    strips = re.findall(r'background: (#\w+)"', text)
    assert strips and strips[0] == said["reproduced"] and not set(strips) - set(said.values())


def test_a_card_says_what_came_out_and_what_it_cost():
    (paper,) = papers(["warm_start"])
    judgements = paper.judgements()
    text = pages.card(paper, judgements)
    assert html.escape(result(paper, judgements)) in text
    assert html.escape(paper.about.shows) not in text
    assert f"minutes on two cores: {cost(paper).words}" in text
    assert 'src="papers/warm_start/figures/gallery.svg"' in text
    assert not re.search(r"</(?:strong|span)><span[^>]*>\w", text), "the search would glue words"


def test_a_title_is_text_and_no_markup():
    """Sphinx does the same for the sidebar, which is made of the names in the list of pages."""
    (paper,) = papers(["lbfgs"])
    said = "<img src=x onerror=boom()> & <b>bold</b>"
    paper.about = paper.about.model_copy(update={
        "title": said, "authors": said, "result": said, "link": ["https://l"]})
    card = pages.card(paper, [])
    assert card.count(html.escape(said)) == 3
    made = MarkdownIt("commonmark").render(pages.of_paper(paper, [], []).split("---\n", 2)[2])
    assert "<b>" not in card + made and "<img src=x" not in card + made


def test_the_picture_of_verdicts_comes_with_how_it_is_read():
    (paper,) = papers(["batchnorm"])
    text = pages.of_paper(paper, paper.judgements(), [])
    assert text.index("figures/verdicts.svg") < text.index(picture.READING) < text.index("## Fig")


def test_a_papers_page_tells_its_story_with_links_to_the_claims():
    (paper,) = papers(["batchnorm"])
    text = pages.of_paper(paper, paper.judgements(), ["papers.batchnorm.model"])
    assert '<a href="../../claims.html#batchnorm/fig1a-speed">' in text
    for figure in paper.folder.glob("figures/*.svg"):
        if figure.stem not in (gallery.PICTURE, gallery.STRIP):  # which are for README's table
            assert f'src="figures/{figure.name}"' in text
