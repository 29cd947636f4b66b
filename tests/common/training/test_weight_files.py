"""Files of weights: what is in them, and what is said of others."""

import hashlib
import json
import math

import pytest
import torch
from safetensors.torch import save_file

from common.errors import UserError
from common.files import ROOT
from common.training import start, weight_files

MADE = weight_files.RecordedRun(experiment="e", seed=3, data="digits", config={"a": 1},
                                commits=["old", "new"], metrics={"error": 1.5})


class Own(weight_files.Sidecar):
    error: float


def test_round_trip(tmp_path):
    path, tensor = tmp_path / "weights/n.safetensors", torch.arange(6.0).view(2, 3)
    sidecar = Own(**MADE.by, error=MADE.metrics["error"])
    weight_files.save(path, {"w": tensor.T}, {"depth": "8"}, sidecar, "a card")
    tensors, about = weight_files.read(path)
    assert torch.equal(tensors["w"], tensor.T)
    assert about == {"depth": "8", "data": "digits", "experiment": "e", "seed": "3",
                     "commit": "new"}
    assert json.loads(path.with_suffix(".json").read_text()) == {
        "experiment": "e", "seed": 3, "data": "digits", "config": {"a": 1},
        "commits": ["old", "new"], "error": 1.5,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    assert path.with_suffix(".md").read_text() == "a card"


def test_other_files_are_one_line(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*none\.safetensors"):
        weight_files.read(tmp_path / "none.safetensors")
    (tmp_path / "a.safetensors").write_bytes(b"junk")
    with pytest.raises(UserError, match=r"a\.safetensors is damaged or no file of weights") as e:
        weight_files.read(tmp_path / "a.safetensors")
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("part", [{"seed": -1}, {"commits": []}, {"data": 3}, {"config": []},
                                  {"more": 1}, {"error": float("nan")}])
def test_what_is_said_of_a_run_is_typed(part):
    with pytest.raises(ValueError, match=next(iter(part))):
        Own(**MADE.by | {"error": 1.0} | part)
    with pytest.raises(ValueError, match="frozen"):
        MADE.seed = 4


def test_weights_that_are_not_finite_are_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file({"a": torch.ones(2), "b": torch.tensor([1.0, math.nan])}, path)
    with pytest.raises(UserError, match=r"w\.safetensors: tensor b: expected finite weights"):
        weight_files.read(path)
    save_file({"a": torch.ones(2)}, path)
    assert list(weight_files.read(path)[0]) == ["a"]


def test_weights_that_their_json_does_not_describe_are_refused(tmp_path):
    """Of two files of one shape the wrong one would be taken for the right one."""
    one, other = tmp_path / "one.safetensors", tmp_path / "other.safetensors"
    for path, value in ((one, 1.0), (other, 2.0)):
        weight_files.save(path, {"w": torch.full((3,), value)}, {}, Own(**MADE.by, error=1.0), "")
    one.write_bytes(other.read_bytes())
    readers = (weight_files.read, start.read_file, lambda path: start.read_file(path, "one"))
    for read in readers:
        with pytest.raises(UserError, match=r"one\.safetensors is not the file that one\.json "):
            read(one)
        read(other)
    said = json.loads(one.with_suffix(".json").read_text())
    del said["sha256"]
    one.with_suffix(".json").write_text(json.dumps(said))
    for read in readers:
        read(one)


@pytest.mark.parametrize("path", sorted(ROOT.glob("papers/*/weights/*.safetensors")),
                         ids=lambda p: p.stem)
def test_published_weights_have_a_digest(path):
    said = json.loads(path.with_suffix(".json").read_text())
    assert said["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
