"""Trained networks as files: writing ours, and reading those of public implementations.

A file holds the network's state dict in this repository's names (``conv1.weight``,
``layer1.0.bn1.running_mean``, …, ``fc.bias``) and ``input.mean``, the per-pixel mean that is
subtracted from images in 0 … 1. A JSON file of the same name beside it says which run made it.

Public CIFAR ResNets differ from these names by the following, which :func:`our_names` undoes:

=====================  ==================  ==========================================
there                  here                why
=====================  ==================  ==========================================
``module.``            nothing             left by ``DataParallel``
``linear.``            ``fc.``             another name of the last layer
``downsample.``        ``shortcut.``       another name of projections (options B, C)
=====================  ==================  ==========================================
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from common.config import one_line
from common.errors import UserError
from common.files import shown, write_atomic
from papers.resnet.model import ResNet, cifar_resnet

MEAN = "input.mean"


def save(path: Path, network: ResNet, mean: Tensor, sidecar: dict[str, Any]) -> None:
    """Write a network, and ``sidecar`` as JSON beside it.

    Raises:
        UserError: the files cannot be written.
    """
    tensors = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    tensors[MEAN] = mean.cpu().contiguous()
    write_atomic(path, lambda p: save_file(tensors, p))
    write_atomic(path.with_suffix(".json"), json.dumps(sidecar, indent=1) + "\n")


def our_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A public CIFAR ResNet's state dict under this repository's names."""
    renamed = {}
    for name, tensor in state.items():
        name = name.removeprefix("module.")
        name = re.sub(r"^linear\.", "fc.", name)
        renamed[re.sub(r"\.downsample\.", ".shortcut.", name)] = tensor
    return renamed


def load(path: Path) -> tuple[ResNet, Tensor | None]:
    """Read a network from safetensors, or from a public checkpoint of torch.

    Depth and kind of shortcut follow from the file. A torch file is read without executing
    anything in it; one that holds more than tensors is refused.

    Returns:
        The network in evaluation mode, and the per-pixel mean if the file has one.

    Raises:
        UserError: the file is missing, damaged, or not a CIFAR ResNet.
    """
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
            state = state.get("state_dict", state)
        state = our_names(state)
    except OSError as e:
        raise UserError(f"cannot read {shown(path)}: {e.strerror or one_line(e)}") from e
    except (SafetensorError, RuntimeError, ValueError, AttributeError, EOFError, KeyError) as e:
        raise UserError(f"{shown(path)} is damaged or no file of weights: "
                        f"{one_line(e)[:160]}") from e
    except Exception as e:  # pickle.UnpicklingError: the file wants to run code
        raise UserError(f"{shown(path)} holds more than tensors and is not read: convert it to "
                        "safetensors where you trust it") from e
    mean = state.pop(MEAN, None)
    blocks = len({n.split(".")[1] for n in state if n.startswith("layer1.")})
    projections = [n for n in state if "shortcut." in n]
    kind = "A" if not projections else "C" if any(
        n.startswith("layer1.0.shortcut") for n in projections) else "B"
    if not blocks or "conv1.weight" not in state or "fc.weight" not in state:
        raise UserError(f"{shown(path)}: expected a CIFAR ResNet with conv1, layer1 … layer3 and "
                        f"fc, got {', '.join(list(state)[:3]) or 'nothing'} …")
    network = cifar_resnet(6 * blocks + 2, kind, state["conv1.weight"].shape[1],
                           state["fc.weight"].shape[0])
    try:
        network.load_state_dict(state)
    except RuntimeError as e:
        raise UserError(f"{shown(path)} does not fit ResNet-{6 * blocks + 2} with shortcut "
                        f"{kind}: {one_line(e)[:200]}") from e
    return network.eval(), mean


def load_plain(path: Path) -> tuple[ResNet, Tensor | None]:
    """Like :func:`load`, for a network without shortcuts."""
    network, mean = load(path)
    for module in network.modules():
        if hasattr(module, "shortcut"):
            module.shortcut = None
    return network, mean
