"""Tables below $PAPERS_DATA, and files of decoded data, that hold something else."""

import io
import subprocess
import sys

import numpy as np
import pyarrow.parquet
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from common import decoded
from common.data import load
from common.errors import UserError
from common.files import ROOT


def png(height=28, width=28, mode="L", format="PNG"):
    made = io.BytesIO()
    Image.new(mode, (width, height)).save(made, format)
    return made.getvalue()


def table(folder, split, **columns):
    """Put other columns into a split of a small data set, without the hub's metadata."""
    pyarrow.parquet.write_table(pyarrow.table(columns),
                                folder / f"{split}-00000-of-00001.parquet")


def test_images_without_the_hubs_metadata_are_images_all_the_same(small_hub):
    folder, made = small_hub
    for split, (images, labels) in made.items():
        contents = []
        for image in images:
            Image.fromarray(image).save(content := io.BytesIO(), "PNG")
            contents.append({"bytes": content.getvalue(), "path": f"{len(contents)}.png"})
        table(folder, split, image=contents, label=labels)
    mnist = load("mnist")
    assert np.array_equal(mnist.train.images[:, 0].numpy(), made["train"][0])
    assert np.array_equal(mnist.test.labels.numpy(), made["test"][1])


TEN = list(range(10))


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize(("columns", "message"), [
    ({"image": [3] * 10}, "image in {} holds Value: expected images"),
    ({"image": ["a"] * 10}, "image in {} holds Value"),
    ({"image": [[1, 2]] * 10}, "image in {} holds List"),
    ({"image": [[[1, 2], [3, 4]]] * 10}, "image in {} holds List"),
    ({"image": [{"bytes": b"no image", "path": None}] * 10}, "cannot identify image"),
    ({"image": [{"bytes": png(mode="I;16"), "path": None}] * 10}, "expected images of 8 bits"),
    ({"image": [{"bytes": png(h), "path": None} for h in [28] * 9 + [3]]}, "images of one size"),
    ({"image": [{"bytes": None, "path": None}] * 10}, "cannot read"),
    ({"image": [], "label": []}, "cannot read"),
    ({"image": None}, "{} has no column image, but label"),
    ({"label": None}, "{} has no column label, but image"),
    ({"label": [[k] for k in TEN]}, "label [[0]] in {}: expected whole numbers"),
    ({"label": [[k, k] for k in TEN]}, "label [[0, 0]] in {}: expected whole numbers"),
    ({"label": [None] * 10}, "label [None] in {}: expected whole numbers"),
    ({"label": [*TEN[:9], 10**12]}, "label 1000000000000 in {}: expected whole numbers"),
    ({"label": [*TEN[:9], 999_999]}, "class "), ({"label": [True] * 10}, "label [True] in {}"),
    ({"image": [{"bytes": png(14, 14), "path": None}] * 10}, "images are (1, "),
    ({"image": [{"bytes": png(mode="RGB"), "path": None}] * 10}, "images are (")])
def test_a_table_of_other_things_is_one_line(small_hub, end_of, split, columns, message):
    other = {"image": [{"bytes": png(), "path": None}] * 10, "label": TEN} | columns
    table(small_hub[0], split, **{k: v for k, v in other.items() if v is not None})
    code, said = end_of(lambda: load("mnist"))
    (line,) = [l for l in said.err.splitlines() if not l.startswith("decoding mnist once")]
    assert code == 2 and message.format(split) in line
    assert line.startswith("error: cannot read mnist from ")


@pytest.mark.parametrize("damage", [
    lambda c: c[:300] + bytes(60) + c[360:], lambda c: c[:200],
    *(pytest.param(damage, marks=pytest.mark.slow)
      for damage in (lambda c: b"", lambda c: c[:-9], lambda c: b"PAR1", lambda c: b"no table"))],
    ids=["middle", "cut", "empty", "end", "head", "text"])
def test_a_damaged_table_is_one_line_whatever_the_libraries_log(small_hub, damage):
    path = small_hub[0] / "train-00000-of-00001.parquet"
    path.write_bytes(damage(path.read_bytes()))
    done = subprocess.run(
        [sys.executable, "-c", "from common import data, errors; errors.exit_with(lambda: "
         "data.load('mnist') and None)"], cwd=ROOT, capture_output=True, text=True)
    lines = [l for l in done.stderr.splitlines() if not l.startswith("decoding mnist once")]
    assert done.returncode == 2 and len(lines) == 1, done.stderr
    assert lines[0].startswith("error: cannot read mnist from ")


@pytest.mark.parametrize(("part", "value"), [
    ("train.labels", torch.zeros(30, 1, dtype=torch.int64)), ("train.labels", torch.zeros(30)),
    ("test.labels", torch.full((10,), 10**12)), ("test.images", torch.zeros(10, 1, 3, 3).byte()),
    ("train.labels", torch.zeros(3, dtype=torch.int64)), ("train.labels", torch.full((30,), -1)),
    ("test.labels", torch.full((10,), 44)), ("train.images", torch.zeros(0, 1, 28, 28).byte())])
def test_a_file_of_decoded_data_is_held_to_the_same(small_hub, tmp_path, part, value):
    mnist = load("mnist")
    t = {f"{s}.{k}": getattr(getattr(mnist, s), k)
         for s in ("train", "test") for k in ("images", "labels")} | {part: value}
    path = tmp_path / "mnist.safetensors"
    save_file(t, path, {"fingerprint": decoded.fingerprint(*t.values())})
    with pytest.raises(UserError, match=r"data file .* is damaged"):
        decoded.read("mnist", path)
