"""The one line that bad input ends with."""

import contextlib
import os
import subprocess
import sys

import pytest
import torch

from common.errors import (
    Paused,
    UserError,
    asks_for_help,
    cut,
    exit_with,
    legible,
    nearest,
    on_one_line,
    say,
    shorten,
    speaks,
    warn,
)
from common.files import ROOT

CONTROLS = ["\x1b[31m", "\x00", "\x07", "\x9b2J", "\x7f", "\u202e", "\u200b", "\udcff", "\b\b\b"]
"""What would colour, ring, erase or turn around what a terminal shows, or what it cannot encode."""


def test_a_user_error_is_one_line_and_status_2(capsys):
    def fail():
        raise UserError("key 'x': expected y")
    with pytest.raises(SystemExit) as e:
        exit_with(fail)
    assert e.value.code == 2 and capsys.readouterr().err == "error: key 'x': expected y\n"


def test_other_errors_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        exit_with(lambda: 1 / 0)


@pytest.mark.parametrize("path", ["x" * 300, "nothing/here", ".", "loop/x", "file/x"])
def test_a_file_that_the_system_refuses_is_one_line(tmp_path, monkeypatch, capsys, path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit) as e:
        exit_with(lambda: len(open(path, encoding="utf-8").read()))
    said = capsys.readouterr().err
    assert e.value.code == 2 and said.startswith(f"error: cannot use {path}: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize("error", [
    MemoryError(), MemoryError("no room"), RuntimeError(
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: "
        "you tried to allocate 256000000000 bytes. Error code 12 (Cannot allocate memory)\nat x"),
    RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB\nmore")])
def test_too_little_memory_is_one_line(capsys, error):
    def fail():
        raise error
    with pytest.raises(SystemExit) as e:
        exit_with(fail)
    said = capsys.readouterr().err
    assert e.value.code == 2 and said.startswith("error: there is not enough memory")
    assert said.count("\n") == 1


ALLOCATE = ("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate "
            "memory: you tried to allocate 40000000000 bytes. Error code 12 (Cannot allocate it)")


@pytest.mark.parametrize("error", [
    RuntimeError(ALLOCATE), RuntimeError(f"{ALLOCATE}\nat x"), MemoryError("8" * 150),
    RuntimeError("CUDA out of memory. Tried to allocate 37.25 GiB. " + "GPU 0 has 9.5 GiB. " * 9),
    RuntimeError("out of memory " + "1234567 " * 40)])
def test_too_little_memory_cuts_no_number(capsys, error):
    def fail():
        raise error
    with pytest.raises(SystemExit):
        exit_with(fail)
    said = capsys.readouterr().err.split("batch or data (")[1].removesuffix(")\n")
    first = str(error).splitlines()[0]
    assert said == first or (said.endswith(" …") and f"{first} ".startswith(said[:-1])
                             and len(said) <= 200 < len(first))


@pytest.mark.parametrize(("text", "shown"), [
    ("a b", "a b"), ("a\nb", "a b"), ("abc def", "abc …"), ("ab 1234", "ab …"),
    ("abcdefg", "abcdef…"), ("", "")])
def test_a_text_is_cut_between_words(text, shown):
    assert cut(text, most=6) == shown


def test_what_the_compiler_cannot_do_is_one_line(capsys):
    def refused(*_):
        raise RecursionError("maximum recursion depth exceeded")
    with pytest.raises(SystemExit) as e:
        exit_with(lambda: torch.compile(lambda x: x + 1, backend=refused)(torch.ones(1)))
    said = capsys.readouterr().err
    assert e.value.code == 2 and said.count("\n") == 1
    assert said.startswith("error: train.compile=true: torch's compiler failed (")
    assert "recursion" in said and said.endswith("train.compile=false trains without it\n")


def test_another_error_of_torch_keeps_its_traceback():
    def fail():
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    with pytest.raises(RuntimeError, match="shapes"):
        exit_with(fail)


def test_a_current_folder_that_is_gone_is_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(SystemExit) as e:
        exit_with(lambda: 0)
    assert e.value.code == 2 and capsys.readouterr().err == (
        "error: the current folder is not there any more: change to another one\n")


@pytest.mark.parametrize(("error", "said"), [
    (KeyboardInterrupt(), "interrupted"), (KeyboardInterrupt("x: kept"), "x: kept")])
def test_ctrl_c_says_what_is_known_of_what_is_kept(capsys, error, said):
    def interrupt():
        raise error
    with pytest.raises(SystemExit) as e:
        exit_with(interrupt)
    assert e.value.code == 130 and capsys.readouterr().err == f"{said}\n"


@pytest.mark.parametrize(("name", "expected"), [
    ("train.stpes", "did you mean 'train.steps'"), ("stpes", "did you mean 'train.steps'"),
    ("zzzzzz", "known: optim.lr, train.steps")])
def test_nearest(name, expected):
    assert expected in nearest(name, ["train.steps", "optim.lr"])


def test_nearest_of_many_says_what_they_look_like():
    many = [f"run_{k:02}" for k in range(50)]
    assert nearest("zzz", many) == "; expected one of 50 names such as 'run_00' or 'run_49'"
    assert nearest("zzz", many, "x --help") == "; x --help lists the 50 that there are"
    assert nearest("run_4", many, "x --help").startswith("; did you mean 'run_")
    assert nearest("nope", ["hopfield", "lbfgs"]) == "; known: hopfield, lbfgs"


def program(text, *, shell, **environment):
    """Run a program that ends by exit_with, in a shell where ``$PROGRAM`` starts it."""
    return subprocess.run(
        shell, shell=True, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=60,
        executable="/bin/bash", env=os.environ | environment | {
            "PROGRAM": f"{sys.executable} -c 'import os; from common.errors import *; "
                       f"exit_with(lambda: {text})'"})


def test_a_reader_that_has_read_enough_is_no_error():
    done = program('print("line\\n" * 100000)', shell='eval "$PROGRAM" | head -1')
    assert (done.stdout, done.stderr) == ("line\n", "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no full device here")
@pytest.mark.parametrize("lines", [1, 100_000])
def test_output_that_cannot_be_written_is_one_line(lines):
    done = program(f'print("line\\n" * {lines})', shell='eval "$PROGRAM" > /dev/full')
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: cannot write to the standard output")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", "2>/dev/full"])
@pytest.mark.parametrize(("text", "status"), [
    ('print("line")', 0), ('say("word")', 0), ('[][0:] or exec("raise UserError(1)")', 2),
    ('exec("raise Paused(1)")', 0)])
def test_closed_or_full_streams_change_no_status(closed, text, status):
    done = program(text, shell=f'eval "$PROGRAM" {closed}')
    assert done.returncode == status and "Traceback" not in done.stderr


@pytest.mark.parametrize(("ends", "status"), [("1 and None", 0), ('exec("raise Paused(1)")', 0),
                                              ('exec("raise UserError(1)")', 2)])
@pytest.mark.parametrize("processes", ["1", "2"])
def test_of_several_processes_none_cleans_up(ends, status, processes):
    tidy = '__import__("atexit").register(print, "tidied")'
    done = program(f'[{tidy}, print("done")][2:] or {ends}', shell='eval "$PROGRAM"',
                   WORLD_SIZE=processes, RANK="0")
    assert done.returncode == status and done.stdout.startswith("done")
    assert ("tidied" in done.stdout) is (processes == "1")


def test_what_is_printed_lands_in_no_file(tmp_path):
    path = tmp_path / "file"
    done = program(f'(open("{path}", "w"), os.write(1, b"x"), os.write(2, b"y"))[0].close()',
                   shell='eval "$PROGRAM" >&- 2>&-')
    assert done.returncode == 0 and path.read_text() == ""


def test_signs_that_a_terminal_lacks_stop_nothing():
    done = program('print("σ … 3×3")', shell='eval "$PROGRAM"', PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout, done.stderr) == (0, "? ? 3?3\n", "")


@pytest.mark.parametrize(("argv", "asked"), [
    (["--help"], True), (["-h"], True), (["x", "y=1", "--help"], True), ([], False),
    (["help"], False), (["x=--help"], False), (["--helpful"], False)])
def test_help_is_asked_for_anywhere(argv, asked, capsys):
    assert asks_for_help(argv, "\nWhat it does.\n") is asked
    assert capsys.readouterr().out == "What it does.\n" * asked
    assert asks_for_help(argv, None) is asked, "python -OO leaves docstrings out"
    assert ("-OO" in capsys.readouterr().out) is asked


@pytest.mark.parametrize(("text", "line"), [
    ("a\n b\t c", "a b c"), ("", ""), (" \n", ""), ("a\u2028b\x85c", "a b c"), ("a", "a")])
def test_a_text_on_one_line(text, line):
    assert on_one_line(text) == line


def test_a_long_text_is_shown_by_its_beginning():
    assert shorten("x" * 60) == "x" * 60 and shorten("x" * 61) == "x" * 60 + "…"


@pytest.mark.parametrize("message", [
    f"start_from={'x' * 5000}: expected a file", f"unknown experiment {'y' * 5000!r}; known: a, b",
    f"experiment={'a,' * 2500}: expected a file", f"title={'a ' * 2500}: expected a file",
    "one of " + ", ".join(map(str, range(10_000))) + ": expected a file"])
def test_long_values_lose_their_middle(message, capsys):
    def fail():
        raise UserError(message)
    with pytest.raises(SystemExit):
        exit_with(fail)
    said = capsys.readouterr().err.rstrip("\n")
    assert said == legible(f"error: {message}") and len(said) < 3500 and "…" in said
    said = said.removeprefix("error: ")
    assert said[:12] == message[:12] and said[-10:] == message[-10:], "what was wrong, and why"


def test_a_message_of_some_length_is_whole():
    path = "/".join(["folder"] * 50)
    assert legible(f"cannot read {path}: no such file") == f"cannot read {path}: no such file"
    assert legible("a: b\nc  d") == "a: b c d"


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("end", [
    lambda text: exit_with(lambda: (_ for _ in ()).throw(UserError(text))),
    lambda text: exit_with(lambda: (_ for _ in ()).throw(Paused(text))),
    lambda text: exit_with(lambda: (_ for _ in ()).throw(OSError(2, "not there", text))),
    warn, say], ids=["error", "paused", "file", "warning", "word"])
def test_control_characters_are_written_out(control, end, capsys):
    with contextlib.suppress(SystemExit):
        end(f"σ {control}x …")
    said = capsys.readouterr().err
    assert said.endswith("\n") and said[:-1].isprintable()
    assert repr(control)[1:-1] in said and "σ" in said and "…" in said


def test_a_warning_is_one_line_and_not_endless(capsys):
    warn("a\nb " + "x" * 5000)
    said = capsys.readouterr().err
    assert said.startswith("warning: a b xxx") and said.count("\n") == 1 and len(said) < 500


@pytest.mark.parametrize(("environment", "speaking"), [
    ({}, True), ({"RANK": "1"}, True), ({"WORLD_SIZE": "2"}, True),
    ({"WORLD_SIZE": "2", "RANK": "0"}, True), ({"WORLD_SIZE": "2", "RANK": "1"}, False),
    ({"WORLD_SIZE": " 2", "RANK": "1 "}, False), ({"WORLD_SIZE": "2", "RANK": "x"}, True),
    ({"WORLD_SIZE": "2", "RANK": "2"}, True), ({"WORLD_SIZE": "x", "RANK": "1"}, True),
    ({"WORLD_SIZE": "2", "RANK": "²"}, True), ({"WORLD_SIZE": "9" * 5000, "RANK": "1"}, True)])
def test_of_several_processes_one_speaks(environment, speaking, monkeypatch):
    for name in ("WORLD_SIZE", "RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert speaks() is speaking
