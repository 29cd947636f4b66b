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
