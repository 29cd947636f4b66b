"""Measures of certainty, by hand."""

import math

import pytest
import torch
import torch.nn.functional as F

from common.training.certainty import calibration_error, nll, uncertainty


def test_nll_is_torchs_cross_entropy():
    z = torch.randn(30, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(30) % 5
    assert nll(z.softmax(1), labels) == pytest.approx(F.cross_entropy(z, labels).item(), rel=1e-5)
    assert nll(torch.tensor([[1.0, 0.0]]), torch.tensor([1])) == pytest.approx(
        12 * math.log(10)), "never infinite"


def test_uncertainty_by_hand():
    sure, even = torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.5])
    disagree = torch.stack([sure, sure.flip(0)])[:, None]
    found = uncertainty(disagree)
    assert [found[k].item() for k in ("total", "aleatoric", "epistemic")] == pytest.approx(
        [math.log(2), 0, math.log(2)], abs=1e-6)
    found = uncertainty(torch.stack([even, even])[:, None])
    assert [found[k].item() for k in ("total", "aleatoric", "epistemic")] == pytest.approx(
        [math.log(2), math.log(2), 0], abs=1e-6)


def test_calibration_error_by_hand():
    p = torch.tensor([[0.9, 0.1]] * 10)
    labels = torch.tensor([0] * 7 + [1] * 3)
    assert calibration_error(p, labels) == pytest.approx(0.2)
    assert calibration_error(p, torch.tensor([0] * 9 + [1])) == pytest.approx(0, abs=1e-6)
