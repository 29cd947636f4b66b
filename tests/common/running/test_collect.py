"""What is carried home, in files of a given size, the most useful first."""

import errno
import io
import os
import tarfile
from pathlib import Path

import pytest

from common.errors import UserError
from common.evidence.provenance import DIGESTS
from common.files import sha256
from common.running import collect


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A tree from a bundle with one committed result and, since then, two new ones."""
    root = tmp_path / "tree"
    monkeypatch.setattr(collect, "ROOT", root)
    monkeypatch.setenv("PAPERS_RUNS", str(root / "runs"))
    for age, (name, size) in enumerate([
            ("papers/batchnorm/results/bn/seed1.json", 3000),
            ("papers/batchnorm/weights/bn.safetensors", 90_000),
            ("papers/batchnorm/results/bn/seed0.json", 3000),
            ("papers/batchnorm/results/old/seed0.json", 3000),
            ("papers/batchnorm/results/.gitkeep", 0)]):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(os.urandom(size))
        os.utime(root / name, (10**9 - age, 10**9 - age))
    old = root / "papers/batchnorm/results/old/seed0.json"
    (root / "common").mkdir()
    (root / DIGESTS).write_text(f"{sha256(old)}  papers/batchnorm/results/old/seed0.json\n")
    for run, files in (("plain/seed0", ("checkpoint.safetensors", "metrics.jsonl")),
                       ("bn/seed0", ("checkpoint.safetensors", "metrics.jsonl", "result.json")),
                       ("bn,optim.lr=1/seed0", ("metrics.jsonl",))):
        (root / "runs/batchnorm" / run).mkdir(parents=True)
        for file in files:
            (root / "runs/batchnorm" / run / file).write_bytes(os.urandom(40_000))
    (root / "runs/batchnorm/bn/pace.json").write_text("{}")
    return root


def names(path):
    with tarfile.open(path) as tar:
        return tar.getnames()


def test_the_newest_results_come_first_and_nothing_old(tree, tmp_path):
    (path,), left = collect.collect(tmp_path / "out", 10**6)
    assert not left and names(path) == [
        collect.INDEX, "papers/batchnorm/results/bn/seed1.json",
        "papers/batchnorm/results/bn/seed0.json",
        "papers/batchnorm/weights/bn.safetensors", *names(path)[4:-1],
        "runs/batchnorm/bn/pace.json"]
    assert set(names(path)[4:-1]) == {
        "runs/batchnorm/plain/seed0/metrics.jsonl",
        "runs/batchnorm/plain/seed0/checkpoint.safetensors",
        "runs/batchnorm/bn/seed0/metrics.jsonl"}
    assert collect.read(path)["papers/batchnorm/results/bn/seed1.json"] == (
        tree / "papers/batchnorm/results/bn/seed1.json").read_bytes()


def test_a_network_in_a_papers_own_format_comes_with_its_card(tree, tmp_path):
    made = [tree / f"papers/batchnorm/results/bn/seed0.{kind}" for kind in ("dcn", "md")]
    for path in (*made, made[0].with_name("notes.md")):
        path.write_text("here")
    (path,), _ = collect.collect(tmp_path / "out", 10**6)
    assert {n for n in names(path) if n.endswith((".dcn", ".md"))} == {
        p.relative_to(tree).as_posix() for p in made}


def test_a_run_that_goes_on_meanwhile_has_all_lines_of_its_checkpoint(tree, tmp_path, monkeypatch):
    folder, read, step = tree / "runs/batchnorm/plain/seed0", Path.read_bytes, iter(range(9))

    def goes_on(path):
        content = read(path)
        if path.parent == folder:
            number = next(step)
            for name in ("metrics.jsonl", "checkpoint.safetensors"):
                (folder / name).write_text(str(number))
        return content
    monkeypatch.setattr(Path, "read_bytes", goes_on)
    for name in ("metrics.jsonl", "checkpoint.safetensors"):
        (folder / name).write_text("-1")
    (path,), _ = collect.collect(tmp_path / "out", 10**6)
    found = collect.read(path)
    lines, saved = (int(found[f"runs/batchnorm/plain/seed0/{name}"])
                    for name in ("metrics.jsonl", "checkpoint.safetensors"))
    assert lines >= saved


@pytest.mark.parametrize(("gone", "reads"), [
    ("papers/batchnorm/results/bn/seed0.json", 0), ("papers/batchnorm/results/bn/seed0.json", 1),
    ("papers/batchnorm/weights/bn.safetensors", 1),
    ("runs/batchnorm/plain/seed0/metrics.jsonl", 0)])
def test_a_file_that_is_gone_when_it_is_read_stays_out(tree, tmp_path, monkeypatch, gone, reads):
    read, left = Path.read_bytes, [reads]

    def without(path):
        if path == tree / gone:
            left[0] -= 1
            if left[0] < 0:
                path.unlink(missing_ok=True)
        return read(path)
    monkeypatch.setattr(Path, "read_bytes", without)
    (path,), _ = collect.collect(tmp_path / "out", 10**6)
    assert gone not in names(path)
    assert "papers/batchnorm/results/bn/seed1.json" in names(path)


def test_what_is_gone_between_listing_and_sorting_stays_out(tree, tmp_path, monkeypatch):
    listed = Path.glob

    def gone_then(folder, pattern):
        found = list(listed(folder, pattern))
        if "safetensors" in pattern or "weights" in pattern:
            found.append(folder / "papers/batchnorm/weights/gone.json")
        return iter(found)
    monkeypatch.setattr(Path, "glob", gone_then)
    (path,), _ = collect.collect(tmp_path / "out", 10**6)
    assert "papers/batchnorm/weights/bn.safetensors" in names(path)


def test_a_file_that_cannot_be_read_is_named(tree, tmp_path):
    (tree / "papers/batchnorm/results/bn/seed5.json").mkdir()
    with pytest.raises(UserError, match=r"cannot read .*seed5\.json: Is a directory"):
        collect.collect(tmp_path / "out", 10**6)


def test_what_is_being_written_stays(tree, tmp_path):
    (tree / "papers/batchnorm/weights/.bn.json.x1y2.part").write_text("half")
    (path,), _ = collect.collect(tmp_path / "out", 10**6)
    assert not [n for n in names(path) if "part" in n]


def test_no_file_is_larger_and_a_run_stays_together(tree, tmp_path):
    made, left = collect.collect(tmp_path / "out", 110_000)
    assert len(made) > 2 and not left
    assert all(p.stat().st_size <= 110_000 for p in made)
    (whole,) = [p for p in made if "runs/batchnorm/plain/seed0/metrics.jsonl" in names(p)]
    assert "runs/batchnorm/plain/seed0/checkpoint.safetensors" in names(whole)
    again, _ = collect.collect(tmp_path / "out", 10**6)
    assert sorted((tmp_path / "out").iterdir()) == again, "those of before are gone"


@pytest.mark.parametrize("room", [0, 1, 2])
def test_a_full_disk_leaves_what_was_collected_before(tree, tmp_path, monkeypatch, room):
    earlier, _ = collect.collect(tmp_path / "out", 110_000)
    before = {p: p.read_bytes() for p in earlier}
    (tree / "papers/batchnorm/results/bn/seed2.json").write_bytes(os.urandom(3000))
    write, written = Path.write_bytes, []

    def full(path, content):
        if len(written) == room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        written.append(path)
        return write(path, content)
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match="No space left on device"):
        collect.collect(tmp_path / "out", 110_000)
    assert {p: p.read_bytes() for p in (tmp_path / "out").iterdir()} == before


def test_what_is_too_large_is_said(tree, tmp_path):
    (tree / "runs/batchnorm/plain/seed0/checkpoint.safetensors").write_bytes(bytes(300_000))
    made, left = collect.collect(tmp_path / "out", 110_000)
    assert left == ["runs/batchnorm/plain/seed0/checkpoint.safetensors (0.3 MB)"]
    assert any("runs/batchnorm/plain/seed0/metrics.jsonl" in names(p) for p in made)


@pytest.mark.parametrize("damage", [
    lambda c: c[:700], lambda c: b"no tar", lambda c: c.replace(b"train", b"trein"),
    lambda c: c.replace(b"a.json", b"b.json", 1)])
def test_a_damaged_file_is_one_line(tmp_path, damage):
    path = tmp_path / "a.tar"
    content = collect.tar_of({"papers/a.json": b"train"}, "unknown")
    path.write_bytes(content)
    assert collect.read(path) == {"papers/a.json": b"train"}
    path.write_bytes(damage(content))
    with pytest.raises(UserError, match="damaged") as e:
        collect.read(path)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(("index", "said"), [
    (None, "is damaged"), (b"", "JSONDecodeError"), (b"[]", "digests.json: []: expected a mapping"),
    (b'{"commit": "c"}', "expected 'files'"), (b'{"files": {}}', "expected 'commit'"),
    (b'{"commit": "c", "files": {"a": 3}}', "files.a: 3: expected text"),
    (b'{"commit": "c", "files": {"a": "x"}}', "files.a: 'x': expected text of the form"),
    (b'{"commit": "c", "files": [], "files": {}}', "'files' is given twice")])
def test_every_part_of_the_index_is_checked(tmp_path, index, said):
    path, made = tmp_path / "a.tar", io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, content in [(collect.INDEX, index)] if index is not None else [
                (collect.INDEX, b"{}"), (collect.INDEX, b"{}")]:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    path.write_bytes(made.getvalue())
    with pytest.raises(UserError, match="damaged") as e:
        collect.read(path)
    assert (said if index is not None else "two members of one name") in str(e.value)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(("name", "counts"), [
    ("resnet/resnet20", True), ("resnet/resnet32,train.precision=tf32", True),
    ("resnet/resnet32,train.precision=bfloat16", False), ("resnet/resnet20,optim.lr=0.2", False),
    ("resnet/resnet32,optim.lr=0.2,train.precision=tf32", False), ("resnet/resnet33", False),
    ("batchnorm/quick_bn,train.precision=bfloat16", False), ("nopaper/resnet20", False)])
def test_runs_with_values_of_their_own_stay(name, counts, tmp_path):
    assert collect.may_count(tmp_path / name) is counts
