"""The test error of trained weights, ours or a public implementation's.

    python papers/resnet/evaluate.py weights/resnet20.safetensors
    python papers/resnet/evaluate.py public.th mean=[0.485,0.456,0.406] std=[0.229,0.224,0.225]
    python papers/resnet/evaluate.py public.th padding=both mean=[…] std=[…]

A relative path is looked for in the working folder, then in papers/resnet/. Files of ours carry the
mean they were trained with; for others ``mean`` and ``std`` per channel (of pixels in 0 … 1) say
how the network was fed. Keys:

    mean, std  per channel; mean is not needed for files of ours, std=1 where it is left out
    data       the data set whose test images are taken: that of a file of ours, else cifar10
    plain      true: a network without shortcuts; files of ours say it themselves
    padding    behind (default), or both: shortcuts put their new channels half on each side of the
               old ones, not all behind them
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from common.entry import exit_with

import torch
from torch import Tensor

from common.conditions import written
from common.data import load as load_data
from common.decoded import Split
from common.errors import UserError, asks_for_help
from common.files import shown
from common.finite import expect_finite
from common.running.words import parse_options
from common.training.weight_files import expect_weights
from common.typed import read_json
from papers.resnet import weights
from papers.resnet.model import ResNet, ZeroPad

KEYS = ("mean", "std", "plain", "padding", "data")


@torch.no_grad()
def error(network: torch.nn.Module, images: Tensor, labels: Tensor, mean: Tensor,
          std: Tensor) -> float:
    """Test error in %.

    Args:
        network: in evaluation mode.
        images: uint8, (n, c, h, w).
        labels: (n,).
        mean, std: pixels in 0 … 1 less ``mean`` are divided by ``std``; broadcast over images.
    """
    wrong = 0
    for x, y in zip(images.split(250), labels.split(250), strict=True):
        wrong += (network((x.float() / 255 - mean) / std).argmax(1) != y).sum().item()
    return 100 * wrong / len(labels)


def per_channel(options: dict, name: str) -> Tensor | None:
    """One of the command line's per-channel lists as (c, 1, 1), or None."""
    if name not in options:
        return None
    try:
        numbers = torch.tensor([float(v) for v in options[name]])[:, None, None]
        expect_finite({name: numbers})
    except (TypeError, ValueError, UserError) as e:
        raise UserError(f"{name}={written(options[name])}: expected one number per channel, such "
                        "as [0.5,0.5,0.5]") from e
    if name == "std" and not (numbers > 0).all():
        raise UserError(f"std={options[name]}: expected numbers above 0")
    return numbers


def options_of(words: list[str]) -> dict[str, Any]:
    """Parse and check the command line's keys.

    Raises:
        UserError: a key is unknown, or ``plain`` is neither true nor false.
    """
    options = parse_options(words, KEYS)
    if not isinstance(options.get("plain", True), bool):
        raise UserError(f"plain={written(options['plain'])}: expected true or false")
    return options


def is_plain(path: Path, said: weights.Sidecar | None, options: dict[str, Any]) -> bool:
    """Whether a network has no shortcuts: as its file or the JSON beside it says, or ``plain``.

    Raises:
        UserError: ``plain`` contradicts them, or ``padding`` is given for one without shortcuts.
    """
    shortcut = said.shortcut if said else weights.metadata(path).get("shortcut")
    plain = options.get("plain", shortcut == "none")
    if shortcut is not None and plain != (shortcut == "none"):
        where = shown(path.with_suffix(".json") if said else path)
        raise UserError(f"plain={written(plain)}: {where} says shortcut: {shortcut}: expected "
                        f"plain={written(not plain)}, or nothing")
    if plain and "padding" in options:
        raise UserError(f"padding={written(options['padding'])}: not used without shortcuts")
    return plain


def expect_fitting(what: str, test: Split, network: ResNet, mean: Tensor) -> None:
    """Make sure that a network can take the images, and tells their classes apart.

    Args:
        what: names the data, for the message.
        test: the images and their labels.
        network: takes (n, c, h, w).
        mean: (c, h, w) or (c, 1, 1).

    Raises:
        UserError: it cannot.
    """
    size, takes = test.images.shape[1:], network.conv1.weight.shape[1]
    if size[0] != takes:
        raise UserError(f"{what}: its images have {size[0]} channel{'s' * (size[0] != 1)}: "
                        f"expected {takes}, which the network takes")
    if mean.shape[1:] not in (size[1:], (1, 1)):
        raise UserError(f"{what}: its images have {'×'.join(map(str, size[1:]))} pixels: expected "
                        f"{'×'.join(map(str, mean.shape[1:]))}, as the mean in the file has, or "
                        "mean=[…] per channel")
    if (classes := int(test.labels.max()) + 1) > (known := network.fc.weight.shape[0]):
        raise UserError(f"{what}: its images are of {classes} classes: expected at most "
                        f"{known}, which the network tells apart")


def main(argv: list[str]) -> int:
    """The command line; see the module's text."""
    if asks_for_help(argv or ["--help"], __doc__):
        return 0
    path = Path(argv[0])
    if not path.name:
        raise UserError(f"{argv[0]!r}: expected a file of weights (try --help)")
    if not path.exists() and (Path(__file__).parent / path).exists():
        path = Path(__file__).parent / path
    options = options_of(argv[1:])
    expect_weights(path)
    sidecar = path.with_suffix(".json")
    try:
        said = read_json(weights.Sidecar, sidecar) if sidecar.exists() else None
    except UserError as e:
        raise UserError(f"{shown(path)}: the JSON file beside it describes no ResNet: {e}") from e
    padding = options.get("padding", "behind")
    network, mean = weights.load(path, padding)
    if is_plain(path, said, options):
        network = weights.without_shortcuts(network)
    given = per_channel(options, "mean")
    mean = given if given is not None else mean
    if mean is None:
        raise UserError(f"{shown(path)} does not say how images were normalised: give mean=[…] and "
                        "std=[…] per channel")
    std = per_channel(options, "std")
    name_of_data = written(options.get("data", said.data if said else "cifar10"))
    test = load_data(name_of_data).test
    if test.images.dim() != 4:
        raise UserError(f"data={name_of_data}: expected a data set of images")
    for name, numbers in (("mean", given), ("std", std)):
        if numbers is not None and len(numbers) != test.images.shape[1]:
            raise UserError(f"{name}={written(options[name])}: expected a number for each of the "
                            f"{test.images.shape[1]} channels")
    expect_fitting(f"data={name_of_data}", test, network, mean)
    measured = error(network, test.images, test.labels, mean,
                     std if std is not None else torch.ones(()))
    print(f"{shown(path)}: test error {measured:.2f} %" + (
        f", as reported: {said.error:.2f} %" if said and said.data == name_of_data else ""))
    padded = any(isinstance(m, ZeroPad) for m in network.modules())
    if padded and "padding" not in weights.metadata(path):
        print(f"taken with padding={padding}: a state dict cannot tell whether its shortcuts put "
              "new channels behind the old ones (behind) or half on each side of them (both)")
    return 0


if __name__ == "__main__":
    exit_with(lambda: main(sys.argv[1:]))
