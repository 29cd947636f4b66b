"""Caffe's network: its layers by formulas, its sizes by count, its multipliers by the file."""

import pytest
import torch
import torch.nn.functional as F

from papers.cyclical_lr.model import STD, Cifar10Full, parameter_groups, within_channel


def by_loops(x, n, α, β):
    """Caffe's formula, pixel by pixel."""
    h, w = x.shape[2:]
    out, r = torch.empty_like(x), n // 2
    for i in range(h):
        for j in range(w):
            near = x[:, :, max(0, i - r):i + r + 1, max(0, j - r):j + r + 1]
            out[:, :, i, j] = x[:, :, i, j] / (1 + α / n**2 * near.square().sum((2, 3)))**β
    return out


@pytest.mark.parametrize(("n", "α", "β"), [(3, 5e-5, 0.75), (3, 0.3, 0.75), (5, 0.3, 0.6)])
def test_normalisation_within_a_channel_is_caffes_formula(n, α, β):
    x = 100 * torch.randn(2, 3, 6, 5, dtype=torch.float64)
    torch.testing.assert_close(within_channel(x, n, α, β), by_loops(x, n, α, β))


def test_it_is_torchs_response_norm_across_the_pixels_of_a_row():
    """In images of one row a neighbourhood of n × n is one of n, at a third of the weight."""
    x = 10 * torch.randn(4, 2, 1, 7, dtype=torch.float64)
    pixels = x.permute(0, 2, 3, 1).reshape(4, 7, 1, 2)  # torch's goes across the second dimension
    expected = F.local_response_norm(pixels, 3, alpha=0.2 / 3, beta=0.75, k=1.0)
    found = within_channel(x, 3, 0.2, 0.75)
    torch.testing.assert_close(found, expected.reshape(4, 1, 7, 2).permute(0, 3, 1, 2))


def test_gradients_of_the_normalisation():
    x = (3 * torch.randn(1, 2, 4, 4, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: within_channel(v, 3, 0.5, 0.75), x)


def test_parameters_and_map_sizes():
    network = Cifar10Full()
    counts = {n: p.numel() for n, p in network.named_parameters()}
    assert [counts[f"{k}.weight"] for k in STD] == [5 * 5 * 3 * 32, 5 * 5 * 32 * 32,
                                                    5 * 5 * 32 * 64, 4 * 4 * 64 * 10]
    assert [counts[f"{k}.bias"] for k in STD] == [32, 32, 64, 10]
    assert sum(counts.values()) == 89_578
    assert network(torch.randn(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize("size", range(8, 34))
def test_any_image_of_at_least_8_pixels_fits(size):
    assert Cifar10Full(1, size)(torch.randn(2, 1, size, size)).shape == (2, 10)


def test_smaller_images_are_refused():
    with pytest.raises(ValueError, match="7×7 pixels: expected at least 8×8"):
        Cifar10Full(3, 7)


def averages(x):
    """Means over 3 × 3 by strides of 2, windows cut off at the edges, as Caffe's."""
    size = -(-(x.shape[-1] - 3) // 2) + 1
    return torch.stack([torch.stack([
        x[:, :, 2 * i:2 * i + 3, 2 * j:2 * j + 3].mean((2, 3)) for j in range(size)], -1)
        for i in range(size)], -2)


def maxima(x):
    size = -(-(x.shape[-1] - 3) // 2) + 1
    return torch.stack([torch.stack([
        x[:, :, 2 * i:2 * i + 3, 2 * j:2 * j + 3].amax((2, 3)) for j in range(size)], -1)
        for i in range(size)], -2)


@pytest.mark.parametrize("lrn", [True, False])
def test_the_layers_stand_in_caffes_order(lrn):
    network = Cifar10Full(lrn=lrn).double()
    with torch.no_grad():
        network.conv1.weight.mul_(1e4)  # so that normalisation matters
    x = 50 * torch.randn(2, 3, 32, 32, dtype=torch.float64)

    def norm(y):
        return by_loops(y, 3, 5e-5, 0.75) if lrn else y

    def conv(layer, y):
        return F.conv2d(y, layer.weight, layer.bias, padding=2)
    y = norm(maxima(conv(network.conv1, x)).clamp(min=0))
    y = norm(averages(conv(network.conv2, y).clamp(min=0)))
    y = averages(conv(network.conv3, y).clamp(min=0))
    expected = y.flatten(1) @ network.ip1.weight.T + network.ip1.bias
    torch.testing.assert_close(network(x), expected)
    without = Cifar10Full(lrn=not lrn).double()
    without.load_state_dict(network.state_dict())
    assert not torch.allclose(without(x), expected, rtol=1e-3)


def test_every_declared_parameter_gets_a_gradient():
    network = Cifar10Full()
    F.cross_entropy(network(60 * torch.randn(20, 3, 32, 32)), torch.arange(20) % 10).backward()
    for name, p in network.named_parameters():
        assert p.grad.abs().sum() > 0, name


def test_initial_weights():
    network = Cifar10Full(generator=torch.Generator().manual_seed(0))
    for name, std in {"conv1": 0.0001, "conv2": 0.01, "conv3": 0.01, "ip1": 0.01}.items():
        layer = getattr(network, name)
        assert layer.weight.std().item() == pytest.approx(std, rel=0.05)
        assert not layer.bias.any()
    again = Cifar10Full(generator=torch.Generator().manual_seed(0))
    assert torch.equal(network.conv2.weight, again.conv2.weight)


def test_multipliers_are_those_of_caffes_file():
    network = Cifar10Full()
    names = {id(p): n for n, p in network.named_parameters()}
    found = {names[id(p)]: (g["multiplier"], g["weight_decay"])
             for g in parameter_groups(network, 0.004) for p in g["params"]}
    assert found == {
        "conv1.weight": (1, 0.004), "conv1.bias": (2, 0.004),
        "conv2.weight": (1, 0.004), "conv2.bias": (2, 0.004),
        "conv3.weight": (1, 0.004), "conv3.bias": (1, 0.004),
        "ip1.weight": (1, 1.0), "ip1.bias": (2, 0)}
