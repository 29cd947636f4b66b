"""Programs notice a current folder that is gone before torch does."""

import os
import subprocess
import sys

import pytest

from common.files import ROOT

PROGRAMS = sorted(p for p in (ROOT / "papers").glob("*/*.py")
                  if "exit_with(" in p.read_text(encoding="utf-8"))


def in_no_folder(folder, *words):
    """Run Python in a folder that is removed before it starts."""
    folder.mkdir()
    return subprocess.run(
        ["bash", "-c", 'cd "$0" && rmdir "$0" && exec "$@"', str(folder), sys.executable, *words],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_a_program_in_a_folder_that_is_gone_ends_in_one_line(tmp_path, path):
    done = in_no_folder(tmp_path / "gone", str(path), "--help")
    assert (done.returncode, done.stdout, done.stderr) == (
        2, "", "error: the current folder is not there any more: change to another one\n")


@pytest.mark.parametrize("words", [["report"], ["train", "hopfield"], ["export", "x"], []])
def test_the_command_in_a_folder_that_is_gone_ends_in_one_line(tmp_path, words):
    done = in_no_folder(tmp_path / "gone", "-m", "common.running", *words)
    assert (done.returncode, done.stdout, done.stderr) == (
        2, "", "error: the current folder is not there any more: change to another one\n")


def test_every_paper_has_a_program():
    assert {p.parent for p in PROGRAMS} == {p.parent for p in (ROOT / "papers").glob("*/train.py")}
