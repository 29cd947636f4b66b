"""Measures over the bandit's runs, against the rules for seeds and autograd in float64."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from common.evidence.results import Result
from common.evidence.verdicts import Judge, decide
from papers.bayes_by_backprop.facts import ahead, inside, regret_between, width_by_entropy


def finished(name, regrets):
    metrics = {f"regret_{k}": float(v) for k, v in enumerate(regrets)}
    return {name: Result("bayes_by_backprop", name, 0, metrics, {}, {"task.agents": len(regrets)},
                         {})}


@pytest.mark.parametrize("n", [5, 25])
@pytest.mark.parametrize("mean", [8000, 10_000, 10_400, 11_000, 20_000])
def test_agents_are_judged_as_seeds_would_be(n, mean):
    regrets = np.random.default_rng(n).normal(mean, 900, n)
    expected, _ = decide(list(regrets), (8170 - 2451, 8170 + 2451))
    found, _ = decide([inside(finished("bandit_greedy", regrets), 8170, 2451)], (0, math.inf),
                      Judge(sd=1))
    assert found == {"reproduced": "consistent"}.get(expected, expected)


@pytest.mark.parametrize("shift", [-3000, -300, 300, 3000])
def test_kinds_of_agent_are_compared_mushroom_by_mushroom(shift):
    draw = np.random.default_rng(1)
    common, own = draw.normal(9000, 4000, 25), draw.normal(0, 1500, 25)
    runs = finished("a", common + shift + own) | finished("b", common)
    expected, _ = decide(list(shift + own), (0, math.inf))
    found, _ = decide([ahead(runs, "a", "b")], (0, math.inf), Judge(sd=1))
    assert found == {"reproduced": "consistent"}.get(expected, expected)


def test_one_agent_that_never_eats_settles_no_order():
    greedy = finished("greedy", [3240, 6060, 11_025, 7415, 128_915])
    runs = greedy | finished("bbb", [12_650, 14_100, 11_555, 17_775, 14_395])
    assert decide([ahead(runs, "greedy", "bbb")], (0, math.inf), Judge(sd=1))[0] == "undecided"
    assert decide([inside(greedy, 8170, 2451)], (0, math.inf), Judge(sd=1))[0] == "undecided"


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
