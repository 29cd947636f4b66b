"""Rates known ahead of time are those of torch's schedulers."""

import pytest
import torch

from common.training.schedules import (
    divided,
    exp_range,
    exponential,
    linear,
    triangular,
    triangular2,
)


@pytest.mark.parametrize("milestones", [[], [3], [3, 6], [6, 3], [4, 4], [1, 2, 3]])
@pytest.mark.parametrize("factor", [0.1, 0.3])
def test_divided_rates_are_the_bits_of_torchs_scheduler(milestones, factor):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones, gamma=factor)
    for step in range(9):
        assert divided(0.1, milestones, step, factor) == optimizer.param_groups[0]["lr"]
        optimizer.step()
        scheduler.step()


BASE, TOP, SIZE, GAMMA = 0.001, 0.006, 4, 0.9


def cyclic(mode, base=BASE, steps=25):
    """The rates of torch's CyclicLR."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=base)
    scheduler = torch.optim.lr_scheduler.CyclicLR(
        optimizer, base, TOP, SIZE, mode=mode, gamma=GAMMA, cycle_momentum=False)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize("policy", [triangular, triangular2])
def test_cycles_are_those_of_torchs_scheduler(policy):
    found = [policy(BASE, TOP, SIZE, k) for k in range(25)]
    assert found == pytest.approx(cyclic(policy.__name__), rel=1e-12)


def test_both_bounds_of_exp_range_decline():
    found = [exp_range(BASE, TOP, SIZE, GAMMA, k) for k in range(25)]
    torchs = cyclic("exp_range")  # which lets the height decline and leaves the lower bound
    expected = [v - BASE + BASE * GAMMA**k for k, v in enumerate(torchs)]
    assert found == pytest.approx(expected, rel=1e-12)
    assert [exp_range(0.0, TOP, SIZE, GAMMA, k) for k in range(25)] == pytest.approx(
        cyclic("exp_range", base=0.0), rel=1e-12)


def test_cycles_at_their_corners():
    assert [triangular(1.0, 3.0, 2, k) for k in (0, 1, 2, 3, 4, 6)] == [1, 2, 3, 2, 1, 3]
    assert [triangular2(1.0, 3.0, 2, k) for k in (0, 2, 4, 6, 8, 10)] == [1, 3, 1, 2, 1, 1.5]
    assert [exp_range(1.0, 3.0, 2, 0.5, k) for k in (0, 2, 4)] == [1, 3 / 4, 1 / 16]


def test_a_line_ends_at_its_last_rate_and_stays_there():
    assert [linear(1.0, 3.0, 4, k) for k in (0, 1, 4, 5, 100)] == [1, 1.5, 3, 3, 3]
    assert [linear(3.0, 1.0, 2, k) for k in (0, 1, 2, 3)] == [3, 2, 1, 1]


def test_exponential_rates_are_those_of_torchs_scheduler():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    for step in range(9):
        assert exponential(0.1, 0.9, step) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
