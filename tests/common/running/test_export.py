"""Exported networks against torch, and what is said of those that cannot be exported."""

import builtins
import contextlib
import sys
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch

from common.errors import UserError
from common.experiments import Experiments
from common.files import ROOT
from common.running import command, export
from common.running.ready import Ready, Shipped
from papers.initialisation.train import Config, recipe

RESNET = "papers/resnet/weights/resnet20.safetensors"


@pytest.fixture(scope="module")
def ready():
    """A network on scikit-learn's digits after 300 updates."""
    experiments = Experiments(Config, ROOT / "papers/initialisation/config.yaml")
    made = recipe(experiments.resolve("quick_train", 0, {"model.depth": 2}))
    for k in range(300):
        made.step(k)
    return Ready("initialisation", "small", "digits", Shipped(made).eval(), made.data.test.images,
                 made.data.test.labels, made.data.train[:64].images)


def by_hand(ready, images):
    """What the network says, through its own weights."""
    z = images.reshape(len(images), -1).double() / 255
    pairs = list(zip(ready.network.model.weights, ready.network.model.biases, strict=True))
    for W, b in pairs[:-1]:
        z = torch.tanh(z @ W.double() + b.double())
    return (z @ pairs[-1][0].double() + pairs[-1][1].double()).detach().numpy()


@pytest.mark.parametrize("form", ["onnx", "torch"])
def test_what_is_written_says_what_the_network_says(ready, form, tmp_path):
    path = tmp_path / f"small{export.SUFFIX[form]}"
    trial = export.write(ready, form, path)
    assert trial.same == trial.images == len(ready.images) and trial.furthest < 1e-4
    read = export.reader(path)
    for n in (1, 2, 300):
        images = ready.images[:n]
        np.testing.assert_allclose(read(images.numpy()), by_hand(ready, images), atol=1e-4)
    wrong = by_hand(ready, ready.images).argmax(1) != ready.labels.numpy()
    assert trial.error == pytest.approx(100 * wrong.mean())
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.stat().st_size < 200_000, "the weights, not the images"


@pytest.mark.parametrize("form", ["onnx", "torch"])
def test_one_image_is_enough_to_try_it_on(ready, form, tmp_path):
    path = tmp_path / f"small{export.SUFFIX[form]}"
    trial = export.write(replace(ready, images=ready.images[:1], labels=ready.labels[:1]), form,
                         path)
    assert trial.same == trial.images == 1
    np.testing.assert_allclose(export.reader(path)(ready.images[:7].numpy()),
                               by_hand(ready, ready.images[:7]), atol=1e-4)


@pytest.mark.parametrize("write", [export.to_onnx, export.to_int8, export.to_torch])
def test_no_file_says_where_it_was_made(ready, tmp_path, write):
    pytest.importorskip("onnx")
    write(ready, tmp_path / "small.file")
    with contextlib.suppress(zipfile.BadZipFile), zipfile.ZipFile(tmp_path / "small.file") as parts:
        parts.extractall(tmp_path / "small")
    content = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    for path in (str(ROOT), sys.prefix, str(tmp_path)):
        assert path.encode() not in content, path


@pytest.mark.parametrize("write", [export.to_onnx, export.to_int8])
def test_the_batch_axis_of_input_and_output_has_a_name(ready, write, tmp_path):
    onnx = pytest.importorskip("onnx")
    write(ready, tmp_path / "small.onnx")
    graph = onnx.load(tmp_path / "small.onnx").graph
    shapes = [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim]
              for v in (*graph.input, *graph.output)]
    assert shapes == [["n", *ready.images.shape[1:]], ["n", 10]]


def test_a_torch_program_needs_nothing_of_this_repository(ready, tmp_path):
    path = tmp_path / "small.pt2"
    export.to_torch(ready, path)
    code = torch.export.load(path).graph_module.code
    assert "papers" not in code and "common" not in code


def test_eight_bits_are_smaller_and_nearly_the_same(ready, tmp_path):
    import onnx
    whole, small = tmp_path / "whole.onnx", tmp_path / "small.onnx"
    export.write(ready, "onnx", whole)
    trial = export.write(ready, "int8", small)
    assert 0.95 * trial.images < trial.same and 0 < trial.furthest < 3
    weights = {t.data_type for t in onnx.load(small).graph.initializer if len(t.dims) == 2}
    assert weights == {onnx.TensorProto.INT8}
    assert small.stat().st_size < whole.stat().st_size


def test_eight_bits_are_calibrated_on_training_images(ready, tmp_path):
    def written(**other):
        path = tmp_path / "small.onnx"
        export.to_int8(replace(ready, **other), path)
        return path.read_bytes()
    before = written()
    assert written(images=torch.zeros_like(ready.images)) == before
    assert written(calibration=torch.zeros_like(ready.calibration)) != before


def test_a_file_that_says_other_classes_is_not_written(ready, tmp_path, monkeypatch):
    (tmp_path / "small.onnx").write_text("before")
    monkeypatch.setattr(export, "reader", lambda path: lambda images: np.zeros((len(images), 10)))
    with pytest.raises(UserError, match=r"small\.onnx: says another class .* not written"):
        export.write(ready, "onnx", tmp_path / "small.onnx")
    assert (tmp_path / "small.onnx").read_text() == "before"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.slow
def test_published_weights_keep_their_error(real_data, tmp_path, monkeypatch, capsys):
    real_data("uoft-cs/cifar10")
    monkeypatch.chdir(tmp_path)
    assert command.main(["export", RESNET]) == 0
    said = capsys.readouterr().out
    assert "test error 8.48 %" in said and "on 10,000 of 10,000 test images" in said
    assert (tmp_path / "resnet20.onnx").exists()


def test_a_finished_run_is_exported(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PAPERS_RUNS", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    from common.running import cli
    cli.main(recipe, Config, str(ROOT / "papers/initialisation/train.py"),
             ["experiment=quick_train"])
    capsys.readouterr()
    assert command.main(["export", "initialisation/quick_train", "images=50"]) == 0
    assert "on 50 of 50 test images" in capsys.readouterr().out
    assert (tmp_path / "quick_train-seed0.onnx").exists()


@pytest.mark.parametrize(("words", "said"), [
    (["format=onnx"], "cannot read 'format=onnx': expected a file of weights or a run first"),
    ([RESNET, "format=tf"], "format=tf: expected onnx or torch"),
    ([RESNET, "int8=2"], "int8=2: expected true or false"),
    ([RESNET, "int8=true", "format=torch"], "int8=true: expected format=onnx"),
    ([""], "cannot read '': expected a file of weights or a run first"),
    ([RESNET, "to="], "to=: expected a name that ends in .onnx"),
    ([RESNET, "images=1e3"], "images=1e3: expected a whole number of at least 1"),
    ([RESNET, "images=0"], "images=0: expected a whole number of at least 1"),
    ([RESNET, "int=true"], "unknown key 'int'; did you mean 'int8'?"),
    ([RESNET, "experiment=a"], "unknown key 'experiment'"),
    (["papers/resnet/weights/no.safetensors"], "no.safetensors: there is no such file"),
    (["resnet20"], "resnet20: expected a .safetensors file, or a finished run"),
    (["batchnrm/bn"], "unknown paper 'batchnrm'; did you mean 'batchnorm'?"),
    (["batchnorm/bm"], "unknown experiment 'bm'"),
    (["batchnorm/plain/seed7"], "batchnorm/plain/seed7: there is no finished run"),
    (["hopfield/digits"], ""),
])
def test_bad_words_are_one_line(words, said, end_of, tmp_path, monkeypatch):
    monkeypatch.setenv("PAPERS_RUNS", str(tmp_path))
    code, output = end_of(lambda: command.main(["export", *words]))
    assert code == 2 and said in output.err and output.err.count("\n") == 1


def test_what_is_missing_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name == "onnxscript":
            raise ImportError(name)
        return real(name, *rest)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"ONNX needs onnxscript: pip install -e '\.\[export\]'"):
        export.needed("onnx", "onnxscript")




@pytest.mark.parametrize(("words", "said"), [
    (["sure=true", "to=x.onnx"], "to=x.onnx: not used with sure=true: expected record beside it"),
    (["sure=true", "format=torch"], "format=torch: not used with sure=true"),
    (["sure=true", "int8=true"], "int8=true: not used with sure=true"),
    (["sure=true", "images=5"], "images=5: not used with sure=true"),
    (["sure=true", "compare=true"], "compare=true: not used with sure=true"),
    (["compare=true", "to=x.onnx"], "to=x.onnx: not used with compare=true"),
    (["compare=true", "int8=true"], "int8=true: not used with compare=true: expected record or im"),
    (["compare=true", "format=onnx"], "format=onnx: not used with compare=true"),
    (["record=true"], "record=true: expected compare=true or sure=true")])
def test_a_key_without_a_use_is_refused(words, said, monkeypatch):
    for name in ("load_ready", "needed"):
        monkeypatch.setattr(export, name, lambda *args: pytest.fail("nothing may begin"))
    with pytest.raises(UserError) as e:
        export.main([RESNET, *words])
    assert said in str(e.value)


def test_false_is_as_good_as_left_out():
    export.refuse_unused({"sure": True, "compare": False, "int8": False, "record": True})
    export.refuse_unused({"compare": True, "images": 5, "sure": False, "record": True})
    export.refuse_unused({"record": False, "to": "x.onnx"})


@pytest.mark.parametrize(("to", "said"), [
    ("a.pt2", "expected a name that ends in .onnx"), ("no/a.onnx", "there is no folder")])
def test_where_to_write_is_checked_before_anything_is_loaded(to, said, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(export, "load_ready", lambda *a: pytest.fail("loaded"))
    with pytest.raises(UserError, match=f"to={to}: {said}"):
        export.main([RESNET, f"to={to}"])
