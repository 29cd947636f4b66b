"""Compress a file of weights, and look into a compressed one.

    python papers/deep_compression/compress.py net.safetensors net.dcn 6   # share by 6 bits, code
    python papers/deep_compression/compress.py net.dcn                     # what a file holds
    python papers/deep_compression/compress.py net.dcn net.safetensors     # back to dense weights

Zeros of matrices and filters count as pruned. Nothing is trained here.
"""

from __future__ import annotations

import sys
from pathlib import Path
from common.entry import exit_with

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file
from safetensors.torch import load_file

from common.errors import UserError, asks_for_help
from common.files import reason, shown, write_atomic
from common.finite import expect_finite
from common.training.weight_files import expect_weights
from common.typed import whole
from papers.deep_compression.coding import SUFFIX, SharedTensor, Tensors, read, storage, write
from papers.deep_compression.model import k_means

DENSE = ".safetensors"


def compress(weights: dict[str, np.ndarray], weight_bits: int = 6, index_bits: int = 5) -> Tensors:
    """Cluster what is not zero of every matrix and filter; vectors stay as they are.

    One of the 2^bits symbols is the filler zero: so a layer has 2^bits − 1 centroids at most, and
    no more than it has different weights, which are then kept as they are.

    Raises:
        UserError: a weight is not finite.
    """
    expect_finite(weights)
    tensors: Tensors = {}
    for name, w in weights.items():
        if w.ndim < 2:
            tensors[name] = w.astype(np.float32)
            continue
        kept = w != 0
        centroids, clusters = np.unique(w[kept], return_inverse=True)
        if len(centroids) >= 2**weight_bits:
            centroids, clusters = k_means(w[kept].astype(np.float64), 2**weight_bits - 1)
        codes = np.zeros(w.shape, dtype=np.int64)
        codes[kept] = clusters + 1
        tensors[name] = SharedTensor(codes, centroids.astype(np.float32), index_bits)
    return tensors


def weights_of(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a ``.safetensors`` file as float32, whatever their type there.

    Raises:
        UserError: it cannot be read.
    """
    expect_weights(path)
    try:
        return {name: w.float().numpy() for name, w in load_file(path).items()}
    except (OSError, SafetensorError, KeyError) as e:
        why = reason(e, path) if isinstance(e, OSError) else e
        raise UserError(f"cannot read {shown(path)}: {why}") from e


def listing(tensors: Tensors) -> str:
    """A line for each tensor."""
    lines = []
    for name, t in tensors.items():
        if isinstance(t, SharedTensor):
            s = storage(t)
            shape, said = t.codes.shape, (
                f"{s['kept']:7.2%} kept, {len(t.centroids)} centroids, {s['weight_bits']:.2f} + "
                f"{s['index_bits']:.2f} bits an entry, {s['rate_pqh']:.2%} of 32-bit weights")
        else:
            shape, said = t.shape, "as it is"
        lines.append(f"{name:16} {'×'.join(map(str, shape)):>16}  {said}")
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    """The command line, see above.

    Raises:
        UserError: files that cannot be read or written, or another number of bits than 1 … 12.
    """
    if asks_for_help(arguments or ["--help"], __doc__):
        return
    if len(arguments) > 3:
        raise UserError(f"{' '.join(arguments)}: expected a file, one to write, and perhaps the "
                        "bits of a weight")
    source = Path(arguments[0])
    target = Path(arguments[1]) if len(arguments) > 1 else None
    if target is not None:
        writable(target, DENSE if source.suffix == SUFFIX else SUFFIX)
    if source.suffix == SUFFIX:
        if len(arguments) > 2:
            raise UserError(f"{arguments[2]}: expected two files; bits are chosen when weights "
                            "are compressed")
        tensors = read(source)
        print(listing(tensors))
        if target is not None:
            dense = {n: t.dense() if isinstance(t, SharedTensor) else t for n, t in tensors.items()}
            write_atomic(target, lambda p: save_file(dense, p))
        return
    bits = arguments[2] if len(arguments) > 2 else "6"
    if target is None:
        raise UserError(f"{source}: expected a {SUFFIX} file to look into, or a second file to "
                        "write")
    if not 1 <= (weight_bits := whole(bits) or 0) <= 12:
        raise UserError(f"{bits}: expected bits of a weight, a whole number from 1 to 12")
    weights = weights_of(source)
    tensors = compress(weights, weight_bits)
    size = write(target, tensors)
    print(f"{listing(tensors)}\n{size:,} bytes, 1/"
          f"{sum(4 * w.size for w in weights.values()) / size:.1f} of 32-bit weights")


def writable(target: Path, suffix: str) -> None:
    """Make sure that a file to write ends as its content asks, in a folder that exists.

    Raises:
        UserError: it does not.
    """
    if target.suffix != suffix:
        raise UserError(f"{target}: expected a file to write that ends in {suffix}")
    if not target.parent.is_dir():
        raise UserError(f"{target}: expected a folder that exists, {target.parent} does not")


if __name__ == "__main__":
    exit_with(lambda: main(sys.argv[1:]))
