"""The trained network as a file: written, read back, and what is committed."""

import json
import re

import pytest
import torch
from safetensors.torch import save_file

from common.config import as_dict
from common.data import load
from common.errors import UserError
from common.experiments import Experiments
from common.files import ROOT
from common.training.weight_files import RecordedRun, read
from papers.dropout import weights
from papers.dropout.model import Network
from papers.dropout.train import Config, recipe

EXPERIMENTS = Experiments(Config, ROOT / "papers/dropout/config.yaml")
COMMITTED = ROOT / "papers/dropout/weights/dropout.safetensors"

def save(path, network, about):
    """A file of weights with these metadata."""
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, path, about)


SMALL = {"data.name": "digits", "train.batch_size": 50, "model.hidden": [32, 24],
         "model.activation": "logistic", "model.p_hidden": 0.7}


def published(folder, seed=0, name="dropout"):
    """A small network after 60 updates, as a recorded run would leave it."""
    r = recipe(EXPERIMENTS.resolve(name, seed, SMALL))
    for k in range(60):
        r.step(k)
    r.publish(folder, RecordedRun(experiment=name, seed=seed, data="digits",
                                  config=as_dict(r.config), metrics=r.evaluate(60, False),
                                  commits=["old", "abc123"]))
    return r


def test_what_is_written_is_the_network_in_half_precision(tmp_path):
    r = published(tmp_path)
    path = tmp_path / "weights/dropout.safetensors"
    network = weights.load(path)
    assert not network.training and network.drops[1].p == 0.7
    x = r.eval_inputs
    by_hand = x
    for k, layer in enumerate(r.model.layers):  # section 4: W_test = pW
        p = 0.7 if k else 0.8
        by_hand = p * by_hand @ layer.weight.half().float().T + layer.bias.half().float()
        by_hand = by_hand.sigmoid() if k < 2 else by_hand
    with torch.no_grad():
        torch.testing.assert_close(network(x), by_hand)
        assert (network(x) - r.predict(x)).abs().max() > 0, "rounded"
    said = json.loads(path.with_suffix(".json").read_text())
    wrong = (by_hand.argmax(1) != r.eval_labels).double().mean().item()
    assert said["error"] == pytest.approx(100 * wrong) and said["commits"] == ["old", "abc123"]
    assert said["error_float32"] == r.evaluate(60, False)["error"]
    parameters = sum(p.numel() for p in r.model.parameters())
    assert path.stat().st_size == pytest.approx(2 * parameters, abs=2000)
    card = path.with_suffix(".md").read_text()
    assert all(word in card for word in ("64-32-24-10 units", "`abc123`", "seed 0",
                                         f"Test error {said['error']:.2f} %"))


def test_the_error_is_that_of_the_network_that_is_written(tmp_path, monkeypatch):
    def always_seven(network):
        made = Network(64, [32, 24], 10, "logistic", "bernoulli", 0.8, 0.7)
        for p in made.parameters():
            p.data.zero_()
        made.layers[-1].bias.data[7] = 1.0
        return made
    monkeypatch.setattr(weights, "rounded", always_seven)
    r = published(tmp_path)
    said = json.loads((tmp_path / "weights/dropout.json").read_text())
    assert said["error"] == pytest.approx(
        100 * (r.eval_labels != 7).double().mean().item()) != said["error_float32"]


def test_the_recipe_is_as_it_was(tmp_path):
    r = published(tmp_path)
    before = r.predict(r.eval_inputs)
    r.publish(tmp_path / "again", RecordedRun(
        experiment="dropout", seed=0, data="digits", config=as_dict(r.config),
        metrics={"error": 1.0}, commits=["c"]))
    assert torch.equal(r.predict(r.eval_inputs), before)


@pytest.mark.parametrize(("name", "seed"), [("dropout", 1), ("table10_bernoulli", 0)])
def test_one_network_is_published(tmp_path, name, seed):
    published(tmp_path, seed, name)
    assert not list(tmp_path.iterdir())


def test_probabilities_are_of_one_network_or_of_drawn_ones(tmp_path):
    r = published(tmp_path)
    x = r.eval_inputs[:5]
    torch.testing.assert_close(r.probabilities(x, 0), r.predict(x).softmax(1)[None])
    torch.manual_seed(1)
    drawn = r.probabilities(x, 4)
    assert drawn.shape == (4, 5, 10) and (drawn[0] - drawn[1]).abs().max() > 1e-3


def test_it_is_exported(tmp_path, exported):
    exported(published(tmp_path))


def test_other_files_are_one_line(tmp_path):
    path = tmp_path / "a.safetensors"
    with pytest.raises(UserError, match=r"cannot read .*a\.safetensors"):
        weights.load(path)
    path.write_bytes(b"junk")
    with pytest.raises(UserError, match="is damaged or no file of weights"):
        weights.load(path)
    save_file({"a.weight": torch.zeros(2, 2)}, path)
    with pytest.raises(UserError, match="expected a network that papers/dropout published"):
        weights.load(path)


@pytest.mark.parametrize(("tensor", "value"), [("layers.0.weight", torch.nan),
                                               ("layers.2.bias", torch.inf)])
def test_weights_that_are_not_finite_are_one_line(tmp_path, tensor, value):
    r = published(tmp_path)
    r.model.get_parameter(tensor).data.view(-1)[0] = value
    path = tmp_path / "a.safetensors"
    save(path, r.model, read(tmp_path / "weights/dropout.safetensors")[1])
    with pytest.raises(UserError, match=rf"a\.safetensors: .*tensor {tensor}: expected") as e:
        weights.load(path)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("p", ["nan", "1.5", "half", "0"])
def test_probabilities_that_are_none_are_one_line(tmp_path, p):
    r = published(tmp_path)
    path = tmp_path / "a.safetensors"
    save(path, r.model, read(tmp_path / "weights/dropout.safetensors")[1] | {"p_hidden": p})
    with pytest.raises(UserError, match=r"a\.safetensors: expected a network"):
        weights.load(path)


@pytest.mark.skipif(not COMMITTED.exists(), reason="nothing is published yet")
def test_the_committed_card_says_what_lies_beside_it():
    said = json.loads(COMMITTED.with_suffix(".json").read_text())
    text = COMMITTED.with_suffix(".md").read_text()
    assert text == weights.card("dropout", weights.load(COMMITTED), weights.Sidecar(**said))
    found = {}
    exec(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1], found)  # as a reader would
    assert found["network"](torch.zeros(1, 784)).shape == (1, 10)
    result = json.loads((ROOT / "papers/dropout/results/dropout/seed0.json").read_text())
    assert said["error_float32"] == result["metrics"]["error"]
    assert said["commits"] == [s["commit"] for s in result["segments"]]


@pytest.mark.skipif(not COMMITTED.exists(), reason="nothing is published yet")
def test_the_committed_weights_give_their_error_on_mnist(real_data):
    real_data("ylecun/mnist")
    said, test = json.loads(COMMITTED.with_suffix(".json").read_text()), load("mnist").test
    network = weights.load(COMMITTED)
    with torch.no_grad():
        z = network(test.images.flatten(1).float() / 255)
    measured = 100 * (z.argmax(1) != test.labels).double().mean().item()
    assert measured == pytest.approx(said["error"], abs=0.021)  # two images near the boundary
