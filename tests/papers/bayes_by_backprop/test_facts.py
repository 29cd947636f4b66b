"""Measures over the bandit's runs, against autograd in float64."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from common.evidence.results import Result
from papers.bayes_by_backprop.facts import regret_between, width_by_entropy


@pytest.mark.parametrize("ρ", [-5.0, -1.0])
def test_entropy_alone_widens_the_posterior(ρ):
    config = {"train.steps": 30, "train.batch_size": 8, "optim.lr": 0.01, "optim.milestones": [20],
              "task.memory": 20, "task.updates": 4, "model.rho": ρ}
    leaf = torch.tensor(ρ, dtype=torch.float64, requires_grad=True)
    for step in range(30):
        π = 1 / math.ceil(min(step + 1, 20) / 8)
        log_q = torch.distributions.Normal(0.0, F.softplus(leaf)).log_prob(torch.tensor(0.0))
        slope, = torch.autograd.grad(π * log_q, leaf)
        with torch.no_grad():
            leaf -= 4 * (0.01 if step < 20 else 0.001) * slope
    run = Result("bayes_by_backprop", "a", 0, {}, {}, config, {})
    assert width_by_entropy(run) == pytest.approx(F.softplus(leaf).item(), rel=1e-9)


def test_regret_is_counted_between_two_mushrooms():
    curve = (np.array([5, 10, 15]), np.array([2.0, 7.0, 8.0]))
    run = Result("bayes_by_backprop", "a", 0, {}, {"regret": curve}, {}, {})
    assert regret_between({"a": run}, 5, 15) == 6
