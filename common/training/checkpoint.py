"""Checkpoints: complete, atomic, and loaded without executing anything they contain.

A checkpoint is one safetensors file. Tensors of the nested state stand in it under their path;
everything else (numbers, strings, None) stands in the file's header as JSON, together with a
digest of the tensors, so that a file cut short or altered is recognised.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field, PlainValidator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from common.config import one_line
from common.files import shown, write_atomic
from common.segments import Segment
from common.typed import Model, checked

NAME, PREVIOUS = "checkpoint.safetensors", "checkpoint.previous.safetensors"


def number(value: Any) -> float:
    """A number, finite or not, as it is: 3 does not become 3.0."""
    if type(value) not in (int, float):
        raise ValueError(f"{str(value)[:60]!r}: expected a number")
    return value


Number = Annotated[float, PlainValidator(number)]


class Lines(Model):
    """The metrics file that belongs to a checkpoint: how many lines, and their SHA-256."""

    lines: int = Field(ge=0)
    sha256: str


class Saved(Model):
    """A run's state, as its checkpoint holds it.

    Attributes:
        config: what decides what it computes, see :func:`common.config.identity`, and the
            fingerprint of its data.
        step: updates made.
        recipe: see :meth:`common.training.recipe.Recipe.state`.
        random: see :func:`random_states`.
        window: sum and number of the losses since the last line of the log.
        seconds: training time of all attempts.
        segments: who had a share in it.
        metrics: of the newest evaluation.
        finished: whether that was the final one.
        first_losses, lines: of the first updates, and of the metrics file; checkpoints of earlier
            versions lack them.
    """

    config: dict[str, Any]
    step: int = Field(ge=0)
    recipe: dict[str, Any]
    random: dict[str, Any]
    window: list[Number] = Field(min_length=2, max_length=2)
    seconds: float = Field(ge=0)
    segments: list[Segment] = Field(min_length=1)
    metrics: dict[str, Number]
    finished: bool
    first_losses: list[float] = Field(default_factory=list)
    lines: Lines | None = None


DAMAGED: set[Path] = set()
"""Files that could not be read; they do not take the place of the one before them."""


def save(folder: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint; the one that stood there becomes the previous one.

    Args:
        folder: the run's folder.
        state: nested dicts and lists of tensors, numbers, strings, booleans and None.

    Raises:
        UserError: the folder cannot be written; the last checkpoint is intact.
    """
    tensors: dict[str, Tensor] = {}
    skeleton = json.dumps(_pack(state, "", tensors))
    metadata = {"state": skeleton, "digest": digest(skeleton, tensors)}
    write_atomic(folder / NAME, lambda p: save_file(tensors, p, metadata),
                 keep=None if folder / NAME in DAMAGED else folder / PREVIOUS)
    DAMAGED.discard(folder / NAME)


def load(folder: Path) -> dict[str, Any] | None:
    """The newest readable checkpoint of a run, or None where there is none.

    A damaged file is named on stderr and the previous one is used.
    """
    for name in (NAME, PREVIOUS):
        path = folder / name
        if not path.exists():
            continue
        try:
            return read(path)
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as e:
            DAMAGED.add(path)
            print(f"warning: checkpoint {shown(path)} is damaged ({one_line(e)}); "
                  "using the one before it", file=sys.stderr)
    return None


def of_run(folder: Path) -> Saved | None:
    """The state in the newest readable checkpoint of a run; None where there is none.

    Raises:
        UserError: it is not the state of a run.
    """
    state = load(folder)
    return None if state is None else checked(Saved, state, f"checkpoint in {shown(folder)}")


def newest_step(folder: Path) -> int:
    """The step of a run's newest checkpoint, 0 without one.

    Raises:
        UserError: see :func:`of_run`.
    """
    saved = of_run(folder)
    return 0 if saved is None else saved.step


def read(path: Path) -> dict[str, Any]:
    """Read one checkpoint file.

    Raises:
        SafetensorError, OSError, KeyError, TypeError, ValueError: the file is damaged.
    """
    with safe_open(path, "pt") as f:
        metadata = f.metadata()
        tensors = {k: f.get_tensor(k).clone() for k in f.keys()}  # Windows replaces no mapped file
    if metadata["digest"] != digest(metadata["state"], tensors):
        raise ValueError("its content is not what was written")
    return _unpack(json.loads(metadata["state"]), tensors)


def digest(skeleton: str, tensors: dict[str, Tensor]) -> str:
    """The SHA-256 of a text and of tensors, each with its name, in the order of their names."""
    made = hashlib.sha256(skeleton.encode())
    for name in sorted(tensors):
        made.update(name.encode())
        flat = tensors[name].detach().cpu().contiguous().reshape(-1)
        made.update(flat.view(torch.uint8).numpy().data if flat.numel() else b"")
    return made.hexdigest()


def random_states() -> dict[str, Any]:
    """The state of every global random generator: torch (CPU and CUDA), numpy, Python."""
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    version, internal, gauss_next = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), int(position),
                  int(has_gauss), float(gauss)],
        "python": [version, list(internal), gauss_next],
    }


def set_random_states(states: dict[str, Any]) -> None:
    """Put back what :func:`random_states` took."""
    torch.set_rng_state(states["torch"])
    if states["cuda"] and torch.cuda.device_count() == len(states["cuda"]):
        torch.cuda.set_rng_state_all(states["cuda"])
    kind, keys, position, has_gauss, gauss = states["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    version, internal, gauss_next = states["python"]
    random.setstate((version, tuple(internal), gauss_next))


def _pack(node: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """Replace tensors by references; dicts become pairs, for their keys need not be strings."""
    if isinstance(node, Tensor):
        tensors[path] = node.detach().cpu().contiguous().clone()
        channels_last = (node.dim() == 4 and not node.is_contiguous()
                         and node.is_contiguous(memory_format=torch.channels_last))
        return {"tensor": path, "channels_last": channels_last}
    if isinstance(node, dict):
        return {"dict": [[k, _pack(v, f"{path}/{k}", tensors)] for k, v in node.items()],
                "counter": isinstance(node, Counter)}  # torch's MultiStepLR keeps one
    if isinstance(node, list | tuple):
        return [_pack(v, f"{path}/{i}", tensors) for i, v in enumerate(node)]
    if node is None or isinstance(node, bool | int | float | str):
        return node
    raise TypeError(f"checkpoint state {path or '/'} is a {type(node).__name__}: expected tensors, "
                    "numbers, strings, None, and lists and dicts of them")


def _unpack(node: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(node, dict) and "tensor" in node:
        tensor = tensors[node["tensor"]]
        if node["channels_last"]:
            tensor = tensor.contiguous(memory_format=torch.channels_last)
        return tensor
    if isinstance(node, dict):
        unpacked = {k: _unpack(v, tensors) for k, v in node["dict"]}
        return Counter(unpacked) if node["counter"] else unpacked
    if isinstance(node, list):
        return [_unpack(v, tensors) for v in node]
    return node
