"""The test error of trained weights, ours or a public implementation's.

    python papers/resnet/evaluate.py weights/resnet20.safetensors
    python papers/resnet/evaluate.py public.th mean=[0.485,0.456,0.406] std=[0.229,0.224,0.225]
    python papers/resnet/evaluate.py public.th padding=both mean=[…] std=[…]

A relative path is looked for in the working folder, then in papers/resnet/. Files of ours carry the
mean they were trained with; for others ``mean`` and ``std`` per channel (of pixels in 0 … 1) say
how the network was fed. ``plain=true`` evaluates a network without shortcuts; ``padding=both`` one
whose shortcuts put their new channels half on each side of the old ones, not all behind them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor

from common.conditions import written
from common.data import load as load_data
from common.errors import UserError, asks_for_help, exit_with
from common.files import shown
from common.finite import expect_finite
from common.running.words import parse_options
from common.typed import read_json
from papers.resnet import weights
from papers.resnet.model import ZeroPad

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


def main(argv: list[str]) -> int:
    """The command line; see the module's text."""
    if asks_for_help(argv or ["--help"], __doc__):
        return 0
    path = Path(argv[0])
    if not path.name:
        raise UserError(f"{argv[0]!r}: expected a file of weights (try --help)")
    if not path.exists() and (Path(__file__).parent / path).exists():
        path = Path(__file__).parent / path
    options = parse_options(argv[1:], KEYS)
    if not isinstance(options.get("plain", True), bool):
        raise UserError(f"plain={written(options['plain'])}: expected true or false")
    sidecar = path.with_suffix(".json")
    said = read_json(weights.Sidecar, sidecar) if sidecar.exists() else None
    plain = options.get("plain", said is not None and said.shortcut == "none")
    padding = options.get("padding", "behind")
    network, mean = weights.load_plain(path) if plain else weights.load(path, padding)
    given = per_channel(options, "mean")
    mean = given if given is not None else mean
    if mean is None:
        raise UserError(f"{shown(path)} does not say how images were normalised: give mean=[…] and "
                        "std=[…] per channel")
    std = per_channel(options, "std")
    test = load_data(written(options.get("data", said.data if said else "cifar10"))).test
    for name, numbers in (("mean", given), ("std", std)):
        if numbers is not None and len(numbers) != test.images.shape[1]:
            raise UserError(f"{name}: {len(numbers)} numbers: expected one for each of the "
                            f"{test.images.shape[1]} channels")
    measured = error(network, test.images, test.labels, mean,
                     std if std is not None else torch.ones(()))
    print(f"{shown(path)}: test error {measured:.2f} %" + (
        f", as reported: {said.error:.2f} %" if said else ""))
    padded = any(isinstance(m, ZeroPad) for m in network.modules())
    if padded and "padding" not in weights.metadata(path):
        print(f"taken with padding={padding}: a state dict cannot tell whether its shortcuts put "
              "new channels behind the old ones (behind) or half on each side of them (both)")
    return 0


if __name__ == "__main__":
    exit_with(lambda: main(sys.argv[1:]))
