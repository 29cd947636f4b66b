"""Numbers that nobody can compute with: every numeric key of every paper ends in one line."""

import functools
import io
import os
import re
import resource
import signal
import sys

import pytest

from common.config import LEAST_FLOAT, MOST_FLOAT, keys, unused
from common.errors import UserError, exit_with
from common.evidence.paper import paper_names, papers
from common.running import cli

NUMBERS = ("int", "float", "list[int]", "list[float]")
SECONDS, MEMORY = 2, 6 * 2**30
"""What one try may take; one that is still at work by then computes."""

LATE = 77
"""The status of a try that was still at work."""


def quick(name):
    """A paper, and its quick experiments with the numeric keys that each honours."""
    (paper,) = papers([name])
    for experiment in paper.experiments.expand("quick"):
        config = paper.experiments.resolve(experiment)
        left_out = unused(config)
        yield paper, experiment, [k for k in keys(paper.schema).values()
                                  if k.type in NUMBERS and k.name not in left_out]


def as_value(key, number):
    return [number] if key.type.startswith("list") else number


@pytest.mark.parametrize("name", paper_names())
def test_numbers_beyond_all_bounds_are_refused_before_anything_is_built(name):
    for paper, experiment, known in quick(name):
        for key, number in ((k, n) for k in known if k.name != "seed" for n in (
                (10**20, -10**20, 10**12) if "int" in k.type else (1e300, -1e300, 1e-300))):
            with pytest.raises(UserError, match=f"^{re.escape(key.name)}=.*: expected ") as e:
                paper.experiments.resolve(experiment, 0, {key.name: as_value(key, number)})
            assert len(str(e.value)) < 300


def tried(main):
    """The status and the messages of a program in a fork with little memory and time."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, lambda *_: os._exit(LATE))
        signal.alarm(SECONDS)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.stdout = io.StringIO()
        sys.stderr = os.fdopen(write, "w", encoding="utf-8", buffering=1)
        os.dup2(sys.stderr.fileno(), 2)
        try:
            exit_with(main)
        except SystemExit as e:
            sys.stderr.flush()
            os._exit(e.code or 0)
        except BaseException as e:
            print(f"Traceback: {type(e).__name__}: {e}", file=sys.stderr, flush=True)
            os._exit(1)
    os.close(write)
    with os.fdopen(read, encoding="utf-8", errors="replace") as f:
        said = f.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said


def edges(key):
    """The largest and smallest numbers that a key accepts."""
    b = key.bounds
    if "int" in key.type:
        return [int(b.most)] if b.most is not None else []
    most = b.most if b.most is not None else b.below * 0.999 if b.below is not None else MOST_FLOAT
    return [v for v in (most, LEAST_FLOAT) if v in b]


@pytest.mark.slow
@pytest.mark.parametrize("name", paper_names())
def test_the_largest_numbers_are_computed_with_or_one_line(name, monkeypatch, tmp_path):
    wrong, seen = [], set()
    for paper, experiment, known in quick(name):
        module = paper.module("train")
        for key in known:
            if key.name.split(".")[0] in ("data", "tracking") or key.neutral or key.name in seen:
                continue
            seen.add(key.name)  # in the first experiment that honours it
            for number in edges(key):
                value = as_value(key, number)
                words = [f"experiment={experiment}", f"{key.name}={value}", "budget=0.01s",
                         "train.threads=1", "record=false", "fresh=true"]
                code, said = tried(functools.partial(
                    cli.main, module.recipe, paper.schema, str(paper.folder / "train.py"), words))
                errors = [l for l in said.splitlines() if l.startswith("error: ")]
                if code not in (0, 2, LATE) or "Traceback" in said or (
                        code == 2 and len(errors) != 1):
                    wrong.append(f"{words[:2]}: status {code}: {said[-300:]}")
    assert not wrong, "\n".join(wrong)
