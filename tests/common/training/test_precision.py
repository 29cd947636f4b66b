"""Precision: TF32 is taken where it is asked for, and only there."""

import warnings

import pytest
import torch

from common.config import Config, TrainConfig
from common.errors import UserError
from common.training.precision import check_precision, set_precision


@pytest.fixture(autouse=True)
def switches():
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    yield
    matmul.allow_tf32, cudnn.allow_tf32 = before


@pytest.mark.parametrize(("precision", "allowed"), [
    ("float32", False), ("tf32", True), ("bfloat16", False)])
def test_products_and_convolutions_take_tf32_only_where_asked(precision, allowed):
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    matmul.allow_tf32 = cudnn.allow_tf32 = not allowed
    with warnings.catch_warnings(action="error"):
        set_precision(precision)
        assert matmul.allow_tf32 is allowed and cudnn.allow_tf32 is allowed
        assert torch.get_float32_matmul_precision() == ("high" if allowed else "highest")


def test_tf32_is_refused_where_there_is_none():
    config = Config(train=TrainConfig(precision="tf32"))
    check_precision(config, "cuda")
    with pytest.raises(UserError, match=r"train.precision=tf32: expected a CUDA card, not cpu"):
        check_precision(config, "cpu")
    for precision in ("float32", "bfloat16"):
        check_precision(Config(train=TrainConfig(precision=precision)), "cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")
def test_float32_is_ieee_on_a_card():
    x = torch.rand(512, 512, device="cuda")
    exact = x.double() @ x.double()
    off = {}
    for precision in ("float32", "tf32"):
        set_precision(precision)
        off[precision] = ((x @ x).double() - exact).abs().max().item()
    assert off["float32"] < 1e-3 < off["tf32"]
