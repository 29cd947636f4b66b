"""Relative indices, Huffman codes and files against hand-made, brute-force and random cases."""

import itertools
import math
import struct
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_torch

from common.errors import UserError
from papers.deep_compression import coding, compress
from papers.deep_compression.coding import (
    SharedTensor,
    absolute,
    canonical,
    code_lengths,
    decode,
    encode,
    pack,
    relative,
    storage,
    unpack,
)


def tensor(shape=(9, 14), k=7, kept=0.3, bits=3, seed=0):
    g = np.random.default_rng(seed)
    codes = (g.random(shape) < kept) * g.integers(1, k + 1, size=shape)
    return SharedTensor(codes.astype(np.int64), g.normal(size=k).astype(np.float32), bits)


# ---- relative indices ----------------------------------------------------------------------------


def test_the_papers_figure_2():
    """Weights at 1, 4 and 15; 3 bits reach 8 places further: a filler zero at 12."""
    gaps, real = relative(np.array([1, 4, 15]), 3)
    assert absolute(gaps).tolist() == [1, 4, 12, 15]
    assert real.tolist() == [True, True, False, True]
    assert gaps.tolist() == [1, 2, 7, 2]


@given(st.sets(st.integers(0, 3000)), st.integers(1, 8))
def test_positions_come_back_and_no_filler_is_superfluous(positions, bits):
    positions = np.array(sorted(positions), dtype=np.int64)
    gaps, real = relative(positions, bits)
    assert np.array_equal(absolute(gaps)[real], positions)
    assert all(0 <= g < 2**bits for g in gaps) and (gaps[~real] == 2**bits - 1).all()
    apart = np.diff(positions, prepend=-1)
    assert (~real).sum() == sum((d - 1) // 2**bits for d in apart)


# ---- Huffman codes -------------------------------------------------------------------------------


def shortest(counts):
    """The least total length over all lengths that a prefix code can have, by trying each."""
    n = len(counts)
    return min(sum(c * l for c, l in zip(counts, lengths, strict=True))
               for lengths in itertools.product(range(1, n + 1), repeat=n)
               if sum(2.0**-l for l in lengths) <= 1)


@pytest.mark.parametrize("counts", [[1, 1], [5, 1, 1], [1, 2, 4, 8], [3, 3, 3, 3, 3], [9, 1, 1, 1],
                                    [1, 1, 2, 3, 5], [10, 9, 1, 1, 7]])
def test_lengths_are_the_shortest_there_are(counts):
    assert code_lengths(np.array(counts)) @ counts == shortest(counts)


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=64))
def test_the_mean_length_is_within_a_bit_of_the_entropy(counts):
    counts = np.array(counts)
    lengths = code_lengths(counts)
    assert ((lengths == 0) == (counts == 0)).all()
    p = counts[counts > 0] / max(counts.sum(), 1)
    if len(p) > 1:
        entropy = -(p * np.log2(p)).sum()
        assert entropy - 1e-9 <= p @ lengths[counts > 0] < entropy + 1


def test_canonical_codes_by_hand():
    """The example of RFC 1951, section 3.2.2: lengths of A … H."""
    codes = canonical(np.array([3, 3, 3, 3, 3, 2, 4, 4]))
    assert [codes[s] for s in range(8)] == ["010", "011", "100", "101", "110", "00", "1110",
                                            "1111"]


@given(st.lists(st.integers(0, 40), min_size=1, max_size=300))
def test_symbols_come_back(symbols):
    symbols = np.array(symbols)
    codes = canonical(code_lengths(np.bincount(symbols)))
    data = pack(symbols, codes)
    assert len(data) == math.ceil(sum(len(codes[s]) for s in symbols.tolist()) / 8)
    assert np.array_equal(unpack(data, codes, len(symbols)), symbols)


def test_a_stream_of_the_wrong_length_is_damaged():
    codes = {0: "0", 1: "10", 2: "11"}
    data = pack(np.array([2, 1, 0, 2]), codes)
    assert unpack(data, codes, 4).tolist() == [2, 1, 0, 2]
    for wrong in (data + b"\0", data[:-1], b""):
        with pytest.raises(coding.Damaged):
            unpack(wrong, codes, 4)
    with pytest.raises(coding.Damaged, match="no code"):
        unpack(data, {0: "000"}, 2)


# ---- what it costs -------------------------------------------------------------------------------


def test_storage_by_hand():
    """Weights at 1, 4 and 15 of 16, two of one value; 3 bits of index, 3 centroids."""
    codes = np.zeros(16, dtype=np.int64)
    codes[[1, 4, 15]] = [2, 2, 3]
    found = storage(SharedTensor(codes.reshape(4, 4), np.arange(3, dtype=np.float32), 3))
    assert found["kept"] == 3 / 16 and found["entries"] == 4
    assert found["weight_bits"] == (1 + 1 + 2 + 2) / 4  # twice 2, 3, the filler 0
    assert found["index_bits"] == (1 + 1 + 2 + 2) / 4  # gaps 1, 2, 7, 2
    assert found["rate_pq"] == (4 * (2 + 3) + 3 * 32) / (16 * 32)
    assert found["rate_pqh"] == (6 + 6 + 3 * 32) / (16 * 32)


@pytest.mark.parametrize(("centroids", "bits"), [(1, 1), (3, 2), (4, 3), (63, 6), (255, 8)])
def test_the_filler_zero_is_a_symbol_of_its_own(centroids, bits):
    one = SharedTensor(np.ones((2, 4), dtype=np.int64), np.zeros(centroids, np.float32), 5)
    assert storage(one)["rate_pq"] == (8 * (bits + 5) + 32 * centroids) / (8 * 32)


# ---- files ---------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(st.tuples(st.integers(1, 20), st.integers(1, 20), st.integers(1, 3)), st.integers(1, 300),
       st.floats(0, 1), st.integers(1, 8), st.integers(0, 99))
def test_a_file_reads_back_bit_for_bit(shape, k, kept, bits, seed):
    one, other = tensor(shape, k, kept, bits, seed), np.array([1.5, -0.0, np.inf], np.float32)
    found = decode(encode({"a.weight": one, "ü": other}))
    assert list(found) == ["a.weight", "ü"]
    there = found["a.weight"]
    assert np.array_equal(there.codes, one.codes) and there.index_bits == bits
    assert there.centroids.tobytes() == one.centroids.tobytes()
    assert there.dense().tobytes() == one.dense().tobytes()
    assert found["ü"].tobytes() == other.tobytes()


def test_the_format_is_the_documented_one():
    codes = np.array([[0, 2, 0, 0, 1]])
    data = encode({"w": SharedTensor(codes, np.array([0.5, -2.0], np.float32), 2)})
    body = (b"DCN1" + struct.pack("<H", 1)
            + struct.pack("<BB", 1, 1) + b"w" + struct.pack("<BII", 2, 1, 5)
            + struct.pack("<BHI", 2, 2, 2) + struct.pack("<ff", 0.5, -2.0)
            + bytes([0, 1, 1]) + bytes([0, 1, 1, 0])
            + struct.pack("<I", 1) + bytes([0b10000000])  # symbols 2, 1
            + struct.pack("<I", 1) + bytes([0b01000000]))  # gaps 1, 2
    assert data == body + struct.pack("<I", zlib.crc32(body))


def test_every_changed_byte_and_every_cut_is_noticed(tmp_path):
    data = encode({"a": tensor((3, 8)), "b": np.ones(2, np.float32)})
    path = tmp_path / "x.dcn"
    for k in range(len(data)):
        for broken in (data[:k], data[:k] + bytes([data[k] ^ 64]) + data[k + 1:]):
            path.write_bytes(broken)
            with pytest.raises(UserError, match=r"x\.dcn is damaged or no \.dcn file") as e:
                coding.read(path)
            assert "\n" not in str(e.value)


def test_nonsense_with_a_good_checksum_is_noticed():
    """Any byte changed and the checksum made anew: an error of ours, or other tensors."""
    body = encode({"a": tensor((3, 8)), "b": np.ones(2, np.float32)})[:-4]
    for k in range(4, len(body)):
        for bit in (1, 128):
            changed = body[:k] + bytes([body[k] ^ bit]) + body[k + 1:]
            try:
                decode(changed + struct.pack("<I", zlib.crc32(changed)))
            except coding.Damaged as e:
                assert "\n" not in str(e)


@pytest.mark.parametrize("shape", [(1,) * 65, (1,) * 9, (0, 2**32 - 1, 2**32 - 1, 2**32 - 1)])
def test_shapes_that_no_array_has_are_damage(shape):
    body = b"DCN1" + struct.pack(f"<HBB1sB{len(shape)}I", 1, 0, 1, b"w", len(shape), *shape)
    with pytest.raises(coding.Damaged, match="of kind 0 and shape"):
        decode(body + struct.pack("<I", zlib.crc32(body)))


@pytest.mark.parametrize(("tensor", "said"), [
    (lambda: np.zeros(3), "float32, has float64"), (lambda: np.zeros(3, np.int64), "has int64"),
    (lambda: np.zeros((1,) * 9, np.float32), "at most 8 dimensions"),
    (lambda: shared(k=70_000), "at most 65,535 centroids, has 70000"),
    (lambda: shared(bits=9), "indices of 1 to 8 bits, has 9"), (lambda: shared(bits=0), "has 0"),
    (lambda: shared(code=-1), "codes from 0 to 3"), (lambda: shared(code=4), "codes from 0 to 3"),
    (lambda: shared(type=np.float64), "float32, has float64")])
def test_what_a_file_could_not_give_back_is_not_written(tensor, said):
    with pytest.raises(UserError, match=f"tensor w: expected .*{said}"):
        encode({"w": tensor()})


def shared(k=3, bits=5, code=1, type=np.float32):
    return SharedTensor(np.array([[0, code]]), np.ones(k, type), bits)


@pytest.mark.parametrize("data", [b"", b"DCN1", b"PK\x03\x04" * 9, b"\x80\x04." * 20])
def test_a_foreign_file_is_one_line(tmp_path, data):
    (tmp_path / "x.dcn").write_bytes(data)
    with pytest.raises(UserError, match=r"is damaged or no \.dcn file"):
        coding.read(tmp_path / "x.dcn")
    with pytest.raises(UserError, match=r"cannot read .*absent"):
        coding.read(tmp_path / "absent.dcn")


# ---- the command line ----------------------------------------------------------------------------


def test_weights_are_compressed_and_come_back(tmp_path, capsys):
    g = np.random.default_rng(0)
    w = (g.normal(size=(40, 50)) * (g.random((40, 50)) < 0.2)).astype(np.float32)
    source, file, back = (tmp_path / n for n in ("w.safetensors", "w.dcn", "back.safetensors"))
    save_file({"layer.weight": w, "layer.bias": np.arange(40, dtype=np.float32)}, source)
    compress.main([str(source), str(file), "5"])
    assert f"{file.stat().st_size:,} bytes" in capsys.readouterr().out
    compress.main([str(file), str(back)])
    assert "31 centroids" in capsys.readouterr().out
    found = load_file(back)
    assert np.array_equal(found["layer.bias"], np.arange(40))
    assert ((found["layer.weight"] != 0) == (w != 0)).all()
    assert len(np.unique(found["layer.weight"])) <= 32
    assert np.abs(found["layer.weight"] - w).max() < np.ptp(w) / 31
    assert np.array_equal(found["layer.weight"], compress.compress({"w": w}, 5)["w"].dense())


def test_few_different_weights_are_kept_to_the_bit():
    w = np.random.default_rng(1).choice(np.array([0, 0.1, -0.7, 3], np.float32), (9, 8))
    found = compress.compress({"w": w, "none": np.zeros((3, 3), np.float32)}, 2)
    assert len(found["w"].centroids) == 3 and np.array_equal(found["w"].dense(), w)
    assert len(found["none"].centroids) == 0 and not found["none"].dense().any()


def test_other_types_become_float32(tmp_path):
    w = torch.randn(6, 5).bfloat16()
    save_torch({"w": w, "steps": torch.tensor(7)}, tmp_path / "w.safetensors")
    compress.main([str(tmp_path / "w.safetensors"), str(tmp_path / "w.dcn"), "6"])
    found = coding.read(tmp_path / "w.dcn")
    assert np.array_equal(found["w"].dense(), w.float()) and found["steps"] == 7


@pytest.mark.parametrize(("weights", "said"), [
    ({"w" * 300: torch.ones(2, 2)}, "tensor www.*: expected a name of at most 255 bytes, has 300"),
    ({"w": torch.tensor([[1.0, math.nan]])}, "tensor w: expected finite weights")])
def test_weights_that_no_file_can_hold(tmp_path, weights, said):
    save_torch(weights, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=said):
        compress.main([str(tmp_path / "w.safetensors"), str(tmp_path / "w.dcn")])
    assert not (tmp_path / "w.dcn").exists()


@pytest.mark.parametrize("arguments", [[], ["--help"], ["a.dcn", "-h"]])
def test_help_is_the_modules_text(arguments, capsys):
    compress.main(arguments)
    assert "net.safetensors net.dcn 6" in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "said"), [
    (["a", "b", "c", "d"], "a b c d: expected a file, one to write"),
    (["a.safetensors", "b.dcn", "0"], "0: expected bits .* a whole number from 1 to 12"),
    (["a.safetensors", "b.dcn", "٣"], "٣: expected bits .* a whole number from 1 to 12"),
    (["a.safetensors", "b.dcn", "9" * 5000], "9: expected bits .* a whole number from 1 to 12"),
    (["a.safetensors", "b.dcn", "x"], "x: expected bits .* a whole number from 1 to 12"),
    (["a.safetensors"], r"a.safetensors: expected a \.dcn file to look into"),
    (["a.safetensors", "b.safetensors"], r"b.safetensors: expected .* ends in \.dcn"),
    (["a.dcn", "b.dcn"], r"b.dcn: expected .* ends in \.safetensors"),
    (["a.dcn", "b.safetensors", "6"], "6: expected two files"),
    (["a.safetensors", "absent/b.dcn"], "absent/b.dcn: expected a folder that exists"),
    (["absent.safetensors", "b.dcn"], "cannot read absent.safetensors"),
    (["absent.dcn"], "cannot read absent.dcn")])
def test_bad_arguments_are_one_line(arguments, said):
    with pytest.raises(UserError, match=said) as e:
        compress.main(arguments)
    assert "\n" not in str(e.value)
