"""Directions, paths and curvature against loops, numpy, scikit-learn and dense Hessians."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.decomposition import PCA

from common.data import generator
from papers.loss_landscape import facts
from papers.loss_landscape.model import (
    MLP,
    flat,
    grid,
    hessian_product,
    hessian_products,
    lanczos,
    moved,
    normalised,
    principal_directions,
    random_direction,
    reduced_curvatures,
    shaped,
    share_in_plane,
)
from papers.resnet.model import cifar_resnet


def parameters(network):
    return {name: p.detach() for name, p in network.named_parameters()}


def network(bn=True, activation="relu"):
    made = MLP(5, [4, 3], 3, activation, bn, generator(0, "test")).double()
    for norm in made.norms if bn else ():
        norm.running_mean.normal_(generator=generator(1, "test"))
        norm.weight.data.uniform_(0.5, 2, generator=generator(2, "test"))
    return made.eval()


@pytest.mark.parametrize("made", [network(), cifar_resnet(8)], ids=["mlp", "resnet"])
@pytest.mark.parametrize("how", ["filter", "layer", "none"])
def test_normalisation_filter_by_filter_in_a_loop(made, how):
    θ = parameters(made)
    raw = random_direction(θ, generator(0, "direction"))
    d = normalised(raw, θ, how)
    length = np.sqrt(sum((x.numpy()**2).sum() for x in raw.values()))
    for name, w in θ.items():
        if w.dim() == 1:
            assert not d[name].any(), "biases and BN stay"
            continue
        filters = [...] if how == "layer" else range(len(w))
        for j in filters:
            one, of = raw[name][j].numpy(), w[j].numpy()
            scale = 1 / length if how == "none" else np.linalg.norm(of) / np.linalg.norm(one)
            np.testing.assert_allclose(d[name][j].numpy(), one * scale, rtol=2e-5)


def test_directions_are_gaussian_numbers_and_functions_of_their_generator():
    θ = {"w": torch.zeros(200, 300), "b": torch.ones(7)}
    one, again = (random_direction(θ, generator(3, "direction"))["w"] for _ in range(2))
    assert torch.equal(one, again)
    assert not torch.equal(one, random_direction(θ, generator(4, "direction"))["w"])
    assert abs(one.mean()) < 0.02 and abs(one.std() - 1) < 0.02


def test_moving_makes_new_weights_and_rows_keep_their_order():
    θ = parameters(network())
    before = {name: w.clone() for name, w in θ.items()}
    δ, η = (normalised(random_direction(θ, generator(k, "d")), θ) for k in (0, 1))
    new = moved(θ, [0.5, -2.0], [δ, η])
    for name, w in θ.items():
        assert torch.equal(w, before[name])
        torch.testing.assert_close(new[name], before[name] + 0.5 * δ[name] - 2 * η[name])
    again = shaped(flat(θ), θ)
    assert all(torch.equal(again[name], w) for name, w in θ.items())
    assert grid(5, 2.0).tolist() == [-2, -1, 0, 1, 2] and grid(21, 0.3)[10] == 0


def test_principal_directions_are_those_of_numpy_and_scikit_learn():
    path = torch.randn(9, 30, generator=generator(0, "path"), dtype=torch.float64).cumsum(0)
    plane, shares = principal_directions(path)
    M = (path[:-1] - path[-1]).numpy()
    _, s, V = np.linalg.svd(M - M.mean(0), full_matrices=False)
    np.testing.assert_allclose(np.abs(plane.numpy() @ V[:2].T), np.eye(2), atol=1e-10)
    np.testing.assert_allclose(shares.numpy(), s**2 / (s**2).sum(), atol=1e-12)
    expected = PCA(2).fit(M).explained_variance_ratio_
    np.testing.assert_allclose(shares[:2].numpy(), expected, rtol=1e-9)
    assert share_in_plane(path, plane) == pytest.approx(expected.sum())


def test_the_share_in_any_plane_is_what_least_squares_leaves_out():
    path = torch.randn(9, 30, generator=generator(0, "path"), dtype=torch.float64).cumsum(0)
    plane = torch.randn(2, 30, generator=generator(1, "path"), dtype=torch.float64)
    M = (path[:-1] - path[-1]).numpy()
    M = M - M.mean(0)
    _, left, *_ = np.linalg.lstsq(plane.numpy().T, M.T, rcond=None)
    assert share_in_plane(path, plane) == pytest.approx(1 - left.sum() / (M**2).sum())
    assert share_in_plane(path, 5 * plane) == pytest.approx(share_in_plane(path, plane))


def dense(made, x, y):
    """The Hessian of the mean cross-entropy, all second derivatives one by one."""
    θ = parameters(made)

    def loss(row):
        return F.cross_entropy(torch.func.functional_call(made, shaped(row, θ), (x,)), y)

    return torch.autograd.functional.hessian(loss, flat(θ)).numpy()


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "maxout"])
def test_lanczos_finds_the_ends_of_the_dense_spectrum(activation):
    made = network(activation=activation)
    draw = generator(0, "data")
    x = torch.randn(20, 5, generator=draw, dtype=torch.float64)
    y = torch.randint(0, 3, (20,), generator=draw)
    H = dense(made, x, y)
    θ = {name: w.requires_grad_() for name, w in parameters(made).items()}
    product = hessian_product(F.cross_entropy(torch.func.functional_call(made, θ, (x,)), y),
                              list(θ.values()))
    v = torch.randn(len(H), generator=draw, dtype=torch.float64)
    np.testing.assert_allclose(product(v).numpy(), H @ v.numpy(), atol=1e-10)
    like = parameters(made)
    other = hessian_products(lambda row: F.cross_entropy(torch.func.functional_call(
        made, shaped(row, like), (x,)), y), flat(like))
    np.testing.assert_allclose(other(v).numpy(), H @ v.numpy(), atol=1e-10)
    λ = np.linalg.eigvalsh(H)
    assert λ[0] < -1e-4, "both ends are there"
    np.testing.assert_allclose(lanczos(product, v, 40), λ[[0, -1]], rtol=1e-6)
    inside = lanczos(product, v, 4)
    assert λ[0] <= inside[0] and inside[1] <= λ[-1]


def test_lanczos_stops_where_the_space_ends():
    assert lanczos(lambda v: 3 * v, torch.ones(5).double(), 10) == pytest.approx((3, 3))
    two = torch.diag(torch.tensor([1.0, 1.0, -2.0]).double())
    assert lanczos(lambda v: two @ v, torch.ones(3).double(), 10) == pytest.approx((-2, 1))


@pytest.mark.parametrize("iterations", [1, 2, 10])
def test_a_flat_loss_has_no_curvature(iterations):
    assert lanczos(lambda v: 0 * v, torch.ones(5).double(), iterations) == (0, 0)


@pytest.mark.parametrize("factor", [float("nan"), float("inf"), 1e200])
def test_products_that_overflow_are_refused(factor):
    with pytest.raises(ValueError, match="not finite"):
        lanczos(lambda v: factor * (factor * v), torch.arange(5).double(), 4)


def test_the_curvatures_of_a_quadratic_surface():
    at = grid(5, 1.0)
    α, β = at[:, None], at[None]
    f = 1 + 2 * α - β + 3 * α**2 - 4 * α * β + 0.5 * β**2
    λ = np.linalg.eigvalsh([[6, -4], [-4, 1]])
    found = reduced_curvatures(f, 0.5)
    assert found.shape == (3, 3, 2)
    np.testing.assert_allclose(found.reshape(-1, 2).numpy(), np.tile(λ, (9, 1)), atol=1e-12)


@pytest.mark.parametrize("bn", [False, True])
@pytest.mark.parametrize("activation", ["relu", "sigmoid", "maxout"])
def test_the_network_by_numpy(bn, activation):
    made = network(bn, activation)
    x = torch.randn(6, 1, 5, 1, generator=generator(0, "x"), dtype=torch.float64)
    h = x.reshape(6, 5).numpy()
    for layer, norm in zip(made.hidden, made.norms, strict=True):
        h = h @ layer.weight.detach().numpy().T
        if bn:
            h = (h - norm.running_mean.numpy()) / np.sqrt(norm.running_var.numpy() + norm.eps)
            h = h * norm.weight.detach().numpy() + norm.bias.detach().numpy()
        else:
            h = h + layer.bias.detach().numpy()
        h = {"relu": lambda h: np.maximum(h, 0), "sigmoid": lambda h: 1 / (1 + np.exp(-h)),
             "maxout": lambda h: np.maximum(h[:, 0::2], h[:, 1::2])}[activation](h)
    expected = h @ made.out.weight.detach().numpy().T + made.out.bias.detach().numpy()
    np.testing.assert_allclose(made(x).detach().numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("bn", [False, True])
@pytest.mark.parametrize("activation", ["relu", "sigmoid", "maxout"])
def test_every_declared_parameter_gets_a_gradient(bn, activation):
    made = MLP(6, [20, 20], 3, activation, bn, generator(0, "gradient"))
    F.cross_entropy(made(torch.rand(30, 6, generator=generator(1, "gradient"))),
                    torch.arange(30) % 3).backward()
    for name, p in made.named_parameters():
        assert p.grad is not None and p.grad.abs().sum() > 0, name


def test_rescaled_networks_are_other_weights_and_one_function():
    for bn, each in ((False, False), (True, False), (True, True)):
        one = facts.small_network(bn)
        other = facts.rescaled(one, bn, each)
        assert not torch.equal(one.hidden[0].weight, other.hidden[0].weight)
        assert facts.same_outputs(bn, each) < 1e-12
        assert facts.scale_invariance(bn, "filter", each) < 1e-12
        assert facts.scale_invariance(bn, "none", each) > 0.05
    assert facts.scale_invariance(True, "layer", each=False) < 1e-12, "a whole layer's scale"
    assert facts.scale_invariance(True, "layer", each=True) > 0.01, "but not its filters'"


def test_a_random_walk_has_most_of_its_path_in_two_dimensions_too():
    """6/π² and a quarter of that, for long walks in many dimensions."""
    walk = torch.randn(200, 5000, generator=generator(0, "walk")).cumsum(0)
    _, shares = principal_directions(walk)
    assert shares[:2].sum().item() == pytest.approx(6 / np.pi**2 * 1.25, abs=0.02)
