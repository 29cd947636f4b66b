"""The paper's method against an independent reference, and its training."""

import pytest
import torch

from common.errors import UserError
from common.experiments import Experiments
from common.files import ROOT
from papers.NAME import train
from papers.NAME.model import Network

EXPERIMENTS = Experiments(train.Config, ROOT / "papers/NAME/config.yaml")


def recipe(**overrides):
    return train.NAME_CLASSRecipe(EXPERIMENTS.resolve(
        "quick", 0, {k.replace("__", "."): v for k, v in overrides.items()}))


def test_the_network_is_equation_1():
    network, x = Network(6, 4, 3), torch.rand(5, 1, 2, 3)
    w1, w2 = network.layer1.weight, network.layer2.weight
    expected = torch.relu(x.flatten(1) @ w1.T + network.layer1.bias) @ w2.T + network.layer2.bias
    torch.testing.assert_close(network(x), expected)


def test_every_declared_parameter_gets_a_gradient():
    network = Network(6, 50, 3)
    network(torch.rand(20, 1, 2, 3)).square().sum().backward()
    for name, p in network.named_parameters():
        assert p.grad is not None and p.grad.abs().sum() > 0, name


def test_golden_curve_of_20_steps(num_regression):
    r = recipe()
    losses = [r.step(k).item() for k in range(20)]
    num_regression.check({"loss": losses}, default_tolerance=dict(rtol=1e-6, atol=0))


def test_training_lowers_the_loss():
    r = recipe()
    losses = [r.step(k).item() for k in range(200)]
    assert sum(losses[-20:]) < 0.7 * sum(losses[:20])


def test_bad_values_are_one_line():
    with pytest.raises(UserError, match="expected a whole number of at least 1"):
        recipe(model__hidden=0)
