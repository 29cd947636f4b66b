"""Files are written whole or not at all."""

import errno
import os
from pathlib import Path

import pytest

from common import data
from common.errors import UserError, exit_with
from common.files import (
    cache_root,
    empty_folder,
    locked,
    no_name_on_windows,
    read_text,
    renewed,
    sha256,
    shown,
    write_atomic,
)
from common.running import cli
from tests.common.toy import Toy, experiments


def test_text_bytes_and_functions_are_written(tmp_path):
    write_atomic(tmp_path / "a" / "t", "text")
    write_atomic(tmp_path / "b", b"\0\1")
    write_atomic(tmp_path / "c", lambda p: p.write_text("written"))
    assert [(tmp_path / n).read_bytes() for n in ("a/t", "b", "c")] == [
        b"text", b"\0\1", b"written"]


def test_a_failure_leaves_the_old_content_and_no_rest(tmp_path):
    path = tmp_path / "f"
    write_atomic(path, "old")
    with pytest.raises(UserError, match=r"cannot write .*disk"):
        write_atomic(path, lambda p: (p.write_text("ne"), (_ for _ in ()).throw(
            OSError(28, "no space on disk"))))
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["f"]


def test_an_interrupt_leaves_the_old_content_and_no_rest(tmp_path):
    def interrupt(path):
        path.write_text("half")
        raise KeyboardInterrupt
    write_atomic(tmp_path / "a", "old")
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "a", interrupt)
    assert [p.name for p in tmp_path.iterdir()] == ["a"] and (tmp_path / "a").read_text() == "old"


def test_keep_moves_the_old_file(tmp_path):
    write_atomic(tmp_path / "f", "1", keep=tmp_path / "g")
    write_atomic(tmp_path / "f", "2", keep=tmp_path / "g")
    assert ((tmp_path / "f").read_text(), (tmp_path / "g").read_text()) == ("2", "1")


def test_a_file_is_there_while_another_takes_its_place(tmp_path, monkeypatch):
    path, keep, replace, seen = tmp_path / "f", tmp_path / "g", os.replace, []

    def watched(*names):
        replace(*names)
        seen.append(path.read_text())
    write_atomic(path, "1")
    monkeypatch.setattr(os, "replace", watched)
    write_atomic(path, "2", keep=keep)
    assert seen == ["1", "2"] and keep.read_text() == "1"


def test_a_kill_after_the_old_file_is_kept_leaves_nothing_behind_next_time(tmp_path):
    path, keep = tmp_path / "f", tmp_path / "g"
    write_atomic(path, "1")
    os.link(path, keep)
    write_atomic(path, "2", keep=keep)
    assert (path.read_text(), keep.read_text()) == ("2", "1")
    assert sorted(os.listdir(tmp_path)) == ["f", "g"]


def test_without_second_names_the_old_file_is_moved(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")
    monkeypatch.setattr(os, "link", refuse)
    test_keep_moves_the_old_file(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["f", "g"]


@pytest.mark.parametrize("bytes_left", [0, 700, 1300])
def test_files_are_renewed_when_all_new_ones_are_written(tmp_path, bytes_left):
    """On a disk with room for none, one or two of three."""
    for name in ("a.1.tar", "a.2.tar", "other"):
        (tmp_path / name).write_text("old")

    def renew(room):
        with renewed(tmp_path, "a.*.tar") as new:
            for k in (1, 3, 4):
                if (room := room - 600) < 0:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                (new / f"a.{k}.tar").write_text("new")
    with pytest.raises(UserError, match=r"cannot write .*No space left.*what was there is kept"):
        renew(bytes_left)
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == dict.fromkeys(
        ("a.1.tar", "a.2.tar", "other"), "old")
    renew(10_000)
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {
        "a.1.tar": "new", "a.3.tar": "new", "a.4.tar": "new", "other": "old"}


def test_what_is_synced_is_open_for_writing(tmp_path, monkeypatch):
    """As Windows wants it."""
    fcntl, sync, synced = pytest.importorskip("fcntl"), os.fsync, []

    def as_windows_does(handle):
        if os.path.isfile(f"/proc/self/fd/{handle}"):
            if fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
                raise OSError(errno.EBADF, "Bad file descriptor")
            synced.append(handle)
        sync(handle)
    monkeypatch.setattr(os, "fsync", as_windows_does)
    write_atomic(tmp_path / "f", "1")
    assert (tmp_path / "f").read_text() == "1" and (synced or not os.path.exists("/proc/self"))


def test_sha256(tmp_path):
    write_atomic(tmp_path / "f", "abc")
    assert sha256(tmp_path / "f").startswith("ba7816bf8f01cfea")


def test_a_link_that_leads_to_itself_is_shown(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    assert shown(tmp_path / "loop/a") == str(tmp_path / "loop/a")


def looping(tmp_path, how):
    """A link to itself, or a path behind one."""
    (tmp_path / "loop").symlink_to("loop")
    return tmp_path / {"itself": "loop", "behind it": "loop/more"}[how]


@pytest.mark.parametrize("how", ["itself", "behind it"])
@pytest.mark.parametrize("name", ["mnist", "mushroom"])
def test_a_data_folder_that_is_a_link_to_itself_is_one_line(tmp_path, monkeypatch, capsys, how,
                                                            name):
    monkeypatch.setenv("PAPERS_DATA", str(looping(tmp_path, how)))
    with pytest.raises(SystemExit) as e:
        exit_with(lambda: data.load(name) and 0)
    said = capsys.readouterr().err
    assert e.value.code == 2 and said.count("\n") == 1 and "loop" in said


@pytest.mark.parametrize("how", ["itself", "behind it"])
def test_a_runs_folder_that_is_a_link_to_itself_is_one_line(tmp_path, monkeypatch, capsys, how):
    monkeypatch.setenv("PAPERS_RUNS", str(looping(tmp_path, how)))
    with pytest.raises(SystemExit) as e:
        exit_with(lambda: cli.train(Toy, experiments(tmp_path / "papers/toy"), "base", [0],
                                    {"record": False}) and 0)
    said = capsys.readouterr().err
    assert e.value.code == 2 and said.count("\n") == 1, said
    assert said.startswith("error: cannot write the run's folder ") and "$PAPERS_RUNS" in said


def test_shown_is_relative_where_it_can_be(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shown(tmp_path / "a" / "b") == "a/b"


def test_a_folder_that_cannot_be_synced_is_written_all_the_same(tmp_path, monkeypatch):
    opened = os.open

    def refuse(path, flags, *rest, **named):
        if Path(path).is_dir():
            raise PermissionError(13, "no handles of folders here")
        return opened(path, flags, *rest, **named)
    monkeypatch.setattr(os, "open", refuse)
    write_atomic(tmp_path / "f", "content")
    assert (tmp_path / "f").read_text() == "content"


def test_a_file_system_without_locks_is_said_and_no_other_process_is_blamed(
        tmp_path, monkeypatch, capsys):
    fcntl = pytest.importorskip("fcntl")

    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")
    monkeypatch.setattr(fcntl, "flock", no_locks)
    with locked(tmp_path, "busy"):
        pass
    assert "cannot be locked (No locks available)" in capsys.readouterr().err


def test_emptying_a_folder_leaves_its_lock(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "f").touch()
    (tmp_path / "f").touch()
    (tmp_path / "link").symlink_to(tmp_path / "inner")
    with locked(tmp_path, "busy"):
        empty_folder(tmp_path)
        assert [p.name for p in tmp_path.iterdir()] == [".lock"]


def test_without_a_home_it_is_said_where_data_could_go(monkeypatch):
    for name in ("PAPERS_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)

    def nobody():
        raise RuntimeError("Could not determine home directory.")
    monkeypatch.setattr(Path, "home", nobody)
    with pytest.raises(UserError, match=r"set .PAPERS_CACHE to a folder"):
        cache_root()


@pytest.mark.parametrize(("content", "message"), [
    (b"\xe9", "expected text in UTF-8, not byte 0xe9 at position 0"),
    (b"ab\xff", "not byte 0xff at position 2"), (None, "cannot read")])
def test_what_is_no_text_is_one_line(tmp_path, content, message):
    path = tmp_path / "f.md"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as e:
        read_text(path)
    assert message in str(e.value) and "f.md" in str(e.value) and "\n" not in str(e.value)
    path.write_text("σ × …\n", encoding="utf-8")
    assert read_text(path) == "σ × …\n"


@pytest.mark.parametrize(("name", "none"), [
    ("con", True), ("AUX", True), ("nul.txt", True), ("Com1", True), ("lpt9", True), ("a.", True),
    ("con1", False), ("console", False), ("lpt", False), ("a.b", False), ("my.con", False)])
def test_names_that_windows_lacks(name, none):
    assert no_name_on_windows(name) is none
