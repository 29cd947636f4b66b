"""Trained networks ready for export, from a file of weights or a finished run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from common.config import completed, flatten
from common.errors import UserError, nearest
from common.evidence.paper import paper_names, papers
from common.files import ROOT, shown
from common.training import start
from common.training.recipe import Supervised
from common.typed import read_json, whole

CALIBRATION = 512
"""Number of training images used to calibrate the ranges of activations."""

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
        source: ``papers/<paper>/…/<name>.safetensors`` with a JSON file beside it that names the
            run, or ``<paper>/<experiment>[/seed<k>]``.
        images: how many test images to use.

    Raises:
        UserError: there is no such network, or it does not classify images.
    """
    paper, name, recipe = trained(source)
    test = recipe.data.test[:images]
    return Ready(paper, name, recipe.data.name, Shipped(recipe).eval(), test.images, test.labels,
                 recipe.data.train[:CALIBRATION].images)


def trained(source: str) -> tuple[str, str, Supervised]:
    """Load a trained network: returns the paper, a file name without suffix, and the recipe.

    Args and errors as in :func:`load_ready`.
    """
    if source.endswith(".safetensors"):
        paper, experiment, seed, tensors = from_file(source)
    else:
        paper, experiment, seed, tensors = from_run(source)
    (found,) = papers([paper])
    config = found.experiments.resolve(experiment, seed, {"train.device": "cpu"})
    recipe = found.module("train").recipe(config)
    if not isinstance(recipe, Supervised):
        raise UserError(f"{source}: expected a network that classifies images")
    try:
        start.fit(recipe.model, tensors)  # not start_with, which may prune or shrink the weights
    except UserError as e:
        raise UserError(f"{source}: does not fit {paper}/{experiment}: {e}") from e
    name = Path(source).stem if source.endswith(".safetensors") else f"{experiment}-seed{seed}"
    return paper, name, recipe


Trained = tuple[str, str, int, dict[str, Tensor]]
"""Paper, experiment, seed and weights."""


def from_file(source: str) -> Trained:
    """Read a file of weights and the JSON beside it.

    Raises:
        UserError: one is missing, damaged or outside the papers' folders, or the configuration is
            not the experiment's present one.
    """
    path = Path(source) if Path(source).exists() else ROOT / source
    if not path.is_file():
        raise UserError(f"{source}: there is no such file")
    at = path.resolve()
    if not at.is_relative_to(ROOT / "papers"):
        raise UserError(f"{source}: expected a file in a paper's folder of this repository, "
                        f"{shown(ROOT / 'papers')}/<paper>/")
    paper = at.relative_to(ROOT / "papers").parts[0]
    sidecar = at.with_suffix(".json")
    if not sidecar.exists():  # beside weights0.safetensors it is the result, seed0.json
        sidecar = at.with_name(re.sub(r"^\D+", "seed", at.stem) + ".json")
    try:
        said = read_json(start.SourceRun, sidecar)
    except UserError as e:
        raise UserError(f"{source}: expected {sidecar.name} beside it, which says what run made "
                        f"it: {e}") from e
    experiment, seed, flat = said.experiment, said.seed, flatten(said.config)
    (found,) = papers([paper])
    own = found.experiments.resolve(experiment, seed)
    complete = completed({k: v for k, v in flat.items() if k != "data.fingerprint"}, own)
    if not found.experiments.counts(complete, own):
        raise UserError(f"{source}: its configuration is no longer that of {paper}/{experiment}")
    return paper, experiment, seed, start.read_file(at, source)


def from_run(source: str) -> Trained:
    """Find the weights of a run: finished below ``runs/``, or in the paper's ``weights/``.

    Raises:
        UserError: there is no such run.
    """
    match = re.fullmatch(r"(\w+)/([\w.]+)(?:/seed(.+))?", source)
    seed = whole(match[3] or "0") if match else None
    if not match or seed is None:
        raise UserError(f"{source}: expected a .safetensors file, or a finished run such as "
                        "batchnorm/bn/seed0")
    paper, experiment = match[1], match[2]
    if paper not in paper_names():
        raise UserError(f"unknown paper {paper!r}{nearest(paper, paper_names())}")
    (found,) = papers([paper])
    weights = start.find(found.experiments, experiment, seed)
    if weights is None:
        raise UserError(f"{source}: there is no finished run; python papers/{paper}/train.py "
                        f"experiment={experiment} seed={seed} makes it")
    return paper, experiment, seed, weights.tensors
