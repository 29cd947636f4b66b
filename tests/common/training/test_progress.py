"""What a person sees of a run."""

import os
import re
import select
import sys
import time

import pytest
from tqdm import tqdm

from common.errors import UserError
from common.training.progress import Progress, duration


def test_a_line_of_progress_shows_no_loss_before_there_is_one(capsys, monkeypatch):
    monkeypatch.setattr(Progress, "SOON", 0.0)
    monkeypatch.setattr(Progress, "EVERY", 0.0)
    progress = Progress("a run", 0, 96)
    for step, loss in ((32, None), (64, 0.5)):
        progress.loss = loss
        progress.update(step)
    first, second = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"a run: step 32/96, [\d.]+ steps/s, \d+ min left", first)
    assert second.endswith(" min left, loss 0.5000")


def test_it_is_said_as_often_as_is_asked(capsys, monkeypatch):
    monkeypatch.setenv("PAPERS_SAYS_EVERY", "0")
    progress = Progress("a run", 0, 96)
    progress.update(32)
    progress.update(64)
    assert len(capsys.readouterr().err.splitlines()) == 2


@pytest.mark.parametrize(("columns", "bar"), [
    (40, r"23% 23456/100000 \d\d:\d\d left [\d.]+ste?p?/?s?.*"),
    (160, r"bayes_by_backprop/mixture_400/seed0: +23%\|.* 23456/100000 \[.*step/s\]")])
def test_steps_rate_and_time_left_fit_into_a_narrow_terminal(columns, bar, monkeypatch):
    termios = pytest.importorskip("termios", reason="no terminal to try it in")
    reader, writer = os.openpty()
    termios.tcsetwinsize(writer, (24, columns))
    monkeypatch.setattr(sys, "stderr", os.fdopen(writer, "w"))
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(tqdm, "monitor_interval", 0)
    progress = Progress("bayes_by_backprop/mixture_400/seed0", 0, 100_000)
    time.sleep(0.3)
    progress.update(23_456)
    sys.stderr.flush()
    drawn = b""
    while select.select([reader], [], [], 0.5)[0]:  # a terminal passes on a part at a time
        drawn += os.read(reader, 65536)
    shown = re.split(r"[\r\n]+", re.sub(r"\x1b\[\w", "", drawn.decode()))
    assert re.fullmatch(bar, shown[-1]) and len(shown[-1]) <= columns
    assert ("bayes_by_backprop/mixture_400/seed0" in shown) is (columns == 40)
    progress.close()


@pytest.mark.parametrize("text", ["x", "nan", "-1", "inf", "1,5", "9" * 5000])
def test_how_often_is_a_number_of_seconds(text, monkeypatch):
    monkeypatch.setenv("PAPERS_SAYS_EVERY", text)
    with pytest.raises(UserError, match=r"PAPERS_SAYS_EVERY=.* in the environment: expected sec"):
        Progress("a run", 0, 96)


@pytest.mark.parametrize(("seconds", "said"), [
    (40, "40 s"), (720, "12 min"), (12_240, "3.4 h"), (440_640, "5.1 days")])
def test_times_read_as_people_say_them(seconds, said):
    assert duration(seconds) == said
