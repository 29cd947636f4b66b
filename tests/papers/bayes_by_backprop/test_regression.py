"""The regression of Fig. 5: objective, quartiles, golden curves."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from common.experiments import Experiments
from common.files import ROOT
from papers.bayes_by_backprop import facts
from papers.bayes_by_backprop.train import GRID, Config, RegressionRecipe, gaussian_nll

EXPERIMENTS = Experiments(Config, ROOT / "papers/bayes_by_backprop/config.yaml")


def made(name="regression_bbb", **overrides):
    return RegressionRecipe(EXPERIMENTS.resolve(name, 0, {"model.units": 10} | {
        k.replace("__", "."): v for k, v in overrides.items()}))


@pytest.mark.parametrize("name", ["regression_bbb", "regression_sgd"])
def test_golden_curve_of_20_steps(name, num_regression):
    r = made(name)
    r.model.double()
    r.inputs, r.labels = r.inputs.double(), r.labels.double()
    losses = [r.step(k).item() for k in range(20)]
    num_regression.check({"loss": losses}, default_tolerance=dict(rtol=1e-6, atol=0))


def test_the_points_of_the_figure():
    r = made()
    assert r.inputs.shape == r.labels.shape == (598, 1)
    assert -0.001 <= r.inputs.min().item() and r.inputs.max().item() <= 0.501


def test_the_likelihood_equals_torchs():
    a, y = torch.randn(20, 1), torch.randn(20, 1)
    expected = -Normal(a, 0.05).log_prob(y).sum()
    torch.testing.assert_close(gaussian_nll(a, y, 0.05), expected)


def test_minibatch_objectives_add_up():
    r = made()
    r.model.sample(False)
    with torch.no_grad():
        whole = r.loss((r.inputs, r.labels), {}) * 598
        parts = sum(r.loss((x, y), {}) * 299 for x, y in zip(
            r.inputs.split(299), r.labels.split(299), strict=True))
    torch.testing.assert_close(whole, parts)


def test_quartiles_of_a_plain_network_are_its_noise():
    r = made("regression_sgd", measure__samples=40)
    metrics = r.evaluate(0, True)
    low, median, high = (np.array([metrics[f"q{q}_{i}"] for i in range(len(GRID))])
                         for q in (25, 50, 75))
    with torch.no_grad():
        np.testing.assert_allclose(median, r.model(GRID)[:, 0].numpy(), atol=0.01)
    np.testing.assert_allclose(high - low, 2 * 0.6745 * 0.05, rtol=0.15)


def test_widening_and_misfit():
    x = GRID.squeeze().numpy()
    width = np.where(x > 0.6, 3.0, np.where(x < 0, 2.0, 1.0))
    curve = x + 0.3 * np.sin(2 * np.pi * x) + 0.3 * np.sin(4 * np.pi * x) + 0.02
    metrics = {f"q{q}_{i}": c + s * w / 2 for q, s in ((25, -1), (50, 0), (75, 1))
               for i, (c, w) in enumerate(zip(curve, width, strict=True))}
    run = SimpleNamespace(metrics=metrics)
    assert facts.widening({"a": run}, "right") == pytest.approx(3)
    assert facts.widening({"a": run}, "left") == pytest.approx(2)
    assert facts.misfit({"a": run}) == pytest.approx(0.02)
