"""Provenance: of a clone, of an archive, of a tree that nobody knows; of a machine with a card."""

import io
import subprocess
import tarfile

import pytest
import torch

from common.evidence import provenance
from common.evidence.provenance import state_of_code
from common.files import ROOT, sha256

FILES = {"common/a.py": "A = 1\n", "papers/toy/config.yaml": "default: base\n",
         "papers/toy/published/table.csv": "n\n3\n",
         "papers/toy/train.py": "", "pyproject.toml": "", "papers/toy/REPORT.md": "nothing\n",
         "tests/test_a.py": ""}


def git(folder, *words):
    return subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(folder),
                           *words], check=True, capture_output=True).stdout


@pytest.fixture
def clone(tmp_path):
    """A small repository with one commit, and the two files that let an archive know it."""
    folder = tmp_path / "clone"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for name in (".gitattributes", provenance.COMMIT):
        (folder / name).write_bytes((ROOT / name).read_bytes())
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    return folder


@pytest.fixture
def archive(clone, tmp_path):
    """What git archive makes of it, with the list of its files."""
    folder = tmp_path / "archive"
    with tarfile.open(fileobj=io.BytesIO(git(clone, "archive", "HEAD"))) as tar:
        tar.extractall(folder, filter="data")
    names = sorted(f for f in folder.rglob("*") if f.is_file())
    (folder / provenance.DIGESTS).write_text("".join(
        f"{sha256(f)}  {f.relative_to(folder).as_posix()}\n" for f in names))
    return folder


def head(clone):
    return git(clone, "rev-parse", "HEAD").decode().strip()


def test_a_clone_knows_its_commit_and_whether_code_has_changed(clone):
    assert state_of_code(clone) == (head(clone), False)
    (clone / "papers/toy/REPORT.md").write_text("something\n")
    assert state_of_code(clone) == (head(clone), False), "prose changes no number"
    (clone / "common/b.py").write_text("")
    assert state_of_code(clone) == (head(clone), True)


def test_an_archive_knows_its_commit(clone, archive):
    assert state_of_code(archive) == (head(clone), False)
    (archive / "papers/toy/results").mkdir()
    (archive / "papers/toy/results/seed0.json").write_text("{}")
    (archive / "papers/toy/REPORT.md").write_text("something\n")
    assert state_of_code(archive) == (head(clone), False)


@pytest.mark.parametrize("change", [
    lambda f: (f / "common/a.py").write_text("A = 2\n"), lambda f: (f / "common/a.py").unlink(),
    lambda f: (f / "papers/toy/more.py").write_text(""), lambda f: (f / "b.py").write_text(""),
    lambda f: (f / "papers/toy/config.yaml").write_text("default: other\n"),
    lambda f: (f / "papers/toy/published/table.csv").write_text("n\n4\n"),
    lambda f: (f / provenance.DIGESTS).unlink(),
    lambda f: (f / provenance.DIGESTS).write_text("damaged")])
def test_an_archive_with_other_code_has_changed(clone, archive, change):
    change(archive)
    assert state_of_code(archive) == (head(clone), True)


def test_a_copy_without_either_is_unknown(clone, archive, tmp_path):
    (archive / provenance.COMMIT).write_bytes((clone / provenance.COMMIT).read_bytes())
    assert state_of_code(archive) == ("unknown", True), "git has not filled it in"
    (archive / provenance.COMMIT).unlink()
    assert state_of_code(archive) == ("unknown", True)


def test_a_folder_inside_another_repository_is_not_of_its_commit(clone):
    inside = clone / "below"
    (inside / "common").mkdir(parents=True)
    assert state_of_code(inside) == ("unknown", True)


def test_versions_are_of_what_is_there():
    found = provenance.versions(["torch", "no-such-package"])
    assert list(found) == ["torch"] and found["torch"].startswith("2.")


def test_a_card_says_what_it_is_and_silence_is_left_out(monkeypatch):
    device = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda d: "A Card")
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91002)
    monkeypatch.setattr(provenance, "_driver", lambda: "570.1")
    known = {"gpu": "A Card", "driver": "570.1", "cuda": "12.8", "cudnn": "91002"}
    assert provenance.graphics_card(device) == known
    found = provenance.origin(device).hardware.written()
    assert found.items() >= {**known, "device": "cuda"}.items()

    def fails(*a):
        raise RuntimeError("no driver")
    monkeypatch.setattr(torch.cuda, "get_device_name", fails)
    monkeypatch.setattr(provenance, "_driver", fails)
    assert provenance.graphics_card(device) == {"cuda": "12.8", "cudnn": "91002"}
