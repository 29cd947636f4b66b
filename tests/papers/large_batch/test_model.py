"""Ghost batches, metric (3) and curvature against torch, scipy and closed forms."""

import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
import torch
import torch.nn.functional as F
from torch import nn

from common.data import generator
from papers.large_batch.facts import parameters, quadratic, quadratic_sharpness
from papers.large_batch.model import (
    GhostBatchNorm,
    Objective,
    c1,
    f1,
    flat,
    hessian_product,
    initialise,
    line,
    pseudo_inverse,
    random_directions,
    ritz_values,
    sharpness,
    statistics,
)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed, "test"), dtype=torch.float64)


def small(seed=0, hidden=(5, 4)):
    """A network in float64, and images whose moving averages it has seen."""
    network = f1(6, 3, hidden).double()
    initialise(network, generator(seed, "init"))
    x, y = draw(20, 6), torch.arange(20) % 3
    network(x)
    return network, x, y


# ---- networks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize(("shape", "torchs"), [((12, 5), nn.BatchNorm1d),
                                               ((12, 5, 3, 2), nn.BatchNorm2d)])
def test_ghosts_are_batch_norm_one_ghost_after_another(shape, torchs, at_once):
    ours, theirs = GhostBatchNorm(5, 4).double(), torchs(5).double()
    with torch.no_grad():
        for mine, other in ((ours.weight, theirs.weight), (ours.bias, theirs.bias)):
            other.copy_(mine.copy_(torch.linspace(-1, 2, 5)))
    for seed in range(3):
        x, z = (3 + 2 * draw(*shape, seed=seed)).requires_grad_(), None
        z = x.detach().clone().requires_grad_()
        y = ours.at_once(x) if at_once else ours(x)
        w = torch.cat([theirs(z[k:k + 4]) for k in (0, 4, 8)])
        torch.testing.assert_close(y, w, rtol=1e-12, atol=1e-12)
        y.sin().sum().backward()
        w.sin().sum().backward()
        torch.testing.assert_close(x.grad, z.grad, rtol=1e-10, atol=1e-12)
        assert not torch.allclose(y, torchs(5).double()(x)), "not that of the whole batch"
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    assert ours.num_batches_tracked == theirs.num_batches_tracked == 9
    x = draw(*shape, seed=9)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


def test_without_ghosts_it_is_torchs():
    ours, theirs = GhostBatchNorm(5).double(), nn.BatchNorm1d(5).double()
    x = 3 + draw(12, 5)
    torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours.running_var, theirs.running_var)


def test_parameter_counts():
    norms = 5 * 2 * 512
    assert parameters() == 785 * 512 + 4 * 513 * 512 + 513 * 10 + norms == 1_462_794
    counted = sum(p.numel() for p in c1().parameters())
    assert counted == (3 * 25 + 1) * 64 + (64 * 25 + 1) * 64 + (64 * 64 + 1) * 384 \
        + 385 * 192 + 193 * 10 + 2 * (64 + 64 + 384 + 192)


@pytest.mark.parametrize("make", [lambda: f1(64, 10, (20, 20), 5), lambda: c1(1, 8, 10, 5)])
def test_every_declared_parameter_gets_a_gradient(make):
    network = make()
    initialise(network, generator(0, "init"))
    x = torch.rand(20, 1, 8, 8, generator=generator(0, "x"))
    loss = F.cross_entropy(network(x), torch.arange(20) % 10)
    loss.backward()
    norms = [k for k, m in enumerate(network) if isinstance(m, GhostBatchNorm)]
    cancelled = {f"{k - 1}.bias" for k in norms}  # of the layer that a mean is taken from
    for name, p in network.named_parameters():
        assert p.grad is not None, name
        assert p.grad.abs().max() > (0 if name in cancelled else 1e-6), name


def test_initial_weights_are_glorots_and_uniform():
    network = f1()
    initialise(network, generator(0, "init"))
    weight = network[1].weight
    bound = (6 / (784 + 512)) ** 0.5
    assert weight.abs().max().item() <= bound
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.01)
    assert network[1].bias.abs().sum() == 0


def test_the_objective_is_the_network_with_other_weights():
    network, x, y = small()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    other = draw(len(flat(network)), seed=3)
    found = {mode: Objective(network, x, y, mode)(other).item() for mode in (False, True)}
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items()), "no trace"
    assert all(m.training for m in network.modules())
    with torch.no_grad():
        nn.utils.vector_to_parameters(other, network.parameters())
        assert found[False] == pytest.approx(F.cross_entropy(network.eval()(x), y).item())
        assert found[True] == pytest.approx(F.cross_entropy(network.train()(x), y).item())
    assert abs(found[True] - found[False]) > 1e-3


def test_statistics_of_the_batch_turn_dropout_off():
    network = c1(1, 8, 10)
    x = torch.rand(6, 1, 8, 8, generator=generator(0, "x"))
    with statistics(network, True):
        assert torch.equal(network(x), network(x))
        assert not torch.allclose(network(x), network(x[:3]).repeat(2, 1)), "its own statistics"
    with statistics(network, False):
        torch.testing.assert_close(network(x)[:3], network(x[:3]))


# ---- metric (3) --------------------------------------------------------------------------------


def test_sharpness_of_a_quadratic_is_its_closed_form():
    assert quadratic_sharpness() == pytest.approx(1, abs=1e-6)
    h, x = quadratic(4)
    f = lambda y: (h * y * y).sum()  # noqa: E731
    corner = (h * (x.abs() + 0.3 * (x.abs() + 1)) ** 2).sum()
    expected = 100 * (corner - f(x)) / (1 + f(x))
    assert sharpness(f, x, 0.3) == pytest.approx(expected.item(), rel=1e-6)


def test_sharpness_in_directions_is_that_of_the_quadratic_in_them():
    h, x = quadratic(12)
    A = draw(12, 3, seed=2)
    f = lambda y: 0.5 * (h * y * y).sum()  # noqa: E731
    bound = 0.02 * ((torch.linalg.pinv(A) @ x).abs() + 1)
    corners = torch.cartesian_prod(*(torch.stack([-b, b]) for b in bound))  # where convex f peaks
    best = max(f(x + A @ z).item() for z in corners)
    assert sharpness(f, x, 0.02, A, 50) == pytest.approx(
        100 * (best - f(x).item()) / (1 + f(x).item()), rel=1e-6)


def test_sharpness_is_what_scipy_finds_with_gradients_of_its_own():
    network, images, labels = small()
    f, x = Objective(network, images, labels, True), flat(network)
    bound = 0.05 * (x.abs() + 1).numpy()
    found = scipy.optimize.fmin_l_bfgs_b(
        lambda z: -f(x + torch.from_numpy(z)).item(), np.zeros(len(x)), approx_grad=True,
        bounds=list(zip(-bound, bound, strict=True)), epsilon=1e-7, maxiter=10)
    expected = 100 * (-found[1] - f(x).item()) / (1 + f(x).item())
    assert sharpness(f, x, 0.05) == pytest.approx(expected, rel=1e-3)
    assert sharpness(f, x, 0.05) > sharpness(f, x, 0.025) > sharpness(f, x, 0.05, None, 1) / 4 > 0


def test_pseudo_inverse_is_scipys():
    A, x = random_directions(40, 5, generator(1, "A")).double(), draw(40)
    np.testing.assert_allclose(pseudo_inverse(A, x), scipy.linalg.pinv(A.numpy()) @ x.numpy(),
                               rtol=1e-10)
    assert A.std().item() == pytest.approx(1, abs=0.15)


# ---- curvature and the line --------------------------------------------------------------------


@pytest.mark.parametrize("of_batch", [False, True])
def test_curvature_is_the_dense_hessians(of_batch):
    network, images, labels = small(hidden=(4,))
    f, x = Objective(network, images, labels, of_batch), flat(network)
    H = torch.autograd.functional.hessian(f, x)
    v = draw(len(x), seed=4)
    torch.testing.assert_close(hessian_product(f, x, v), H @ v, rtol=1e-9, atol=1e-10)
    values = np.linalg.eigvalsh(H.numpy())
    found = ritz_values(f, x, len(x), generator(0, "lanczos"))
    assert found[-1].item() == pytest.approx(values[-1], rel=1e-9)
    assert found[0].item() == pytest.approx(values[0], rel=1e-6, abs=1e-9)
    few = ritz_values(f, x, 12, generator(0, "lanczos"))
    assert len(few) == 12 and few[-1].item() == pytest.approx(values[-1], rel=1e-3)


def test_lanczos_ends_where_the_space_does():
    f = lambda y: (torch.tensor([3.0, 3.0, 1.0], dtype=torch.float64) * y * y).sum()  # noqa: E731
    found = ritz_values(f, draw(3), 10, generator(0, "lanczos"))
    np.testing.assert_allclose(found, [2, 6], rtol=1e-9)


def test_curvature_of_float32_layers_that_are_differentiable_once():
    network = f1(64, 3, (256, 128))
    initialise(network, generator(0, "init"))
    images, labels = torch.rand(80, 64, generator=generator(0, "x")), torch.arange(80) % 3
    v = torch.randn(len(flat(network)), generator=generator(0, "v"))
    fine = Objective(network.double(), images.double(), labels, True)
    expected = hessian_product(fine, flat(network), v.double())
    found = hessian_product(Objective(network.float(), images, labels, True), flat(network), v)
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-4)


def test_the_line_goes_from_minus_one_to_two_through_both_minima():
    small_batch, large_batch = draw(4, seed=1), draw(4, seed=2)
    points = list(line(small_batch, large_batch, 25))
    assert len(points) == 25
    torch.testing.assert_close(points[0], 2 * small_batch - large_batch)
    torch.testing.assert_close(points[8], small_batch)
    torch.testing.assert_close(points[16], large_batch)
    torch.testing.assert_close(points[24], 2 * large_batch - small_batch)
