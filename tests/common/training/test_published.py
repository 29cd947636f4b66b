"""Files of weights: what is in them, and what is said of others."""

import json

import pytest
import torch

from common.errors import UserError
from common.training import published

RECORD = {"experiment": "e", "seed": 3, "data": {"name": "digits", "fingerprint": "f"},
          "config": {"a": 1}, "segments": [{"commit": "old"}, {"commit": "new"}]}


def test_round_trip(tmp_path):
    path, tensor = tmp_path / "weights/n.safetensors", torch.arange(6.0).view(2, 3)
    sidecar = published.made_by(RECORD) | {"error": 1.5}
    published.save(path, {"w": tensor.T}, {"depth": "8"}, sidecar, "a card")
    tensors, about = published.read(path)
    assert torch.equal(tensors["w"], tensor.T)
    assert about == {"depth": "8", "data": "digits", "experiment": "e", "seed": "3",
                     "commit": "new"}
    assert json.loads(path.with_suffix(".json").read_text()) == {
        "experiment": "e", "seed": 3, "data": "digits", "config": {"a": 1},
        "commits": ["old", "new"], "error": 1.5}
    assert path.with_suffix(".md").read_text() == "a card"


def test_other_files_are_one_line(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*none\.safetensors"):
        published.read(tmp_path / "none.safetensors")
    (tmp_path / "a.safetensors").write_bytes(b"junk")
    with pytest.raises(UserError, match=r"a\.safetensors is damaged or no file of weights") as e:
        published.read(tmp_path / "a.safetensors")
    assert "\n" not in str(e.value)
