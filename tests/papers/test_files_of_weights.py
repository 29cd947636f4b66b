"""Every reader of weights says in the same way what is not there or lies beside them."""

import pytest

from common import decoded
from common.errors import UserError
from common.running import ready
from common.training import weight_files
from papers.bayes_by_backprop import weights as of_bayes
from papers.deep_compression import compress
from papers.dropout import weights as of_dropout
from papers.resnet import weights as of_resnet

READERS = {"shared": weight_files.read, "bayes_by_backprop": of_bayes.load,
           "dropout": of_dropout.load, "resnet": of_resnet.load,
           "deep_compression": compress.weights_of}


@pytest.mark.parametrize("read", READERS.values(), ids=list(READERS))
def test_a_file_that_is_not_there_is_named_once(tmp_path, read):
    with pytest.raises(UserError, match=r"cannot read .*: No such file or directory$") as e:
        read(tmp_path / "none.safetensors")
    assert str(e.value).count("none.safetensors") == 1


def test_data_that_are_not_there_are_named_once(tmp_path):
    with pytest.raises(UserError, match=r"\(No such file or directory\)$") as e:
        decoded.read("digits", tmp_path / "none.safetensors")
    assert str(e.value).count("none.safetensors") == 1


@pytest.mark.parametrize("name", ["n.json", "n.md"])
@pytest.mark.parametrize("read", [*READERS.values(), lambda p: ready.load_ready(str(p), 1)],
                         ids=[*READERS, "export"])
def test_what_lies_beside_weights_is_not_taken_for_them(tmp_path, read, name):
    (tmp_path / name).write_text("{}")
    with pytest.raises(UserError, match=r"n\.(json|md): .*: expected n\.safetensors, if this \w+"):
        read(tmp_path / name)
