"""Sums in float64 where the device has it."""

import math

import torch

from common.training.sums import fraction, wide


def test_wide_is_float64_where_there_is_one(accelerator):
    assert wide(torch.ones(2)).dtype == torch.float64
    assert wide(torch.ones(2, device=accelerator.device)).dtype == torch.float64


def test_wide_is_float32_where_there_is_none(accelerator_without_float64):
    x = torch.ones(2, dtype=torch.bfloat16, device=accelerator_without_float64.device)
    assert wide(x).dtype == torch.float32 and wide(x).sum().item() == 2


def test_a_fraction_is_the_float64_mean_to_the_bit(accelerator_without_float64):
    draw = torch.Generator().manual_seed(0)
    for n in (1, 3, 7, 997, 10_007):
        true = torch.rand(n, generator=draw) < 0.3
        expected = true.double().mean().item()
        assert fraction(true) == expected
        assert fraction(true.to(accelerator_without_float64.device)) == expected
    assert math.isnan(fraction(torch.zeros(0, dtype=torch.bool)))
