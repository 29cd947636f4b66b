"""The network against torch's own layers, its whitening against a float64 covariance, its views."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from common.data import generator
from papers.airbench import facts
from papers.airbench.augment import Epochs, Flips
from papers.airbench.model import (
    AirNet,
    Group,
    conv,
    covariance,
    dirac,
    looked_at,
    patches,
    views,
    whitening,
)


def images(n=40, c=3, size=12):
    """Correlated images, as pictures are."""
    x = torch.randn(n, c, size + 2, size + 2, generator=generator(0, "images"))
    x = F.avg_pool2d(x, 3, stride=1) + 0.5 * x[:, :1, 1:-1, 1:-1]
    return (x - x.mean()) / x.std()


def test_patches_are_every_window_of_every_image():
    x = images(2, 3, 5)
    found = patches(x)
    expected = torch.stack([x[n, :, i:i + 2, j:j + 2].flatten()
                            for n in range(2) for i in range(4) for j in range(4)])
    assert torch.equal(found, expected)


@pytest.mark.parametrize("eps", [0.0, 5e-4, 0.1])
def test_whitened_patches_have_covariance_one_but_for_eps(eps):
    x = images()
    filters = whitening(x, eps=eps)
    outputs = F.conv2d(x.double(), filters.double())
    flat = outputs.movedim(1, -1).reshape(-1, 24)
    found = torch.einsum("ni,nj->ij", flat, flat) / len(flat)
    values = torch.linalg.eigvalsh(covariance(patches(x))).flip(0)
    expected = torch.diag(values / (values + eps))
    torch.testing.assert_close(found[:12, :12], expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(found[:12, 12:], -expected, rtol=0, atol=1e-5)


def test_the_largest_variance_comes_first():
    filters = whitening(images())
    norms = filters[:12].flatten(1).norm(dim=1)
    assert (norms.diff() > 0).all(), "the filter of a larger variance is the smaller one"


def test_a_dirac_layer_passes_its_input_on_and_keeps_the_other_filters():
    layer = conv(4, 9)
    before = layer.weight.detach().clone()
    dirac(layer.weight)
    x = torch.randn(2, 4, 6, 5)
    torch.testing.assert_close(layer(x)[:, :4], x)
    assert torch.equal(layer.weight[4:], before[4:])
    narrow = conv(9, 4)
    dirac(narrow.weight)
    x = torch.randn(2, 9, 6, 5)
    torch.testing.assert_close(narrow(x), x[:, :4])


def test_a_group_is_its_layers_one_by_one():
    group, x = Group(3, 8, keep=0.6), torch.randn(5, 3, 9, 9)
    nn.init.normal_(group.norm1.bias)
    y = F.conv2d(x, group.conv1.weight, padding=1)
    y = F.max_pool2d(y, 2)
    y = (y - y.mean((0, 2, 3), keepdim=True)) / y.var((0, 2, 3), keepdim=True,
                                                      correction=0).sqrt()
    y = F.gelu(y + group.norm1.bias[:, None, None])
    y = F.conv2d(y, group.conv2.weight, padding=1)
    y = F.gelu((y - y.mean((0, 2, 3), keepdim=True)) / y.std((0, 2, 3), keepdim=True,
                                                             correction=0))
    torch.testing.assert_close(group(x), y, rtol=1e-4, atol=1e-5)


def test_running_statistics_keep_their_share():
    group, x = Group(3, 8, keep=0.6), torch.randn(5, 3, 9, 9)
    y = F.max_pool2d(group.conv1(x), 2)
    group(x)
    torch.testing.assert_close(group.norm1.running_mean, 0.4 * y.mean((0, 2, 3)))


@pytest.mark.parametrize("first", ["learned", "whitening"])
def test_parameters_and_where_gradients_go(first):
    network = AirNet(first=first)
    assert [tuple(g.conv1.weight.shape) for g in network.groups] == [
        (64, 24, 3, 3), (256, 64, 3, 3), (256, 256, 3, 3)]
    learned = {n for n, p in network.named_parameters() if p.requires_grad}
    filters = 9 * (24 * 64 + 64 * 64 + 64 * 256 + 3 * 256 * 256)
    start = 24 if first == "whitening" else 24 * 12 + 24
    assert sum(p.numel() for n, p in network.named_parameters() if n in learned) == (
        filters + 2 * (64 + 256 + 256) + 2560 + start)
    assert ("first.weight" in learned) == (first == "learned")
    assert not any("norm" in n and "weight" in n for n in learned), "BN's gains stay one"
    network(torch.randn(4, 3, 32, 32)).square().sum().backward()
    for name, p in network.named_parameters():
        assert (name in learned) == (p.grad is not None and p.grad.abs().sum() > 0), name


def test_how_the_heads_start_and_what_logits_are_scaled_by():
    x = torch.randn(2, 3, 32, 32)
    for head, scale in (("ninth", 1 / 9), ("unit", 1 / 256)):
        network = AirNet(head=head)
        inputs = []
        network.head.register_forward_pre_hook(lambda _m, args, seen=inputs: seen.append(args[0]))
        torch.testing.assert_close(network(x), inputs[0] @ network.head.weight.T * scale)
        assert network.head.weight.std().item() == pytest.approx(
            1.0 if head == "unit" else 1 / 16 / 3**0.5, rel=0.05)


def test_small_images_are_refused():
    with pytest.raises(ValueError, match="images of 24×24 pixels: expected at least 25×25"):
        AirNet(size=24)
    assert AirNet(size=25)(torch.zeros(1, 3, 25, 25)).shape == (1, 10)


def test_six_views_are_the_image_and_two_moved_ones_both_ways_round():
    x = torch.randn(2, 1, 4, 5)
    weights, found = zip(*views(x, 6), strict=True)
    assert weights == (0.25, 0.25, 0.125, 0.125, 0.125, 0.125)
    assert torch.equal(found[0], x) and torch.equal(found[1], x.flip(-1))
    up = torch.cat([x[..., 1:2, :], x[..., :-1, :]], -2)  # what lay below row 0 comes above it
    up = torch.cat([up[..., 1:2], up[..., :-1]], -1)
    down = torch.cat([x[..., 1:, :], x[..., -2:-1, :]], -2)
    down = torch.cat([down[..., 1:], down[..., -2:-1]], -1)
    assert torch.equal(found[2], up) and torch.equal(found[4], down)
    assert torch.equal(found[3], up.flip(-1)) and torch.equal(found[5], down.flip(-1))


def test_looking_is_a_weighted_mean():
    x = torch.randn(3, 1, 6, 6)

    def corner(x):
        return x[:, 0, :1, 0]
    assert torch.equal(looked_at(corner, x, 1), x[:, 0, :1, 0])
    torch.testing.assert_close(looked_at(corner, x, 2), (x[:, 0, :1, 0] + x[:, 0, :1, 5]) / 2)
    ones = looked_at(lambda v: torch.ones(len(v), 2), x, 6)
    torch.testing.assert_close(ones, torch.ones(3, 2))


# ---- epochs and flips ----------------------------------------------------------------------------

def test_an_epoch_shows_no_image_twice_and_drops_what_is_left_over():
    order = Epochs(107, 10, 3)
    assert order.steps == 10
    for epoch in range(2):
        seen = torch.cat([order(10 * epoch + k) for k in range(10)])
        assert len(seen) == len(set(seen.tolist())) == 100
    assert not torch.equal(order(0), order(10)), "every epoch has an order of its own"


def test_epochs_and_flips_are_functions_of_seed_and_place():
    there, back = (Epochs(50, 10, 1) for _ in range(2))
    forward = [there(k) for k in range(12)]
    backward = [back(k) for k in reversed(range(12))][::-1]
    assert all(torch.equal(a, b) for a, b in zip(forward, backward, strict=True))
    assert not torch.equal(Epochs(50, 10, 2)(0), forward[0])
    for kind in ("random", "alternating"):
        there, back = (Flips(50, kind, 1) for _ in range(2))
        forward = [there(k).clone() for k in range(6)]
        backward = [back(k).clone() for k in reversed(range(6))][::-1]
        assert all(torch.equal(a, b) for a, b in zip(forward, backward, strict=True))


def test_alternating_flips_alternate_and_random_ones_do_not():
    alternating, random = (Flips(4000, kind, 0) for kind in ("alternating", "random"))
    first = alternating(0).clone()
    assert first.double().mean().item() == pytest.approx(0.5, abs=0.03)
    for epoch in range(1, 5):
        assert torch.equal(alternating(epoch), (first + epoch) % 2)
    changed = (random(0).clone() != random(1)).double().mean().item()
    assert changed == pytest.approx(0.5, abs=0.03)
    assert not Flips(9, "none", 0)(1).any()


# ---- facts ---------------------------------------------------------------------------------------

def test_torchs_counter_counts_what_layers_sizes_say():
    maps = [(12 * 24, 31), (9 * 24 * 64, 31), (9 * 64 * 64, 15), (9 * 64 * 256, 15),
            (9 * 256 * 256, 7), (9 * 256 * 256, 7), (9 * 256 * 256, 3)]
    forward = 2 * sum(k * size**2 for k, size in maps) + 2 * 2560
    made = facts.network("airbench94")
    assert facts.counted(made, training=False) == forward
    whitened = 2 * 12 * 24 * 31**2  # has no gradient of its filters, nor of the image
    assert facts.counted(made) == 3 * forward - 2 * whitened
    made.first.bias.requires_grad = False
    assert facts.counted(made) == 3 * forward - 2 * whitened - 2 * 9 * 24 * 64 * 31**2


def test_the_published_rows_are_the_tables():
    rows = facts.chain()
    assert [float(r["epochs"]) for r in rows] == [35, 21, 18, 13.5, 13.5, 12, 10.8, 9.9]
    assert [int(r["n"]) for r in rows] == [25, 200, 200, 200, 500, 200, 200, 700]
    assert facts.rows_in_steps() == len(rows) == 8


def test_the_quintic_of_numbers_is_the_one_of_matrices():
    assert facts.iteration_off() < 1e-12 and facts.vectors_off() < 1e-12
    x = facts.quintic(torch.tensor([0.1]).numpy(), 1)
    assert x[0] == pytest.approx(0.34445 - 0.004775 + 0.000020315)
