"""Unpacking by Python alone: parts that arrive late or damaged, archives that reach outside."""

import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from common.files import sha256
from common.running import pack, unpack
from common.running.unpack import Refused


def tar(members, mode="w"):
    """An archive of (name, content) pairs, or of ready-made members."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=mode) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size, info.mode = len(member[1]), 0o755 if member[0].endswith("run") else 0o644
            archive.addfile(info, io.BytesIO(member[1]))
    return made.getvalue()


def bundle(folder, code=(("common/a.py", b"A = 1\n"), (".ci/run", b"")), part=4000,
           commit="a" * 40):
    """A bundle of a little code, a checkpoint and a wheel."""
    staging = folder.with_name(folder.name + ".staging")
    (staging / "runs/demo/base/seed0").mkdir(parents=True)
    (staging / "runs/demo/base/seed0/checkpoint.safetensors").write_bytes(bytes(9000))
    (staging / "wheels").mkdir()
    with zipfile.ZipFile(staging / "wheels/tiny-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny/__init__.py", "X = 3\n")
        wheel.writestr("tiny-1.data/platlib/tiny/more.py", "")
        wheel.writestr("tiny-1.data/scripts/tiny", "")
    (staging / "code.tar.xz").write_bytes(tar(code, "w:xz"))
    parts = pack.split(staging, folder, part)
    (folder / unpack.MANIFEST).write_text(json.dumps({
        "commit": commit, "paper": "demo", "experiments": ["base"], "parts": [
            {"name": p.name, "bytes": p.stat().st_size, "sha256": sha256(p)} for p in parts]}))
    return parts


def test_it_needs_python_alone_and_says_what_to_type_next(tmp_path):
    bundle(tmp_path / "b")
    program = tmp_path / "b/unpack.py"
    program.write_bytes(Path(unpack.__file__).read_bytes())
    done = subprocess.run([sys.executable, "-I", "-S", program, f"to={tmp_path / 'tree'}"],
                          capture_output=True, text=True, cwd=tmp_path,
                          env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"})
    assert done.returncode == 0, done.stderr
    tree = tmp_path / "tree"
    assert f"cd {tree} && . ./environment.sh" in done.stdout and "budget=8m" in done.stdout
    assert (tree / "common/a.py").read_text() == "A = 1\n"
    assert (tree / ".ci/run").stat().st_mode & 0o100
    assert (tree / "site/tiny/__init__.py").exists() and (tree / "site/tiny/more.py").exists()
    assert not list(tree.glob("site/*.data"))
    assert (tree / "runs/demo/base/seed0/checkpoint.safetensors").stat().st_size == 9000
    assert not (tree / ".parts").exists() or not list((tree / ".parts").iterdir())
    assert f"export PYTHONPATH={tree}:{tree / 'site'}\n" in (tree / "environment.sh").read_text()


def test_parts_may_arrive_a_few_at_a_time(tmp_path, capsys):
    parts = bundle(tmp_path / "b")
    assert len(parts) >= 4
    words = [str(tmp_path / "b"), f"to={tmp_path / 'tree'}"]
    late, damaged = parts[1], parts[2]
    content = damaged.read_bytes()
    late.rename(tmp_path / late.name)
    damaged.write_bytes(content[:-1] + b"x")
    assert unpack.main(words) == 1
    said = capsys.readouterr()
    assert said.out == (f"{len(parts) - 2} of {len(parts)} parts are here; still missing: "
                        f"{late.name}, {damaged.name}\n")
    assert f"{damaged.name} is damaged" in said.err and not (tmp_path / "tree/common").exists()
    for path in parts:  # what has arrived is kept, wherever it came from
        path.unlink(missing_ok=True)
    (tmp_path / "more").mkdir()
    (tmp_path / late.name).rename(tmp_path / "more" / late.name)
    (tmp_path / "more" / damaged.name).write_bytes(content)
    assert unpack.main([*words, str(tmp_path / "more")]) == 0
    assert (tmp_path / "tree/common/a.py").exists()


def test_a_second_bundle_of_the_commit_leaves_what_was_made(tmp_path):
    bundle(tmp_path / "b")
    words = [str(tmp_path / "b"), f"to={tmp_path / 'tree'}"]
    assert unpack.main(words) == 0
    further = tmp_path / "tree/runs/demo/base/seed0/checkpoint.safetensors"
    further.write_bytes(b"further")
    assert unpack.main(words) == 0 and further.read_bytes() == b"further"
    bundle(tmp_path / "c", commit="c" * 40)
    with pytest.raises(Refused, match=r"holds commit aaaaaaaaaa, not the bundle's cccccccccc"):
        unpack.main([str(tmp_path / "c"), f"to={tmp_path / 'tree'}"])


def many(folder):
    """A bundle whose code has several entries at its top."""
    bundle(folder, [(f"{name}/a.py", name.encode()) for name in ("common", "papers", "tests")]
           + [("README.md", b"ours")])


def test_a_name_that_is_taken_is_refused_and_nothing_moved(tmp_path):
    many(tmp_path / "b")
    tree = tmp_path / "tree"
    (tree / "tests").mkdir(parents=True)
    (tree / "README.md").write_text("theirs")
    with pytest.raises(Refused, match=r"tree already has README\.md: choose another folder"):
        unpack.main([str(tmp_path / "b"), f"to={tree}"])
    assert sorted(p.name for p in tree.iterdir()) == [".parts", "README.md", "tests"]
    assert (tree / "README.md").read_text() == "theirs"
    (tree / "README.md").unlink()
    (tree / "tests").rmdir()
    assert unpack.main([str(tmp_path / "b"), f"to={tree}"]) == 0


@pytest.mark.parametrize("moved", range(5))
def test_an_interrupted_unpack_goes_on(tmp_path, monkeypatch, moved):
    many(tmp_path / "b")
    tree, replace, left = tmp_path / "tree", os.replace, [moved]

    def interrupted(old, new):
        if Path(new).parent == tree:
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
        replace(old, new)

    def no_room(path, *_, **__):
        if path.name == unpack.MARK:
            raise KeyboardInterrupt
    with monkeypatch.context() as m, pytest.raises(KeyboardInterrupt):
        m.setattr(os, "replace", interrupted)
        m.setattr(Path, "write_text", no_room)
        unpack.main([str(tmp_path / "b"), f"to={tree}"])
    assert unpack.main([str(tmp_path / "b"), f"to={tree}"]) == 0
    for name in ("common", "papers", "tests"):
        assert (tree / name / "a.py").read_text() == name
    assert json.loads((tree / unpack.MARK).read_text()) == {"commit": "a" * 40}
    assert not list((tree / ".parts").iterdir())


def test_packages_of_another_python_are_refused(tmp_path):
    bundle(tmp_path / "b")
    path = tmp_path / "b" / unpack.MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {"python": "3.1"}))
    with pytest.raises(Refused, match=r"packages are for Python 3\.1, this is 3\.\d+: use"):
        unpack.main([str(tmp_path / "b"), f"to={tmp_path / 'tree'}"])


def member(name, type, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = type, link
    return info


@pytest.mark.parametrize("bad", [
    ("../outside", b""), ("/outside", b""), ("a/../../outside", b""), ("..\\outside", b""),
    member("link", tarfile.SYMTYPE, "/etc"), member("link", tarfile.LNKTYPE, "common/a.py"),
    member("device", tarfile.CHRTYPE), member("pipe", tarfile.FIFOTYPE)],
    ids=lambda b: b[0] if isinstance(b, tuple) else b.name + b.type.decode())
def test_nothing_leads_outside(tmp_path, bad):
    bundle(tmp_path / "b", [("common/a.py", b""), bad])
    with pytest.raises(Refused, match="archive member"):
        unpack.main([str(tmp_path / "b"), f"to={tmp_path / 'tree'}"])
    assert not (tmp_path / "outside").exists() and not (tmp_path / "tree/common").exists()


def test_bad_input_is_named(tmp_path):
    for folder in ("empty", "listed", "clone", "b"):
        (tmp_path / folder).mkdir()
    (tmp_path / "listed" / unpack.MANIFEST).write_text("{}")
    (tmp_path / "clone/common").mkdir()
    bundle(tmp_path / "b")
    for words, said in ((["nowhere"], "nowhere: expected a folder"), ([], "expected the folder"),
                        ([str(tmp_path / "empty")], r"no manifest\.json in"),
                        ([str(tmp_path / "listed")], "is damaged"),
                        ([str(tmp_path / "b"), f"to={tmp_path / 'clone'}"], "not of a bundle")):
        with pytest.raises(Refused, match=said) as e:
            unpack.main(words)
        assert "\n" not in str(e.value)


PART = {"name": "bundle.001", "bytes": 1, "sha256": "0" * 64}
LISTED = {"commit": "a" * 40, "paper": "demo", "experiments": ["base"], "parts": [PART]}


@pytest.mark.parametrize(("change", "said"), [
    ({"commit": 5}, "manifest.commit: 5: expected 40 to 64 hexadecimal digits"),
    ({"commit": "HEAD"}, 'manifest.commit: "HEAD": expected'),
    ({"paper": "../x"}, "manifest.paper: "),
    ({"paper": None}, "manifest.paper: null"), ({"experiments": [3]}, "manifest.experiments: [3]"),
    ({"python": 3.12}, "manifest.python: 3.12: expected a version"), ({"more": 1}, "and no more"),
    ({"parts": []}, "manifest.parts: []: expected a list of at least one"),
    ({"parts": {}}, "manifest.parts: {}"),
    ({"parts": [3]}, "manifest.parts: [3]"), ({"parts": [PART, 3]}, "manifest.parts: "),
    ({"parts": [{}]}, "manifest.parts.0: {}: expected bytes, name, sha256"),
    ({"parts": [PART, PART]}, "manifest.parts.1: bundle.001 is listed twice"),
    *(({"parts": [PART | part]}, f"manifest.parts.0.{next(iter(part))}: ") for part in (
        {"name": "../x"}, {"name": ""}, {"name": "."}, {"name": "bundle.001/x"}, {"name": 1},
        {"bytes": "1"}, {"bytes": 0}, {"bytes": -1}, {"bytes": 1.5}, {"bytes": True},
        {"bytes": 10**40}, {"sha256": 2}, {"sha256": ""}, {"sha256": "z" * 64}))])
def test_every_value_of_a_manifest_is_checked(tmp_path, change, said):
    unpack.check_manifest(LISTED)
    unpack.check_manifest(LISTED | {"python": "3.12", "experiments": []})
    (tmp_path / unpack.MANIFEST).write_text(json.dumps(LISTED | change))
    with pytest.raises(Refused) as e:
        unpack.main([str(tmp_path), f"to={tmp_path / 'tree'}"])
    assert f"{unpack.MANIFEST} is damaged: " in str(e.value) and said in str(e.value)
    assert "\n" not in str(e.value) and len(str(e.value)) < 500


@pytest.mark.parametrize("manifest", [
    "[", "[]", "{}", "3", "null", "[" * 100_000, '{"a": 1, "a": 2}', "9" * 5000, "\ud800"])
def test_a_damaged_manifest_is_one_line(tmp_path, manifest):
    (tmp_path / unpack.MANIFEST).write_bytes(manifest.encode("utf-8", "surrogatepass"))
    with pytest.raises(Refused, match="is damaged") as e:
        unpack.main([str(tmp_path), f"to={tmp_path / 'tree'}"])
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("mark", ["", "[]", "{}", "3"])
def test_a_damaged_mark_of_a_tree_is_one_line(tmp_path, mark):
    (tmp_path / unpack.MARK).write_text(mark)
    with pytest.raises(Refused, match="is damaged: choose another folder"):
        unpack.check_target(tmp_path, "a" * 40)
