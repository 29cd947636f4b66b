"""Trained weights: written, read back, and read from public implementations."""

import json
import pickle

import pytest
import torch

from common.data import generator, load
from common.errors import UserError
from common.experiments import Experiments
from common.files import ROOT
from papers.resnet import evaluate, weights
from papers.resnet.model import cifar_resnet, initialise
from papers.resnet.train import Config, ResNetRecipe
from tests.papers.resnet.test_model import independent

EXPERIMENTS = Experiments(Config, ROOT / "papers/resnet/config.yaml")
COMMITTED = sorted((ROOT / "papers/resnet/weights").glob("*.safetensors"))


@pytest.fixture
def network():
    made = cifar_resnet(8)
    initialise(made, generator(0, "init"))
    made(torch.randn(16, 3, 32, 32))
    return made.eval()


def test_round_trip(network, tmp_path):
    mean = torch.rand(3, 32, 32)
    weights.save(tmp_path / "n.safetensors", network, mean, {"error": 1.0})
    again, its_mean = weights.load(tmp_path / "n.safetensors")
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(network(x), again(x)) and torch.equal(mean, its_mean)
    assert json.loads((tmp_path / "n.json").read_text()) == {"error": 1.0}


@pytest.mark.parametrize("kind", ["A", "B", "C"])
def test_public_checkpoints_are_read_by_the_key_map(kind, tmp_path):
    theirs = cifar_resnet(20, kind)
    initialise(theirs, generator(1, "init"))
    theirs(torch.randn(16, 3, 32, 32))
    theirs.eval()
    state = {"module." + k.replace("fc.", "linear.").replace(".shortcut.", ".downsample."): v
             for k, v in theirs.state_dict().items()}
    torch.save({"state_dict": state, "best_prec1": 91.7}, tmp_path / "public.th")
    ours, mean = weights.load(tmp_path / "public.th")
    x = torch.randn(3, 3, 32, 32)
    assert mean is None and torch.equal(theirs(x), ours(x))
    if kind == "A":
        torch.testing.assert_close(ours(x), independent(weights.our_names(state), x, 3),
                                   rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_file_that_wants_to_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return print, ("executed",)
    path = tmp_path / "evil.pt"
    torch.save({"state_dict": Evil()}, path)
    with pytest.raises(UserError, match="holds more than tensors and is not read"):
        weights.load(path)
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(UserError):
        weights.load(path)


@pytest.mark.parametrize(("content", "name"), [(b"", "a.safetensors"), (b"junk", "a.th")])
def test_damaged_files_are_one_line(tmp_path, content, name):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as e:
        weights.load(tmp_path / name)
    assert name in str(e.value) and "\n" not in str(e.value)


def test_missing_and_foreign_files_are_named(tmp_path, network):
    with pytest.raises(UserError, match="cannot read"):
        weights.load(tmp_path / "none.safetensors")
    torch.save({"a": torch.zeros(1)}, tmp_path / "a.th")
    with pytest.raises(UserError, match="expected a CIFAR ResNet"):
        weights.load(tmp_path / "a.th")
    state = network.state_dict()
    del state["layer2.0.bn1.bias"]
    torch.save(state, tmp_path / "b.th")
    with pytest.raises(UserError, match="does not fit ResNet-8"):
        weights.load(tmp_path / "b.th")


@pytest.mark.parametrize("kind", ["A", "none"])
def test_published_weights_give_the_reported_error(tmp_path, kind, capsys):
    config = EXPERIMENTS.resolve("quick", 0, {
        "model.depth": 8, "model.magnify": 1, "train.batch_size": 32, "model.shortcut": kind})
    made = ResNetRecipe(config)
    for k in range(30):
        made.step(k)
    metrics = made.evaluate(30, final=True)
    made.publish(tmp_path, {"metrics": metrics, "config": {}, "segments": [{"commit": "c"}]})
    assert evaluate.main([str(tmp_path / "weights" / "quick.safetensors")]) == 0
    said = f"test error {metrics['error']:.2f} %, as reported: {metrics['error']:.2f} %"
    assert said in capsys.readouterr().out


def test_evaluate_says_what_it_lacks(tmp_path, network):
    torch.save(network.state_dict(), tmp_path / "public.th")
    with pytest.raises(UserError, match="does not say how images were normalised"):
        evaluate.main([str(tmp_path / "public.th")])
    with pytest.raises(UserError, match="expected one number per channel"):
        evaluate.main([str(tmp_path / "public.th"), "mean=[a]"])
    with pytest.raises(UserError, match="did you mean 'mean'"):
        evaluate.main([str(tmp_path / "public.th"), "maen=[1]"])


def test_per_channel_normalisation(tmp_path):
    images = torch.randint(0, 256, (300, 1, 8, 8), dtype=torch.uint8)
    mean, std = torch.tensor([0.3])[:, None, None], torch.tensor([0.2])[:, None, None]
    seen = []

    class Spy(torch.nn.Module):
        def forward(self, x):
            seen.append(x)
            return torch.zeros(len(x), 10)
    assert evaluate.error(Spy(), images, torch.zeros(300), mean, std) == 0
    torch.testing.assert_close(torch.cat(seen), (images.float() / 255 - 0.3) / 0.2)


@pytest.mark.parametrize("path", [
    pytest.param(p, marks=[pytest.mark.slow] if k else [], id=p.stem)
    for k, p in enumerate(COMMITTED)])
def test_committed_weights_give_their_error_on_cifar10(path, real_data):
    real_data("uoft-cs/cifar10")
    said = json.loads(path.with_suffix(".json").read_text())
    network, mean = (weights.load_plain if said["shortcut"] == "none" else weights.load)(path)
    test = load("cifar10").test
    measured = evaluate.error(network, test.images, test.labels, mean, torch.ones(()))
    assert measured == pytest.approx(said["error"], abs=0.021)  # two images near the boundary
    result = json.loads((ROOT / "papers/resnet/results" / said["experiment"] /
                         f"seed{said['seed']}.json").read_text())
    assert said["error"] == result["metrics"]["error"]
