"""The claims explorer's list, to which a reader comes back from a claim."""

import time

import pytest

ENTER, ESCAPE = "\ue007", "\ue00c"  # WebDriver's codes
OPENED = "document.activeElement.id === 'claim'"  # a claim is shown, and has the focus
ROWS = "document.querySelectorAll('#list li').length"


def settled(browser, text):
    """A number of the page that has not changed for half a second, in which all rows are drawn."""
    seen = [browser.js(text)]
    while len(seen) < 6 or len(set(seen[-6:])) > 1:
        assert len(seen) < 100, f"it does not settle: {seen[-6:]}"
        time.sleep(0.1)
        seen.append(browser.js(text))
    return seen[-1]


@pytest.mark.slow
@pytest.mark.parametrize("way", ["back", "list", "escape", "reload"])
@pytest.mark.parametrize("width", [400, 1200], ids=["phone", "wide"])
def test_a_reader_comes_back_to_the_same_place_in_the_list(browser, page, width, way):
    browser.open(page, "#?paper=lbfgs", width=width)
    browser.press("#more", ENTER)
    everything = browser.js(ROWS)
    assert everything > 190
    link = "document.querySelectorAll('#list a')[150]"
    top = f"Math.round({link}.getBoundingClientRect().top)"
    browser.js(f"{link}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
    before = settled(browser, top)
    assert 0 < before < 900 and browser.js("scrollY") > 2000
    if way == "reload":
        browser.driver.refresh()
    else:
        browser.js(f"{link}.click()")
        browser.wait(OPENED)
        assert browser.js("scrollY") == 0
        if way == "escape":
            browser.driver.switch_to.active_element.send_keys(ESCAPE)
        elif way == "list":
            browser.all("#claim nav a")[0].click()
        else:
            browser.driver.back()
    browser.wait(f"document.title === 'Claims' && {ROWS} === {everything}")
    assert abs(settled(browser, top) - before) <= 2 and not browser.errors


def test_back_leads_to_where_the_list_was_left_last(browser, page):
    browser.open(page, "#?paper=lbfgs")
    browser.js("document.querySelectorAll('#list a')[50].click()")
    browser.wait(OPENED)
    browser.driver.back()
    browser.wait("document.title === 'Claims'")
    browser.press("#more", ENTER)
    browser.js("scrollTo(0, 6000)")
    browser.wait("scrollY > 5000 && history.state?.top < 100 && history.state.every")
    row = browser.js("history.state.row")
    browser.driver.forward()
    browser.wait(OPENED)
    browser.driver.back()
    browser.wait(f"document.title === 'Claims' && history.state.row === {row!r}")
    (top,) = {browser.js(f"document.querySelector('#list a[href=\"{row}\"]')"
                         ".getBoundingClientRect().top")}
    assert -200 < top < 100


def test_another_choice_or_the_heading_begins_at_the_top(browser, page):
    browser.open(page, "#?paper=lbfgs")
    browser.press("#more", ENTER)
    browser.js("scrollTo(0, 5000)")
    browser.wait("scrollY > 4000 && history.state?.top < 100")
    browser.js("document.querySelector('h1 a').click()")
    browser.wait(f"location.hash === '' && scrollY === 0 && {ROWS} === 100")
    browser.driver.back()
    browser.wait(f"{ROWS} > 190 && scrollY > 4000")
    browser.js("scrollTo(0, 0)")
    browser.choose("kind", "formula")
    assert browser.js(ROWS) < 100 and not browser.errors


def click(browser, selector):
    """Press and let go the mouse on an element, which leaves the field that was written in."""
    from selenium.webdriver import ActionChains
    ActionChains(browser.driver).click(browser.all(selector)[0]).perform()


@pytest.mark.parametrize("width", [400, 1200], ids=["phone", "wide"])
def test_the_first_click_after_typing_opens_a_claim(browser, page, width):
    browser.open(page, width=width)
    browser.press("#text", "watson")
    browser.wait("location.hash === '#?text=watson'")
    click(browser, "#list a")
    browser.wait(OPENED)
    assert browser.js("location.hash").startswith("#lbfgs/") and not browser.errors


def test_back_from_a_field_leaves_the_claims_address(browser, page):
    claim = "#lbfgs/two-loop"
    browser.open(page, claim)
    browser.wait(OPENED)
    browser.all("#claim nav a")[0].click()
    browser.wait("document.title === 'Claims'")
    browser.press("#text", "watson")
    browser.driver.back()
    browser.wait(OPENED)
    browser.js("document.activeElement.blur()")
    assert browser.js("location.hash") == claim


def test_an_address_as_programs_write_it_is_found_and_a_long_one_cut(browser, page):
    browser.open(page, "#lbfgs%2Ftwo-loop")
    browser.wait("document.title === 'lbfgs/two-loop'")
    browser.open(page, "#%3Cb%3E" + "x" * 5000)
    said = browser.js("document.getElementById('count').textContent")
    assert said.startswith("There is no claim <b>xxx") and len(said) < 500
