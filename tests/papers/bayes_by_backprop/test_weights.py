"""The posterior as a file: written, read back, shipped as its mean, and what is committed."""

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
from common.training.certainty import calibration_error
from common.training.weight_files import RecordedRun
from papers.bayes_by_backprop import weights
from papers.bayes_by_backprop.model import predict
from papers.bayes_by_backprop.train import Config, recipe

EXPERIMENTS = Experiments(Config, ROOT / "papers/bayes_by_backprop/config.yaml")
COMMITTED = ROOT / "papers/bayes_by_backprop/weights/gaussian_400.safetensors"
SMALL = {"data.name": "digits", "data.validation": 300, "train.batch_size": 50, "model.units": 20,
         "train.compile": False}


def trained(name="gaussian_400", seed=0):
    few = {} if name == "sgd_400" else {"measure.samples": 3}
    r = recipe(EXPERIMENTS.resolve(name, seed, SMALL | few))
    for k in range(60):
        r.step(k)
    return r


def published(folder, name="gaussian_400", seed=0):
    """A small posterior, as a recorded run would leave it."""
    r = trained(name, seed)
    r.publish(folder, RecordedRun(experiment=name, seed=seed, data="digits",
                                  config=as_dict(r.config), metrics=r.evaluate(60, True),
                                  commits=["abc123"]))
    return r


def test_what_is_written_is_the_posterior(tmp_path):
    r = published(tmp_path)
    path = tmp_path / "weights/gaussian_400.safetensors"
    network = weights.load(path)
    for mine, read in zip(r.model.bayesian, network.bayesian, strict=True):
        assert torch.equal(mine.μ, read.μ) and torch.equal(mine.σ, read.σ)
        w = torch.tensor([0.3])
        assert torch.equal(mine.prior.log_density(w), read.prior.log_density(w))
    assert torch.equal(predict(network, r.test_inputs, 0), r.probabilities(r.test_inputs, 0))
    said = json.loads(path.with_suffix(".json").read_text())
    assert said["error"] == r.evaluate(60, False)["error"] and said["commits"] == ["abc123"]
    card = path.with_suffix(".md").read_text()
    number = sum(p.numel() for p in r.model.parameters()) // 2
    assert all(word in card for word in (f"{number:,} weights", "`abc123`", "3 sampled networks",
                                         f"Test error {said['error']:.2f} %"))


def test_the_network_of_the_mean_weights_is_shipped():
    r = trained()
    shipped, x = r.shipped(), r.test_inputs[:50]
    assert {type(m).__module__.split(".")[0] for m in shipped} == {"torch"}
    torch.testing.assert_close(shipped(x).softmax(1), r.probabilities(x, 0)[0])
    assert sum(p.numel() for p in shipped.parameters()) == sum(
        l.μ.numel() for l in r.model.bayesian)
    plain = trained("sgd_400")
    assert plain.shipped() is plain.model


@pytest.mark.parametrize(("name", "seed"), [("gaussian_400", 1), ("sgd_400", 0)])
def test_one_posterior_is_published(tmp_path, name, seed):
    published(tmp_path, name, seed)
    assert not list(tmp_path.iterdir())


def test_it_is_exported(exported):
    exported(trained())


def test_other_files_are_one_line(tmp_path):
    path = tmp_path / "a.safetensors"
    with pytest.raises(UserError, match=r"cannot read .*a\.safetensors"):
        weights.load(path)
    save_file({"0.μ": torch.zeros(2, 2)}, path)
    with pytest.raises(UserError, match="expected a posterior that papers/bayes_by_backprop"):
        weights.load(path)


PRIOR = {"kind": "gaussian", "std": 1.0, "pi": 0.25, "minus_log_sigma1": 1.0,
         "minus_log_sigma2": 7.0, "clamped": False}


@pytest.mark.parametrize(("prior", "broken", "said"), [
    ({}, {}, "prior: expected 'kind'"),
    ({k: v for k, v in PRIOR.items() if k != "std"}, {}, "prior: expected 'std'"),
    (PRIOR | {"kind": "cauchy"}, {}, "prior: kind: 'cauchy': expected one of"),
    (PRIOR | {"std": float("nan")}, {}, "prior: std: nan: expected"),
    (PRIOR | {"std": -1.0}, {}, "prior: std: -1.0: expected above 0"),
    ([], {}, "prior: .*expected a mapping"),
    (PRIOR, {"0.μ": torch.nan}, "tensor 0.μ: expected finite weights"),
    (PRIOR, {"2.ρ": torch.inf}, "tensor 2.ρ: expected finite weights")])
def test_priors_and_weights_that_are_none_are_one_line(tmp_path, prior, broken, said):
    tensors = {k: v.clone() for k, v in trained().model.state_dict().items()}
    for name, value in broken.items():
        tensors[name].view(-1)[0] = value
    path = tmp_path / "a.safetensors"
    save_file(tensors, path, {"prior": json.dumps(prior)})
    with pytest.raises(UserError, match=rf"a\.safetensors: .*{said}") as e:
        weights.load(path)
    assert "\n" not in str(e.value)


@pytest.mark.skipif(not COMMITTED.exists(), reason="nothing is published yet")
def test_the_committed_card_says_what_lies_beside_it():
    said = json.loads(COMMITTED.with_suffix(".json").read_text())
    text = COMMITTED.with_suffix(".md").read_text()
    assert text == weights.card("gaussian_400", weights.load(COMMITTED), weights.Sidecar(**said))
    found = {"images": torch.zeros(1, 784)}
    exec(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1], found)  # as a reader would
    assert found["p"].shape == (1, 10)
    result = json.loads(
        (ROOT / "papers/bayes_by_backprop/results/gaussian_400/seed0.json").read_text())
    assert {k: said[k] for k in ("error", "ensemble_error", "nll", "ece")} == {
        k: result["metrics"][k] for k in ("error", "ensemble_error", "nll", "ece")}
    assert said["commits"] == [s["commit"] for s in result["segments"]]


@pytest.mark.skipif(not COMMITTED.exists(), reason="nothing is published yet")
def test_the_committed_posterior_gives_its_numbers_on_mnist(real_data):
    real_data("ylecun/mnist")
    said, test = json.loads(COMMITTED.with_suffix(".json").read_text()), load("mnist").test
    network, x = weights.load(COMMITTED), test.images.flatten(1).float() / 126
    wrong = predict(network, x, 0)[0].argmax(1) != test.labels
    assert 100 * wrong.double().mean().item() == pytest.approx(said["error"], abs=0.021)
    torch.manual_seed(0)  # other draws than the run's
    p = predict(network, x, said["samples"]).mean(0)
    wrong = p.argmax(1) != test.labels
    assert 100 * wrong.double().mean().item() == pytest.approx(said["ensemble_error"], abs=0.2)
    assert calibration_error(p, test.labels) == pytest.approx(said["ece"], abs=0.002)
