"""Networks are found by what lies beside them; what does not belong together is refused."""

import functools
import json

import pytest
import torch
from safetensors.torch import save_file

from common.config import as_dict
from common.errors import UserError
from common.evidence.paper import papers
from common.running import ready

SOURCE = "papers/initialisation/results/quick_train/weights0.safetensors"

READ = functools.cache(lambda *names: papers(list(names)))


def once(names):
    """:func:`papers`, read from its many results by the first test that asks."""
    return READ(*names)


@pytest.fixture(autouse=True)
def read_once(monkeypatch):
    monkeypatch.setattr(ready, "papers", once)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A paper's folder with weights of its quick experiment and what says so."""
    (found,) = once(["initialisation"])
    config = found.experiments.resolve("quick_train", 0)
    recipe = found.module("train").recipe(config)
    monkeypatch.setattr(ready, "ROOT", tmp_path)
    monkeypatch.setattr(ready.start, "ROOT", tmp_path)
    path = tmp_path / SOURCE
    path.parent.mkdir(parents=True)
    save_file({k: v.contiguous() for k, v in recipe.model.state_dict().items()}, path)
    path.with_name("seed0.json").write_text(json.dumps(
        {"experiment": "quick_train", "seed": 0, "config": as_dict(config)}))
    return path, recipe


def test_weights_are_read_with_what_lies_beside_them(folder):
    path, recipe = folder
    found = ready.load_ready(str(path), 40)
    assert (found.paper, found.name, len(found.images)) == (
        "initialisation", "quick_train-seed0", 40)
    x = found.images[:5]
    torch.testing.assert_close(found.network(x), recipe.model(recipe.prepare(x)))
    assert not found.network.model.training
    torch.testing.assert_close(found.images, recipe.data.test.images[:40])
    torch.testing.assert_close(found.calibration, recipe.data.train.images[:512])


def test_a_trained_network_is_shipped_as_it_is(folder, monkeypatch):
    """What an experiment does to the weights it starts from is done no second time."""
    path, recipe = folder
    monkeypatch.setattr(type(recipe), "start_with", lambda *a: pytest.fail("started again"))
    x = recipe.data.test.images[:5]
    torch.testing.assert_close(ready.load_ready(str(path), 5).network(x),
                               recipe.model(recipe.prepare(x)))


@pytest.mark.parametrize(("change", "said"), [
    (lambda said: said["config"]["model"].update(width=7), "is no longer that of"),
    (lambda said: said.pop("config"), r"expected seed0\.json beside it"),
    (lambda said: said.update(experiment="unknown"), "unknown experiment 'unknown'")])
def test_what_does_not_fit_is_one_line(folder, change, said):
    path, _ = folder
    beside = path.with_name("seed0.json")
    record = json.loads(beside.read_text())
    change(record)
    beside.write_text(json.dumps(record))
    with pytest.raises(UserError, match=said) as e:
        ready.load_ready(str(path), 40)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("name", ["search_sgd_1e-05", "a+b", "rate_0.1", "quick_train"])
@pytest.mark.parametrize("seed", ["", "/seed0"])
def test_every_name_that_an_experiment_may_have_is_a_runs(monkeypatch, name, seed):
    asked = []
    monkeypatch.setattr(ready.start, "find", lambda *a: asked.append(a[1:]))
    with pytest.raises(UserError, match=r"there is no finished run; python papers/initialisation"):
        ready.load_ready(f"initialisation/{name}{seed}", 40)
    assert asked == [(name, 0)]


@pytest.mark.parametrize("seed", ["²", "٣", "-1", "x", "01", "9" * 5000, "0/seed0"])
def test_a_run_has_a_number(seed):
    with pytest.raises(UserError, match="or a finished run such as batchnorm/bn/seed0"):
        ready.load_ready(f"initialisation/quick_train/seed{seed}", 40)


def test_weights_of_another_shape_are_one_line(folder):
    path, _ = folder
    save_file({"weights.0": torch.zeros(3, 3)}, path)
    with pytest.raises(UserError, match=r"does not fit initialisation/quick_train: weights\.0"):
        ready.load_ready(str(path), 40)
    path.write_bytes(b"no weights")
    with pytest.raises(UserError, match="is damaged or no file of weights") as e:
        ready.load_ready(str(path), 40)
    assert "start_from" not in str(e.value) and "does not fit" not in str(e.value)


def test_the_json_beside_weights_has_their_name(folder):
    path, _ = folder
    there = path.with_name("resnet20.safetensors")
    path.rename(there)
    with pytest.raises(UserError, match=r"expected resnet20\.json beside it"):
        ready.load_ready(str(there), 40)


def test_weights_from_elsewhere_are_refused(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match="expected a file in a paper's folder"):
        ready.load_ready(str(tmp_path / "a.safetensors"), 10)


def test_what_classifies_no_images_is_refused(tmp_path, monkeypatch):
    (found,) = papers(["hopfield"])
    name = next(iter(found.experiments.experiments))
    monkeypatch.setattr(ready.start, "find", lambda *a: ready.start.Weights(tmp_path, {}))
    with pytest.raises(UserError, match="expected a network that classifies images"):
        ready.load_ready(f"hopfield/{name}", 10)
