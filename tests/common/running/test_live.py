"""What a terminal shows of running runs, and what is printed where there is none."""

import contextlib
import os
import pty
import re
import select
import time

from common.running import live
from common.running.live import Live, last_line, standing, start_up


def screen(text):
    """The lines a terminal shows after a text with ``\\r``, "clear the line" and "up"."""
    lines, row = [""], 0
    for part in re.split(r"(\r\n|\n|\r|\033\[K|\033\[1A)", text):
        if part in ("\n", "\r\n"):
            row += 1
            lines += [""] * (row == len(lines))
        elif part == "\033[1A":
            row -= 1
        elif part == "\033[K":
            lines[row] = ""
        elif part != "\r":
            lines[row] += part
    return lines


@contextlib.contextmanager
def terminal():
    """Makes a terminal of standard output; gives a function that says what it shows."""
    master, slave = pty.openpty()
    os.set_blocking(master, False)
    shown = []

    def read():
        while select.select([master], [], [], 0.1)[0]:  # what was written may take a moment
            shown.append(os.read(master, 100_000).decode())
        return screen("".join(shown))
    with os.fdopen(slave, "w") as stream, contextlib.redirect_stdout(stream):
        yield read
    os.close(master)


def test_a_terminal_shows_one_line_a_run_below_what_is_said(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setattr(Live, "OFTEN", 0.0)
    with terminal() as seen:
        shown = Live()
        shown.show(lambda: ["a: step 1/9", "b: starting"])
        assert seen() == ["a: step 1/9", "b: starting", ""]
        shown.show(lambda: ["a: step 2/9", "b: step 1/9, " + 100 * "long"])
        assert seen() == ["a: step 2/9", "b: step 1/9, longlo", ""], "it never wraps"
        shown.say("[1/2] a: done")
        shown.show(lambda: ["b: step 3/9"])
        assert seen() == ["[1/2] a: done", "b: step 3/9", ""]
        shown.close()
        assert seen() == ["[1/2] a: done", "", ""]


def test_elsewhere_a_line_a_run_now_and_then(monkeypatch, capsys):
    monkeypatch.setattr(live.Progress, "SOON", 0.0)
    shown = Live()
    for step in (1, 2):
        shown.show(lambda at=step: [f"a: step {at}/9"])
    shown.say("[1/1] a: done")
    shown.close()
    assert capsys.readouterr().out == "  a: step 1/9\n[1/1] a: done\n", "the second after a minute"


def test_a_run_stands_where_its_own_process_says(tmp_path):
    log = tmp_path / "log.txt"
    assert standing("e0/seed0", log, 0, time.monotonic() - 4).startswith("e0/seed0: starting, 4 s")
    log.write_text("demo/e0/seed0: step 7/9, 1.0 steps/s\n")
    since = log.stat().st_size
    assert standing("e0/seed0", log, since, time.monotonic()).startswith("e0/seed0: starting")
    with open(log, "a") as f:
        f.write("demo/e0/seed0 and 1 more: step 8/9, 2.0 steps/s, 0 min left, loss 0.1, "
                "accuracy 0.9\n")
    assert standing("e0/seed0", log, since, 0.0) == (
        "e0/seed0: step 8/9, 2.0 steps/s, 0 min left, accuracy 0.9")
    assert last_line(log, since).startswith("demo/e0/seed0 and 1")


def test_a_start_takes_what_this_process_took():
    before = start_up()
    time.sleep(0.05)
    assert 0 < before < start_up() < before + 30
