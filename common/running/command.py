"""The one command of this repository.

    papers train batchnorm experiment=quick       # the same as python papers/batchnorm/train.py …
    papers reproduce batchnorm                    # make every run that its report still lacks
    papers report [--check]                       # reports, figures, the gallery, the notebook
    papers recheck [batchnorm]                    # does the code still compute what was recorded?
    papers bundle pack resnet                     # for a machine without repository and network
    papers export papers/resnet/weights/resnet20.safetensors    # ONNX, or torch's own; 8 bits
    papers site                                   # all of it as pages to browse, into site/
    papers notebook                               # papers/first_steps.ipynb, from its cells
    papers bench resnet                           # speed, as ratios measured in one run
    papers new lenet                              # start a paper

Each says more with --help. Where the package is not installed: python -m common.running …
"""

from __future__ import annotations

import importlib
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from common.entry import exit_with

from common.errors import HELP, UserError, asks_for_help, nearest
from common.files import ROOT, is_clone

COMMANDS = {
    "reproduce": "common.running.reproduce",
    "report": "common.running.report",
    "recheck": "common.running.recheck",
    "bundle": "common.running.bundle",
    "export": "common.running.export",
    "site": "common.running.site.build",
    "notebook": "common.running.notebook",
    "bench": "common.running.bench",
    "new": "common.running.new_paper",
}
"""The commands and their modules, whose ``main`` gets the remaining arguments."""

CHANGING = ("reproduce", "report", "bundle", "new", "site", "notebook")
"""The commands that change the repository and therefore need a clone."""


def run_train_py(argv: list[str]) -> int:
    """Run ``papers/<paper>/train.py`` as a script; it exits the process.

    Raises:
        UserError: there is no such paper, or it lacks a file to train by.
    """
    known = sorted(p.parent.name for p in (ROOT / "papers").glob("*/train.py"))
    if asks_for_help(argv[:1] or ["--help"],
                     "papers train PAPER [experiment=NAME] [seed=K] [key=value …]\n\n"
                     f"PAPER is one of {', '.join(known)}.\n"
                     "papers train PAPER --help lists its experiments and keys."):
        return 0
    if argv[0] not in known:
        raise UserError(f"unknown paper {argv[0]!r}{nearest(argv[0], known)}")
    folder = ROOT / "papers" / argv[0]
    if missing := [f for f in ("model.py", "config.yaml") if not (folder / f).is_file()]:
        from common.evidence.paper import cut_short  # imported here because it takes a second
        raise UserError(f"papers/{argv[0]} is half-made: expected "
                        f"{cut_short(folder) or ', '.join(missing)}")
    path = str(folder / "train.py")
    sys.argv = [path, *argv[1:]]
    runpy.run_path(path, run_name="__main__")
    return 0


def expect_own_clone() -> None:
    """Refuse to work on one clone from a folder in another, where its files would be looked for.

    Raises:
        UserError: the current folder is in another clone than this code.
    """
    own, here = Path(__file__).resolve().parents[2], Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "common/running/command.py").is_file():
            if not folder.samefile(own):
                raise UserError(f"this is the command of {own}, and the current folder is in "
                                f"{folder}: expected another folder, or PYTHONPATH={folder}")
            return


def main(argv: Sequence[str]) -> int:
    """The command line; see the module's docstring.

    Raises:
        UserError: the command is unknown, or raises it; or it is of another clone than the one
            that the current folder is in.
    """
    words = list(argv)
    if asks_for_help(words[:1] or ["--help"], __doc__):
        return 0
    expect_own_clone()
    name, *rest = words
    if name == "train":
        return run_train_py(rest)
    if name not in COMMANDS:
        raise UserError(f"unknown command {name!r}{nearest(name, ['train', *COMMANDS])}")
    if name in CHANGING and not is_clone() and HELP.isdisjoint(rest):
        raise UserError(f"papers {name} changes the repository: expected a clone of it or an "
                        f"archive, this is a package installed in {ROOT}")
    return importlib.import_module(COMMANDS[name]).main(rest)


def run() -> None:
    """The entry point of the console script ``papers``."""
    exit_with(lambda: main(sys.argv[1:]))
