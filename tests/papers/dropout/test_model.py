"""Dropout against its definition, its expectation and variance, and torch."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from common.data import generator
from common.training.max_norm import project_max_norm
from common.training.noise import use_generator
from papers.dropout.model import (
    Autoencoder,
    Dropout,
    GaussianDropout,
    InvertedDropout,
    Network,
    kl_sparsity,
    l1,
    l2,
    sampled_probabilities,
)

KINDS = {Dropout: lambda p: p, InvertedDropout: lambda p: 1.0, GaussianDropout: lambda p: 1.0}
N = 200_000


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_expectation_and_variance_of_masks(kind, p):
    torch.manual_seed(0)
    r = kind(p)(torch.ones(N))
    mean = KINDS[kind](p)
    variance = p * (1 - p) if kind is Dropout else (1 - p) / p
    assert r.mean().item() == pytest.approx(mean, abs=5 * math.sqrt(variance / N))
    assert r.var().item() == pytest.approx(variance, rel=0.03)
    if kind is not GaussianDropout:
        assert r.unique().tolist() == [0.0, pytest.approx(mean / p)]


@pytest.mark.parametrize("kind", KINDS)
def test_the_mean_over_masks_is_what_test_time_puts_out(kind):
    torch.manual_seed(0)
    drop, y = kind(0.3), torch.tensor([[-1.0, 2.0, 5.0]])
    mean = drop(y.expand(N, 3)).mean(0)
    torch.testing.assert_close(mean, drop.eval()(y)[0], rtol=0.02, atol=0.02)


def test_inverted_equals_torch_dropout():
    torch.manual_seed(0)
    ours = InvertedDropout(0.7)(torch.ones(N))
    torchs = nn.Dropout(0.3)(torch.ones(N))  # torch's p is the probability of dropping
    assert torch.equal(ours.unique(), torchs.unique())
    assert ours.mean().item() == pytest.approx(torchs.mean().item(), abs=0.01)


def test_every_element_has_a_mask_of_its_own():
    torch.manual_seed(0)
    r = Dropout(0.5)(torch.ones(1000, 50))
    correlation = torch.corrcoef(r.T) - torch.eye(50)
    assert correlation.abs().max() < 0.2 and r.std(0).min() > 0.4


@given(st.floats(0.05, 1.0), st.integers(0, 1000))
@settings(max_examples=25)
def test_the_two_forms_are_equivalent_in_training_and_at_test_time(p, seed):
    w = torch.randn(4, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    y = torch.randn(9, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(seed + 1))
    paper, inverted = Dropout(p), InvertedDropout(p)
    for training in (True, False):
        torch.manual_seed(seed)
        a = w @ paper.train(training)(y)
        torch.manual_seed(seed)
        b = (p * w) @ inverted.train(training)(y)
        torch.testing.assert_close(a, b)


def test_the_equivalent_radius_of_max_norm_is_p_c():
    w = 5 * torch.randn(20, 30, dtype=torch.float64)
    paper, inverted = w.clone(), 0.5 * w
    project_max_norm([paper], 2.0)
    project_max_norm([inverted], 0.5 * 2.0)
    torch.testing.assert_close(0.5 * paper, inverted)


@pytest.mark.parametrize("p", [0.0, -0.1, 1.1])
def test_impossible_probabilities_are_refused(p):
    with pytest.raises(ValueError, match="retention probability"):
        Dropout(p)


def test_projection_is_the_nearest_point_of_the_ball_per_unit():
    w = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    project_max_norm([w], 2.0)
    torch.testing.assert_close(w, torch.tensor([[1.2, 1.6], [0.3, 0.4], [0.0, 0.0]]))


def test_weight_scaling_is_the_exact_mean_for_a_linear_network():
    torch.manual_seed(0)
    network = nn.Sequential(Dropout(0.4), nn.Linear(6, 3))
    x = torch.rand(2, 6)
    mean = network(x.repeat(100_000, 1)).reshape(-1, 2, 3).mean(0)
    torch.testing.assert_close(network.eval()(x), mean, rtol=0.03, atol=0.02)


def test_the_network_is_the_papers_formula():
    network = Network(5, (4, 3), 2, noise="bernoulli", p_input=0.8, p_hidden=0.5).eval()
    y = torch.rand(7, 5)
    expected = 0.8 * y
    for layer in network.layers[:-1]:
        expected = 0.5 * torch.relu(expected @ layer.weight.T + layer.bias)
    last = network.layers[-1]
    torch.testing.assert_close(network(y), expected @ last.weight.T + last.bias)


@pytest.mark.parametrize(("hidden", "count"), [
    ((1024, 1024, 1024), 784 * 1024 + 2 * 1024**2 + 1024 * 10 + 3 * 1024 + 10),
    ((1024, 1024, 2048), 784 * 1024 + 1024**2 + 1024 * 2048 + 2048 * 10 + 4096 + 10)])
def test_parameter_counts(hidden, count):
    with torch.device("meta"):
        assert sum(p.numel() for p in Network(hidden=hidden).parameters()) == count


@pytest.mark.parametrize("noise", ["none", "bernoulli", "inverted", "gaussian"])
def test_every_declared_parameter_gets_a_gradient(noise):
    torch.manual_seed(0)
    for network, x in ((Network(20, (30, 30), noise=noise), torch.rand(50, 20)),
                       (Autoencoder(20, 10, noise), torch.rand(50, 20))):
        network(x).square().sum().backward()
        for name, p in network.named_parameters():
            assert p.grad is not None and p.grad.abs().sum() > 0, name


def test_monte_carlo_averages_probabilities_of_independent_masks():
    torch.manual_seed(0)
    network = Network(8, (16,), 3, p_input=0.5).eval()
    x = torch.rand(4, 8)
    p = sampled_probabilities(network, x, 50)
    assert p.shape == (50, 4, 3)
    torch.testing.assert_close(p.sum(2), torch.ones(50, 4))
    assert p.std(0).min() > 0, "each sample has masks of its own"
    assert not network.training and torch.equal(network(x), network(x)), "sampling is switched off"


def test_penalties_by_hand():
    w = [torch.tensor([[1.0, -2.0]]), torch.tensor([[3.0]])]
    assert l2(w).item() == 7.0 and l1(w).item() == 6.0


def test_kl_sparsity_is_zero_at_the_target_and_equals_scipy_elsewhere():
    from scipy import stats

    y = torch.full((10, 3), 0.2)
    assert kl_sparsity([y], 0.2).item() == pytest.approx(0, abs=1e-7)
    k = torch.arange(60).numpy()
    a, b = stats.poisson(0.2).pmf(k), stats.poisson(0.9).pmf(k)
    keep = (a > 0) & (b > 0)
    expected = (a[keep] * (stats.poisson(0.2).logpmf(k) - stats.poisson(0.9).logpmf(k))[keep]).sum()
    assert kl_sparsity([torch.full((10, 1), 0.9)], 0.2).item() == pytest.approx(expected, rel=1e-5)


def test_the_same_generator_gives_the_same_weights_whatever_the_noise():
    a, b = (Network(noise=n, generator=generator(1, "init")) for n in ("none", "bernoulli"))
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


@pytest.mark.parametrize("noise", ["bernoulli", "inverted", "gaussian"])
def test_a_step_on_a_device_draws_from_the_runs_generator(accelerator_without_float64, noise):
    d = accelerator_without_float64.device
    found = []
    for device in (torch.device("cpu"), d):
        network = Network(8, [6, 6], 3, noise=noise, generator=generator(0, "init")).to(device)
        use_generator(network, torch.Generator(device=device).manual_seed(1))
        x = torch.rand(5, 8, generator=generator(0, "x")).to(device)
        weights = [l.weight for l in network.layers]
        untouched = torch.get_rng_state()
        with accelerator_without_float64.watch() as log:
            hidden = network.hidden_outputs(x)
            loss = network.logits(hidden).square().mean() + l2(weights) + l1(weights)
            (loss + kl_sparsity(hidden, 0.1)).backward()
            project_max_norm(weights, 0.5)
            sampled = sampled_probabilities(network, x, 2)
        assert log.reads == log.uploads == log.scalars == log.mixed == []
        assert torch.equal(torch.get_rng_state(), untouched)
        found.append([loss.item(), sampled.tolist(), *(w.grad.tolist() for w in weights)])
    assert found[0] == found[1]


@pytest.mark.parametrize("kind", [Dropout, InvertedDropout, GaussianDropout])
def test_the_generator_gives_the_numbers_of_the_default_one(kind):
    layer, y = kind(0.7), torch.ones(50)
    torch.manual_seed(4)
    by_default = layer(y)
    layer.generator = torch.Generator().manual_seed(4)
    assert torch.equal(layer(y), by_default)


def test_a_gain_multiplies_the_initial_weights():
    one, three = (Network(784, [300, 200], gain=gain, generator=torch.Generator().manual_seed(1))
                  for gain in (1.0, 3.0))
    for a, b in zip(one.layers, three.layers, strict=True):
        torch.testing.assert_close(3 * a.weight, b.weight)
        assert a.weight.std().item() == pytest.approx(a.in_features**-0.5, rel=0.05)
        assert not b.bias.any()
