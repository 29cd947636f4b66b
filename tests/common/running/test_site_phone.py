"""The site on a phone: what is cut says so, and nothing that matters is cut."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from common.evidence.paper import paper_names

NAME = "batchnorm"


@pytest.mark.slow
def test_a_phone_shows_the_verdict_of_every_row(browser, small):
    """Of the tables outside folds; those inside scroll in a box of their own."""
    site, _ = small
    browser.open(site / f"papers/{NAME}/REPORT.html", width=400)
    shown = [e for e in browser.all("td:last-child a strong")]
    assert len(shown) >= 20
    assert not [e.text for e in shown if e.rect["x"] + e.rect["width"] > 400]


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README", "papers/STUDY"])
def test_a_phone_shows_rows_with_pictures_from_top_to_bottom(browser, small, page):
    site, _ = small
    browser.open(site / f"{page}.html", width=400)
    rows = "table:has(td img, td a[href$='.svg']) td"
    assert len(browser.all(rows)) >= 2 * len(paper_names()), "a picture, and what came out"
    assert browser.js(f"[...document.querySelectorAll(\"{rows}\")].every("
                      "e => e.getBoundingClientRect().right <= 400)")


@pytest.mark.slow
def test_a_phone_scrolls_figures_in_their_box(browser, small):
    """But the picture of verdicts, whose arrows stand at its edge: it is seen whole."""
    site, _ = small
    browser.open(site / f"papers/{NAME}/index.html", width=400)
    # Figures below the first screen are loaded as a reader comes to them.
    browser.js("document.querySelectorAll('img.figure').forEach(e => e.loading = 'eager')")
    browser.wait("[...document.querySelectorAll('img.figure')].every(e => e.naturalWidth > 0)")
    verdicts, *figures = browser.js(
        "[...document.querySelectorAll('img.figure')].map(e => [e.clientWidth, e.naturalWidth,"
        "e.parentElement.clientWidth, getComputedStyle(e.parentElement).overflowX])")
    assert verdicts[0] <= verdicts[2] and verdicts[0] > 0.9 * verdicts[1]
    assert figures and not browser.scrolls_sideways
    assert all(shown == natural > 600 and flow == "auto" for shown, natural, _, flow in figures)


@pytest.mark.slow
def test_a_phone_finds_a_field_for_words_on_the_searchs_page(browser, small):
    site, _ = small
    browser.open(site / "search.html", width=400)
    browser.wait("document.querySelector('form.search input')?.offsetWidth > 0")
    (field,) = browser.all("input[name=q]")
    field.send_keys("sigmoid", "\ue007")
    browser.wait("document.querySelectorAll('#search-results li .context').length > 0")
    assert not browser.scrolls_sideways and not browser.errors


@pytest.mark.slow
def test_a_phone_gives_statements_the_width_and_names_the_numbers(browser, small):
    site, _ = small
    browser.open(site / f"papers/{NAME}/REPORT.html", width=400)
    statements = browser.all("td:first-child:has(~ td a strong)")
    assert len(statements) >= 20 and min(e.rect["width"] for e in statements) > 320
    row = browser.all("tr:has(a[href='#fig1a-plain-end'])")[0].text
    assert row.split() == ("without BN, test accuracy at the end published 97.23 % measured (n) "
                           "96.56 % (10) not reproduced").split()


@pytest.mark.slow
def test_a_wide_screen_keeps_numbers_and_verdicts_in_a_line(browser, small):
    site, _ = small
    browser.open(site / f"papers/{NAME}/REPORT.html", width=1280)
    lines = browser.js("[...document.querySelectorAll('tr:has(td:last-child a strong) "
                       "td:nth-last-child(-n + 3) p')].filter(e => e.checkVisibility()).map(e => "
                       "e.clientHeight / parseFloat(getComputedStyle(e).lineHeight))")
    assert len(lines) >= 60 and max(lines) < 1.5
    assert not browser.all(".column"), "the table's head says what they are"


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("page, hash, box, inside", [
    (f"papers/{NAME}/index", "", "a:has(> img[src$='fig1a.svg'])", "img"),
    (f"papers/{NAME}/code", "", ".pair pre", ""),
    ("README", "", "pre", ""), ("claims", f"#{NAME}/fig1a-bn-10k", "#claim pre", "")],
    ids=["figure", "code", "commands", "explorer"])
def test_what_a_phone_cuts_has_a_shadow_until_its_end(
        browser, small, page, hash, box, inside, dark):
    """Just below its upper edge, where there is neither a line nor a letter."""
    site, _ = small
    browser.open(site / f"{page}.html", hash, width=400, dark=dark)
    browser.js("document.querySelectorAll('img').forEach(e => e.loading = 'eager')")
    browser.wait("[...document.images].every(e => e.complete)")
    browser.js(f"(window.box = [...document.querySelectorAll({box!r})].find(e => e.scrollWidth > "
               "e.clientWidth + 20)).scrollIntoView({block: 'center', behavior: 'instant'})")
    right, top = browser.js(
        "(e => [box.getBoundingClientRect().right - box.clientLeft, e.getBoundingClientRect().top "
        f"+ box.clientTop + 3])({f'box.querySelector({inside!r})' if inside else 'box'})")
    middle, edge = (pixel(browser, x, top) for x in (right - 100, right - 3))
    assert abs(middle - edge) > 15
    browser.js("box.scrollTo({left: box.scrollWidth, behavior: 'instant'})")
    ground = pixel(browser, 4, top) if inside else middle
    assert abs(pixel(browser, right - 3, top) - ground) < 3


def pixel(browser, x, y):
    """The brightness of a point of the screen, from 0 to 255."""
    picture = base64.b64decode(browser.driver.get_screenshot_as_base64())
    return float(np.asarray(Image.open(io.BytesIO(picture)).convert("L"))[int(y), int(x)])


@pytest.mark.slow
def test_a_phone_shows_readmes_first_figure_as_large_as_others(browser, small):
    site, _ = small
    browser.open(site / "README.html", width=400)
    browser.wait("document.images[0].naturalWidth > 0")
    width, height, natural, tall = browser.js(
        "(e => [e.clientWidth, e.clientHeight, e.naturalWidth, e.naturalHeight])"
        "(document.querySelector('article img'))")
    assert (width, height) == (natural, tall) and width > 600 and not browser.scrolls_sideways


@pytest.mark.slow
def test_a_phone_shows_every_column_of_a_claims_runs(browser, small):
    site, _ = small
    browser.open(site / "claims.html", f"#{NAME}/fig1a-bn-10k", width=400)
    cells = browser.all("#claim td")
    assert len(cells) == 10 * 7 and all(e.rect["x"] + e.rect["width"] <= 400 for e in cells)
    assert [e.text for e in browser.all("#claim th")] == [
        "experiment", "seed", "seed's value", "minutes"]
    assert browser.js("[...document.querySelectorAll('#claim .wide')].every("
                      "e => e.scrollWidth <= e.clientWidth)")


@pytest.mark.slow
def test_a_phone_shows_the_code_of_a_table_below_its_place_in_the_paper(browser, small):
    site, _ = small
    browser.open(site / f"papers/{NAME}/README.html", width=400)
    assert {e.rect["width"] > 320 for e in browser.all("td:has(code)")} == {True}
