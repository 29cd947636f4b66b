"""An installed wheel trains and tells; what changes the repository asks for a clone."""

import os
import shutil
import subprocess
import sys
import zipfile

import pytest

from common.errors import UserError
from common.files import ROOT, is_clone, runs_root
from common.running import command


@pytest.mark.slow
def test_a_wheel_trains_where_it_is_started(tmp_path):
    """Built from a copy of what is committed or new, and unpacked as pip install --target does."""
    copy, site, here = (tmp_path / n for n in ("copy", "target", "here"))
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard"],
                            check=True, capture_output=True, text=True).stdout.splitlines()
    for name in listed:
        if name.startswith(("common", "papers", "pyproject", "README", "LICENSE")) and (
                ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    built = subprocess.run([sys.executable, "-m", "pip", "wheel", ".", "--no-deps", "-q", "-w",
                            tmp_path], cwd=copy, capture_output=True, text=True)
    if "satisfies the requirement setuptools" in built.stderr:
        pytest.skip("pip finds no setuptools to build with: no network")
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(site)
        names = set(packed.namelist())
    here.mkdir()
    environment = {k: v for k, v in os.environ.items() if k not in ("PAPERS_RUNS", "PAPERS_DATA")}
    for words, said in (
            (["train", "deep_linear", "experiment=quick"], "next: papers train deep_linear"),
            (["train", "batchnorm", "experiment=quick_bn", "train.steps=20"], "quick_bn"),
            (["recheck", "hopfield", "at_most=1s"], " agree, 0 differ")):
        done = subprocess.run([sys.executable, "-m", "common.running", *words], cwd=here,
                              env=environment | {"PYTHONPATH": str(site)}, capture_output=True,
                              text=True, timeout=300)
        assert done.returncode == 0 and said in done.stdout, done.stderr
    assert (here / "runs/deep_linear").is_dir() and not (site / "runs").exists()
    recorded = [p for p in site.rglob("*.json") if p.relative_to(site).as_posix() not in names]
    assert not recorded, "results in the package"


@pytest.mark.parametrize("name", command.CHANGING)
def test_what_changes_the_repository_asks_for_a_clone(name, monkeypatch, tmp_path):
    monkeypatch.setattr(command, "is_clone", lambda: False)
    with pytest.raises(UserError, match=f"papers {name} changes the repository: expected a clone"):
        command.main([name, "batchnorm"])


@pytest.mark.parametrize("beside", [None, '[project]\nname = "thesis"\n', "[build-system]\n", "[",
                                    "name ="])
@pytest.mark.parametrize("folder", ["site-packages", "target"])
def test_runs_of_a_package_lie_in_the_working_folder(monkeypatch, tmp_path, folder, beside):
    """A package may lie in any folder, even in one with another project's pyproject.toml."""
    assert is_clone()
    monkeypatch.delenv("PAPERS_RUNS")
    assert runs_root() == ROOT / "runs"
    (tmp_path / folder).mkdir()
    if beside is not None:
        (tmp_path / folder / "pyproject.toml").write_text(beside)
    monkeypatch.setattr("common.files.ROOT", tmp_path / folder)
    monkeypatch.chdir(tmp_path)
    assert not is_clone() and runs_root() == tmp_path / "runs"


def test_an_archive_is_as_good_as_a_clone(monkeypatch, tmp_path):
    """It has no .git, and may lie in a folder of any name."""
    (tmp_path / "site-packages").mkdir()
    shutil.copy(ROOT / "pyproject.toml", tmp_path / "site-packages")
    monkeypatch.setattr("common.files.ROOT", tmp_path / "site-packages")
    assert is_clone()
