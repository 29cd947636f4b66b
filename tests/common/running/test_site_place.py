"""The folder of a site: what is there before, while it is built, and if that is cut short."""

import contextlib
import re
import signal as signals
import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import UserError
from common.files import LOCK, ROOT
from common.running.site import build, place


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("all of it")
    with pytest.raises(UserError, match="expected a folder that is missing, empty or made by"):
        build.main(["batchnorm", f"to={tmp_path}"])
    assert (tmp_path / "thesis.tex").exists()


@pytest.mark.parametrize("to", ["", "full", "file"])
def test_a_folder_that_is_not_free_is_refused_before_papers_are_read(tmp_path, monkeypatch, to):
    (tmp_path / "full/a").mkdir(parents=True)
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(build, "papers", lambda names: pytest.fail("they were read"))
    with pytest.raises(UserError, match=r"to=.*: expected a folder that is missing, empty"):
        build.main([f"to={tmp_path / to}" if to else "to=", "only=claims"])


def test_a_site_is_built_where_a_link_leads(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "papers", lambda names: [])
    (tmp_path / "link").symlink_to(tmp_path / "there")  # which is missing
    for _ in range(2):
        assert build.main([f"to={tmp_path / 'link'}", "only=claims"]) == 0
        assert (tmp_path / "there/claims.html").is_file() and (tmp_path / "link").is_symlink()


def test_an_earlier_site_is_replaced_once_the_new_one_is_whole(tmp_path):
    site = tmp_path / "site"
    for page in ("old", "new"):
        with place.instead_of(site) as begun:
            (begun / f"{page}.html").write_text("")
            assert (site / "old.html").exists() == (page == "new")
    assert {p.name for p in site.iterdir()} == {"new.html", place.MARK}
    assert [*tmp_path.iterdir()] == [site] and site.stat().st_mode & 0o777 == 0o755
    with pytest.raises(KeyboardInterrupt), place.instead_of(site):
        raise KeyboardInterrupt
    assert (site / "new.html").exists() and [*tmp_path.iterdir()] == [site]


def test_an_end_between_the_two_moves_loses_no_site(tmp_path, monkeypatch):
    site, moved = tmp_path / "site", Path.replace
    with place.instead_of(site) as begun:
        (begun / "old.html").write_text("")

    def interrupted(path, to):
        if to == site and not (path / "old.html").exists():
            raise KeyboardInterrupt
        return moved(path, to)
    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt), place.instead_of(site):
        pass
    assert (site / "old.html").exists() and [*tmp_path.iterdir()] == [site]


@pytest.mark.parametrize("below", ["", "a"])
def test_the_current_folder_is_not_replaced(tmp_path, monkeypatch, below):
    with place.instead_of(tmp_path / "site") as begun:
        (begun / "a").mkdir()
    monkeypatch.chdir(tmp_path / "site" / below)
    with pytest.raises(UserError, match=r"to=.*: expected another folder than the current one"):
        place.expect_free(tmp_path / "site", "site")


def test_a_paper_named_twice_is_there_once(tmp_path):
    assert build.main(["batchnorm", "batchnorm", "only=claims", f"to={tmp_path / 'site'}"]) == 0
    page = (tmp_path / "site/claims.html").read_text()
    assert page.count('"name":"batchnorm"') + page.count('"name": "batchnorm"') == 1


SLOW_BUILD = """
import sys, time
from common.errors import exit_with
from common.running.site import build
build.papers = lambda names: []
build.explorer.page = lambda *parts: time.sleep(60)
exit_with(lambda: build.main(["only=claims", f"to={sys.argv[1]}"]))
"""


@contextlib.contextmanager
def building(site):
    """A build in a process of its own, which has begun and does not end; and its folder."""
    process = subprocess.Popen([sys.executable, "-c", SLOW_BUILD, site], cwd=ROOT, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert process.stdout.readline() == "now the verdicts of 0 papers\n"
        (begun,) = (p for p in site.parent.glob(f".{site.name}.*") if (p / LOCK).exists())
        yield process, begun
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("signal", [signals.SIGTERM, signals.SIGINT])
def test_a_build_that_is_asked_to_end_leaves_nothing(tmp_path, signal):
    with building(tmp_path / "site") as (process, _):
        process.send_signal(signal)
        assert process.communicate(timeout=30)[1] == "interrupted\n" and process.returncode == 130
    assert not [*tmp_path.iterdir()]


@pytest.mark.slow
def test_what_a_killed_build_has_left_is_removed_by_the_next(tmp_path):
    site = tmp_path / "site"
    (tmp_path / ".site.notes").mkdir()  # is nothing of ours
    with building(site) as (process, left):
        process.kill()
        process.wait()
        assert left.is_dir()
        with building(site) as (_, begun):
            assert {*tmp_path.iterdir()} == {begun, tmp_path / ".site.notes"}
            with place.instead_of(site):  # and what is still being built is not
                assert (begun / place.MARK).is_file() and begun.is_dir()
    assert {p.name for p in site.iterdir()} == {place.MARK}


def test_a_site_that_a_killed_build_had_moved_aside_is_put_back(tmp_path):
    aside = tmp_path / ".site.abc.earlier"
    place.write(aside / place.MARK, "")
    place.write(aside / "index.html", "the earlier one")
    with pytest.raises(ZeroDivisionError), place.instead_of(tmp_path / "site"):
        raise ZeroDivisionError
    assert (tmp_path / "site/index.html").read_text() == "the earlier one"
    assert [p.name for p in tmp_path.iterdir()] == ["site"]


@pytest.mark.slow
def test_the_front_page_states_the_size_of_the_site(small):
    site, _ = small
    text = (site / "index.html").read_text()
    said = re.search(r"All of this site is ([\d.]+) MB, of which the claims explorer takes "
                     r"([\d.]+) MB", text)
    files = [p for p in site.rglob("*") if p.is_file()]
    assert float(said[1]) == pytest.approx(sum(p.stat().st_size for p in files) / 1e6, rel=0.02)
    assert float(said[2]) == pytest.approx((site / "claims.html").stat().st_size / 1e6, abs=0.05)
    assert place.SITE_SIZE not in text
