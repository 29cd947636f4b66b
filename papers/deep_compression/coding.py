"""The compressed file: relative indices, Huffman codes, and bytes that read back bit for bit.

A ``.dcn`` file, all numbers little-endian::

    "DCN1", number of tensors (u16), the tensors, CRC-32 of everything before (u32)

    a tensor: kind (u8), its name (u8 length, UTF-8), dimensions (u8 number, u32 each), and
      kind 0, as it is:    its float32 values
      kind 1, shared:      bits of an index r (u8), centroids k (u16), entries n (u32),
                           k float32 centroids,
                           code lengths (u8) of the k + 1 weight symbols, of the 2^r index symbols,
                           bytes of the weights' stream (u32), the stream,
                           bytes of the indices' stream (u32), the stream

An entry is a gap, how many weights of the flattened tensor are skipped, and a weight symbol: c + 1
for centroid c. Symbol 0 is a filler zero, which stands where a gap would be longer than 2^r − 1
(Fig. 2 of Han, Mao & Dally). Codes are canonical: in order of length, then of symbol; bits are
filled from the highest of a byte. No length above 0: no symbol.
"""

from __future__ import annotations

import heapq
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.files import shown, write_atomic

MAGIC, SUFFIX = b"DCN1", ".dcn"
LARGEST = 2**28
"""Weights of a tensor at most: what a damaged file may ask for."""

DIMENSIONS = 8
"""Dimensions of a tensor at most."""


@dataclass(frozen=True)
class SharedTensor:
    """A pruned tensor with shared weights.

    Args:
        codes: int64 of the weights' shape, 0 where pruned, c + 1 for centroid c.
        centroids: (k,), float32.
        index_bits: r, bits of a relative index before Huffman coding.
    """

    codes: np.ndarray
    centroids: np.ndarray
    index_bits: int = 5

    def dense(self) -> np.ndarray:
        """The weights, float32."""
        return np.concatenate([np.zeros(1, np.float32), self.centroids])[self.codes]

    def entries(self) -> tuple[np.ndarray, np.ndarray]:
        """(symbols, gaps) of every entry, fillers included, int64."""
        flat = self.codes.ravel()
        positions = np.flatnonzero(flat)
        gaps, real = relative(positions, self.index_bits)
        symbols = np.zeros(len(gaps), dtype=np.int64)
        symbols[real] = flat[positions]
        return symbols, gaps


Tensors = dict[str, "np.ndarray | SharedTensor"]


class Damaged(Exception):
    """Bytes that no encoder wrote."""


# ---- relative indices ----------------------------------------------------------------------------


def relative(positions: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Gaps between ascending positions, with filler zeros where one does not fit into ``bits``.

    Returns:
        How many places each entry skips, 0 … 2^bits − 1, and whether it is a position; fillers
        are not.
    """
    skipped = np.diff(positions, prepend=-1) - 1
    fillers = skipped >> bits  # each skips 2^bits − 1 places and takes one
    ends = np.cumsum(fillers + 1) - 1
    gaps = np.full(ends[-1] + 1 if len(ends) else 0, 2**bits - 1, dtype=np.int64)
    gaps[ends] = skipped & (2**bits - 1)
    real = np.zeros(len(gaps), dtype=bool)
    real[ends] = True
    return gaps, real


def absolute(gaps: np.ndarray) -> np.ndarray:
    """The position of every entry, fillers included."""
    return np.cumsum(gaps + 1) - 1


# ---- Huffman codes -------------------------------------------------------------------------------


def code_lengths(counts: np.ndarray) -> np.ndarray:
    """Bits of each symbol in a Huffman code; 0 for one that never occurs, 1 for an only one."""
    lengths = np.zeros(len(counts), dtype=np.int64)
    heap = [(int(n), s, [s]) for s, n in enumerate(counts) if n]
    if len(heap) == 1:
        lengths[heap[0][1]] = 1
    heapq.heapify(heap)
    while len(heap) > 1:
        n, tie, one = heapq.heappop(heap)
        m, _, other = heapq.heappop(heap)
        lengths[one + other] += 1
        heapq.heappush(heap, (n + m, tie, one + other))
    return lengths


def canonical(lengths: np.ndarray) -> dict[int, str]:
    """The code of each symbol that has a length, as zeros and ones.

    Raises:
        Damaged: there is no prefix code with these lengths.
    """
    code, before, codes = 0, 0, {}
    for length, s in sorted((int(n), s) for s, n in enumerate(lengths) if n):
        code <<= length - before
        if code >> length:
            raise Damaged("code lengths that no prefix code has")
        codes[s] = format(code, f"0{length}b")
        code, before = code + 1, length
    return codes


def pack(symbols: np.ndarray, codes: dict[int, str]) -> bytes:
    """The codes of symbols one after another, the last byte filled with zeros."""
    text = "".join([codes[s] for s in symbols.tolist()])
    return np.packbits(np.frombuffer(text.encode(), dtype=np.uint8) - ord("0")).tobytes()


def unpack(data: bytes, codes: dict[int, str], n: int) -> np.ndarray:
    """The n symbols that :func:`pack` wrote.

    Raises:
        Damaged: the bits are no codes, or too many.
    """
    symbols = {code: s for s, code in codes.items()}
    longest = max(map(len, symbols), default=0)
    text = (np.unpackbits(np.frombuffer(data, dtype=np.uint8)) + ord("0")).tobytes().decode()
    found, start = np.empty(n, dtype=np.int64), 0
    for k in range(n):
        for end in range(start + 1, start + longest + 1):
            if (s := symbols.get(text[start:end])) is not None:
                break
        else:
            raise Damaged("bits that are no code")
        found[k], start = s, end
    if -(-start // 8) != len(data):
        raise Damaged("a stream that goes on after its last entry")
    return found


# ---- what it costs -------------------------------------------------------------------------------


def storage(tensor: SharedTensor) -> dict[str, float]:
    """What Tables 2 and 3 say of a layer.

    ``kept``, the fraction of weights; ``entries`` with fillers; ``weight_bits`` and ``index_bits``,
    Huffman-coded bits of an entry; ``rate_pq`` and ``rate_pqh``, bits with the centroids over 32
    bits a weight, without and with Huffman coding. The paper counts no tables of codes; a file has
    them.
    """
    symbols, gaps = tensor.entries()
    k, size, n = len(tensor.centroids), tensor.codes.size, max(len(gaps), 1)
    weight, index = (float((np.bincount(s) * code_lengths(np.bincount(s))).sum())
                     for s in (symbols, gaps))
    fixed = len(gaps) * (k.bit_length() + tensor.index_bits)
    return {"kept": float(np.count_nonzero(tensor.codes) / size), "entries": float(len(gaps)),
            "weight_bits": weight / n, "index_bits": index / n,
            "rate_pq": (fixed + 32 * k) / (32 * size),
            "rate_pqh": (weight + index + 32 * k) / (32 * size)}


# ---- the file ------------------------------------------------------------------------------------


def encode(tensors: Tensors) -> bytes:
    """The bytes of a ``.dcn`` file.

    Raises:
        UserError: a tensor that the file could not give back, or more of them than it can count.
    """
    if len(tensors) >= 2**16:
        raise UserError(f"{len(tensors)} tensors: expected at most 65,535 in a {SUFFIX} file")
    for name, tensor in tensors.items():
        if fault := unfit(name, tensor):
            raise UserError(f"tensor {name[:40]}: {fault}")
    parts = [MAGIC, struct.pack("<H", len(tensors))]
    for name, tensor in tensors.items():
        if isinstance(tensor, SharedTensor):
            shape, content = tensor.codes.shape, _shared(tensor)
        else:
            shape, content = tensor.shape, tensor.astype("<f4").tobytes()
        parts += [struct.pack("<BB", isinstance(tensor, SharedTensor), len(name.encode())),
                  name.encode(), struct.pack(f"<B{len(shape)}I", len(shape), *shape), content]
    body = b"".join(parts)
    return body + struct.pack("<I", zlib.crc32(body))


def unfit(name: str, tensor: SharedTensor | np.ndarray) -> str:
    """Why a file cannot hold a tensor; empty if it can."""
    if len(name.encode()) > 255:
        return f"expected a name of at most 255 bytes, has {len(name.encode())}"
    floats, shape = ((tensor.centroids, tensor.codes.shape) if isinstance(tensor, SharedTensor)
                     else (tensor, tensor.shape))
    if floats.dtype != np.float32:
        return f"expected values of float32, has {floats.dtype}"
    if len(shape) > DIMENSIONS or math.prod(shape) > LARGEST:
        return f"expected at most {DIMENSIONS} dimensions and {LARGEST:,} weights, has {shape}"
    if not isinstance(tensor, SharedTensor):
        return ""
    if not 1 <= tensor.index_bits <= 8:
        return f"expected indices of 1 to 8 bits, has {tensor.index_bits}"
    if len(floats) >= 2**16:
        return f"expected at most 65,535 centroids, has {len(floats)}"
    if not np.issubdtype(tensor.codes.dtype, np.integer) or (tensor.codes.size and not (
            0 <= tensor.codes.min() and tensor.codes.max() <= len(floats))):
        return f"expected codes from 0 to {len(floats)}, the number of centroids"
    return ""


def _shared(tensor: SharedTensor) -> bytes:
    symbols, gaps = tensor.entries()
    k, r = len(tensor.centroids), tensor.index_bits
    tables = [code_lengths(np.bincount(symbols, minlength=k + 1)),
              code_lengths(np.bincount(gaps, minlength=2**r))]
    streams = [pack(s, canonical(t)) for s, t in zip((symbols, gaps), tables, strict=True)]
    return b"".join([struct.pack("<BHI", r, k, len(gaps)), tensor.centroids.astype("<f4").tobytes(),
                     *(t.astype(np.uint8).tobytes() for t in tables),
                     *(struct.pack("<I", len(s)) + s for s in streams)])


class Reader:
    """Takes bytes from the front.

    Raises:
        Damaged: there are not so many.
    """

    def __init__(self, data: bytes):
        self.data, self.at = data, 0

    def bytes(self, n: int) -> bytes:
        """The next n bytes."""
        if self.at + n > len(self.data):
            raise Damaged("it ends too soon")
        self.at += n
        return self.data[self.at - n:self.at]

    def numbers(self, form: str) -> tuple[int, ...]:
        """The next numbers, as :mod:`struct` writes them."""
        return struct.unpack(f"<{form}", self.bytes(struct.calcsize(f"<{form}")))

    def array(self, kind: str, n: int) -> np.ndarray:
        """The next n numbers of a numpy type."""
        return np.frombuffer(self.bytes(n * np.dtype(kind).itemsize), dtype=kind)


def decode(data: bytes) -> Tensors:
    """The tensors of a ``.dcn`` file, to the bit what :func:`encode` was given.

    Raises:
        Damaged: the bytes are cut, changed, or of another kind of file.
    """
    if data[:len(MAGIC)] != MAGIC:
        raise Damaged("it does not begin with DCN1")
    if len(data) < 10 or struct.pack("<I", zlib.crc32(data[:-4])) != data[-4:]:
        raise Damaged("its checksum does not fit")
    reader = Reader(data[:-4])
    tensors: Tensors = {}
    reader.bytes(len(MAGIC))
    for _ in range(reader.numbers("H")[0]):
        kind, length = reader.numbers("BB")
        try:
            name = reader.bytes(length).decode()
        except UnicodeDecodeError as e:
            raise Damaged("a name that is not UTF-8") from e
        shape = reader.numbers(f"{reader.numbers('B')[0]}I")
        if (kind > 1 or name in tensors or len(shape) > DIMENSIONS
                or max(math.prod(shape), *shape, 0) > LARGEST):
            raise Damaged(f"a tensor {name!r} of kind {kind} and shape {shape}")
        if kind:
            tensors[name] = _read_shared(reader, shape)
        else:
            tensors[name] = reader.array("<f4", math.prod(shape)).astype(np.float32).reshape(shape)
    if reader.at != len(reader.data):
        raise Damaged("it goes on after its last tensor")
    return tensors


def _read_shared(reader: Reader, shape: tuple[int, ...]) -> SharedTensor:
    r, k, n = reader.numbers("BHI")
    size = math.prod(shape)
    if not 1 <= r <= 8 or n > size:
        raise Damaged(f"{n} entries of {r} bits in {size} weights")
    centroids = reader.array("<f4", k).astype(np.float32)
    codes = [canonical(reader.array("u1", m)) for m in (k + 1, 2**r)]
    symbols, gaps = (unpack(reader.bytes(reader.numbers("I")[0]), c, n) for c in codes)
    at = absolute(gaps)
    if n and at[-1] >= size:
        raise Damaged("an index beyond the last weight")
    flat = np.zeros(size, dtype=np.int64)
    flat[at] = symbols  # of a filler zero
    return SharedTensor(flat.reshape(shape), centroids, r)


def read(path: Path) -> Tensors:
    """The tensors of a file.

    Raises:
        UserError: it cannot be read, or is no ``.dcn`` file, or damaged.
    """
    try:
        return decode(Path(path).read_bytes())
    except OSError as e:
        raise UserError(f"cannot read {shown(Path(path))}: {e.strerror}") from e
    except Damaged as e:
        raise UserError(f"{shown(Path(path))} is damaged or no {SUFFIX} file: {e}") from e


def write(path: Path, tensors: Tensors) -> int:
    """Write a file; returns its size in bytes."""
    data = encode(tensors)
    write_atomic(Path(path), data)
    return len(data)
