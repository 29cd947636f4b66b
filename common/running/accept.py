"""Accept the files that another machine has made: check each one and put it in its place.

A result is accepted if it can be read, lies in the place of its paper, experiment and seed, and
every process that trained it ran the unchanged code of a commit that HEAD descends from.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from common.config import Config, completed, identity, one_line
from common.errors import UserError, cut, say
from common.evidence import results
from common.evidence.paper import Paper, papers
from common.evidence.provenance import git
from common.experiments import SEED
from common.files import ROOT, locked, run_folder, runs_root, write_atomic
from common.running import collect
from common.running.collect import PRECISION, own_config
from common.running.runs import IN_RESULTS, PUBLISHED
from common.segments import Segment
from common.training import checkpoint
from common.typed import checked, parse_json

RESULT = re.compile(rf"papers/(\w+)/results/([^/]+)/seed({SEED})\.json")
PACE = re.compile(r"(?:papers/(\w+)/results|runs/(\w+))/([^/]+)/pace\.json")
WEIGHTS = re.compile(rf"papers/(\w+)/{PUBLISHED}\.(?:json|md|safetensors)")
PICTURED = re.compile(rf"papers/(\w+)/{IN_RESULTS}\.safetensors")
SHIPPED = re.compile(rf"papers/(\w+)/results/([^/]+)/seed({SEED})\.(?:dcn|md)")
RUN = re.compile(rf"runs/(\w+)/([^/]+)/seed({SEED})/([^/]+)")


class Home:
    """This clone as the destination, with what it has accepted and refused so far.

    Args:
        replace: whether a file may replace a different one.

    Attributes:
        taken: the names of the files and runs that were accepted.
        refused: the names of those that were not, each with the reason.
        unreadable: whether one of the files given is damaged, or none that was collected.
        papers: the papers loaded so far, by name.

    Raises:
        UserError: this is not a clone.
    """

    def __init__(self, replace: bool = False):
        if not (ROOT / ".git").exists():
            raise UserError("results are accepted in a clone, by its history: there is no .git "
                            "here")
        self.replace = replace
        self.taken: list[str] = []
        self.refused: list[tuple[str, str]] = []
        self.unreadable = False
        self.papers: dict[str, Paper] = {}

    def accept(self, file: Path) -> None:
        """Accept the contents of one file written by :mod:`common.running.collect`."""
        try:
            files = collect.read(file)
        except UserError as e:
            self.refused.append((file.name, str(e)))
            self.unreadable = True
            return
        runs: dict[str, dict[str, bytes]] = {}
        for name, content in files.items():  # results come before the files that go with them
            if match := RUN.fullmatch(name):
                runs.setdefault(name.rpartition("/")[0], {})[match[4]] = content
            else:
                self.attempt(name, lambda n=name, c=content: self.take(n, c))
        for name, its in runs.items():
            self.attempt(name, lambda n=name, f=its: self.take_run(n, f))

    def attempt(self, name: str, take: Any) -> None:
        """Call ``take``, or note under ``name`` why it refused."""
        try:
            take()
        except UserError as e:
            self.refused.append((name, str(e)))

    def paper(self, name: str, experiment: str) -> Paper:
        """The paper of this name, after checking that it has the experiment.

        Raises:
            UserError: there is no such paper or experiment.
        """
        if name not in self.papers:
            self.papers[name] = papers([name])[0]
        self.papers[name].config(experiment)
        return self.papers[name]

    def take(self, name: str, content: bytes) -> None:
        """Check one file of ``papers/``, or a pace, and put it in its place.

        Raises:
            UserError: the file is refused.
        """
        goes_with = None
        if match := RESULT.fullmatch(name):
            check_result(self.paper(match[1], match[2]), match[2], int(match[3]), content)
        elif match := PACE.fullmatch(name):
            self.paper(match[1] or match[2], match[3])
            checked(results.PaceFile, read_json(content), "not a pace")
        elif match := (WEIGHTS.fullmatch(name) or PICTURED.fullmatch(name)
                       or SHIPPED.fullmatch(name)):
            paper = self.paper(match[1], match[2])
            goes_with = results.path_of(paper.folder, match[2], int(match[3] or 0))
            if not goes_with.is_file():
                raise UserError("the result it goes with is not here")
            if name.endswith(".dcn"):
                read_coded(paper, content)
            else:
                read_by_kind[Path(name).suffix](content)
        else:
            raise UserError("expected a result, weights, a pace, or a file of a run")
        self.put(name, content, goes_with)

    def put(self, name: str, content: bytes, goes_with: Path | None) -> None:
        """Write a file unless it is already there.

        Raises:
            UserError: a different file is there and may not be replaced.
        """
        path = runs_root() / name.removeprefix("runs/") if name.startswith("runs/") else ROOT / name
        if path.is_file():
            if path.read_bytes() == content or name.startswith("runs/"):  # keep our own pace
                return
            new = goes_with and goes_with.relative_to(ROOT).as_posix() in self.taken
            if not self.replace and not new:
                raise UserError("a different one is here; replace=true would put this in its place")
        write_atomic(path, content)
        self.taken.append(name)

    def take_run(self, name: str, files: dict[str, bytes]) -> None:
        """Put the files of a run into its folder, unless the run here is as far or further.

        Raises:
            UserError: the run is refused, or is being trained here.
        """
        _, paper_name, experiment, seed = name.split("/")
        paper = self.paper(paper_name, experiment.partition(PRECISION)[0])
        own = own_config(paper, experiment)
        for file in files:
            if file not in (*collect.FOLLOWED, checkpoint.NAME):
                raise UserError(f"{file}: expected {', '.join(collect.FOLLOWED)} or "
                                f"{checkpoint.NAME}")
        folder = run_folder(paper.name, experiment, int(seed.removeprefix("seed")))
        if checkpoint.NAME in files:
            step = check_checkpoint(own, files[checkpoint.NAME])
            if checkpoint.newest_step(folder) >= step and not self.replace:
                return
        elif any((folder / file).exists() for file in files):
            return
        with locked(folder, "the run is being trained here"):
            for file in sorted(files, key=lambda f: f == checkpoint.NAME):  # the checkpoint last
                write_atomic(folder / file, files[file])
        self.taken.append(name)


def check_result(paper: Paper, experiment: str, seed: int, content: bytes) -> None:
    """Refuse a result that does not belong in its place.

    Raises:
        UserError: it cannot be read, belongs to another run, has another configuration or other
            metrics, or was not made in this branch's history.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "result.json"
        path.write_bytes(content)
        try:
            found = results.parse(path, paper.schema)
        except UserError as e:
            why = str(e).partition(" is damaged: ")[2].partition("; restore")[0]
            raise UserError(f"not a readable result: {why}") from e
    if (found.paper, found.experiment, found.seed) != (paper.name, experiment, seed):
        raise UserError(f"it belongs to {found.name}, not to the run in whose place it is")
    check_history(found.record.segments)
    if not results.is_current(found, paper.config(experiment), paper.experiments):
        raise UserError(f"made with a configuration that is not {experiment}'s")
    there = next(iter(paper.results.get(experiment, [])), found)
    missing = there.metrics.keys() - found.metrics.keys()  # newer code may measure more
    if missing:
        raise UserError("its metrics are not those of the experiment: "
                        f"{', '.join(sorted(missing))} missing")


def check_checkpoint(own: Config, content: bytes) -> int:
    """Check a checkpoint against a configuration; returns its step.

    Raises:
        UserError: it is damaged, has another configuration, or was not made in this branch's
            history.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / checkpoint.NAME
        path.write_bytes(content)
        try:
            state = checked(checkpoint.Saved, checkpoint.read(path), "its state")
            its = completed(state.config, own)
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError,
                UserError) as e:
            raise UserError(f"its checkpoint is damaged: {one_line(e)}") from e
    its.pop("data.fingerprint", None)
    if its != identity(own):
        raise UserError("its checkpoint was made with a configuration that is not "
                        f"{own.experiment}'s")
    check_history(state.segments)
    return state.step


def check_history(segments: Sequence[Segment]) -> None:
    """Refuse work done by unknown, changed or unrelated code.

    Args:
        segments: the provenance of every process that trained the run.

    Raises:
        UserError: a segment is refused; the message names its commit.
    """
    for segment in segments:
        commit = segment.commit
        if not re.fullmatch(r"[0-9a-f]{40,64}", commit):
            raise UserError(f"made at the commit {commit!r}: expected one of this repository")
        if segment.dirty:
            raise UserError(f"made by code that differed from commit {commit[:10]}")
        if git(ROOT, "merge-base", "--is-ancestor", commit, "HEAD") is None:
            raise UserError(f"made at commit {commit[:10]}, which is not in this branch's history")


def read_json(content: bytes) -> Any:
    """Parse JSON.

    Raises:
        UserError: the content is not JSON.
    """
    try:
        return parse_json(content)
    except (ValueError, RecursionError) as e:
        raise UserError(f"not readable as JSON: {cut(one_line(e), 160)}") from e


def read_tensors(content: bytes) -> None:
    """Check a safetensors file by reading all its tensors.

    Raises:
        UserError: it cannot be read.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tensors"
        path.write_bytes(content)
        try:
            with safe_open(path, "pt") as f:
                for k in f.keys():
                    f.get_tensor(k)
        except (SafetensorError, OSError) as e:
            raise UserError("not readable as safetensors") from e


def read_coded(paper: Paper, content: bytes) -> None:
    """Check a file in a paper's own format by reading it with this clone's ``shipped.py``.

    Raises:
        UserError: it cannot be read, or the paper has no such format.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "coded"
        path.write_bytes(content)
        try:
            paper.module("shipped").load(path)
        except UserError as e:
            raise UserError(f"not readable by papers/{paper.name}/shipped.py") from e


def read_text(content: bytes) -> None:
    """Check that content is UTF-8 text, such as a model card.

    Raises:
        UserError: it is not.
    """
    try:
        content.decode()
    except UnicodeDecodeError as e:
        raise UserError("not readable as text") from e


read_by_kind = {".json": read_json, ".md": read_text, ".safetensors": read_tensors}


def accept(files: Sequence[Path], replace: bool = False) -> Home:
    """Accept the contents of these files, and print what was accepted and what was refused.

    Raises:
        UserError: this is not a clone.
    """
    home = Home(replace)
    for file in files:
        home.accept(file)
    for name in home.taken:
        print(f"accepted {name}")
    for name, why in home.refused:
        say(f"refused {name}: {why}")
    return home
