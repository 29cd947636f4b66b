"""Trained networks as files: writing ours, and reading those of public implementations.

A file holds the network's state dict in this repository's names (``conv1.weight``,
``layer1.0.bn1.running_mean``, …, ``fc.bias``) and ``input.mean``, the per-pixel mean that is
subtracted from images in 0 … 1; its metadata say depth, shortcut, commit and test error. Beside it
lie a JSON file of the same name, which says in full which run made it, and a card for readers.

Public CIFAR ResNets differ from these names by the following, which :func:`our_names` undoes:

=====================  ==================  ==========================================
there                  here                why
=====================  ==================  ==========================================
``module.``            nothing             left by ``DataParallel``
``linear.``            ``fc.``             another name of the last layer
``downsample.``        ``shortcut.``       another name of projections (options B, C)
=====================  ==================  ==========================================

Some put option A's new channels on both sides of the old ones instead of behind them. Neither
names nor shapes tell; :func:`padded_behind` reorders the channels of such a state dict to ours.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, get_args

import torch
from pydantic import Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from common.conditions import written
from common.config import one_line
from common.errors import UserError
from common.evidence import card as cards
from common.files import reason, shown
from common.training import weight_files
from common.training.start import MEAN
from papers.resnet.model import Block, ResNet, Shortcut, cifar_resnet

TEST_IMAGES = 10_000
"""How many images of CIFAR-10 the networks are evaluated on."""

Padding = Literal["behind", "both"]
"""Where option A's new channels are: behind the old ones, as in this repository, or half on each
side of them."""


class Sidecar(weight_files.Sidecar):
    """What lies as JSON beside our weights.

    Attributes:
        depth, shortcut: of the network.
        error: at the last step, on the test images, in %.
    """

    depth: int = Field(gt=0)
    shortcut: Shortcut
    error: float = Field(ge=0, le=100)


def save(path: Path, network: ResNet, mean: Tensor, sidecar: Sidecar) -> None:
    """Write a network; ``sidecar`` as JSON beside it, in short in its metadata, and as a card.

    Args:
        path: ends in ``.safetensors``; the other two files have the same name.
        network: to be written.
        mean: per pixel, (c, h, w).
        sidecar: which run made it, and how good it is.

    Raises:
        UserError: the files cannot be written.
    """
    about = {"depth": str(sidecar.depth), "shortcut": sidecar.shortcut, "padding": "behind",
             "metric": f"test error {sidecar.error:.2f} %"}
    weight_files.save(path, network.state_dict() | {MEAN: mean}, about, sidecar,
                      card(path.stem, sidecar))


def card(name: str, sidecar: Sidecar) -> str:
    """What a reader has to know about a file of weights."""
    plain, depth = sidecar.shortcut == "none", sidecar.depth
    kind = "without shortcuts" if plain else f"with shortcut option {sidecar.shortcut}" + (
        ", zeros for new channels behind the old ones" if sidecar.shortcut == "A" else "")
    load = "load_plain" if plain else "load"
    return cards.card(name, [
        f"He, Zhang, Ren & Sun's (2015) network of {depth} layers {kind},",
        f"trained on {sidecar.data} by this repository's experiment `{sidecar.experiment}`, "
        f"seed {sidecar.seed},", f"at commit `{sidecar.commits[-1]}`."],
        cards.Evaluation(sidecar.data, sidecar.error, TEST_IMAGES),
        f"from pathlib import Path\n\nfrom papers.resnet.weights import {load}\n\n"
        f'network, mean = {load}(Path("papers/resnet/weights/{name}.safetensors"))',
        f"python papers/resnet/train.py experiment={sidecar.experiment} seed={sidecar.seed}",
        [f"Input: pixels in 0 … 1 less `{MEAN}`, which the file holds and `load` returns; output: "
         "logits.",
         f"`{name}.safetensors` says the same in its metadata, `{name}.json` the whole "
         "configuration.",
         f"The error again: `python papers/resnet/evaluate.py weights/{name}.safetensors`. As "
         f"ONNX:\n  `papers export papers/resnet/weights/{name}.safetensors`."])


def metadata(path: Path) -> dict[str, str]:
    """What a file of ours says about itself; empty for others."""
    if path.suffix != ".safetensors":
        return {}
    with safe_open(path, "pt") as f:
        return f.metadata() or {}


def our_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A public CIFAR ResNet's state dict under this repository's names."""
    renamed = {}
    for name, tensor in state.items():
        name = name.removeprefix("module.")
        name = re.sub(r"^linear\.", "fc.", name)
        renamed[re.sub(r"\.downsample\.", ".shortcut.", name)] = tensor
    return renamed


def padded_behind(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Reorder the channels of a network whose option A pads on both sides to padding behind.

    There a stage's channels are (new, old, new), here (old, new, new); the channels between a
    block's two layers belong to it alone and stay.

    Args:
        state: under this repository's names.
    """
    width = state["conv1.weight"].shape[0]
    orders, order = [torch.arange(width)], torch.arange(width)
    for _ in range(2):
        side = len(order) // 2
        order = torch.cat([side + order, torch.arange(side),
                           torch.arange(side + len(order), 2 * len(order))])
        orders.append(order)
    found = dict(state)
    for name, tensor in state.items():
        if match := re.match(r"layer(\d)\.(\d+)\.(conv1|conv2|bn2)\.", name):
            stage, block, layer = int(match[1]) - 1, int(match[2]), match[3]
            into = orders[max(0, stage - (block == 0))]
            if layer == "conv1":
                found[name] = tensor[:, into]
            elif tensor.dim():  # but for BN's count of batches
                found[name] = tensor[orders[stage]]
        elif name == "fc.weight":
            found[name] = tensor[:, order]
    return found


def load(path: Path, padding: Padding = "behind") -> tuple[ResNet, Tensor | None]:
    """Read a network from safetensors, or from a public checkpoint of torch.

    Depth and kind of shortcut follow from the file. A torch file is read without executing
    anything in it; one that holds more than tensors is refused.

    Args:
        path: the file.
        padding: where its implementation has option A's new channels.

    Returns:
        The network in evaluation mode, and the per-pixel mean if the file has one.

    Raises:
        UserError: the file is missing, damaged, not a CIFAR ResNet, or of another padding.
    """
    if padding not in get_args(Padding):
        raise UserError(f"padding={written(padding)}: expected {' or '.join(get_args(Padding))}")
    weight_files.expect_weights(path)
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
            state = state.get("state_dict", state)
        state = our_names(state)
    except OSError as e:
        raise UserError(f"cannot read {shown(path)}: {reason(e, path)}") from e
    except (SafetensorError, RuntimeError, ValueError, AttributeError, EOFError, KeyError) as e:
        raise UserError(f"{shown(path)} is damaged or no file of weights: "
                        f"{one_line(e)[:160]}") from e
    except Exception as e:  # pickle.UnpicklingError: the file wants to run code
        raise UserError(f"{shown(path)} holds more than tensors and is not read: convert it to "
                        "safetensors where you trust it") from e
    mean = state.pop(MEAN, None)
    blocks = len({n.split(".")[1] for n in state if n.startswith("layer1.")})
    projections = [n for n in state if "shortcut." in n]
    kind: Shortcut = "A" if not projections else "C" if any(
        n.startswith("layer1.0.shortcut") for n in projections) else "B"
    if not blocks or "conv1.weight" not in state or "fc.weight" not in state:
        raise UserError(f"{shown(path)}: expected a CIFAR ResNet with conv1, layer1 … layer3 and "
                        f"fc, got {', '.join(list(state)[:3]) or 'nothing'} …")
    network = cifar_resnet(6 * blocks + 2, kind, state["conv1.weight"].shape[1],
                           state["fc.weight"].shape[0])
    if padding == "both" and (kind != "A" or metadata(path).get("padding") == "behind"):
        raise UserError(f"padding=both: {shown(path)} has " + (
            f"projections (option {kind})" if kind != "A" else "its new channels behind the old"))
    try:
        network.load_state_dict(padded_behind(state) if padding == "both" else state)
    except (RuntimeError, IndexError) as e:
        raise UserError(f"{shown(path)} does not fit ResNet-{6 * blocks + 2} with shortcut "
                        f"{kind}: {one_line(e)[:200]}") from e
    return network.eval(), mean


def load_plain(path: Path) -> tuple[ResNet, Tensor | None]:
    """Like :func:`load`, for a network without shortcuts, where padding does not arise."""
    network, mean = load(path)
    return without_shortcuts(network), mean


def without_shortcuts(network: ResNet) -> ResNet:
    """The same network, whose blocks have lost their shortcuts."""
    for module in network.modules():
        if isinstance(module, Block):
            module.shortcut = None
    return network
