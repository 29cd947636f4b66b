"""Runs that start from existing weights, for fine-tuning and distillation.

``start_from`` names another experiment of the paper, whose finished run of the same seed provides
the weights, or a file of weights. They are loaded only when a run begins; a run that resumes from
its own checkpoint no longer needs them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field
from safetensors import SafetensorError
from torch import Tensor, nn

from common.config import Config, completed, flatten, names_file, one_line, start_of
from common.errors import UserError, cut
from common.experiments import Experiments
from common.files import ROOT, run_folder, shown
from common.training import checkpoint, weight_files
from common.typed import Open, checked, read_json

if TYPE_CHECKING:
    from common.training.recipe import Recipe


class SourceRun(Open):
    """The JSON file beside a file of weights, or the result of the run that made them.

    Attributes:
        experiment, seed: the run that made the weights.
        config: its configuration, nested or flat.
    """

    experiment: str
    seed: int = Field(ge=0)
    config: dict[str, Any]


@dataclass(frozen=True)
class Weights:
    """Tensors by name, and the file they were read from."""

    path: Path
    tensors: dict[str, Tensor]


MEAN = "input.mean"
"""The name of the mean image (of pixels in 0 … 1) in files of weights."""

LoadWeights = Callable[[Config], Weights]
"""Loads the weights that a configuration starts from; see :func:`load`."""


def begin(recipe: Recipe, source: LoadWeights | None) -> None:
    """Load the weights that a recipe's configuration names, and record them in ``started_from``.

    Does nothing without ``start_from``.

    Raises:
        UserError: the weights are missing or damaged, or do not fit; or ``source`` is None.
    """
    name = start_of(recipe.config)
    if not name:
        return
    if source is None:
        raise UserError(f"start_from={name}: expected a run that the paper's train.py starts")
    weights = source(recipe.config)
    try:
        taken = recipe.start_with(weights.tensors)
    except UserError as e:
        raise UserError(f"start_from={name}: {shown(weights.path)} does not fit: {e}") from e
    recipe.started_from = {"name": name, "sha256": checkpoint.digest("", taken)}


@torch.no_grad()
def fit(network: nn.Module, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Load every parameter and buffer of a network; additional weights are ignored.

    Returns:
        The tensors that were loaded.

    Raises:
        UserError: a tensor is missing or has another shape; nothing was loaded.
    """
    taken = {}
    for name, here in network.state_dict().items():
        there = weights.get(name)
        if there is None or there.shape != here.shape:
            size = "absent" if there is None else tuple(there.shape)
            raise UserError(f"{name} is {size} there, {tuple(here.shape)} here")
        taken[name] = there
    network.load_state_dict(taken)
    return taken


def fit_with_mean(network: nn.Module, mean: Tensor, weights: dict[str, Tensor],
                  ) -> tuple[dict[str, Tensor], Tensor]:
    """:func:`fit`, and the mean image that the network was trained with.

    Args:
        network: the network to load.
        mean: the mean of the present images, used if the weights include none.
        weights: tensors by name; the mean image is called :data:`MEAN`.

    Returns:
        The tensors that were loaded, and the mean image, on the device of ``mean``.

    Raises:
        UserError: a tensor is missing or has another shape.
    """
    taken, there = fit(network, weights), weights.get(MEAN)
    if there is None:
        return taken, mean
    if there.shape != mean.shape:
        raise UserError(f"{MEAN} is {tuple(there.shape)} there, {tuple(mean.shape)} here")
    return taken | {MEAN: there}, there.to(mean.device)


def load(experiments: Experiments, config: Config) -> Weights:
    """Load the weights that a configuration starts from.

    Args:
        experiments: the paper's experiments.
        config: the configuration of a run, with ``start_from``.

    Raises:
        UserError: the run that makes them is not finished and the paper's ``weights/`` lacks them;
            or the file is missing or damaged.
    """
    name = start_of(config)
    if names_file(name):
        return Weights(ROOT / name, read_file(ROOT / name, name))
    found = find(experiments, name, config.seed)
    if found is None:
        paper = experiments.path.parent.name
        raise UserError(f"start_from={name}: there is no finished run of {name}/seed{config.seed} "
                        f"as config.yaml has it; python papers/{paper}/train.py "
                        f"experiment={name} seed={config.seed} makes it")
    return found


def find(experiments: Experiments, name: str, seed: int) -> Weights | None:
    """Find the weights of an experiment in its present configuration; None if there are none.

    They come from its finished run below ``runs/`` or else from the paper's folder ``weights/``.

    Raises:
        UserError: there is no such experiment, or the file in ``weights/`` is damaged.
    """
    own, folder = experiments.resolve(name, seed), experiments.path.parent
    run = run_folder(folder.name, name, seed)
    saved = checkpoint.of_run(run)
    if saved and saved.finished:
        tensors = networks_of(saved)
        if tensors and is_own(experiments, saved.config, own):
            return Weights(run / checkpoint.NAME, tensors)
    for stem in (f"{name}-seed{seed}", *([name] if seed == 0 else [])):
        path = folder / "weights" / f"{stem}.safetensors"
        if path.exists() and is_of(path.with_suffix(".json"), experiments, own):
            return Weights(path, read_file(path, name))
    return None


def is_of(sidecar: Path, experiments: Experiments, own: Config) -> bool:
    """Whether the JSON beside a file of weights names this configuration and seed.

    Without a JSON file the name of the weights is trusted.

    Raises:
        UserError: the JSON file is damaged.
    """
    if not sidecar.exists():
        return True
    said = read_json(SourceRun, sidecar)
    return said.seed == own.seed and is_own(experiments, said.config, own)


def is_own(experiments: Experiments, saved: dict[str, Any], own: Config) -> bool:
    """Whether a saved configuration, nested or flat, is an experiment's own; any seed's."""
    flat = {k: v for k, v in flatten(saved).items() if k != "data.fingerprint"}
    return experiments.counts(completed(flat, own), own)


def read_file(path: Path, name: str = "") -> dict[str, Tensor]:
    """Read the tensors of a file of weights, or the model's tensors from a checkpoint.

    Args:
        path: the file.
        name: the value of ``start_from``, for messages; empty if another key names the file.

    Raises:
        UserError: the file is missing or damaged, a weight is not finite, or the JSON file beside
            it describes another.
    """
    asked = f"start_from={name}: " if name else ""
    try:
        if weight_files.STATE not in weight_files.metadata(path):
            return weight_files.read(path)[0]
        weight_files.expect_described(path)
        saved = checked(checkpoint.Saved, checkpoint.read(path), f"{shown(path)}: its state")
        return networks_of(saved)
    except UserError as e:
        raise UserError(f"{asked}{e}") from e
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as e:
        raise UserError(f"{asked}{shown(path)} is damaged or no file of weights: "
                        f"{cut(one_line(e), 160)}") from e


def networks_of(saved: checkpoint.Saved) -> dict[str, Tensor]:
    """The tensors of the model in a checkpoint; empty if it has no model."""
    model = saved.recipe.get("model")
    return {k: v for k, v in model.items() if isinstance(v, Tensor)} if isinstance(
        model, dict) else {}
