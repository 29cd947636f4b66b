"""Compressed networks for those who only use them: loading a ``.dcn`` file, and its card."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from common.errors import UserError
from common.evidence import card as cards
from common.files import ROOT, shown
from common.finite import expect_finite
from common.training.weight_files import RecordedRun
from papers.deep_compression.coding import SharedTensor, read
from papers.deep_compression.model import Dense

TEST_IMAGES = 10_000
"""Of MNIST, on which the networks are evaluated."""


def load(path: Path | str) -> Dense:
    """The network of a file that an experiment of this paper has written, with dense weights.

    Shapes: images (n, c, h, w), pixels in 0 … 1, to logits (n, classes).

    Raises:
        UserError: the file cannot be read, is damaged, no ``.dcn`` file, or holds no such network.
    """
    path = Path(path)
    values = {name: torch.from_numpy(t.dense() if isinstance(t, SharedTensor) else t)
              for name, t in read(path).items()}
    weights, biases = ({n.removesuffix(kind): v for n, v in values.items() if n.endswith(kind)}
                       for kind in (".weight", ".bias"))
    try:
        if extra := [n for n in values if not n.endswith((".weight", ".bias"))]:
            raise UserError(f"tensor {extra[0]}: expected names that end in .weight or .bias")
        expect_layers(weights, biases)
        expect_finite(values)
    except UserError as e:
        raise UserError(f"{shown(path)}: expected a network of papers/deep_compression: "
                        f"{e}") from e
    return Dense(weights, biases).eval()


def expect_layers(weights: dict[str, Tensor], biases: dict[str, Tensor]) -> None:
    """Make sure that layers have weights and biases that fit together, and each the one before it.

    Raises:
        UserError: they do not; the tensor is named.
    """
    if not weights:
        raise UserError("expected weights of at least one layer")
    if alone := sorted(weights.keys() ^ biases.keys()):
        has, lacks = ("weight", "bias") if alone[0] in weights else ("bias", "weight")
        raise UserError(f"tensor {alone[0]}.{has}: expected {alone[0]}.{lacks} beside it")
    before = None
    for name, w in weights.items():
        shape = tuple(w.shape)
        if w.dim() not in (2, 4) or not w.numel():
            raise UserError(f"tensor {name}.weight: expected a matrix (outputs, inputs) or filters "
                            f"(outputs, inputs, height, width), has shape {shape}")
        if biases[name].shape != shape[:1]:
            raise UserError(f"tensor {name}.bias: expected shape {shape[:1]}, has "
                            f"{tuple(biases[name].shape)}")
        # a matrix takes each output of a layer of filters at a number of places
        if before is not None and (shape[1] % before[0] if len(shape) < len(before)
                                   else (len(shape), shape[1]) != (len(before), before[0])):
            raise UserError(f"tensor {name}.weight: expected inputs for the {before[0]} outputs "
                            f"before it, has shape {shape}")
        before = shape


def card(path: Path, run: RecordedRun) -> str:
    """What a reader has to know of a file, from its bytes and the result of the run that wrote it.

    Args:
        path: of the file, in the clone.
        run: which wrote it.
    """
    tensors, name = read(path), run.experiment
    shared = [t for t in tensors.values() if isinstance(t, SharedTensor)]
    weights = sum(t.codes.size for t in shared)
    kept = sum(int((t.codes > 0).sum()) for t in shared)
    file = shown(path) if path.is_relative_to(ROOT) else path.name
    return cards.card(name, [
        f"A LeNet with {weights:,} weights, {kept:,} of which are left, each one of the shared "
        f"values of its layer;", "pruned, shared and Huffman-coded as by Han, Mao & Dally (2016),",
        f"by this repository's experiment `{name}`, seed {run.seed}, trained on {run.data},",
        f"at commit `{run.commits[-1]}`."],
        cards.Evaluation(run.data, run.metrics["error"], TEST_IMAGES),
        f'from papers.deep_compression.shipped import load\n\nnetwork = load("{file}")',
        "python papers/deep_compression/train.py experiment="
        f"{name.removesuffix('_compressed')} seed={run.seed}",
        [f"{path.stat().st_size:,} bytes. The error is that of the network read back from them.",
         "Input: images (n, 1, 28, 28), pixels in 0 … 1; output: logits.",
         "What the file holds, layer by layer: `python papers/deep_compression/compress.py "
         f"{file}`.",
         f"`seed{run.seed}.json` beside it is the run's result with its whole "
         "configuration."])
