"""Networks, masks, clusters and gradients against torch, scipy and closed forms."""

import warnings

import numpy as np
import pytest
import scipy.cluster.vq
import torch
import torch.nn.functional as F
from torch import nn

from common.data import generator
from common.errors import UserError
from papers.deep_compression import facts
from papers.deep_compression.model import (
    Pruned,
    Shared,
    above,
    k_means,
    largest,
    lenet_5,
    lenet_300_100,
)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed, "test"), dtype=torch.float64)


def small(seed=0):
    return Pruned(lenet_300_100(12, 3, (6, 5)), "glorot", generator(seed, "init")).double()


def half(network, seed=0):
    """Random masks that keep about half."""
    g = generator(seed, "masks")
    network.take_masks({n: (torch.rand(s, generator=g) < 0.5).double()
                        for n, s in network.shapes.items()})


# ---- networks ----------------------------------------------------------------------------------


def test_parameter_counts_are_the_papers():
    three, five = (Pruned(s, "caffe", generator(0, "i")) for s in (lenet_300_100(), lenet_5()))
    assert sum(p.numel() for p in three.parameters()) == 266_610
    assert sum(p.numel() for p in five.parameters()) == 431_080
    assert [w.numel() for w in three.W.values()] == [235_200, 30_000, 1_000]
    assert [w.numel() for w in five.W.values()] == [500, 25_000, 400_000, 5_000]


def test_lenet_5_is_torchs_layers():
    ours = Pruned(lenet_5(), "caffe", generator(0, "i")).double()
    theirs = nn.Sequential(
        nn.Conv2d(1, 20, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10)).double()
    layers = [m for m in theirs if isinstance(m, nn.Conv2d | nn.Linear)]
    with torch.no_grad():
        for name, layer in zip(ours.shapes, layers, strict=True):
            ours.b[name].copy_(layer.bias)
            layer.weight.copy_(ours.W[name])
    x = draw(3, 1, 28, 28)
    torch.testing.assert_close(ours(x), theirs(x))
    outputs = dict(ours.outputs(x))
    assert [o.shape[1:].numel() for o in outputs.values()] == [2880, 800, 500, 10]


def test_lenet_300_100_is_torchs_layers():
    ours = small()
    half(ours)
    w1, w2, w3 = (w * ours.mask(n) for n, w in ours.W.items())
    x = draw(4, 1, 4, 3)
    expected = F.relu(F.relu(x.flatten(1) @ w1.T) @ w2.T) @ w3.T
    torch.testing.assert_close(ours(x), expected)


def test_initial_weights():
    caffe = Pruned(lenet_300_100(), "caffe", generator(0, "i")).W["ip1"]
    glorot = Pruned(lenet_300_100(), "glorot", generator(0, "i")).W["ip1"]
    bound = (3 / 784) ** 0.5
    assert caffe.abs().max().item() <= bound
    assert caffe.std().item() == pytest.approx(784**-0.5, rel=0.01)
    assert glorot.std().item() == pytest.approx((2 / 1084) ** 0.5, rel=0.01)
    assert glorot.abs().max().item() > 3 * (2 / 1084) ** 0.5, "normal"


@pytest.mark.parametrize("shapes", [lenet_300_100(64, 10, (20, 15)), lenet_5(1, 16)])
def test_every_declared_parameter_gets_a_gradient(shapes):
    size = 8 if "conv1" not in shapes else 16
    x, y = torch.rand(20, 1, size, size, generator=generator(0, "x")), torch.arange(20) % 10
    pruned = Pruned(shapes, "caffe", generator(0, "i"))
    shared = Shared(shapes, [5] * len(shapes))
    shared.share(dict(pruned.W.items()), {n: pruned.mask(n) for n in shapes},
                 dict(pruned.b.items()))
    for network in (pruned, shared):
        F.cross_entropy(network(x), y).backward()
        for name, p in network.named_parameters():
            assert p.grad is not None and p.grad.abs().max() > 1e-7, name


def test_small_images_are_one_line():
    with pytest.raises(UserError, match="images of 8×8 pixels: expected at least 16×16"):
        lenet_5(1, 8)


# ---- pruning -----------------------------------------------------------------------------------


def test_a_threshold_is_quality_times_the_survivors_deviation():
    w, m = draw(50, 40), torch.ones(50, 40, dtype=torch.float64)
    first = above(w, m, 1.0)
    assert first.mean().item() == pytest.approx(0.317, abs=0.03), "of normal weights"
    assert torch.equal(first.bool(), torch.from_numpy(np.abs(w.numpy()) > w.numpy().std()))
    second = above(w, first, 0.9)
    left = w.numpy()[first.bool().numpy()]
    assert torch.equal(second.bool(),
                       first.bool() & torch.from_numpy(np.abs(w.numpy()) > 0.9 * left.std()))
    assert torch.equal(above(w, torch.zeros_like(m), 1.0), torch.zeros_like(m))


@pytest.mark.parametrize(("rate", "left"), [(0.0, 200), (0.2, 160), (0.999, 0)])
def test_the_largest_are_kept(rate, left):
    w, m = draw(20, 20), (draw(20, 20, seed=1) > 0).double()
    m.view(-1)[m.flatten().nonzero()[200:, 0]] = 0  # 200 of them, or fewer
    found = largest(w, m, rate)
    n = int(m.sum())
    assert int(found.sum()) == n - round(rate * n)
    kept, gone = w[found.bool()].abs(), w[(m - found).bool()].abs()
    if len(kept) and len(gone):
        assert kept.min() > gone.max()
    assert (found <= m).all()


@pytest.mark.parametrize(("rounds", "level"), [(3, 51.3), (7, 21.1), (9, 13.5), (15, 3.6)])
def test_levels_of_a_ticket_are_the_closed_form(rounds, level):
    found = facts.ticket_level(rounds)
    assert found == pytest.approx(
        100 * (265_200 * 0.8**rounds + 1000 * 0.9**rounds) / 266_200, abs=0.01)
    assert found == pytest.approx(level, abs=0.05)


def test_what_is_pruned_has_no_gradient_and_never_comes_back():
    network = small()
    half(network)
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9, weight_decay=0.01)
    x, y = draw(30, 1, 4, 3), torch.arange(30) % 3
    before = {n: w.detach().clone() for n, w in network.W.items()}
    for _ in range(20):
        optimizer.zero_grad()
        F.cross_entropy(network(x), y).backward()
        assert all((w.grad[network.mask(n) == 0] == 0).all() for n, w in network.W.items())
        optimizer.step()
    for n, w in network.W.items():
        gone = network.mask(n) == 0
        assert (w[gone] == 0).all() and gone.any()
        assert (w[~gone] != before[n][~gone]).all(), "the others learn"


# ---- sharing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2, 7, 63])
@pytest.mark.parametrize("kind", ["normal", "bimodal", "few"])
def test_clusters_are_scipys(k, kind):
    w = draw(400).numpy()
    w = {"normal": w, "bimodal": np.sign(w) * (1 + 0.3 * np.abs(w)), "few": w[:9]}[kind]
    centroids, clusters = k_means(w, k)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of empty clusters
        expected, theirs = scipy.cluster.vq.kmeans2(
            w, np.linspace(w.min(), w.max(), k), iter=500, minit="matrix")
    np.testing.assert_allclose(centroids, expected, rtol=1e-12, atol=1e-13)
    assert np.array_equal(clusters, theirs)


def test_clusters_by_hand():
    centroids, clusters = k_means(np.array([0.0, 10.0, 1.0, 9.0]), 2)
    assert centroids.tolist() == [0.5, 9.5] and clusters.tolist() == [0, 1, 0, 1]
    assert k_means(np.array([]), 3)[0].tolist() == [0, 0, 0]


def test_sharing_keeps_zeros_and_moves_each_weight_to_the_nearest_centroid():
    network = small()
    half(network)
    shared = Shared(network.shapes, [4, 4, 4]).double()
    shared.share(dict(network.W.items()), {n: network.mask(n) for n in network.shapes},
                 dict(network.b.items()))
    for name, w in shared.weights().items():
        old, m, c = network.W[name], network.mask(name).bool(), shared.C[name]
        assert (w[~m] == 0).all() and (shared.codes(name)[~m] == 0).all()
        nearest = (old[m][:, None] - c).abs().argmin(1)
        torch.testing.assert_close(w[m], c[nearest])


def test_a_centroids_gradient_is_the_sum_of_its_weights():
    """Eq. (3) against autograd through dense weights alone."""
    assert facts.centroid_gradient() == 0
    shared, x = Shared({"ip1": (3, 8)}, [2]).double(), draw(5, 1, 2, 4)
    codes = torch.tensor([[0, 1, 2, 1, 0, 0, 2, 1]] * 3)
    shared.codes("ip1").copy_(codes)
    shared.C["ip1"].data.copy_(torch.tensor([0.5, -1.0]))
    shared(x).square().sum().backward()
    w = torch.tensor([0.0, 0.5, -1.0], dtype=torch.float64)[codes].requires_grad_()
    (x.flatten(1) @ w.T).square().sum().backward()
    expected = [w.grad[codes == c].sum().item() for c in (1, 2)]
    np.testing.assert_allclose(shared.C["ip1"].grad, expected, rtol=1e-12)


# ---- the published tables ----------------------------------------------------------------------


def test_rows_of_the_tables_by_hand():
    assert facts.rows_together("lenet_300_100", "rate_pqh") == pytest.approx(
        (2.32 * 235.2 + 3.04 * 30 + 12.70 * 1) / 266.2)
    assert facts.rows_together("lenet_5", "rate_pq") == pytest.approx(
        (78.5 * 0.5 + 6.0 * 25 + 2.7 * 400 + 6.9 * 5) / 430.5)
    conv1 = (0.6745 * 16000 - 8192) / (7.2 + 1.5) / ((0.785 * 16000 - 8192) / 13)
    assert facts.entries_apart("lenet_5") == pytest.approx(100 * (1 - conv1))
    assert facts.entries_apart("lenet_300_100") < 2
