"""Noise of two threads: normal, and a pure function of its arguments."""

import pytest
import scipy.stats
import torch

from common.training.noise import normal_


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_it_is_normal_in_all_its_parts():
    ε = normal_(torch.empty(200_001), 0, "noise", 0)
    for part in (ε, ε[:100_001], ε[100_001:]):
        assert scipy.stats.kstest(part.numpy(), "norm").pvalue > 0.001
    assert abs(torch.corrcoef(torch.stack([ε[:100_000], ε[100_001:]]))[0, 1]) < 0.01


def test_threads_do_not_change_it(threads):
    drawn = []
    for n in (1, 2):
        threads(n)
        drawn.append(normal_(torch.empty(3, 1001), 5, "noise", 7))
    assert torch.equal(*drawn)


@pytest.mark.parametrize("other", [(1, "noise", 7), (0, "other", 7), (0, "noise", 8)])
def test_every_argument_counts(other):
    a, b = normal_(torch.empty(1000), 0, "noise", 7), normal_(torch.empty(1000), *other)
    assert abs(torch.corrcoef(torch.stack([a, b]))[0, 1]) < 0.2


def test_one_number_and_none():
    assert normal_(torch.empty(1), 0, "noise", 0).isfinite()
    assert normal_(torch.empty(0), 0, "noise", 0).numel() == 0
