"""Compressed networks for those who only use them: loading a ``.dcn`` file, and its card."""

from __future__ import annotations

from pathlib import Path

import torch

from common.evidence import card as cards
from common.files import ROOT, shown
from common.training.published import Made
from papers.deep_compression.coding import SharedTensor, read
from papers.deep_compression.model import Dense

TEST_IMAGES = 10_000
"""Of MNIST, on which the networks are evaluated."""


def load(path: Path | str) -> Dense:
    """The network of a file that an experiment of this paper has written, with dense weights.

    Shapes: images (n, c, h, w), pixels in 0 … 1, to logits (n, classes).

    Raises:
        UserError: the file cannot be read, is damaged, or no ``.dcn`` file.
    """
    values = {name: torch.from_numpy(t.dense() if isinstance(t, SharedTensor) else t)
              for name, t in read(Path(path)).items()}
    parts = {kind: {n.removesuffix(kind): v for n, v in values.items() if n.endswith(kind)}
             for kind in (".weight", ".bias")}
    return Dense(parts[".weight"], parts[".bias"]).eval()


def card(path: Path, run: Made) -> str:
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
