"""One command for everything a person types."""

import subprocess
import sys

import pytest

from common.files import ROOT
from common.running import command


def call(*words):
    return subprocess.run([sys.executable, "-m", "common.running", *words], cwd=ROOT,
                          capture_output=True, text=True, timeout=120)


WORDS = [["train"], [], ["train", "batchnorm", "--help"], *(
    [word, "--help"] for word in ("reproduce", "bench", "new", "report", "site", "notebook"))]


@pytest.mark.parametrize("words", [["--help"], ["bench", "batchnorm", "--help"], *(
    pytest.param(words, marks=pytest.mark.slow) for words in WORDS)])
def test_every_word_explains_itself(words):
    done = call(*words)
    assert done.returncode == 0 and done.stdout.strip() and not done.stderr


def test_train_is_the_papers_own_program():
    as_file = subprocess.run([sys.executable, "papers/batchnorm/train.py", "--help"], cwd=ROOT,
                             capture_output=True, text=True, timeout=120)
    assert call("train", "batchnorm", "--help").stdout == as_file.stdout


@pytest.mark.parametrize("words, said", [
    (["trian", "batchnorm"], "unknown command 'trian'; did you mean 'train'?"),
    (["train", "batchnrm"], "unknown paper 'batchnrm'; did you mean 'batchnorm'?"),
    (["report", "batchnrm"], "batchnrm")])
def test_a_wrong_word_ends_in_one_line(words, said, end_of):
    code, output = end_of(lambda: command.main(words))
    assert code == 2 and said in output.err and output.err.count("\n") == 1


@pytest.mark.parametrize("below", ["", "papers/batchnorm"])
def test_the_command_of_one_clone_refuses_to_work_in_another(tmp_path, monkeypatch, end_of, below):
    other = tmp_path / "other"
    for made in ("common/running", "papers/batchnorm"):
        (other / made).mkdir(parents=True)
    (other / "common/running/command.py").touch()
    monkeypatch.chdir(other / below)
    for words in (["report", "--check", "batchnorm"], ["train", "batchnorm"], ["recheck"]):
        code, output = end_of(lambda words=words: command.main(words))
        assert code == 2 and output.err.count("\n") == 1
        assert f"this is the command of {ROOT}" in output.err
        assert f"in {other}: expected another folder, or PYTHONPATH={other}" in output.err
    assert command.main(["--help"]) == 0


@pytest.mark.parametrize("lacking", ["model.py", "config.yaml"])
def test_a_half_made_paper_is_not_trained(tmp_path, monkeypatch, end_of, lacking):
    monkeypatch.setattr(command, "ROOT", tmp_path)
    (tmp_path / "papers/lenet").mkdir(parents=True)
    for name in {"train.py", "model.py", "config.yaml"} - {lacking}:
        (tmp_path / "papers/lenet" / name).touch()
    code, output = end_of(lambda: command.main(["train", "lenet"]))
    assert code == 2 and output.err == f"error: papers/lenet is half-made: expected {lacking}\n"


@pytest.mark.parametrize("words", [
    ["{}"], ["train", "{}"], ["train", "batchnorm", "experiment={}"],
    ["train", "batchnorm", "start_from={}"], ["train", "batchnorm", "start_from={}.safetensors"],
    ["train", "batchnorm", "optim.lr={}"], ["train", "batchnorm", "{}=1"],
    ["train", "batchnorm", "train.device={}"], ["train", "batchnorm", "budget={}"],
    ["train", "batchnorm", "seed={}"], ["reproduce", "{}"], ["reproduce", "batchnorm", "claims={}"],
    ["reproduce", "batchnorm", "experiments={}"], ["reproduce", "batchnorm", "seeds={}"],
    ["reproduce", "batchnorm", "launcher={}"], ["report", "{}"], ["report", "--{}"],
    ["recheck", "batchnorm", "experiments={}"], ["recheck", "batchnorm", "at_most={}"],
    ["export", "{}"], ["export", "x", "format={}"], ["export", "x", "to={}", "sure=true"],
    ["bench", "batchnorm", "blocks={}"], ["bundle", "{}"], ["bundle", "pack", "{}"],
    ["bundle", "pack", "batchnorm", "part={}"], ["bundle", "accept", "{}"],
    ["bundle", "unpack", "{}"], ["new", "{}"], ["new", "x1", "year={}"], ["notebook", "{}"]],
    ids=" ".join)
@pytest.mark.parametrize("value", ["x" * 5000, "x, " * 2000], ids=["solid", "spaced"])
def test_a_long_value_does_not_fill_the_screen(words, value, end_of, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    code, output = end_of(lambda: command.main([w.format(value) for w in words]))
    last = output.err.splitlines()[-1]
    assert code == 2 and last.startswith("error: ") and len(last) < 3200
    assert any(word in last for word in ("expected", "known", "did you mean", "try", "too long"))


@pytest.mark.parametrize("words", [
    ["train", "batchnorm", "-h"], ["reproduce", "batchnorm", "seeds=1", "-h"], ["bench", "-h"],
    ["recheck", "batchnorm", "--help"], ["export", "x", "sure=true", "--help"], ["new", "x", "-h"],
    ["report", "batchnorm", "--help"], ["bundle", "-h"], ["bundle", "pack", "--help"],
    ["bundle", "unpack", "x", "--help"], ["notebook", "--check", "-h"], ["-h"], ["train", "-h"]],
    ids=" ".join)
def test_help_may_stand_anywhere(words, end_of):
    code, output = end_of(lambda: command.main(words))
    assert code == 0 and len(output.out) > 100 and not output.err
