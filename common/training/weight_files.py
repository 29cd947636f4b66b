"""Files of trained weights for others to use: the tensors, a JSON file about the run, a card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from common.config import one_line
from common.errors import UserError, cut
from common.files import reason, sha256, shown, write_atomic
from common.finite import expect_finite
from common.typed import Model, Open, read_json


class Sidecar(Model):
    """The JSON file beside a file of weights; papers extend it with their network's measurements.

    Attributes:
        experiment, seed, config: the run that made the weights.
        data: the name of the data set it was trained on.
        commits: the commit of each segment of the run.
        sha256: of the file of weights; empty where none has been written yet.
    """

    experiment: str
    seed: int = Field(ge=0)
    data: str
    config: dict[str, Any]
    commits: list[str] = Field(min_length=1)
    sha256: str = ""


class RecordedRun(Sidecar):
    """A recorded run, described for the files it leaves; ``metrics`` are the final ones."""

    metrics: dict[str, Annotated[float, Field(allow_inf_nan=True)]]

    @property
    def by(self) -> dict[str, Any]:
        """The fields that every :class:`Sidecar` has."""
        return self.model_dump(exclude={"metrics", "sha256"})


def save(path: Path, tensors: dict[str, Tensor], about: dict[str, str], sidecar: Sidecar,
         card: str) -> None:
    """Write a file of weights and, beside it, a JSON file and a card of the same name.

    Args:
        path: must end in ``.safetensors``.
        tensors: the tensors to write, by name.
        about: the file's metadata, to which data set, experiment, seed and commit are added.
        sidecar: the run that made the weights, and what was measured of the network.
        card: the text of the card, in Markdown.

    Raises:
        UserError: the files cannot be written.
    """
    about = about | {"data": sidecar.data, "experiment": sidecar.experiment,
                     "seed": str(sidecar.seed), "commit": sidecar.commits[-1]}
    held = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    write_atomic(path, lambda p: save_file(held, p, about))
    said = sidecar.written() | {"sha256": sha256(path)}
    write_atomic(path.with_suffix(".json"), json.dumps(said, indent=1) + "\n")
    write_atomic(path.with_suffix(".md"), card)


BESIDE = {".json": "JSON file", ".md": "card"}
"""The files that lie beside weights, by the end of their names."""


def expect_weights(path: Path) -> None:
    """Refuse a file that lies beside weights, which is easily mistaken for them.

    Raises:
        UserError: it is one.
    """
    if path.suffix in BESIDE:
        raise UserError(f"{shown(path)}: is no file of weights: expected "
                        f"{path.with_suffix('.safetensors').name}, if this {BESIDE[path.suffix]} "
                        "lies beside it")


class Digest(Open):
    """The part of the JSON file beside weights that says which file it describes."""

    sha256: str = ""


def expect_described(path: Path) -> None:
    """Refuse weights that are not those which the JSON file beside them describes.

    Weights without such a file, or whose JSON has no digest, are taken as they are.

    Raises:
        UserError: their digests differ, or the JSON file is damaged.
    """
    beside = path.with_suffix(".json")
    said = read_json(Digest, beside).sha256 if beside.is_file() else ""
    if said and (there := sha256(path)) != said:
        raise UserError(f"{shown(path)} is not the file that {beside.name} beside it describes: "
                        f"expected SHA-256 {said[:12]}…, not {there[:12]}…")


STATE = "state"
"""The part of the metadata that only checkpoints have."""


def metadata(path: Path) -> dict[str, str]:
    """What a file of weights, or a checkpoint, says of itself.

    Raises:
        UserError: it is missing or damaged.
    """
    expect_weights(path)
    try:
        with safe_open(path, "pt") as f:
            return f.metadata() or {}
    except OSError as e:
        raise UserError(f"cannot read {shown(path)}: {reason(e, path)}") from e
    except SafetensorError as e:
        raise UserError(f"{shown(path)} is damaged or no file of weights: "
                        f"{cut(one_line(e), 160)}") from e


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a file of weights; returns its tensors and its metadata.

    Raises:
        UserError: it is missing, damaged or a checkpoint, a weight is not finite, or the JSON file
            beside it describes another.
    """
    about = metadata(path)
    if STATE in about:
        raise UserError(f"{shown(path)} is a checkpoint: expected a file of weights")
    try:
        tensors = load_file(path)
        expect_finite(tensors)
    except (SafetensorError, UserError) as e:
        raise UserError(f"{shown(path)}: {one_line(e)}") from e
    expect_described(path)
    return tensors, about
