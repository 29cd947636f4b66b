"""Checkpoints: complete, written atomically, and loaded without executing anything they contain.

A checkpoint is one safetensors file. It stores each tensor of the nested state under its path.
Everything else (numbers, strings, None) is JSON in the file's header, together with a digest of the
tensors, so that a truncated or altered file is recognised.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field, PlainValidator, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from common.config import one_line
from common.errors import UserError, cut, warn
from common.files import shown, write_atomic
from common.segments import MOST_SECONDS, MOST_STEPS, Segment
from common.typed import Model, checked, parse_json

NAME, PREVIOUS = "checkpoint.safetensors", "checkpoint.previous.safetensors"


def number(value: Any) -> float:
    """Accept a number, finite or not, without converting it: 3 does not become 3.0.

    Raises:
        ValueError: the value is not a number.
    """
    if type(value) not in (int, float):
        raise ValueError(f"{str(value)[:60]!r}: expected a number")
    return value


Number = Annotated[float, PlainValidator(number)]


def plain(value: Any) -> Any:
    """Accept a configuration's value: text, a number, true or false, None, or a list of those.

    Raises:
        ValueError: it is something else, such as a tensor.
    """
    for part in value if isinstance(value, list) else [value]:
        if part is not None and not isinstance(part, str | int | float):
            raise ValueError(f"a {type(part).__name__}: expected text, a number or a list of them")
    return value


Plain = Annotated[Any, PlainValidator(plain)]


class Lines(Model):
    """The state of the metrics file that belongs to a checkpoint: line count and SHA-256."""

    lines: int = Field(ge=0)
    sha256: str


class Saved(Model):
    """A run's state, as stored in its checkpoint.

    Attributes:
        config: the keys that decide what is computed, see :func:`common.config.identity`, and
            the fingerprint of the data.
        step: number of updates made.
        recipe: the recipe's state, see :meth:`common.training.recipe.Recipe.state`.
        random: the random generators' states, see :func:`random_states`.
        window: sum and number of the losses since the last logged line.
        seconds: training time of all attempts.
        segments: the provenance of each process that trained the run.
        metrics: the results of the newest evaluation.
        finished: whether that was the final evaluation.
        first_losses: losses of the first updates; missing in older checkpoints.
        lines: the state of the metrics file; None in older checkpoints.
    """

    config: dict[str, Plain]
    step: int = Field(ge=0, le=MOST_STEPS)
    recipe: dict[str, Any]
    random: dict[str, Any]
    window: list[Number] = Field(min_length=2, max_length=2)
    seconds: float = Field(ge=0, le=MOST_SECONDS)
    segments: list[Segment] = Field(min_length=1)
    metrics: dict[str, Number]
    finished: bool
    first_losses: list[float] = Field(default_factory=list)
    lines: Lines | None = None

    @model_validator(mode="after")
    def _whole(self) -> Saved:
        total, count = self.window
        if not math.isfinite(total) or type(count) is not int or count < 0:
            raise ValueError(f"window: {self.window}: expected a sum and a whole number")
        if self.finished and not self.metrics:
            raise ValueError("metrics: {}: expected those of the final evaluation")
        for k, v in self.metrics.items() if self.finished else ():
            if math.isnan(v):
                raise ValueError(f"metrics.{k}: nan: expected a number")
        return self


DAMAGED: set[Path] = set()
"""Checkpoints that could not be read; :func:`save` does not keep them as the previous one."""


def save(folder: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint; the existing one becomes the previous one.

    Args:
        folder: the run's folder.
        state: nested dicts and lists of tensors, numbers, strings, booleans and None.

    Raises:
        UserError: the folder cannot be written; the existing checkpoint is unchanged.
    """
    tensors: dict[str, Tensor] = {}
    skeleton = json.dumps(_pack(state, "", tensors))
    metadata = {"state": skeleton, "digest": digest(skeleton, tensors)}
    write_atomic(folder / NAME, lambda p: save_file(tensors, p, metadata),
                 keep=None if folder / NAME in DAMAGED else folder / PREVIOUS)
    DAMAGED.discard(folder / NAME)


def load(folder: Path) -> dict[str, Any] | None:
    """Load the newest readable checkpoint of a run; None if there is none.

    If the newest is damaged, a warning names it and the previous one is used.

    Raises:
        UserError: the system or torch refuses one; it may be whole, so nothing takes its place.
    """
    for name in (NAME, PREVIOUS):
        path = folder / name
        if not path.exists() and not path.is_symlink():
            continue
        try:
            open(path, "rb").close()
        except OSError as e:
            raise UserError(f"cannot read checkpoint {shown(path)}: {e.strerror}; make it "
                            "readable, or add fresh=true to start anew") from e
        try:
            return read(path)
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, RecursionError) as e:
            DAMAGED.add(path)
            before = name == NAME and (folder / PREVIOUS).exists()
            warn(f"checkpoint {shown(path)} is damaged ({one_line(e)}); "
                 + ("using the one before it" if before else "there is none before it"))
        except RuntimeError as e:  # torch cannot map it, or lacks memory
            raise UserError(f"cannot read checkpoint {shown(path)}: {one_line(e)}; make it "
                            "readable, or add fresh=true to start anew") from e
    return None


def of_run(folder: Path) -> Saved | None:
    """Load the newest readable checkpoint of a run as a :class:`Saved`; None if there is none.

    Raises:
        UserError: its content is not the state of a run, or see :func:`load`.
    """
    state = load(folder)
    return None if state is None else checked(Saved, state, f"checkpoint in {shown(folder)}")


def newest_step(folder: Path) -> int:
    """The step of a run's newest checkpoint; 0 if there is none.

    Raises:
        UserError: see :func:`of_run`.
    """
    saved = of_run(folder)
    return 0 if saved is None else saved.step


def read(path: Path) -> dict[str, Any]:
    """Read one checkpoint file.

    Raises:
        SafetensorError, OSError, KeyError, TypeError, ValueError, RecursionError: the file is
            damaged.
        RuntimeError: torch cannot map it into memory, or make a tensor of it.
    """
    with safe_open(path, "pt") as f:
        metadata = f.metadata()
        tensors = {k: f.get_tensor(k).clone() for k in f.keys()}  # Windows replaces no mapped file
    if metadata["digest"] != digest(metadata["state"], tensors):
        raise ValueError("its content is not what was written")
    return _unpack(parse_json(metadata["state"]), tensors)


def digest(skeleton: str, tensors: dict[str, Tensor]) -> str:
    """The SHA-256 of a text followed by the tensors with their names, sorted by name."""
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
    """Restore the states that :func:`random_states` returned.

    Raises:
        UserError: they are not such states.
    """
    try:
        kind, keys, position, has_gauss, gauss = states["numpy"]
        if not 0 <= position <= len(keys):  # numpy itself would read beyond its memory
            raise ValueError(f"numpy's position is {position}")
        version, internal, gauss_next = states["python"]
        np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
        random.setstate((version, tuple(internal),
                         None if gauss_next is None else float(gauss_next)))
        torch.set_rng_state(states["torch"])
        if states["cuda"] and torch.cuda.device_count() == len(states["cuda"]):
            torch.cuda.set_rng_state_all(states["cuda"])
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError,
            RuntimeError) as e:
        raise UserError("random: expected the states of torch's, numpy's and Python's generators "
                        f"({cut(one_line(e), 120)}); add fresh=true to start anew") from e


def _pack(node: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """Replace tensors by references; dicts become lists of pairs, as keys may not be strings."""
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
