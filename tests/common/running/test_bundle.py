"""There and back: packed at home, worked on elsewhere, accepted at home."""

import json
import os
import shutil
import subprocess
import sys
import tarfile

import pytest

from common.files import ROOT
from common.running import bundle, collect


@pytest.mark.parametrize(("words", "message"), [
    (["pakc"], "unknown word 'pakc'; did you mean 'pack'?"), (["pack"], "expected a paper"),
    (["pack", "resnte"], "unknown paper 'resnte'; did you mean 'resnet'?"),
    (["pack", "resnet", "resnet56x"], "unknown experiment 'resnet56x'; did you mean 'resnet56'?"),
    (["pack", "resnet", "prat=4M"], "unknown key 'prat'; did you mean 'part'?"),
    (["pack", "resnet", "part=40"], "part=40: expected a size of at least 100K, such as 40M"),
    (["pack", "resnet", "part=9K"], "part=9K: expected a size of at least 100K"),
    (["pack", "resnet", "part=²M"], "part=²M: expected a size of at least 100K"),
    (["pack", "resnet", f"part={'9' * 5000}K"], "expected a size of at least 100K"),
    (["pack", "resnet", "part="], "part=: expected a value"),
    (["pack", "resnet", "to="], "to=: expected a value"),
    (["pack", "resnet", "python=12"], "python=12: expected a version such as 3.12"),
    (["unpack", "nowhere"], "nowhere: expected a folder of a bundle"),
    (["unpack", "to="], "to=: expected a folder of a bundle, or to=FOLDER once"),
    (["collect", "resnet"], "cannot read 'resnet': expected to=FOLDER"),
    (["collect", "to="], "to=: expected a value"),
    (["collect", "size=0M"], "size=0M: expected a size"),
    (["accept"], "expected files that collect wrote"),
    (["accept", "nope.tar"], "there is no file nope.tar"),
    (["accept", "."], "there is no file ."),
    (["accept", "a.tar", "replace=yes"], "replace=yes: expected true or false")])
def test_bad_input_is_one_line_and_exit_status_2(end_of, monkeypatch, words, message):
    monkeypatch.setattr(bundle.packing, "committed", lambda: pytest.fail("it was not refused"))
    code, said = end_of(lambda: bundle.main(words))
    assert code == 2 and message in said.err and said.err.count("\n") == 1 and not said.out


def tar(path, *files):
    with tarfile.open(path, "w") as made:
        for file in files:
            made.add(file, arcname=file.name)
    return path


@pytest.mark.parametrize("content", ["empty", "no member", "foreign", "text", "compressed"])
def test_what_collect_did_not_write_is_bad_input(tmp_path, capsys, content):
    (tmp_path / "other").write_text("x")
    path = tmp_path / "given.tar"
    if content in ("no member", "foreign"):
        tar(path, *[tmp_path / "other"] * (content == "foreign"))
    else:
        path.write_bytes({"empty": b"", "text": b"text", "compressed": b"\x1f\x8b\x08"}[content])
    assert bundle.main(["accept", str(path)]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("refused given.tar: damaged, or not made by papers bundle collect")
    assert said.err.count("\n") == 1 and not said.out


def test_a_collected_file_with_a_strange_member_is_refused_with_status_1(tmp_path, capsys):
    path = tmp_path / "given.tar"
    path.write_bytes(collect.tar_of({"papers/nopaper/results/a/seed0.json": b"{}"}, "unknown"))
    assert bundle.main(["accept", str(path)]) == 1
    assert "nopaper" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["--help"], ["pack", "--help"]])
def test_it_explains_itself(words, capsys):
    assert bundle.main(words) == 0
    assert "python=3.12" in capsys.readouterr().out


def call(folder, *words, **environment):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PAPERS_", "PYTHONPATH"))}
    return subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True,
                          env=kept | {"OMP_NUM_THREADS": "1", **environment}, timeout=300)


def git(folder, *words):
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(folder), *words],
                   check=True, capture_output=True)


@pytest.mark.slow
def test_there_and_back(tmp_path):
    home, away = tmp_path / "home", tmp_path / "away"
    shutil.copytree(ROOT / "common", home / "common", ignore=shutil.ignore_patterns("__pycache__"))
    (home / "tests/common/test_claims").mkdir(parents=True)
    for name in ("README.md", ".gitattributes", ".gitignore", "pyproject.toml"):
        shutil.copy(ROOT / name, home)
    at_home = {"PYTHONPATH": str(home), "PAPERS_CACHE": str(tmp_path / "cache")}
    papers = "-m", "common.running"
    assert call(home, *papers, "new", "demo", **at_home).returncode == 0
    config = home / "papers/demo/config.yaml"
    config.write_text(config.read_text().replace("name: mnist", "name: digits").replace(
        "steps: 10000,", "steps: 50,").replace("eval_every: 500", "eval_every: 50"))
    claims = home / "papers/demo/claims.yaml"
    claims.write_text(claims.read_text().replace("step: 5000", "step: 50"))
    git(home, "init", "-q")
    git(home, "add", ".")
    git(home, "commit", "-qm", "first")
    packed = call(home, *papers, "bundle", "pack", "demo", "part=100K", "wheels=false",
                  f"to={tmp_path / 'bundle'}", **at_home)
    assert packed.returncode == 0, packed.stderr
    assert len(list((tmp_path / "bundle").glob("bundle.*"))) > 1

    # a machine that has neither the repository nor its cache, and no way to decode digits
    there = call(tmp_path, "bundle/unpack.py", f"to={away}")
    assert there.returncode == 0, there.stderr
    lines = (away / "environment.sh").read_text().splitlines()
    given = dict(line.removeprefix("export ").split("=", 1) for line in lines)
    assert given == {"PYTHONPATH": f"{away}:{away / 'site'}", "PAPERS_DATA": str(away / "data")}
    given["PAPERS_CACHE"] = str(tmp_path / "nothing")
    (away / "site/sklearn").mkdir(parents=True)
    (away / "site/sklearn/__init__.py").write_text("raise ImportError('there is none here')\n")
    made = call(away, *papers, "train", "demo", "experiment=narrow", **given)
    assert made.returncode == 0, made.stderr
    back = call(away, *papers, "bundle", "collect", f"to={tmp_path / 'back'}", **given)
    assert back.returncode == 0, back.stderr

    files = sorted(str(p) for p in (tmp_path / "back").iterdir())
    taken = call(home, *papers, "bundle", "accept", *files, **at_home)
    assert taken.returncode == 0, taken.stderr
    place = "papers/demo/results/narrow/seed0.json"
    assert f"accepted {place}" in taken.stdout and "next: papers report demo" in taken.stdout
    assert (home / place).read_bytes() == (away / place).read_bytes()
    (segment,) = json.loads((home / place).read_text())["segments"]
    assert not segment["dirty"]

    # code that was changed there leaves nothing that is accepted here
    with open(away / "papers/demo/model.py", "a") as f:
        f.write("\n")
    made = call(away, *papers, "train", "demo", "experiment=narrow", "seed=1", **given)
    assert made.returncode == 0, made.stderr
    call(away, *papers, "bundle", "collect", f"to={tmp_path / 'back'}", **given)
    taken = call(home, *papers, "bundle", "accept", *files, **at_home)
    assert taken.returncode == 1 and "made by code that differed from commit" in taken.stderr
    assert not (home / "papers/demo/results/narrow/seed1.json").exists()
