"""Published files of weights: their cards and their errors."""

import json

import numpy as np
import pytest
import torch

from common.errors import UserError
from common.experiments import Experiments
from common.files import ROOT
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
