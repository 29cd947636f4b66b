"""Networks of one's own and of other folders: against closed forms and their own recipes."""

import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from common.errors import UserError
from common.evidence.paper import papers
from common.experiments import Experiments
from common.files import ROOT
from common.running import cli
from common.training import checkpoint
from papers.loss_landscape import train
from papers.loss_landscape.networks import says_otherwise
from papers.loss_landscape.settings import ModelConfig

EXPERIMENTS = Experiments(train.Config, ROOT / "papers/loss_landscape/config.yaml")
SMALL = {"start_from": "", "view.images": 40, "view.points": 3, "train.steps": 9}


def made(name, changes):
    return train.recipe(EXPERIMENTS.resolve(name, 0, changes | {"train.device": "cpu"}))


OWN = "tests.papers.loss_landscape.own_network"


def test_a_network_of_ones_own():
    changes = SMALL | {"model.kind": "own", "model.own": f"{OWN}:softmax"}
    r = made("quick_surface", changes)
    δ, η = r.directions()
    W, b = r.model[1].weight.detach().numpy(), r.model[1].bias.detach().numpy()
    x = r.pixels.numpy().reshape(40, 64) / 255
    for k in (0, 4, 7):  # the closed form of a softmax
        z = x @ (W + (k // 3 - 1) * δ["1.weight"].numpy()
                 + (k % 3 - 1) * η["1.weight"].numpy()).T + b
        p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
        expected = -np.log(p[range(40), r.labels.numpy()]).mean()
        assert r.step(k).item() == pytest.approx(expected, rel=1e-5)
    for name, said in ((f"{OWN}:nothing", "expected module:function"), ("nowhere:f", "nowhere"),
                       ("", "expected module:function"), (f"{OWN}:number", "it made a int")):
        with pytest.raises(UserError, match=said):
            made("quick_surface", changes | {"model.own": name})


def test_a_module_may_prepare_images_and_lie_in_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "lying_here.py").write_text(
        "from torch import nn\n"
        "def network(image, classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))\n"
        "def prepare(images):\n"
        "    return (images.float() - 7) / 3\n")
    changes = SMALL | {"model.kind": "own", "model.own": "lying_here:network"}
    with pytest.raises(UserError, match="No module named 'lying_here'"):
        made("quick_surface", changes)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    r = made("quick_surface", changes)
    torch.testing.assert_close(r.inputs, (r.pixels.float() - 7) / 3)


@pytest.mark.parametrize(("paper", "experiment"), [
    ("large_batch", "quick_sb"), ("cyclical_lr", "quick_range_test"), ("airbench", "quick_sgd"),
    ("resnet", "quick")])
def test_a_network_of_the_repository_with_its_trained_weights(paper, experiment):
    """Its loss at the middle is that of its own recipe, statistics and preparation included."""
    (theirs,) = papers([paper])
    own = theirs.module("train").recipe(theirs.experiments.resolve(
        experiment, 0, {"train.device": "cpu"}))
    own.train_mode()
    for k in range(3):
        own.step(k)
    r = made("quick_surface", SMALL | {"model.kind": "paper",
                                       "model.of": f"{paper}/{experiment}"})
    r.start_with({k: v.detach().clone() for k, v in own.model.state_dict().items()})
    with torch.no_grad():
        expected = F.cross_entropy(own.model.eval()(own.prepare(r.pixels)), r.labels).item()
    assert r.step(r.centre).item() == pytest.approx(expected, rel=1e-4)
    torch.testing.assert_close(r.inputs, own.prepare(r.pixels))


def test_curvature_through_layers_that_are_differentiable_once():
    """1,400 images are enough for oneDNN's layer; rows of 64 numbers for the dense reference."""
    changes = {"start_from": "", "model.kind": "paper", "model.of": "large_batch/quick_sb",
               "view.images": 1400, "view.points": 3, "train.steps": 9, "view.iterations": 12}
    r = made("quick_curvature", changes)
    r.step(7)
    network = r.model.double().eval()
    point = {k: v.double().requires_grad_() for k, v in r.point(7).items()}
    loss = F.cross_entropy(torch.func.functional_call(network, point, (r.inputs.double(),)),
                           r.labels)
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(
        loss, list(point.values()), create_graph=True)])
    v = torch.randn(len(gradient), dtype=torch.float64,
                    generator=torch.Generator().manual_seed(0))
    for _ in range(60):  # power iteration, in double precision
        w = torch.cat([g.flatten() for g in torch.autograd.grad(
            gradient, list(point.values()), v / v.norm(), retain_graph=True)])
        v, size = w, w.norm().item()
    assert max(abs(r.table[7])).item() == pytest.approx(size, rel=0.02)


@pytest.mark.parametrize(("of", "said"), [
    ("", "expected paper/experiment"), ("f1", "expected paper/experiment"),
    ("large_batch/quick", "expected one experiment, of quick_sb, quick_lb"),
    ("large_batch/f2", "unknown experiment 'f2'"),
    ("large_batch/f1_sb", "measure.images=5000: expected at most the 1437"),
    ("hopfield/quick", "expected one experiment, of quick_hebb"),
    ("backprop/quick", "expected a network that makes a logit"),
])
def test_what_is_no_network_for_images_is_one_line(of, said):
    with pytest.raises(UserError, match=said) as e:
        made("quick_surface", SMALL | {"model.kind": "paper", "model.of": of})
    assert str(e.value).startswith(f"model.of={of}") and "\n" not in str(e.value)


def test_a_run_of_a_paper_s_network_from_a_checkpoint(tmp_path):
    """The whole way: trained there, looked at here, by its file."""
    (theirs,) = papers(["large_batch"])
    short = {"train.steps": 4, "train.eval_every": 4, "measure.images": 0}
    (run,) = cli.train(theirs.module("train").recipe, theirs.experiments, "quick_sb", [0], short)
    (view,) = cli.train(train.recipe, EXPERIMENTS, "quick_surface", [0], SMALL | {
        "model.kind": "paper", "model.of": "large_batch/quick_sb",
        "start_from": str(run.request.folder / "checkpoint.safetensors")})
    assert 0 < view.metrics["centre"] < np.log(10)


@pytest.mark.parametrize(("depth", "shortcut", "said"), [
    (20, "A", "model.shortcut=A: expected none, as"),
    (14, "none", "model.depth=14: expected 20, as")])
def test_weights_that_say_that_they_are_of_another_network_are_refused(tmp_path, depth, shortcut,
                                                                       said):
    file = "papers/resnet/weights/plain20.safetensors"
    model = ModelConfig(kind="resnet", depth=depth, shortcut=shortcut)
    with pytest.raises(UserError, match=said):
        says_otherwise(model, file)
    says_otherwise(ModelConfig(kind="resnet", depth=20, shortcut="none"), file)
    checkpoint.save(tmp_path, {"step": 1})  # says nothing of its network
    says_otherwise(model, str(tmp_path / checkpoint.NAME))
