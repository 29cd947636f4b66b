"""Dropout from a run's own generator."""

import pytest
import torch
from torch import nn

from common.training.layers import Dropout


@pytest.mark.parametrize("p", [0.0, 0.2, 1.0])
def test_without_a_generator_it_is_torchs_to_the_bit(p):
    x = torch.randn(20, 30)
    drawn = []
    for layer in (Dropout(p), nn.Dropout(p)):
        torch.manual_seed(3)
        drawn.append(layer(x))
    assert torch.equal(*drawn)


def test_with_a_generator_it_draws_from_no_other(accelerator):
    untouched, masks = torch.get_rng_state(), []
    for device in (torch.device("cpu"), accelerator.device):
        layer, x = Dropout(0.3), torch.ones(50, 40, device=device, requires_grad=True)
        layer.generator = torch.Generator(device=device).manual_seed(1)
        with accelerator.watch() as log:
            y = layer(x)
            y.sum().backward()
        assert not log.reads and not log.uploads
        assert torch.equal(x.grad.cpu(), y.detach().cpu())
        masks.append(y.detach().cpu())
        assert not torch.equal(layer(x).cpu(), masks[-1])
    assert torch.equal(*masks) and torch.equal(torch.get_rng_state(), untouched)
    assert masks[0].unique().tolist() == pytest.approx([0, 1 / 0.7])
    assert (masks[0] == 0).float().mean().item() == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize("generator", [None, torch.Generator()])
def test_evaluation_and_the_extremes(generator):
    x = torch.randn(5, 5)
    for p in (0.0, 0.5, 1.0):
        layer = Dropout(p)
        layer.generator = generator
        assert torch.equal(layer.eval()(x), x)
    layer.train()
    assert (layer(x) == 0).all()
    layer.p = 0.0
    assert torch.equal(layer(x), x)


@pytest.mark.parametrize("p", [-0.1, 1.1])
def test_impossible_probabilities_are_refused(p):
    with pytest.raises(ValueError, match="expected 0 to 1"):
        Dropout(p)
