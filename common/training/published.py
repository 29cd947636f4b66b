"""Trained weights as files for those who only use them: tensors, the run that made them, a card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from common.config import one_line
from common.errors import UserError
from common.files import shown, write_atomic


def made_by(record: dict[str, Any]) -> dict[str, Any]:
    """What the file beside the tensors has to say of the run that made them.

    Args:
        record: its result, see :func:`common.evidence.results.write`.
    """
    return {"experiment": record["experiment"], "seed": record["seed"],
            "data": record["data"]["name"], "config": record["config"],
            "commits": [s["commit"] for s in record["segments"]]}


def save(path: Path, tensors: dict[str, Tensor], about: dict[str, str], sidecar: dict[str, Any],
         card: str) -> None:
    """Write a file of weights, a JSON file of the same name beside it, and a card.

    Args:
        path: ends in ``.safetensors``; the others take its name.
        tensors: of the network, as they are to lie in the file.
        about: the file's metadata beside data set, experiment, seed and commit.
        sidecar: what :func:`made_by` returns, and what is measured of the network.
        card: text.

    Raises:
        UserError: the files cannot be written.
    """
    about = about | {k: str(sidecar[k]) for k in ("data", "experiment", "seed")} | {
        "commit": sidecar["commits"][-1]}
    held = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    write_atomic(path, lambda p: save_file(held, p, about))
    write_atomic(path.with_suffix(".json"), json.dumps(sidecar, indent=1) + "\n")
    write_atomic(path.with_suffix(".md"), card)


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a file, and its metadata.

    Raises:
        UserError: it is missing or damaged.
    """
    try:
        with safe_open(path, "pt") as f:
            return {k: f.get_tensor(k) for k in f.keys()}, f.metadata() or {}
    except OSError as e:
        raise UserError(f"cannot read {shown(path)}: {e.strerror or one_line(e)}") from e
    except SafetensorError as e:
        raise UserError(f"{shown(path)} is damaged or no file of weights: "
                        f"{one_line(e)[:160]}") from e
