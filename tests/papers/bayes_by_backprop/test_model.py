"""Posteriors, priors and KL against torch.distributions and direct float64 sums."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate
from torch import nn
from torch.distributions import Normal, kl_divergence

from common.training.certainty import calibration_error, uncertainty
from papers.bayes_by_backprop import model as module
from papers.bayes_by_backprop.model import (
    BayesianConv2d,
    BayesianLinear,
    Network,
    kl_weights,
    make_update,
    mean_gradients,
    predict,
    prune,
)
from papers.bayes_by_backprop.prior import GaussianPrior, ScaleMixturePrior, gaussian_log_density

MIXTURE = ScaleMixturePrior(0.25, math.exp(-1), math.exp(-7))


def weights(n=200):
    g = torch.Generator().manual_seed(0)
    return torch.cat([torch.randn(n, generator=g, dtype=torch.float64) * s
                      for s in (1e-4, 1e-2, 1.0)])


def test_gaussian_log_density_equals_torch():
    w, mean, std = weights(), weights().flip(0), weights().abs() + 0.1
    torch.testing.assert_close(gaussian_log_density(w, mean, std), Normal(mean, std).log_prob(w))


@pytest.mark.parametrize("prior", [MIXTURE, ScaleMixturePrior(0.5, 1.0, math.exp(-6)),
                                   ScaleMixturePrior(0.75, 0.135, 2.5e-3)])
def test_mixture_log_density_equals_the_direct_sum(prior):
    w = weights()
    zero = torch.zeros((), dtype=torch.float64)
    wide, narrow = (Normal(zero, zero + σ).log_prob(w).exp() for σ in (prior.σ1, prior.σ2))
    direct = torch.log(prior.π * wide + (1 - prior.π) * narrow)
    torch.testing.assert_close(prior.log_density(w), direct, rtol=1e-9, atol=1e-9)


def test_mixture_is_a_density():
    w = torch.linspace(-6, 6, 2_000_001, dtype=torch.float64)
    assert torch.trapezoid(MIXTURE.log_density(w).exp(), w).item() == pytest.approx(1, abs=1e-4)


def test_mixture_neither_overflows_nor_vanishes():
    far = torch.tensor([0.0, 1e-30, 50.0, -50.0])
    assert MIXTURE.log_density(far).isfinite().all() and MIXTURE.slope(far).isfinite().all()


@pytest.mark.parametrize("prior", [MIXTURE, GaussianPrior(0.7)])
def test_slopes_equal_autograd(prior):
    w = weights().requires_grad_()
    (expected,) = torch.autograd.grad(prior.log_density(w).sum(), w)
    torch.testing.assert_close(prior.slope(w.detach()), expected, rtol=1e-9, atol=1e-9)


def test_closed_form_kl_equals_torch():
    μ, σ = weights(), weights().abs() + 0.1
    expected = kl_divergence(Normal(μ, σ), Normal(torch.zeros_like(μ), 0.7)).sum()
    torch.testing.assert_close(GaussianPrior(0.7).kl(μ, σ), expected)


def test_sampled_kl_has_the_divergence_as_its_mean():
    torch.manual_seed(0)
    layer = BayesianLinear(30, 20, GaussianPrior(1.0), ρ=-1.0)
    x = torch.zeros(1, 30)
    estimates = []
    for _ in range(500):
        layer(x)
        estimates.append(layer.kl().item())
    expected = GaussianPrior(1.0).kl(layer.μ, layer.σ).item()
    mean, error = torch.tensor(estimates).mean().item(), torch.tensor(estimates).std() / 500**0.5
    assert abs(mean - expected) < 4 * error


@given(st.integers(1, 2000), st.sampled_from(["uniform", "decreasing"]))
def test_kl_weights_sum_to_one(m, scheme):
    found = kl_weights(m, scheme)
    assert len(found) == m and found.sum().item() == pytest.approx(1, abs=1e-9)
    if scheme == "decreasing" and 2 <= m <= 40:
        assert found.tolist() == pytest.approx([2.0 ** (m - i) / (2.0**m - 1)
                                                for i in range(1, m + 1)])


@pytest.mark.parametrize(("ours", "torchs", "x"), [
    (BayesianLinear(5, 3, MIXTURE), nn.Linear(5, 3), torch.rand(7, 5)),
    (BayesianConv2d(2, 3, 3, MIXTURE, stride=2, padding=1), nn.Conv2d(2, 3, 3, 2, 1),
     torch.rand(4, 2, 9, 9))])
def test_layers_drop_in_for_torchs(ours, torchs, x):
    ours.sampling = False
    with torch.no_grad():
        torchs.weight.copy_(ours.μ[:, :-1].reshape(torchs.weight.shape))
        torchs.bias.copy_(ours.μ[:, -1])
    torch.testing.assert_close(ours(x), torchs(x))
    ours.sampling = True
    assert not torch.equal(ours(x), ours(x)), "a draw of its own for every call"
    assert set(dict(ours.named_parameters())) == {"μ", "ρ"}


def test_one_draw_serves_the_whole_minibatch_and_the_kl():
    layer = BayesianLinear(4, 2, GaussianPrior(1.0), ρ=0.0)
    x = torch.ones(6, 4)
    y = layer(x)
    assert torch.equal(y[0], y[5])
    w = layer._drawn[0]
    torch.testing.assert_close(y[0], w[:, :-1].sum(1) + w[:, -1])
    expected = (Normal(layer.μ, layer.σ).log_prob(w) - Normal(0.0, 1.0).log_prob(w)).sum()
    torch.testing.assert_close(layer.kl(), expected)


def test_kl_before_any_draw_is_refused():
    with pytest.raises(RuntimeError, match="before the first call"):
        BayesianLinear(4, 2, MIXTURE).kl()


def test_every_declared_parameter_gets_a_gradient():
    torch.manual_seed(0)
    network = Network([6, 5, 5, 3], MIXTURE)
    loss = nn.functional.cross_entropy(network(torch.rand(9, 6)), torch.arange(9) % 3)
    (loss + network.kl()).backward()
    for name, p in network.named_parameters():
        assert p.grad is not None and p.grad.abs().sum() > 0, name


def test_parameter_counts():
    with torch.device("meta"):
        network = Network([784, 400, 400, 10], MIXTURE)
    assert sum(p.numel() for p in network.parameters()) == 2 * (477_600 + 810)


def test_pruning_removes_the_noisiest_weights():
    torch.manual_seed(0)
    network = Network([20, 10, 5], GaussianPrior(1.0))
    for l in network.bayesian:
        l.ρ.data.normal_()
    ratio = torch.cat([(l.μ.abs() / l.σ).flatten() for l in network.bayesian]).detach()
    prune(network, 0.75)
    μ = torch.cat([l.μ.flatten() for l in network.bayesian]).detach()
    n = round(0.75 * len(ratio))
    order = ratio.argsort()
    assert not μ[order[:n]].any() and μ[order[n:]].all()
    before = μ.clone()
    prune(network, 0.0)
    assert torch.equal(before, torch.cat([l.μ.flatten() for l in network.bayesian]))


def test_predictions_are_probabilities_of_independent_draws():
    network, x = Network([6, 5, 3], GaussianPrior(1.0), ρ=0.0), torch.rand(4, 6)
    p = predict(network, x, 30)
    torch.testing.assert_close(p.sum(2), torch.ones(30, 4))
    assert p.std(0).min() > 0
    assert torch.equal(predict(network, x, 0), predict(network, x, 0)), "0 samples: the means"


def network_and_twin(device):
    """A small network on the CPU, and the same on a device."""
    made = [Network([4, 6, 3], GaussianPrior(0.7), generator=torch.Generator().manual_seed(0))
            for _ in range(2)]
    return made[0], made[1].to(device)


def test_the_objective_and_the_measures_on_a_device(accelerator_without_float64):
    cpus, twin = network_and_twin(accelerator_without_float64.device)
    inputs = torch.randn(20, 4, generator=torch.Generator().manual_seed(1))
    found = []
    for network in (cpus, twin):
        device = network[0].μ.device
        x, y = inputs.to(device), torch.arange(20, device=device) % 3
        torch.manual_seed(2)
        with accelerator_without_float64.watch() as log:
            objective = torch.nn.functional.cross_entropy(network(x), y) + network.kl()
            objective.backward()
        assert log.reads == log.uploads == log.scalars == []
        p = predict(network, x, 3)
        gradient = network[0].ρ.grad.cpu()
        ece = calibration_error(p.mean(0), y)
        prune(network, 0.5)
        found.append([objective.item(), gradient.tolist(), ece,
                      uncertainty(p)["total"].tolist(), network[0].μ.tolist()])
    assert found[0] == found[1]


def test_the_update_takes_its_numbers_on_the_device(accelerator, monkeypatch):
    monkeypatch.setattr(module, "compile_apart", lambda f: f)
    cpus, twin = network_and_twin(accelerator.device)
    g = torch.Generator().manual_seed(3)
    ε, w, dw = torch.randn(3, 6, 5, generator=g)
    for network, numbers in ((cpus, (0.1, 0.25)), (twin, (0.1, 0.25)),
                             (twin, torch.tensor([0.1, 0.25]).to(accelerator.device))):
        layer = network[0]
        drawn, σ = [tuple(t.to(layer.μ.device) for t in (ε, w, dw))], layer.σ.detach()
        update = make_update(ScaleMixturePrior(), compiled=True)
        with accelerator.watch() as log, torch.no_grad():
            update(layer.μ, layer.ρ, σ, drawn, *numbers)
        assert log.reads == log.uploads == log.scalars == []
        if network is twin and isinstance(numbers, tuple):
            assert torch.equal(layer.μ.cpu(), cpus[0].μ) and torch.equal(layer.ρ.cpu(), cpus[0].ρ)


def test_weights_are_drawn_from_the_layers_generator():
    layer, x = BayesianLinear(4, 3, MIXTURE), torch.ones(1, 4)
    torch.manual_seed(5)
    by_default = layer(x)
    assert layer.generator is None
    layer.generator = torch.Generator().manual_seed(5)
    before = torch.get_rng_state()
    assert torch.equal(layer(x), by_default), "the same numbers from another source"
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("prior", [MIXTURE, ScaleMixturePrior(0.5, 1.0, math.exp(-6)),
                                   GaussianPrior(0.3)])
@pytest.mark.parametrize("σ", [0.002, 0.01, 0.05, 0.3])
@pytest.mark.parametrize("μ", [0.0, 0.003, -0.04, 0.5])
def test_the_priors_mean_slopes_equal_an_integral(prior, μ, σ):
    if isinstance(prior, ScaleMixturePrior) and σ < prior.σ2:
        pytest.skip("posteriors narrower than the narrow component")

    def integrand(ε, power):
        w = torch.tensor(μ + σ * ε, dtype=torch.float64)
        return ε**power * prior.slope(w).item() * math.exp(-ε * ε / 2) / math.sqrt(2 * math.pi)
    near = [(k * getattr(prior, "σ2", 1.0) - μ) / σ for k in (-6, -4, -3, -2, 0, 2, 3, 4, 6)]
    points = [e for e in near if abs(e) < 12]
    expected = [integrate.quad(integrand, -12, 12, args=(k,), points=points, limit=2000)[0]
                for k in (0, 1)]
    found = [t.item() for t in prior.mean_slopes(*(torch.tensor([v], dtype=torch.float64)
                                                    for v in (μ, σ)))]
    scale = max(1.0, *map(abs, expected))
    assert found == pytest.approx(expected, abs=2e-3 * scale)


def test_mean_gradients_are_the_mean_of_the_drawn_ones():
    g = torch.Generator().manual_seed(3)
    μ, σ, nll = (torch.full((1,), v, dtype=torch.float64) for v in (0.02, 0.05, 0.7))
    ε = torch.randn(400_000, generator=g, dtype=torch.float64)
    drawn = module.gradients(MIXTURE, σ, ε, μ + σ * ε, nll, 0.1)
    averaged = mean_gradients(MIXTURE, μ, σ, ε, nll, 0.1)
    for one, other in zip(drawn, averaged, strict=True):
        error = (one - other).std().item() / len(ε) ** 0.5
        assert one.mean().item() == pytest.approx(other.mean().item(), abs=4 * error)
    assert averaged[0].numel() == 1 and drawn[0].std() > 1, "no noise of the prior is left in Δμ"


def test_a_clamped_density_has_the_slope_of_its_clamped_logarithm():
    prior = ScaleMixturePrior(0.25, math.exp(-1), math.exp(-7), clamped=True)
    w = weights().requires_grad_()
    density = MIXTURE.log_density(w).exp().clamp(1e-10, 1)
    (expected,) = torch.autograd.grad(density.log().sum(), w)
    torch.testing.assert_close(prior.slope(w), expected, rtol=1e-6, atol=1e-9)
    assert (expected == 0).sum() > 100 and (expected != 0).sum() > 100
