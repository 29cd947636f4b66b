"""Trained networks ready for export, from a file of weights or a finished run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from common.errors import UserError, nearest
from common.evidence.paper import paper_names, papers
from common.experiments import NAME, SEED
from common.files import ROOT, shown
from common.training import start, weight_files
from common.training.recipe import Supervised
from common.typed import read_json

CALIBRATION = 512
"""Number of training images used to calibrate the ranges of activations."""

WEIGHTS = ".safetensors"

RUN = re.compile(rf"(\w+)/({NAME})(?:/seed({SEED}))?")
"""A run as the command line names it."""


class Shipped(nn.Module):
    """A trained network that includes the paper's preprocessing.

    Args:
        recipe: provides the preprocessing, ``prepare``, and the network.

    Shapes: uint8 images (n, c, h, w) → logits (n, classes).
    """

    def __init__(self, recipe: Supervised):
        super().__init__()
        self.model = recipe.shipped().eval()
        self.prepare = recipe.prepare

    def forward(self, images: Tensor) -> Tensor:
        return self.model(self.prepare(images))


@dataclass(frozen=True)
class Ready:
    """A network ready for export, with the images to test it on.

    Attributes:
        paper: the paper's name.
        name: the name of the file to write, without suffix.
        data: the data set's name.
        network: the network, in evaluation mode.
        images, labels: from the test split.
        calibration: training images, uint8.
    """

    paper: str
    name: str
    data: str
    network: Shipped
    images: Tensor
    labels: Tensor
    calibration: Tensor


def load_ready(source: str, images: int) -> Ready:
    """Load the network of a file of weights or of a finished run.

    Args:
        source: ``papers/<paper>/…/<name>.safetensors``, or a file in the paper's own format, with a
            JSON file beside it that names the run; or ``<paper>/<experiment>[/seed<k>]``.
        images: how many test images to use.

    Raises:
        UserError: there is no such network, or it does not classify images.
    """
    paper, name, recipe = trained(source)
    test = recipe.data.test[:images]
    return Ready(paper, name, recipe.data.name, Shipped(recipe).eval(), test.images, test.labels,
                 recipe.data.train[:CALIBRATION].images)


@runtime_checkable
class Coded(Protocol):
    """A recipe whose networks are also stored in a format of the paper's own.

    Attributes:
        suffix: how the names of such files end.
    """

    suffix: str

    def load_coded(self, path: Path) -> None:
        """Take the weights of a file; raises UserError if it is damaged or of another network."""


def trained(source: str) -> tuple[str, str, Supervised]:
    """Load a trained network: returns the paper, a file name without suffix, and the recipe.

    Args and errors as in :func:`load_ready`.
    """
    try:
        path = Path(source) if Path(source).exists() else ROOT / source
        is_file = path.is_file()
    except OSError:  # such as a name that is too long
        path, is_file = Path(), False
    weights: Path | dict[str, Tensor]
    if is_file:
        weight_files.expect_weights(path)
        paper, experiment, seed, weights = *run_beside(source, path), path
    elif (run := RUN.fullmatch(source)) and path.suffix != WEIGHTS:
        paper, experiment, seed, weights = from_run(source, run)
    else:
        raise UserError(f"{source}: there is no such file" if path.suffix else f"{source}: "
                        f"expected a {WEIGHTS} file, or a finished run such as batchnorm/bn/seed0")
    (found,) = papers([paper])
    config = found.experiments.resolve(experiment, seed, {"train.device": "cpu"})
    recipe = found.module("train").recipe(config)
    if not isinstance(recipe, Supervised):
        raise UserError(f"{source}: expected a network that classifies images")
    published = isinstance(weights, Path) and weights.parent.name == "weights"
    if isinstance(weights, Path) and isinstance(recipe, Coded) and path.suffix == recipe.suffix:
        try:
            recipe.load_coded(weights)
        except UserError as e:
            raise UserError(f"{source}: cannot be loaded as {paper}/{experiment}: {e}") from e
    else:
        take(recipe, weights, source, f"{paper}/{experiment}")
    return paper, path.stem if published else f"{experiment}-seed{seed}", recipe


def take(recipe: Supervised, weights: Path | dict[str, Tensor], source: str, run: str) -> None:
    """Give a recipe's network weights as they are; ``start_with`` may prune or shrink them.

    Args:
        recipe: of the run that made the weights.
        weights: the tensors, or their file.
        source: what the user wrote.
        run: the name of that run, for messages.

    Raises:
        UserError: they are damaged or of another network.
    """
    if isinstance(weights, Path):
        if weights.suffix != WEIGHTS:
            also = f" or {recipe.suffix}" if isinstance(recipe, Coded) else ""
            raise UserError(f"{source}: expected a {WEIGHTS}{also} file")
        weights = start.read_file(weights.resolve())
    try:
        start.fit(recipe.model, weights)
    except UserError as e:
        raise UserError(f"{source}: does not fit {run}: {e}") from e


def run_beside(source: str, path: Path) -> tuple[str, str, int]:
    """Paper, experiment and seed of a file of weights, from the JSON file beside it.

    Raises:
        UserError: the JSON file is missing or damaged, the weights lie outside the papers' folders,
            or the configuration is not the experiment's present one.
    """
    at = path.resolve()
    if not at.is_relative_to(ROOT / "papers"):
        raise UserError(f"{source}: expected a file in a paper's folder of this repository, "
                        f"{shown(ROOT / 'papers')}/<paper>/")
    paper = at.relative_to(ROOT / "papers").parts[0]
    sidecar = at.with_suffix(".json")
    if beside_result := re.fullmatch(r"weights([0-9]+)", at.stem):  # of seed 0: seed0.json
        sidecar = at.with_name(f"seed{beside_result[1]}.json")
    try:
        said = read_json(start.SourceRun, sidecar)
    except UserError as e:
        raise UserError(f"{source}: expected {sidecar.name} beside it, which says what run made "
                        f"it: {e}") from e
    (found,) = papers([paper])
    own = found.experiments.resolve(said.experiment, said.seed)
    if not start.is_own(found.experiments, said.config, own):
        raise UserError(f"{source}: its configuration is no longer that of "
                        f"{paper}/{said.experiment}")
    return paper, said.experiment, said.seed


def from_run(source: str, words: re.Match[str]) -> tuple[str, str, int, dict[str, Tensor]]:
    """Paper, experiment, seed and weights of a run, below ``runs/`` or in the paper's ``weights/``.

    Args:
        source: what the user wrote.
        words: the match of :data:`RUN`.

    Raises:
        UserError: there is no such run.
    """
    paper, experiment, seed = words[1], words[2], int(words[3] or 0)
    if paper not in paper_names():
        raise UserError(f"unknown paper {paper!r}{nearest(paper, paper_names())}")
    (found,) = papers([paper])
    weights = start.find(found.experiments, experiment, seed)
    if weights is None:
        raise UserError(f"{source}: there is no finished run; python papers/{paper}/train.py "
                        f"experiment={experiment} seed={seed} makes it")
    return paper, experiment, seed, weights.tensors
