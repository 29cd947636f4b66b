"""What goes into a bundle: committed code only, unfinished runs, wheels for another Python."""

import io
import subprocess
import tarfile
import zipfile

import pytest

from common import data
from common.errors import UserError
from common.evidence import provenance
from common.evidence.paper import papers
from common.evidence.provenance import state_of_code
from common.files import ROOT, runs_root
from common.running import pack
from common.running.unpack import Joined, extract
from common.training import checkpoint


def git(folder, *words):
    return subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(folder),
                           *words], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A repository with a little code and the file that git archive fills in."""
    root = tmp_path / "clone"
    (root / "common").mkdir(parents=True)
    (root / "common/a.py").write_text("A = 1\n")
    (root / "README.md").write_text("words\n")
    for name in (".gitattributes", provenance.COMMIT):
        (root / name).write_bytes((ROOT / name).read_bytes())
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "first")
    monkeypatch.setattr(pack, "ROOT", root)
    return root


def test_the_archived_tree_knows_that_it_is_the_commits(clone, tmp_path):
    with tarfile.open(fileobj=io.BytesIO(pack.archive())) as tar:
        extract(tar, tmp_path / "tree")
    commit = git(clone, "rev-parse", "HEAD")
    assert pack.committed() == commit
    assert state_of_code(tmp_path / "tree") == (commit, False)
    assert set(provenance.digests(tmp_path / "tree")) == {
        ".gitattributes", "README.md", "common/COMMIT", "common/a.py"}
    (tmp_path / "tree/common/a.py").write_text("A = 2\n")
    assert state_of_code(tmp_path / "tree") == (commit, True)


def test_uncommitted_code_is_refused(clone):
    (clone / "README.md").write_text("other words\n")
    pack.committed()
    (clone / "common/a.py").write_text("A = 2\n")
    (clone / "common/b.py").write_text("")
    with pytest.raises(UserError, match=r"commit common/a\.py and 1 more first"):
        pack.committed()
    (clone / ".git").rename(clone / "git")
    with pytest.raises(UserError, match=r"there is no \.git here"):
        pack.committed()


@pytest.mark.parametrize("size", [10_000, 10_240, 7, 10**6])
def test_parts_are_of_the_size_and_read_as_one(tmp_path, size):
    (tmp_path / "s").mkdir()
    for k in range(3):
        (tmp_path / f"s/{k}").write_bytes(bytes([k]) * 5000 * (size > 7))
    made = pack.split(tmp_path / "s", tmp_path / "b", size)
    assert all(p.stat().st_size == size for p in made[:-1])
    assert 0 < made[-1].stat().st_size <= size
    with tarfile.open(fileobj=io.BufferedReader(Joined(made)), mode="r|") as tar:
        extract(tar, tmp_path / "t")
    assert [(tmp_path / f"t/{k}").read_bytes() for k in range(3)] == [
        (tmp_path / f"s/{k}").read_bytes() for k in range(3)]
    first = [p.read_bytes() for p in made]
    assert [p.read_bytes() for p in pack.split(tmp_path / "s", tmp_path / "b", size)] == first


def test_experiments_and_their_data():
    (paper,) = papers(["batchnorm"])
    assert "bn" in pack.chosen_experiments(paper, [])
    assert pack.chosen_experiments(paper, ["bn", "quick"])[0] == "bn"
    assert pack.data_of(paper, ["bn", *paper.experiments.expand("quick")]) == ["mnist", "digits"]
    with pytest.raises(UserError, match="unknown experiment 'bnn'; did you mean 'bn'"):
        pack.chosen_experiments(paper, ["bnn"])
    (paper,) = papers(["bayes_by_backprop"])
    assert pack.data_of(paper, paper.experiments.expand("quick")) == ["digits"]
    assert pack.data_of(paper, ["regression_bbb"]) == ["digits"], "its data are computed"


def test_data_are_compressed_once(monkeypatch):
    folder = pack.compressed("digits")
    assert (folder / "index.json").is_file() and data.cache_root() in folder.parents
    monkeypatch.setattr(pack, "compress", lambda *a: pytest.fail("compressed again"))
    assert pack.compressed("digits") == folder


def test_runs_that_are_not_finished_come_along(monkeypatch):
    (paper,) = papers(["batchnorm"])
    monkeypatch.setattr(pack, "finished_here", lambda paper, experiment, seed: seed == 3)
    for seed in (0, 2, 3):
        checkpoint.save(runs_root() / f"batchnorm/bn/seed{seed}", {"step": 10})
    (runs_root() / "batchnorm/bn/seed1").mkdir()
    assert [f.name for f in pack.runs_that_travel(paper, ["bn", "plain"])] == ["seed0", "seed2"]


def test_what_runs_start_from_comes_along_finished_or_not(monkeypatch):
    (paper,) = papers(["deep_compression"])
    chain = ["lenet300_pruned_1", "lenet300_reference"]
    assert pack.sources_of(paper, ["lenet300_pruned_2"]) == chain
    assert pack.sources_of(paper, ["lenet300_reference"]) == []
    monkeypatch.setattr(pack, "finished_here", lambda paper, experiment, seed: True)
    for name in [*chain, "lenet300_pruned_2"]:
        checkpoint.save(runs_root() / f"deep_compression/{name}/seed0", {"step": 10})
    found = pack.runs_that_travel(paper, ["lenet300_pruned_2"])
    assert [f.parent.name for f in found] == chain


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder of wheels in the package index's place."""
    def wheel(name, requires=""):
        with zipfile.ZipFile(tmp_path / f"{name}-1.0-py3-none-any.whl", "w") as f:
            info = f"{name}-1.0.dist-info"
            f.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
                       + "".join(f"Requires-Dist: {r}\n" for r in requires.split()))
            f.writestr(f"{info}/WHEEL",
                       "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            f.writestr(f"{info}/RECORD", "")
    wheel("papersone", "paperstwo numpy")
    wheel("paperstwo")
    wheel("numpy")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")


def test_wheels_come_with_what_they_need_but_not_what_is_there(index, tmp_path):
    pack.download(["papersone"], "3.12", tmp_path / "wheels")
    assert sorted(p.name.split("-")[0] for p in (tmp_path / "wheels").iterdir()) == [
        "papersone", "paperstwo"]


def test_a_missing_wheel_is_one_line(index, tmp_path):
    with pytest.raises(UserError, match=r"wheels=papersthree: pip download fails: .*") as e:
        pack.download(["papersthree"], "3.12", tmp_path / "wheels")
    assert "papersthree" in str(e.value).split("fails: ")[1] and "\n" not in str(e.value)


def test_the_wheels_are_what_the_code_asks_for():
    known = pack.requirements()
    assert known["matplotlib"].startswith("matplotlib==") and set(pack.WHEELS) <= known.keys()
