"""Work on a machine that has no repository, no network and no package index.

    papers bundle pack resnet                       # all experiments its claims need
    papers bundle pack resnet resnet110 part=40M    # some, in parts of at most 40 MB
    papers bundle unpack FOLDER …                   # there: the same as python unpack.py
    papers bundle collect size=15M                  # there: what was made, in small files
    papers bundle accept collected.*.tar            # at home: each file to its place

pack writes the committed code, the data, checkpoints of unfinished runs, and wheels:

    to=FOLDER        where to; runs/bundle/PAPER
    part=40M         the size of a part
    wheels=a,b       the packages that machine lacks; wheels=false: none
    python=3.12      its version of Python

unpack takes parts as they arrive and says which are missing; to=FOLDER is the tree it makes.
collect takes to=FOLDER (collected) and size=15M; the newest results are in the first file.
accept refuses what is damaged or not of this repository's history, and a result that differs from
the one that is here unless replace=true. Exit status: 1 if it refused something, 2 if a file that
it was given is damaged or was not made by collect; what is in the others is accepted all the same.
"""

from __future__ import annotations

import re
from pathlib import Path

from common.errors import UserError, asks_for_help, nearest
from common.evidence.paper import papers
from common.files import runs_root, shown
from common.running import accept as accepting
from common.running import collect as collecting
from common.running import pack as packing
from common.running import unpack as unpacking
from common.running.words import texts_of
from common.typed import whole

UNITS = {"K": 10**3, "M": 10**6, "G": 10**9}


def words_and_options(argv: list[str], known: list[str]) -> tuple[list[str], dict[str, str]]:
    """Split arguments into words and ``key=value`` options.

    Values stay text, since 3.10 is a version and not a number.

    Raises:
        UserError: a key is unknown, given twice or without a value.
    """
    options = texts_of(word for word in argv if "=" in word)
    for name, value in options.items():
        if name not in known:
            raise UserError(f"unknown key {name!r}{nearest(name, known)}")
        if not value:
            raise UserError(f"{name}=: expected a value")
    return [word for word in argv if "=" not in word], options


def bytes_of(key: str, text: str) -> int:
    """Convert a size such as ``40M`` to bytes; ``key`` is named in the error message.

    Raises:
        UserError: it is not a size, or less than 100K.
    """
    size = (whole(text[:-1]) or 0) * UNITS.get(text[-1:], 0)
    if size < collecting.LEAST:
        raise UserError(f"{key}={text}: expected a size of at least 100K, such as 40M")
    return size


def pack(argv: list[str]) -> int:
    """``papers bundle pack``; see the module's docstring."""
    words, options = words_and_options(argv, ["to", "part", "wheels", "python"])
    if not words:
        raise UserError("papers bundle pack: expected a paper")
    (paper,) = papers(words[:1])
    python, wheels = options.get("python", "3.12"), options.get("wheels", "true")
    if not re.fullmatch(r"3\.[0-9]{1,3}", python):
        raise UserError(f"python={python}: expected a version such as 3.12")
    chosen = {"true": packing.WHEELS, "false": ()}.get(wheels, tuple(wheels.split(",")))
    to = Path(options["to"]) if "to" in options else runs_root() / "bundle" / paper.name
    files = packing.pack(paper, packing.chosen_experiments(paper, words[1:]), to,
                         bytes_of("part", options.get("part", "40M")), chosen, python)
    for path in files:
        print(f"{shown(path)}  {path.stat().st_size / 1e6:,.1f} MB")
    print(f"there: python unpack.py   (Python {python}; it says what to type next)")
    return 0


def unpack(argv: list[str]) -> int:
    """``papers bundle unpack``; see the module's docstring."""
    try:
        return unpacking.main(argv)
    except unpacking.Refused as e:
        raise UserError(str(e)) from e


def collect(argv: list[str]) -> int:
    """``papers bundle collect``; see the module's docstring."""
    words, options = words_and_options(argv, ["to", "size"])
    if words:
        raise UserError(f"cannot read {words[0]!r}: expected to=FOLDER or size=15M")
    made, left_out = collecting.collect(Path(options.get("to", "collected")),
                                        bytes_of("size", options.get("size", "15M")))
    for path in made:
        print(f"{shown(path)}  {path.stat().st_size / 1e6:,.1f} MB")
    for name in left_out:
        print(f"too large, stays here: {name}")
    if not made:
        print("nothing to collect")
    return 0


def accept(argv: list[str]) -> int:
    """``papers bundle accept``; see the module's docstring."""
    words, options = words_and_options(argv, ["replace"])
    if options.get("replace", "true") not in ("true", "false"):
        raise UserError(f"replace={options['replace']}: expected true or false")
    if not words:
        raise UserError("papers bundle accept: expected files that collect wrote")
    if absent := [w for w in words if not Path(w).is_file()]:
        raise UserError(f"there is no file {absent[0]}")
    home = accepting.accept([Path(w) for w in words], options.get("replace") == "true")
    changed = sorted({n.split("/")[1] for n in home.taken if n.startswith("papers/")})
    if changed:
        print(f"next: papers report {' '.join(changed)}")
    return 2 if home.unreadable else 1 if home.refused else 0


WORDS = {"pack": pack, "unpack": unpack, "collect": collect, "accept": accept}


def main(argv: list[str]) -> int:
    """The command line; see the module's docstring.

    Returns:
        0; 1 if parts are missing or something was refused; 2 if a file to accept is damaged, or
        none that was collected.

    Raises:
        UserError: see the subcommands.
    """
    if asks_for_help(argv or ["--help"], __doc__):
        return 0
    if argv[0] not in WORDS:
        raise UserError(f"unknown word {argv[0]!r}{nearest(argv[0], WORDS)}")
    return WORDS[argv[0]](argv[1:])
