"""Batch Normalization against torch, autograd and the paper's own properties."""

import pytest
import torch
from torch import nn

from common.data import generator
from papers.batchnorm.model import (
    BatchNorm,
    BatchNormByHand,
    Network,
    batch_norm,
    moments,
    population_statistics,
)

SHAPES = [(8, 5), (4, 5, 3, 2)]
TORCH = {2: nn.BatchNorm1d, 4: nn.BatchNorm2d}


def batch(shape, seed=0, grad=False):
    g = torch.Generator().manual_seed(seed)
    return (3 + 2 * torch.randn(shape, generator=g, dtype=torch.float64)).requires_grad_(grad)


@pytest.mark.parametrize("shape", SHAPES)
def test_training_inference_and_moving_averages_equal_torch(shape):
    ours, torchs = BatchNorm(5).double(), TORCH[len(shape)](5).double()
    with torch.no_grad():
        for mine, theirs in ((ours.γ, torchs.weight), (ours.β, torchs.bias)):
            theirs.copy_(mine.copy_(torch.linspace(-1, 2, 5)))
    for seed in range(4):
        x, z = batch(shape, seed, grad=True), batch(shape, seed, grad=True)
        y, w = ours(x), torchs(z)
        torch.testing.assert_close(y, w, rtol=1e-12, atol=1e-12)
        torch.sin(y).sum().backward()
        torch.sin(w).sum().backward()
        torch.testing.assert_close(x.grad, z.grad, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(ours.γ.grad, torchs.weight.grad)
    torch.testing.assert_close(ours.β.grad, torchs.bias.grad)
    torch.testing.assert_close(ours.moving_mean, torchs.running_mean)
    torch.testing.assert_close(ours.moving_var, torchs.running_var)
    ours.eval(), torchs.eval()
    x = batch(shape, 9)
    torch.testing.assert_close(ours(x), torchs(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_six_equations_pass_gradcheck(shape):
    γ, β = (torch.randn(5, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(
        lambda *a: BatchNormByHand.apply(*a, 1e-5)[0], (batch(shape, grad=True), γ, β))


@pytest.mark.parametrize("shape", SHAPES)
def test_by_hand_equals_the_readable_form(shape):
    x, γ, β = batch(shape), torch.rand(5).double(), torch.rand(5).double()
    torch.testing.assert_close(BatchNormByHand.apply(x, γ, β, 1e-3)[0],
                               batch_norm(x, γ, β, 1e-3), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("shape", SHAPES)
def test_moments_are_the_biased_ones_over_batch_and_positions(shape):
    x = batch(shape)
    flat = x.transpose(0, 1).reshape(5, -1)
    μ, σ2, m = moments(x)
    torch.testing.assert_close(μ, flat.mean(1))
    torch.testing.assert_close(σ2, flat.var(1, correction=0))
    assert m == flat.shape[1]


def test_population_statistics_are_algorithm_2():
    network = nn.Sequential(nn.Linear(4, 5), BatchNorm(5), nn.Linear(5, 3), BatchNorm(3)).double()
    batches = [batch((6, 4), seed) for seed in range(5)]
    moving = network[1].moving_mean.clone()
    population_statistics(network, batches)
    with torch.no_grad():
        for layer, inputs in (
                (network[1], [network[0](x) for x in batches]),
                (network[3], [network[2](batch_norm(network[0](x), network[1].γ, network[1].β,
                                                    network[1].ε)) for x in batches])):
            mean = torch.stack([u.mean(0) for u in inputs]).mean(0)
            var = torch.stack([u.var(0, correction=1) for u in inputs]).mean(0)
            torch.testing.assert_close(layer.population_mean, mean)
            torch.testing.assert_close(layer.population_var, var)
    assert torch.equal(network[1].moving_mean, moving), "moving averages are left alone"
    network.eval()
    x = batch((6, 4), 7)
    before = network(x)
    network[1].use_population = network[3].use_population = True
    assert not torch.allclose(before, network(x))


def test_evaluation_does_not_use_statistics_of_its_own_batch():
    network = Network(7, (6, 6), 3, bn=True, init_std=0.5)
    for seed in range(3):
        network(batch((20, 7), seed).float())
    network.eval()
    x = batch((9, 7), 5).float()
    together = network(x)
    alone = torch.cat([network(row[None]) for row in x])
    torch.testing.assert_close(together, alone)


def test_one_value_per_activation_cannot_be_trained_on():
    with pytest.raises(ValueError, match="at least two values"):
        BatchNorm(5)(torch.zeros(1, 5))


def networks(bn=(False, True), seed=3):
    return [Network(784, bn=b, init_std=0.05, generator=generator(seed, "init")) for b in bn]


def test_both_arms_start_from_the_same_weights():
    plain, bn = networks()
    ours = {n: p for n, p in bn.named_parameters() if n.endswith("weight")}
    theirs = {n: p for n, p in plain.named_parameters() if n.endswith("weight")}
    assert ours.keys() == theirs.keys() and len(ours) == 4
    assert all(torch.equal(ours[n], theirs[n]) for n in ours)
    assert not torch.equal(networks(seed=4)[0].output.weight, plain.output.weight)


def test_parameter_counts():
    plain, bn = (sum(p.numel() for p in n.parameters()) for n in networks())
    weights = 784 * 100 + 100 * 100 * 2 + 100 * 10
    assert plain == weights + 3 * 100 + 10, "a bias per unit"
    assert bn == weights + 3 * (100 + 100) + 10, "γ and β per unit, no bias"


def test_initial_weights_are_gaussian_of_the_given_scale():
    weight = networks()[0].hidden[0][0].weight
    assert weight.std().item() == pytest.approx(0.05, rel=0.02)
    assert (weight.abs() < 0.1).float().mean().item() == pytest.approx(0.9545, abs=0.005)


@pytest.mark.parametrize("bn", [False, True])
def test_every_declared_parameter_gets_a_gradient(bn):
    network = Network(20, bn=bn, init_std=0.5)
    loss = nn.functional.cross_entropy(network(torch.rand(60, 20)), torch.arange(60) % 10)
    loss.backward()
    for name, p in network.named_parameters():
        assert p.grad is not None and p.grad.abs().sum() > 0, name


def test_the_network_is_the_formula_of_section_4_1():
    network = Network(6, (5, 4, 3), 2, bn=False, init_std=0.7)
    first = torch.rand(8, 6)
    expected = first
    for k, layer in enumerate(network.hidden):
        expected = expected @ layer[0].weight.T + layer[0].bias
        if k == 2:
            torch.testing.assert_close(network.last_sigmoid_input(first), expected)
        expected = torch.sigmoid(expected)
    torch.testing.assert_close(
        network(first), expected @ network.output.weight.T + network.output.bias)


@pytest.mark.parametrize("by_hand", [True, False])
def test_a_step_and_population_statistics_on_a_device(accelerator_without_float64, by_hand):
    found = []
    for device in (torch.device("cpu"), accelerator_without_float64.device):
        network = Network(8, [6, 6], 3, bn=True, generator=generator(0, "init")).to(device)
        for layer in network.modules():
            if isinstance(layer, BatchNorm):
                layer.by_hand = by_hand
        x = torch.randn(10, 8, generator=generator(0, "x")).to(device)
        with accelerator_without_float64.watch() as log:
            network(x).square().mean().backward()
            population_statistics(network, x.split(5))
            y = network.eval()(x)
        assert log.reads == log.uploads == log.scalars == log.mixed == []
        found.append([y.tolist(), *(v.tolist() for v in network.state_dict().values()),
                      *(p.grad.tolist() for p in network.parameters())])
    assert found[0] == found[1]
