"""Trained weights: written, read back, and read from public implementations."""

import json
import pickle
import re

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from common import data
from common.data import generator, load
from common.decoded import Split, assemble
from common.errors import UserError, exit_with
from common.experiments import Experiments
from common.files import ROOT
from common.training.weight_files import RecordedRun
from papers.resnet import evaluate, weights
from papers.resnet.model import cifar_resnet, initialise
from papers.resnet.train import Config, ResNetRecipe

EXPERIMENTS = Experiments(Config, ROOT / "papers/resnet/config.yaml")
COMMITTED = sorted((ROOT / "papers/resnet/weights").glob("*.safetensors"))


@pytest.fixture
def network():
    made = cifar_resnet(8)
    initialise(made, generator(0, "init"))
    made(torch.randn(16, 3, 32, 32))
    return made.eval()


def public_block(c_in, c_out, stride, option):
    """A building block as public implementations have it, by its own shortcut ``option``."""
    def shortcut(x):
        if block.downsample is not None:
            return block.downsample(x)
        extra, x = c_out - c_in, x[:, :, ::stride, ::stride]
        before = extra // 2 if option == "both" else 0
        return F.pad(x, (0, 0, 0, 0, before, extra - before))

    def forward(x):
        y = F.relu(block.bn1(block.conv1(x)))
        return F.relu(block.bn2(block.conv2(y)) + shortcut(x))
    block = nn.Module()
    block.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
    block.bn1 = nn.BatchNorm2d(c_out)
    block.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
    block.bn2 = nn.BatchNorm2d(c_out)
    projects = option == "C" or (option == "B" and c_in != c_out)
    block.downsample = nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False),
                                     nn.BatchNorm2d(c_out)) if projects else None
    block.forward = forward
    return block


def public_resnet(option, n=2):
    """ResNet-(6n+2) with random weights and BN statistics, made of nothing of this repository.

    Option A comes as ``behind`` or ``both``, after where its new channels are.
    """
    torch.manual_seed(5)
    network = nn.Module()
    network.conv1, network.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
    for k, (c_in, c_out) in enumerate([(16, 16), (16, 32), (32, 64)]):
        blocks = [public_block(c_in if j == 0 else c_out, c_out, 2 if k and j == 0 else 1, option)
                  for j in range(n)]
        network.add_module(f"layer{k + 1}", nn.Sequential(*blocks))
    network.linear = nn.Linear(64, 10)

    def forward(x):
        x = F.relu(network.bn1(network.conv1(x)))
        x = network.layer3(network.layer2(network.layer1(x)))
        return network.linear(x.mean((2, 3)))
    network.forward = forward
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for tensor in (layer.weight.data, layer.running_var):
                tensor.uniform_(0.5, 2)
            for tensor in (layer.bias.data, layer.running_mean):
                tensor.normal_()
    return network.eval()


def test_round_trip(network, tmp_path):
    mean = torch.rand(3, 32, 32)
    said = {"experiment": "e", "seed": 3, "data": "cifar10", "depth": 8, "shortcut": "A",
            "error": 8.4799, "config": {}, "commits": ["old", "abc123"]}
    weights.save(tmp_path / "n.safetensors", network, mean, weights.Sidecar(**said))
    again, its_mean = weights.load(tmp_path / "n.safetensors")
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(network(x), again(x)) and torch.equal(mean, its_mean)
    assert json.loads((tmp_path / "n.json").read_text()).items() > said.items()
    with safe_open(tmp_path / "n.safetensors", "pt") as f:
        about = f.metadata()
    assert (about["depth"], about["commit"], about["metric"], about["padding"]) == (
        "8", "abc123", "test error 8.48 %", "behind")
    card = (tmp_path / "n.md").read_text()
    assert all(word in card for word in ("8 layers", "`abc123`", "Test error 8.48 %", "seed 3"))
    with pytest.raises(UserError, match=r"padding=both: .* its new channels behind"):
        weights.load(tmp_path / "n.safetensors", "both")


@pytest.mark.parametrize("option", ["behind", "both", "B", "C"])
def test_public_checkpoints_are_read(option, tmp_path):
    theirs, path = public_resnet(option), tmp_path / "public.th"
    state = {f"module.{k}": v for k, v in theirs.state_dict().items()}
    torch.save({"state_dict": state, "best_prec1": 91.7}, path)
    padding = "both" if option == "both" else "behind"
    ours, mean = weights.load(path, padding)
    x = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert mean is None and theirs(x).std() > 0.1
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-3, atol=1e-4)
        if option in ("behind", "both"):
            other, _ = weights.load(path, "behind" if option == "both" else "both")
            assert (other(x) - theirs(x)).abs().max() > 0.1, "the same names, another network"
        else:
            with pytest.raises(UserError, match=f"padding=both: .* projections .option {option}"):
                weights.load(path, "both")


def test_evaluate_says_that_padding_is_an_assumption(tmp_path, capsys):
    torch.save(public_resnet("both").state_dict(), tmp_path / "public.th")
    train = load("digits").train
    channels = cifar_resnet(14, channels=train.images.shape[1])  # of one colour, as the digits
    torch.save(channels.state_dict(), tmp_path / "grey.th")
    for padding in ("behind", "both"):
        assert evaluate.main([str(tmp_path / "grey.th"), "mean=[0]", "data=digits",
                              f"padding={padding}"]) == 0
        said = capsys.readouterr().out
        assert f"taken with padding={padding}: a state dict cannot tell" in said
    with pytest.raises(UserError, match="padding=left: expected behind or both"):
        evaluate.main([str(tmp_path / "public.th"), "padding=left"])


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
    made.publish(tmp_path, RecordedRun(experiment="quick", seed=0, data="digits", config={},
                                       metrics=metrics, commits=["c"]))
    assert (tmp_path / "weights" / "quick.md").exists()
    assert evaluate.main([str(tmp_path / "weights" / "quick.safetensors")]) == 0
    said = f"test error {metrics['error']:.2f} %, as reported: {metrics['error']:.2f} %"
    out = capsys.readouterr().out
    assert said in out and "padding" not in out, "our files say how they pad"


def test_evaluate_says_what_it_lacks(tmp_path, network):
    torch.save(network.state_dict(), tmp_path / "public.th")
    with pytest.raises(UserError, match="does not say how images were normalised"):
        evaluate.main([str(tmp_path / "public.th")])
    with pytest.raises(UserError, match="expected one number per channel"):
        evaluate.main([str(tmp_path / "public.th"), "mean=[a]"])
    with pytest.raises(UserError, match="did you mean 'mean'"):
        evaluate.main([str(tmp_path / "public.th"), "maen=[1]"])


@pytest.mark.parametrize("words", [
    ["plain=maybe"], ["plain="], ["plain=1"], ["mean=.nan"], ["mean=[.nan]"], ["mean=[.inf]"],
    ["mean="], ["mean=[[1]]"], ["mean={a: 1}"], ["mean=[0]", "std=[0]"], ["mean=[0]", "std=[-1]"],
    ["mean=[0]", "std=[]"], ["mean=[0]", "data="], ["mean=[0]", "data=[digits]"],
    ["mean=[0]", "data={a: 1}"], ["mean=[0]", "padding="], ["mean=[0]", "padding=[both]"]])
def test_evaluates_keys_are_read_or_one_line(tmp_path, network, words):
    torch.save(network.state_dict(), tmp_path / "public.th")
    with pytest.raises(UserError, match=r"expected|known") as e:
        evaluate.main([str(tmp_path / "public.th"), "data=digits", *words]
                      if "data" not in words[-1] else [str(tmp_path / "public.th"), *words])
    assert "\n" not in str(e.value) and "None" not in str(e.value)


@pytest.mark.parametrize("word", ["", ".", "/", "./", "//"])
def test_a_path_without_a_name_is_one_line(word):
    with pytest.raises(UserError, match="expected a file of weights"):
        evaluate.main([word])


WHOLE = {"experiment": "e", "seed": 3, "data": "digits", "depth": 8, "shortcut": "A",
         "error": 8.5, "config": {}, "commits": ["a"]}


@pytest.mark.parametrize(("text", "message"), [
    ("", "is not JSON"), ("[1]", "[1]: expected a mapping"), ("[" * 100_000, "is not JSON"),
    ("{}", "expected 'experiment'"), (json.dumps(WHOLE)[:-9], "is not JSON"),
    (json.dumps(WHOLE | {"error": "low"}), "error: 'low': expected a number"),
    (json.dumps(WHOLE | {"error": float("nan")}), "error: nan: expected a finite number"),
    (json.dumps(WHOLE | {"error": 120.0}), "error: 120.0: expected at most 100"),
    (json.dumps(WHOLE | {"depth": 0}), "depth: 0: expected above 0"),
    (json.dumps(WHOLE | {"shortcut": "D"}), "shortcut: 'D': expected one of 'A', 'B', 'C' or"),
    (json.dumps(WHOLE | {"commits": []}), "commits: []: expected at least 1"),
    (json.dumps(WHOLE | {"errror": 1}), "unknown part 'errror'; did you mean 'error'")])
def test_evaluate_says_what_is_wrong_beside_the_weights(tmp_path, network, text, message, capsys):
    torch.save(network.state_dict(), tmp_path / "n.th")
    (tmp_path / "n.json").write_text(text)
    with pytest.raises(SystemExit) as e:
        exit_with(lambda: evaluate.main([str(tmp_path / "n.th"), "mean=[0]", "data=digits"]))
    line = capsys.readouterr().err
    assert e.value.code == 2 and line.count("\n") == 1
    assert line.startswith("error: ") and "n.json" in line and message in line


@pytest.mark.parametrize("word", ["mean=[0.1,0.2]", "std=[1,1,1,1]"])
def test_evaluate_wants_a_number_for_every_channel(tmp_path, network, word):
    torch.save(network.state_dict(), tmp_path / "n.th")
    words = [str(tmp_path / "n.th"), "mean=[0]", "data=digits", word]
    with pytest.raises(UserError, match=": expected a number for each of the 1 channels"):
        evaluate.main(words if word[0] == "s" else [words[0], *words[2:]])


@pytest.mark.parametrize(("channels", "size", "classes", "words", "message"), [
    (3, 32, 10, ["data=digits"], "data=digits: its images have 1 channel: expected 3, which"),
    (3, 32, 10, ["data=digits", "mean=[0.5]"], "data=digits: its images have 1 channel: expected"),
    (1, 28, 10, ["data=digits"], "data=digits: its images have 8×8 pixels: expected 28×28, as"),
    (1, 8, 7, ["data=digits"], "data=digits: its images are of 10 classes: expected at most 7"),
    (1, 8, 10, ["data=mushroom"], "data=mushroom: expected a data set of images")])
def test_evaluate_refuses_images_that_do_not_fit(tmp_path, monkeypatch, channels, size, classes,
                                                 words, message, end_of):
    flat = Split(torch.zeros(4, 117, dtype=torch.uint8), torch.tensor([0, 1, 0, 1]))
    monkeypatch.setitem(data.ELSEWHERE, "mushroom", lambda: assemble("mushroom", flat, flat))
    made = cifar_resnet(8, channels=channels, classes=classes)
    save_file(made.state_dict() | {"input.mean": torch.zeros(channels, size, size)},
              tmp_path / "n.safetensors")
    code, said = end_of(lambda: evaluate.main([str(tmp_path / "n.safetensors"), *words]))
    assert code == 2 and said.err.startswith(f"error: {message}") and said.err.count("\n") == 1


@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize(("shortcut", "word", "message"), [
    ("none", "plain=false", "says shortcut: none: expected plain=true, or nothing"),
    ("A", "plain=true", "says shortcut: A: expected plain=false, or nothing"),
    ("none", "padding=behind", "padding=behind: not used without shortcuts")])
def test_evaluate_refuses_what_the_file_contradicts(tmp_path, shortcut, word, message, beside):
    made, path = cifar_resnet(8, channels=1), tmp_path / "n.safetensors"
    said = weights.Sidecar(**WHOLE | {"shortcut": shortcut})
    weights.save(path, made, torch.zeros(1, 8, 8), said)
    if not beside:
        path.with_suffix(".json").unlink()
    with pytest.raises(UserError, match=message):
        evaluate.main([str(path), "data=digits", word])


def test_an_error_is_reported_beside_another_one_of_the_same_data_only(tmp_path, capsys):
    weights.save(tmp_path / "n.safetensors", cifar_resnet(8, channels=1), torch.zeros(1, 8, 8),
                 weights.Sidecar(**WHOLE | {"data": "cifar10"}))
    assert evaluate.main([str(tmp_path / "n.safetensors"), "data=digits"]) == 0
    assert "as reported" not in capsys.readouterr().out


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


@pytest.mark.parametrize("path", COMMITTED, ids=lambda p: p.stem)
def test_committed_cards_say_what_lies_beside_them(path):
    said = json.loads(path.with_suffix(".json").read_text())
    assert path.with_suffix(".md").read_text() == weights.card(path.stem, weights.Sidecar(**said))
    lines = re.search(r"```python\n(.*?)```", path.with_suffix(".md").read_text(), re.DOTALL)[1]
    found = {}
    exec(lines, found)  # as a reader would, from the clone's folder
    assert found["network"](torch.zeros(1, 3, 32, 32)).shape == (1, 10)
    assert found["mean"].shape == (3, 32, 32)


@pytest.mark.slow
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
