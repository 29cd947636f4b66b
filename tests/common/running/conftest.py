"""A real browser, where one is installed, a small site, and committed files with damage."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import filelock
import pytest

from common.errors import UserError
from common.evidence.paper import papers
from common.files import ROOT
from common.running.site import build, explorer, place

SMALL = "batchnorm"
"""The paper of the small site."""

WARNINGS = ".warnings.json"
"""Lies in the small site: what Sphinx said, in whichever process has built it."""


class Browser:
    """Debian's chromium without a window, as a reader's screen.

    Args:
        driver: selenium's.
    """

    def __init__(self, driver):
        self.driver = driver

    def open(self, path, hash="", width=1200, dark=False):
        """A file's page at a width of the screen; what was logged before is forgotten."""
        self.width = width
        self.run_cdp("Emulation.setDeviceMetricsOverride", width=width, height=900,
                     deviceScaleFactor=1, mobile=width < 500)
        self.run_cdp("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        self.driver.get("about:blank")
        self.driver.get_log("browser")
        self.driver.get(f"{path.as_uri()}{hash}")
        # On a busy machine chromedriver has answered while the blank page was still shown.
        self.wait(f"location.pathname == {json.dumps(urlsplit(path.as_uri()).path)}"
                  " && document.readyState == 'complete'", seconds=30)

    def run_cdp(self, command, **arguments):
        self.driver.execute_cdp_cmd(command, arguments)

    def js(self, text):
        """The value of an expression in the page."""
        return self.driver.execute_script(f"return {text}")

    def wait(self, text, seconds=10):
        """Until an expression in the page is true."""
        end = time.monotonic() + seconds
        while not self.js(text):
            assert time.monotonic() < end, f"not so after {seconds} s: {text}"
            time.sleep(0.05)

    def all(self, selector):
        """The elements that match and are seen."""
        found = self.driver.find_elements("css selector", selector)
        return [e for e in found if e.is_displayed()]

    def press(self, selector, *keys):
        (element,) = self.all(selector)
        element.send_keys(*keys)

    def point_at(self, selector):
        """Move the mouse to the middle of an element."""
        from selenium.webdriver import ActionChains
        ActionChains(self.driver).move_to_element(self.all(selector)[0]).perform()

    def choose(self, name, value):
        """Choose in a list of choices, as a reader does."""
        from selenium.webdriver.support.select import Select
        Select(self.all(f"#{name}")[0]).select_by_value(value)

    @property
    def errors(self):
        """What the page logged on the console since it was opened."""
        return self.driver.get_log("browser")

    @property
    def scrolls_sideways(self):
        """A phone's innerWidth grows with what does not fit, so the width asked for counts."""
        return self.js("document.documentElement.scrollWidth") > self.width


@pytest.fixture(scope="module")
def browser():
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("no chromium with its driver: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    made = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield Browser(made)
    made.quit()


@pytest.fixture(scope="session")
def page(tmp_path_factory):
    """The explorer of a paper with twice as many claims as are drawn at once."""
    path = tmp_path_factory.mktemp("site") / "claims.html"
    path.write_text(explorer.page([(p, p.judgements()) for p in papers(["lbfgs"])], {}))
    return path


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """Makes a folder once for all processes of a test run; those that come later wait for it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def call(name, make):
        """The folder, which ``make`` makes at the path that it is given."""
        with filelock.FileLock(shared / f"{name}.lock"):
            if not (shared / name).exists():
                make(shared / name)
        return shared / name
    return call


@pytest.fixture(scope="session")
def whole(once):
    """The site of all papers, its notebook executed, which is built by a process of its own.

    In CI papers site has built it into $PAPERS_SITE before.
    """
    if os.environ.get("PAPERS_SITE"):
        return Path(os.environ["PAPERS_SITE"])
    pytest.importorskip("furo", reason="Sphinx's theme is not installed")
    return once("whole", lambda to: subprocess.run(
        [sys.executable, "-m", "common.running", "site", f"to={to}"], cwd=ROOT, check=True))


@pytest.fixture(scope="session")
def small(once):
    """A site of one paper, with the API of its own modules: the folder, and Sphinx's warnings.

    In CI it is the whole one, which papers site has built into $PAPERS_SITE without a warning.
    """
    if os.environ.get("PAPERS_SITE"):
        return Path(os.environ["PAPERS_SITE"]), []
    pytest.importorskip("furo", reason="Sphinx's theme is not installed")

    def make(to):
        found = [(p, p.judgements()) for p in papers([SMALL])]
        listed = {k: v for k, v in build.modules(found).items()
                  if k.startswith(f"papers.{SMALL}.")}
        with place.instead_of(to) as begun:
            warnings = build.build(found, listed, begun, explorer.page(found, {}, listed))
            (begun / WARNINGS).write_text(json.dumps(warnings))
    site = once("small", make)
    return site, json.loads((site / WARNINGS).read_text())


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """Damages a copy of a committed file: what a module's ``recorded`` then says, in one line."""
    def call(module, source, old, new):
        path = tmp_path / source.relative_to(ROOT)
        path.parent.mkdir(parents=True)
        text = source.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        monkeypatch.setattr(module, "ROOT", tmp_path)
        with pytest.raises(UserError) as e:
            module.recorded()
        assert path.name in str(e.value) and "\n" not in str(e.value)
        return str(e.value)
    return call
