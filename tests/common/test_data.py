"""Data sets, their cache and the order of batches."""

import hashlib
import io
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.response

import datasets
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common import data
from common.config import DataConfig
from common.data import BatchOrder, evaluation_splits, generator, load
from common.errors import UserError
from common.files import ROOT


def test_a_folder_in_the_hubs_layout_is_read_exactly(small_hub):
    _, made = small_hub
    mnist = load("mnist")
    assert mnist.train.images.dtype == torch.uint8 and mnist.train.labels.dtype == torch.int64
    assert mnist.train.images.shape == (30, 1, 28, 28)
    assert np.array_equal(mnist.test.images[:, 0].numpy(), made["test"][0])
    assert np.array_equal(mnist.train.labels.numpy(), made["train"][1])


def test_the_second_start_reads_the_cache(small_hub, monkeypatch):
    first = load("mnist")
    monkeypatch.setattr(data, "_decode", lambda *a: pytest.fail("decoded again"))
    second = load("mnist")
    assert second.fingerprint == first.fingerprint
    assert torch.equal(second.train.images, first.train.images)


@pytest.mark.parametrize("damage", ["truncate", "alter"])
def test_a_damaged_cache_is_made_anew(small_hub, damage, capsys):
    first = load("mnist")
    (path,) = data.cache_root().glob("mnist-*.safetensors")
    content = path.read_bytes()
    path.write_bytes(content[:-50] if damage == "truncate"
                     else content[:-50] + bytes(50))
    assert load("mnist").fingerprint == first.fingerprint
    assert "damaged" in capsys.readouterr().err
    assert path.read_bytes() == content


def test_another_content_has_another_cache(small_hub):
    folder, _ = small_hub
    first = load("mnist")
    train, test = sorted(folder.glob("*.parquet"), reverse=True)
    train.rename(folder / "x")
    test.rename(train)
    (folder / "x").rename(test)
    second = load("mnist")
    assert len(second.train) == 10 and second.fingerprint != first.fingerprint


def test_a_truncated_parquet_is_one_clear_line(small_hub):
    folder, _ = small_hub
    path = folder / "train-00000-of-00001.parquet"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match=r"cannot read mnist from .*damaged or cut short") as e:
        load("mnist")
    assert "\n" not in str(e.value)


def labelled(folder, split, labels):
    """Put other labels into a split of a small data set."""
    images = [np.zeros((28, 28), dtype=np.uint8)] * len(labels)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value(
        "string" if isinstance(labels[0], str) else
        "float64" if isinstance(labels[0], float) else "int64")})
    datasets.Dataset.from_dict({"image": images, "label": labels}, features=features).to_parquet(
        str(folder / f"{split}-00000-of-00001.parquet"))


@pytest.mark.parametrize(("split", "labels", "message"), [
    ("train", ["cat", "dog"], "label ['cat'] in train: expected whole numbers from 0 on"),
    ("train", ["1", "2"], "label ['1'] in train"), ("train", [0.5, 1.0], "label [0.5] in train"),
    ("train", [0, -1, 1], "label -1 in train"), ("test", [3, -1], "label -1 in test: expected wh"),
    ("train", [0, 1, 3], "class 2 has no image in train: expected some of every class"),
    ("test", [0, 11], "class 10 has no image in train")])
def test_labels_that_are_none_are_one_line(small_hub, split, labels, message):
    labelled(small_hub[0], split, labels)
    with pytest.raises(UserError) as e:
        load("mnist")
    assert message in str(e.value) and str(e.value).startswith("cannot read mnist from ")
    assert "\n" not in str(e.value)


def test_a_missing_folder_or_data_set_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PAPERS_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"nowhere: expected a folder"):
        load("mnist")
    monkeypatch.setenv("PAPERS_DATA", str(tmp_path))
    with pytest.raises(UserError, match=r"does not hold cifar10: expected uoft-cs/cifar10/plain"):
        load("cifar10")
    with pytest.raises(UserError, match="unknown data set 'mnits'; did you mean 'mnist'"):
        load("mnits")


def test_without_folder_and_hub_it_says_what_to_do_within_seconds(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    code = ("from common.data import load; from common.errors import exit_with\n"
            "exit_with(lambda: load('mnist') and 0)")
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT,
                          env=os.environ)
    assert done.returncode == 2 and time.monotonic() - started < 20
    assert done.stderr.count("\n") == 1
    assert "PAPERS_DATA" in done.stderr and "experiment=quick" in done.stderr


def test_an_unwritable_cache_costs_only_time(small_hub, monkeypatch, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PAPERS_CACHE", str(tmp_path / "file" / "cache"))
    assert len(load("mnist").train) == 30
    assert "warning: cannot write" in capsys.readouterr().err


def test_digits_are_bundled():
    digits = load("digits")
    assert (len(digits.train), len(digits.test), digits.classes) == (1437, 360, 10)
    assert digits.train.images.shape[1:] == (1, 8, 8) and digits.train.images.max() == 255


def test_validation_is_held_out_of_training_and_the_same_for_every_seed():
    config = DataConfig(name="digits", evaluate_on="validation", validation=400)
    whole, train, held = evaluation_splits(config)
    assert (len(train), len(held)) == (1037, 400)
    rows = torch.cat([train.images, held.images]).flatten(1)
    everything = whole.train.images.flatten(1)
    assert torch.equal(rows.unique(dim=0, return_counts=True)[1],
                       everything.unique(dim=0, return_counts=True)[1])
    assert torch.equal(evaluation_splits(config)[2].labels, held.labels)
    with pytest.raises(UserError, match=r"data.validation=1437: expected fewer"):
        evaluation_splits(DataConfig("digits", "validation", 1437))


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**31), st.integers(1, 9))
def test_batches_lay_permutations_end_to_end(n, batch, seed, epochs):
    batch = min(batch, n)
    order = BatchOrder(n, batch, seed)
    steps = -(-epochs * n // batch)
    stream = torch.cat([order(k) for k in range(steps)])
    for epoch in range(epochs):
        assert stream[epoch * n:(epoch + 1) * n].sort().values.tolist() == list(range(n))


@given(st.integers(2, 50), st.integers(0, 2**31), st.lists(st.integers(0, 200), max_size=8))
def test_a_batch_depends_on_seed_and_step_alone(n, seed, visited):
    order = BatchOrder(n, max(1, n // 3), seed)
    for step in visited:  # whatever was asked for before, in any order
        order(step)
    assert torch.equal(order(17), BatchOrder(n, max(1, n // 3), seed)(17))


def test_seeds_and_epochs_differ():
    a, b = BatchOrder(100, 100, 0), BatchOrder(100, 100, 1)
    assert not torch.equal(a(0), b(0)) and not torch.equal(a(0), a(1))


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(UserError, match=r"train.batch_size=11: expected at most the 10"):
        BatchOrder(10, 11, 0)


@pytest.mark.parametrize("n", [1, 10])
def test_a_batch_that_is_too_large_says_what_leaves_so_few(n):
    with pytest.raises(UserError) as e:
        BatchOrder(n, 11, 0, "data.validation=5")
    assert str(e.value) == (f"train.batch_size=11: expected at most {n}, all the examples there "
                            "are with data.validation=5")


def test_streams_are_independent():
    draws = [torch.rand(3, generator=generator(*a)) for a in
             ((0, "a"), (1, "a"), (0, "b"), (0, "a", 1))]
    assert len({tuple(d.tolist()) for d in draws}) == 4


def test_mnist_is_the_original(real_data):
    real_data("ylecun/mnist")
    mnist = load("mnist")
    assert len(mnist.train) == 60_000 and len(mnist.test) == 10_000
    assert mnist.train.labels.bincount().tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert mnist.train.images.double().mean().item() == pytest.approx(33.3184, abs=1e-4)
    started = time.monotonic()
    load("mnist")
    assert time.monotonic() - started < 5  # generous: a second on an idle machine


def mushroom_file(folder, lines):
    path = folder / data.MUSHROOMS
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def test_mushrooms_are_one_hot(tmp_path, monkeypatch):
    rest = "," + ",".join("z" * 20)
    mushroom_file(tmp_path, ["class,a,b" + ",c" * 20, "p,x,?" + rest, "e,y,k" + rest,
                             "e,x,b" + rest])
    monkeypatch.setenv("PAPERS_DATA", str(tmp_path))
    found = data.load("mushroom")
    assert found.train.labels.tolist() == found.test.labels.tolist() == [1, 0, 0]
    assert found.train.images[:, :5].tolist() == [  # a = x, y; b = ?, b, k
        [1, 0, 1, 0, 0], [0, 1, 0, 0, 1], [1, 0, 0, 1, 0]]
    assert found.train.images.shape == (3, 25)


def openml(monkeypatch, cache, rows):
    """What OpenML would send, below scikit-learn's own code: ``rows`` as its data set 24."""
    names = ["class", *(f"a{k}" for k in range(22))]
    values = [sorted({r[k] for r in rows} - {"?"}) for k in range(23)]
    attributes = [f"@ATTRIBUTE {n} {{{','.join(v)}}}" for n, v in zip(names, values, strict=True)]
    arff = "\n".join(["@RELATION mushroom", *attributes, "@DATA", *map(",".join, rows)]) + "\n"
    feature = {"data_type": "nominal", "is_ignore": "false", "is_row_identifier": "false",
               "number_of_missing_values": "0"}
    quality = [{"name": "NumberOfInstances", "value": str(len(rows))}]
    data_set = {"id": "24", "name": "mushroom", "version": "1", "status": "active",
                "format": "ARFF", "url": "https://www.openml.org/data/v1/download/24",
                "description": "",
                "md5_checksum": hashlib.md5(arff.encode()).hexdigest()}
    answers = {
        "/data/list/data_name/mushroom/limit/2/data_version/1":
            {"data": {"dataset": [{"did": 24, "status": "active"}]}},
        "/data/24": {"data_set_description": data_set},
        "/data/features/24": {"data_features": {"feature": [
            feature | {"index": str(k), "name": n, "nominal_value": v,
                       "is_target": str(n == "class").lower()}
            for k, (n, v) in enumerate(zip(names, values, strict=True))]}},
        "/data/qualities/24": {"data_qualities": {"quality": quality}}}

    def urlopen(request, *a, **k):
        path = request.full_url.partition("/api/v1/json")[2]
        body = json.dumps(answers[path]) if path else arff
        return urllib.response.addinfourl(io.BytesIO(body.encode()), {}, request.full_url, 200)
    monkeypatch.setattr("sklearn.datasets._openml.urlopen", urlopen)
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(cache))
    monkeypatch.delenv("PAPERS_DATA", raising=False)


def test_mushrooms_from_openml_equal_those_of_the_file(tmp_path, monkeypatch):
    rows = [["p", "x", "?", *"z" * 20], ["e", "y", "k", *"z" * 20]]
    openml(monkeypatch, tmp_path / "cache", rows)
    online = data.load("mushroom")
    mushroom_file(tmp_path, ["class,a,b" + ",c" * 20, *map(",".join, rows)])
    monkeypatch.setenv("PAPERS_DATA", str(tmp_path))
    assert data.load("mushroom").fingerprint == online.fingerprint


REST = ",x" * 22


@pytest.mark.parametrize(("rows", "message"), [
    (["q" + REST], "line 2: 'q,x"), (["e,x"], "line 2: 'e,x': expected a class, e or p, and 22"),
    (["e" + REST, "-1" + REST], "line 3: '-1,x"), (["poisonous" + REST], "line 2: 'poisonous,x"),
    (["e" + REST, REST], "line 3: ',x,x"), (["ep" + REST], "line 2: 'ep,x"),
    (["e" + ",x" * 21 + ","], "expected a class, e or p, and 22"), (["e" + REST, ""], "line 3: ''"),
    (["e" + REST] * 2, "expected rows of both classes, e and p, found e"), ([], "found none"),
    (["p" + REST], "found p")])
def test_damaged_mushrooms_are_one_line(tmp_path, monkeypatch, rows, message):
    mushroom_file(tmp_path, ["class" + ",a" * 22, *rows])
    monkeypatch.setenv("PAPERS_DATA", str(tmp_path))
    with pytest.raises(UserError) as e:
        data.load("mushroom")
    assert message in str(e.value) and "\n" not in str(e.value)


def test_mushrooms_that_are_no_text_are_one_line(tmp_path, monkeypatch):
    mushroom_file(tmp_path, []).write_bytes(b"class\n\xff\xfe\n")
    monkeypatch.setenv("PAPERS_DATA", str(tmp_path))
    with pytest.raises(UserError, match="is no CSV table in UTF-8"):
        data.load("mushroom")


def test_mushrooms_out_of_reach_are_one_line(tmp_path, monkeypatch, recwarn):
    def urlopen(*a, **k):
        raise urllib.error.URLError("no route")
    monkeypatch.setattr("sklearn.datasets._openml.urlopen", urlopen)
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    monkeypatch.delenv("PAPERS_DATA", raising=False)
    with pytest.raises(UserError, match=r"OpenML does not answer \(.*no route.*\) and .* set it to "
                                        r"a folder that holds"):
        data.load("mushroom")
    assert not recwarn.list


def test_the_real_mushrooms(real_data):
    real_data("uci/mushroom")
    found = data.load("mushroom")
    assert found.train.images.shape == (8124, 117)
    assert (found.train.labels == 0).sum() == 4208
    assert (found.train.images.sum(1) == 22).all()


def test_a_data_set_without_images_is_refused_where_images_are_wanted(monkeypatch):
    table = data.Split(torch.zeros(4, 3, dtype=torch.uint8), torch.zeros(4, dtype=torch.long))
    monkeypatch.setattr(data, "load", lambda name: data.assemble(name, table, table))
    with pytest.raises(UserError, match=r"data.name=mushroom: expected a data set of images"):
        data.evaluation_splits(data.DataConfig("mushroom"))
