"""Published files of weights: their cards and their errors."""

import json

import numpy as np
import pytest
import torch

from common.config import as_dict
from common.errors import UserError
from common.experiments import Experiments
from common.files import ROOT
from common.running import ready
from common.training.weight_files import RecordedRun
from papers.deep_compression import shipped
from papers.deep_compression.coding import SharedTensor, write
from papers.deep_compression.train import Config, recipe

EXPERIMENTS = Experiments(Config, ROOT / "papers/deep_compression/config.yaml")


def made(name, seed=0, **overrides):
    return recipe(EXPERIMENTS.resolve(
        name, seed, {k.replace("__", "."): v for k, v in overrides.items()}))


@pytest.mark.parametrize("name", ["lenet300_compressed", "lenet5_compressed"])
def test_published_files_have_their_cards_and_errors(name, real_data):
    path = ROOT / f"papers/deep_compression/results/{name}/seed0.dcn"
    record = json.loads(path.with_name("seed0.json").read_text(encoding="utf-8"))
    assert path.with_suffix(".md").read_text(encoding="utf-8") == shipped.card(path, RecordedRun(
        experiment=name, seed=0, data=record["data"]["name"], config=record["config"],
        commits=[part["commit"] for part in record["segments"]], metrics=record["metrics"]))
    real_data("ylecun/mnist")
    one = made(name)
    one.model = shipped.load(path)
    assert one.error() == pytest.approx(record["metrics"]["error"], abs=0.01)


def layer(name, outputs, inputs, bias=None):
    """A layer whose weights are all shared, as a file holds it."""
    codes = np.ones((outputs, inputs), dtype=np.int64)
    return {f"{name}.weight": SharedTensor(codes, np.array([0.5], np.float32), 5),
            f"{name}.bias": np.zeros(bias or outputs, np.float32)}


def only(kind, tensors):
    return {k: v for k, v in tensors.items() if k.endswith(kind)}


@pytest.mark.parametrize(("tensors", "said"), [
    ({}, "expected weights of at least one layer"),
    ({"foo": np.zeros(3, np.float32)}, r"tensor foo: expected names that end in \.weight or"),
    (only("weight", layer("ip1", 2, 4)), r"ip1\.weight: expected ip1\.bias beside it"),
    (layer("ip1", 2, 4) | only("bias", layer("ip2", 2, 2)),
     r"ip2\.bias: expected ip2\.weight beside it"),
    (layer("ip1", 2, 4, bias=5), r"ip1\.bias: expected shape \(2,\), has \(5,\)"),
    (layer("ip1", 2, 4) | {"ip1.weight": np.ones(2, np.float32)},
     r"ip1\.weight: expected a matrix .* has shape \(2,\)"),
    (layer("ip1", 2, 4) | layer("ip2", 3, 4),
     r"ip2\.weight: expected inputs for the 2 outputs before it, has shape \(3, 4\)"),
    (layer("ip1", 2, 4) | {"ip1.bias": np.array([0, np.nan], np.float32)},
     r"tensor ip1\.bias: expected finite weights")])
def test_what_is_no_such_network_is_one_line(tensors, said, tmp_path):
    path = tmp_path / "odd.dcn"
    write(path, tensors)
    with pytest.raises(UserError, match=said) as e:
        shipped.load(path)
    assert "\n" not in str(e.value)
    assert "odd.dcn: expected a network of papers/deep_compression" in str(e.value)


def test_a_network_that_fits_is_read(tmp_path):
    write(tmp_path / "a.dcn", layer("ip1", 2, 4) | layer("ip2", 3, 2))
    x = torch.arange(8.0).reshape(2, 1, 2, 2)
    by_hand = 0.5 * 2 * 0.5 * x.sum((1, 2, 3))
    assert torch.equal(shipped.load(tmp_path / "a.dcn")(x), by_hand[:, None].expand(2, 3))


def as_published(folder, tensors):
    """A file of weights as quick_compressed leaves it, in a papers' folder; returns its path."""
    at = folder / "papers/deep_compression/results/quick_compressed"
    at.mkdir(parents=True)
    config = EXPERIMENTS.resolve("quick_compressed", 0)
    (at / "seed0.json").write_text(json.dumps(
        {"experiment": "quick_compressed", "seed": 0, "config": as_dict(config)}))
    write(at / "seed0.dcn", tensors)
    return str(at / "seed0.dcn")


def test_a_coded_file_is_exported_like_a_file_of_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(ready, "ROOT", tmp_path)
    one = made("quick_compressed")
    path = as_published(tmp_path, one.tensors())
    found = ready.load_ready(path, 50)
    assert (found.name, found.data) == ("quick_compressed-seed0", "digits")
    torch.testing.assert_close(found.network(found.images),
                               shipped.load(path)(one.prepare(found.images)))


@pytest.mark.parametrize(("change", "said"), [
    (lambda t: t | layer("ip1", 100, 64), "of this network's shapes"),
    (lambda t: {n: v for n, v in t.items() if not n.startswith("ip3")}, "of this network's shapes"),
    (lambda t: t | {"ip1.bias": np.full(100, np.inf, np.float32)}, "expected finite weights")])
def test_a_coded_file_of_another_network_is_refused(change, said, tmp_path, monkeypatch):
    monkeypatch.setattr(ready, "ROOT", tmp_path)
    path = as_published(tmp_path, change(made("quick_compressed").tensors()))
    with pytest.raises(UserError, match=said) as e:
        ready.load_ready(path, 50)
    assert "cannot be loaded as deep_compression/quick_compressed" in str(e.value)
    assert "\n" not in str(e.value)


def test_a_format_that_a_paper_does_not_have_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(ready, "ROOT", tmp_path)
    path = as_published(tmp_path, made("quick_compressed").tensors())
    (tmp_path / "papers/deep_compression/results/quick_compressed/seed0.odd").write_bytes(b"")
    with pytest.raises(UserError, match=r"expected a \.safetensors or \.dcn file"):
        ready.load_ready(path.replace(".dcn", ".odd"), 50)
