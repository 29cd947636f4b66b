"""Rates known ahead of time are those of torch's schedulers."""

import pytest
import torch

from common.training.schedules import divided


@pytest.mark.parametrize("milestones", [[], [3], [3, 6], [6, 3], [4, 4], [1, 2, 3]])
@pytest.mark.parametrize("factor", [0.1, 0.3])
def test_divided_rates_are_the_bits_of_torchs_scheduler(milestones, factor):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones, gamma=factor)
    for step in range(9):
        assert divided(0.1, milestones, step, factor) == optimizer.param_groups[0]["lr"]
        optimizer.step()
        scheduler.step()
