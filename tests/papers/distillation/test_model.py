"""Soft targets against torch's losses and float64 autograd, shifts against counting and scipy."""

import numpy as np
import pytest
import scipy.optimize
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from common.data import generator
from common.errors import UserError
from papers.distillation import facts
from papers.distillation.model import (
    Network,
    best_shift,
    distillation_loss,
    errors_by_shift,
    gradient,
    matching,
    network_of,
    shifted,
    soft_cross_entropy,
    softened,
)


def draw(*shape, seed=0, scale=4.0):
    return scale * torch.randn(*shape, generator=generator(seed, "logits"), dtype=torch.float64)


# ---- soft targets ------------------------------------------------------------------------------


def test_softened_outputs_are_equation_1():
    z = draw(6, 5)
    e = np.exp(z.numpy() / 3)
    np.testing.assert_allclose(softened(z, 3), e / e.sum(1, keepdims=True), rtol=1e-12)
    assert softened(z, 20).max() < softened(z, 3).max() < softened(z, 1).max()


@pytest.mark.parametrize("T", [1.0, 2.5, 20.0])
def test_the_soft_loss_is_torchs_cross_entropy_with_probabilities(T):
    z, v = draw(7, 10), draw(7, 10, seed=1)
    p = torch.softmax(v / T, 1)
    ours = soft_cross_entropy(z, v, T)
    torch.testing.assert_close(ours, nn.CrossEntropyLoss()(z / T, p))
    entropy = -(p * p.log()).sum(1).mean()
    divergence = nn.KLDivLoss(reduction="batchmean")(F.log_softmax(z / T, 1), p)
    torch.testing.assert_close(ours, divergence + entropy)


def test_both_objectives_are_averaged_by_weight_and_the_soft_one_times_t2():
    z, v, y = draw(7, 10), draw(7, 10, seed=1), torch.arange(7)
    soft = nn.CrossEntropyLoss()(z / 8, torch.softmax(v / 8, 1))
    expected = 0.7 * 64 * soft + 0.3 * nn.CrossEntropyLoss()(z, y)
    torch.testing.assert_close(distillation_loss(z, v, y, 8.0, 0.3), expected)
    torch.testing.assert_close(distillation_loss(z, v, y, 8.0, 1.0), F.cross_entropy(z, y))


@pytest.mark.parametrize("T", [1.0, 4.0, 30.0])
def test_equation_2_is_the_gradient(T):
    z, v = draw(5, 10).requires_grad_(), draw(5, 10, seed=1)
    nn.CrossEntropyLoss(reduction="sum")(z / T, torch.softmax(v / T, 1)).backward()
    torch.testing.assert_close(gradient(z.detach(), v, T), z.grad)


def test_equation_4_is_the_gradient_of_half_the_squares_over_n_t2():
    z, v = draw(5, 10).requires_grad_(), draw(5, 10, seed=1)
    (0.5 * (z - v).square().sum() / (10 * 50.0**2)).backward()
    torch.testing.assert_close(matching(z.detach(), v, 50.0), z.grad)


def test_the_high_temperature_limit_comes_as_one_over_t():
    z, v = (x - x.mean(1, keepdim=True) for x in (draw(20, 10), draw(20, 10, seed=1)))
    Ts = np.array([200.0, 400, 800, 1600])
    errors = [((gradient(z, v, T) - matching(z, v, T)).norm() / matching(z, v, T).norm()).item()
              for T in Ts]
    slope = np.polyfit(np.log(Ts), np.log(errors), 1)[0]
    assert slope == pytest.approx(-1, abs=0.03)
    assert errors[-1] < 0.01
    raised = gradient(z + 3, v, 1600.0)  # a constant that eq. (2) does not see, and eq. (4) does
    torch.testing.assert_close(raised, gradient(z, v, 1600.0))
    assert not torch.allclose(matching(z + 3, v, 1600.0), raised, rtol=0.1)


def test_exact_facts():
    assert facts.softmax_difference() == facts.gradient_error() == 0
    assert facts.slope(1e4) == pytest.approx(1, abs=2e-3)
    assert facts.order_of_the_limit() == pytest.approx(1, abs=0.02)
    assert facts.without_zero_mean() == pytest.approx(1, abs=1e-3)
    assert facts.squares_difference() == pytest.approx(1, abs=2e-3)
    assert facts.gradient_ratio(1000.0, 2.0) == pytest.approx(4, abs=0.05)
    assert facts.scaled_ratio(1000.0, 2.0) == pytest.approx(1, abs=0.02)
    assert facts.orders_changed() == 0
    assert facts.parameters(1200) == 785 * 1200 + 1201 * 1200 + 1201 * 10
    assert facts.parameters(800) == 785 * 800 + 801 * 800 + 801 * 10


# ---- networks ----------------------------------------------------------------------------------


def test_the_network_is_layers_of_relus():
    network, x = Network(12, [7, 5], 3, generator=generator(0, "init")), torch.rand(4, 1, 3, 4)
    twin = nn.Sequential(nn.Flatten(), nn.Linear(12, 7), nn.ReLU(), nn.Linear(7, 5), nn.ReLU(),
                         nn.Linear(5, 3))
    nn.utils.vector_to_parameters(nn.utils.parameters_to_vector(network.parameters()),
                                  twin.parameters())
    torch.testing.assert_close(network(x), twin(x))


def test_every_declared_parameter_gets_a_gradient():
    network = Network(12, [30, 30], 3, 0.9, 0.8, generator(0, "init"))
    network(torch.rand(50, 1, 3, 4)).square().sum().backward()
    for name, p in network.named_parameters():
        assert p.grad.abs().sum() > 0, name


def test_first_weights_have_the_variance_two_over_inputs():
    network = Network(generator=generator(0, "init"))
    for layer in network.layers:
        assert layer.weight.std().item() == pytest.approx((2 / layer.in_features) ** 0.5, rel=0.03)
        assert layer.bias.abs().sum() == 0


def test_what_is_retained_is_scaled_so_that_evaluation_needs_nothing():
    network = Network(400, [300], 2, 0.8, 0.5, generator(0, "init")).train()
    torch.manual_seed(0)
    dropped = network.drops[0](torch.ones(1, 400))
    assert sorted(dropped.unique().tolist()) == [0, 1.25]
    assert network.drops[1](torch.ones(9, 300)).unique().tolist() == [0, 2]
    x = torch.rand(3, 400)
    plain = Network(400, [300], 2)
    plain.load_state_dict(network.state_dict())
    torch.testing.assert_close(network.eval()(x), plain(x))


def test_a_teacher_is_made_again_from_its_weights():
    network, x = Network(6, [5, 4], 3, 0.8, 0.5, generator(0, "init")).eval(), torch.rand(9, 6)
    again = network_of(network.state_dict())
    assert torch.equal(again(x), network(x)) and not again.training
    with pytest.raises(UserError, match="expected the logits of a teacher, or its weights"):
        network_of({"conv.weight": torch.zeros(3, 1, 5, 5)})


# ---- biases moved after training -----------------------------------------------------------------


def count(z, labels, classes, shift):
    moved = z.numpy().copy()
    for k in classes:
        moved[:, k] += shift
    return int((moved.argmax(1) != labels.numpy()).sum())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([[3], [7, 8], [0, 2, 5]]))
def test_errors_by_shift_are_those_counted_one_by_one(seed, classes):
    z, labels = draw(40, 10, seed=seed), torch.randint(0, 10, (40,), generator=generator(seed, "y"))
    edges, errors = errors_by_shift(z, labels, classes)
    assert len(errors) == len(edges) + 1 and (edges.diff() >= 0).all()
    for shift in (-9.3, -1.7, 0.0, 0.4, 3.5, 12.1):
        assert errors[(edges < shift).sum()] == count(z, labels, classes, shift)
    found = best_shift(z, labels, classes)
    everywhere = np.concatenate([[edges[0] - 1], (edges[1:] + edges[:-1]) / 2, [edges[-1] + 1]])
    assert count(z, labels, classes, found) == min(
        count(z, labels, classes, b) for b in everywhere)


def test_the_line_search_is_scipys():
    z, labels = draw(300, 10, scale=2), torch.arange(300) % 10
    z[torch.arange(300), labels] += 6
    z[:, 3] -= 7  # a bias much too low
    f = lambda b: count(z, labels, [3], float(np.ravel(b)[0]))  # noqa: E731
    by_scipy = scipy.optimize.brute(f, [(-5, 20)], Ns=2001, full_output=True, finish=None)
    found = best_shift(z, labels, [3])
    assert f(found) == by_scipy[1] < f(0)
    assert found == pytest.approx(7, abs=2.5)


def test_the_best_shift_beyond_all_edges():
    z, labels = draw(20, 4), torch.full((20,), 2)
    assert count(z, labels, [2], best_shift(z, labels, [2])) == 0
    assert count(z, labels, [0, 1, 3], best_shift(z, labels, [0, 1, 3])) == 0


def test_a_shift_moves_what_it_names_and_nothing_else():
    z = draw(30, 10)
    moved = shifted(z, [7, 8], -7.6)
    expected = z.clone()
    expected[:, 7] -= 7.6
    expected[:, 8] -= 7.6
    torch.testing.assert_close(moved, expected)
    assert torch.equal(z, draw(30, 10)), "the logits are left as they are"
