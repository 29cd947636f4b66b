"""One thread and one instruction set, so that golden numbers hold on every machine."""

import os
import sys
from pathlib import Path

os.environ |= {"MKL_CBWR": "COMPATIBLE", "ATEN_CPU_CAPABILITY": "avx2",
               "ONEDNN_MAX_CPU_ISA": "AVX2", "OMP_NUM_THREADS": "1", "WANDB_SILENT": "true"}
assert "torch" not in sys.modules, "torch was imported before its environment was set"

import pytest  # noqa: E402
import torch  # noqa: E402

from common.errors import exit_with  # noqa: E402
from common.files import ROOT  # noqa: E402
from tests.common.accelerator import (  # noqa: E402, F401
    accelerator,
    accelerator_without_float64,
)

torch.set_num_threads(1)

DATA = Path(os.environ.get("PAPERS_DATA") or ROOT.parent / "shared" / "data")
os.environ.pop("PAPERS_DATA", None)


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    """Runs and caches of a test stay in its temporary folder."""
    monkeypatch.setenv("PAPERS_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("PAPERS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))


@pytest.fixture
def end_of(capsys):
    """Calls a program's main function: how the process would end, and what it said."""
    def call(main):
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            exit_with(main)
        return left.value.code, capsys.readouterr()
    return call


@pytest.fixture
def exported(tmp_path):
    """Holds what an exported network says of all test images to its recipe's own probabilities."""
    def check(recipe) -> None:
        from common.running import export
        from common.running.ready import Ready, Shipped
        test, path = recipe.data.test, tmp_path / "n.pt2"
        ready = Ready("p", "n", "digits", Shipped(recipe).eval(), test.images, test.labels,
                      test.images)
        trial = export.write(ready, "torch", path)
        logits = torch.from_numpy(export.reader(path)(test.images.numpy()))
        torch.testing.assert_close(
            torch.softmax(logits, 1), recipe.probabilities(recipe.prepare(test.images), 0)[0])
        assert trial.same == len(test)
    return check


@pytest.fixture(scope="session")
def decoded(tmp_path_factory):
    """A cache of decoded data sets shared by all tests that read real data."""
    return tmp_path_factory.mktemp("decoded")


@pytest.fixture
def real_data(request, monkeypatch, decoded):
    """Makes a named data set of $PAPERS_DATA or ../shared/data available, or skips."""
    def provide(folder: str) -> None:
        if not (DATA / folder).is_dir():
            pytest.skip(f"{folder} is not at hand: set PAPERS_DATA to a folder that holds it")
        monkeypatch.setenv("PAPERS_DATA", str(DATA))
        monkeypatch.setenv("PAPERS_CACHE", str(decoded))
    return provide
