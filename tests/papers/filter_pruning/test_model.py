"""Pruning against masks, numpy and torch's own counter of operations."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from papers.filter_pruning import facts
from papers.filter_pruning.model import (
    VGG16,
    cut,
    filters_left,
    flop,
    kept,
    l1_norms,
    plan,
    prunable,
    prune,
    weights,
)
from papers.filter_pruning.networks import build
from papers.filter_pruning.settings import ModelConfig


def resnet(depth=8):
    return with_statistics(build(ModelConfig(depth=depth), 3, 10))


def vgg():
    return with_statistics(VGG16(3, 10, width=4))


def with_statistics(network):
    """In float64 and evaluation mode, no scale, shift or moving average as at the start."""
    g = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in network.parameters():
            if p.dim() == 1:
                p.uniform_(0.2, 1.2, generator=g)
        for b in network.buffers():
            if b.is_floating_point():
                b.uniform_(0.5, 1.5, generator=g)
    return network.double().eval()


def masked(network, stayed):
    """The same network with the feature maps that do not stay set to zero, by hooks."""
    network = copy.deepcopy(network)
    for layer in prunable(network):
        if layer.number in stayed:
            gone = torch.ones(len(network.get_submodule(layer.conv).weight), dtype=torch.bool)
            gone[stayed[layer.number]] = False
            network.get_submodule(layer.bn).register_forward_hook(
                lambda _m, _x, y, gone=gone: y.masked_fill(gone[:, None, None], 0.0))
    return network


PLANS = {"resnet": (resnet, [0.6, 0.3, 0.5], [4]),
         "vgg": (vgg, [0.5, 0.0, 0.25, 0.5, 0.5], [2])}


@pytest.mark.parametrize("which", ["smallest", "random", "largest"])
@pytest.mark.parametrize("name", PLANS)
def test_the_pruned_network_is_the_masked_one(name, which):
    make, shares, skip = PLANS[name]
    whole = make()
    small, x = copy.deepcopy(whole), torch.randn(4, 3, 32, 32, dtype=torch.float64)
    stayed = prune(small, plan(whole, shares, skip), which,
                   generator=torch.Generator().manual_seed(1))
    expected = masked(whole, stayed)(x)
    torch.testing.assert_close(small(x), expected, rtol=1e-10, atol=1e-10)
    assert (small(x) - whole(x)).abs().max() > 1e-3, "something is gone"
    assert weights(small) < weights(whole)


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_by_stages_leaves_the_rest_whole(name):
    make, shares, skip = PLANS[name]
    whole = make()
    small = copy.deepcopy(whole)
    prune(small, plan(whole, shares, skip))
    for layer in prunable(whole):
        w, n = (len(m.get_submodule(layer.conv).weight) for m in (whole, small))
        share = 0 if layer.number in skip else shares[layer.stage]
        assert n == w - int(np.ceil(round(w * share, 9))), layer
        assert small.get_submodule(layer.bn).num_features == n
        assert small.get_submodule(layer.following).weight.shape[1] == n


def test_layers_have_the_papers_numbers():
    numbers = [layer.number for layer in prunable(resnet(56))]
    assert numbers == list(range(2, 55, 2))
    stages = {layer.number: layer.stage for layer in prunable(resnet(56))}
    assert [stages[k] for k in (2, 18, 20, 36, 38, 54)] == [0, 0, 1, 1, 2, 2]
    assert [layer.number for layer in prunable(vgg())] == list(range(1, 14))
    assert prunable(vgg())[-1].following == "fc1"


def test_norms_are_numpys_and_the_smallest_go():
    weight = torch.randn(9, 4, 3, 3)
    s = np.abs(weight.numpy()).sum((1, 2, 3))
    np.testing.assert_allclose(l1_norms(weight).numpy(), s, rtol=1e-6)
    order = np.argsort(s)
    assert kept(weight, 5).tolist() == sorted(order[4:])
    assert kept(weight, 5, "largest").tolist() == sorted(order[:5])
    draws = [kept(weight, 5, "random", torch.Generator().manual_seed(k)).tolist()
             for k in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2] and len(set(draws[0])) == 5


def test_greedy_norms_leave_out_what_is_gone():
    """Two filters of the second layer whose order depends on the first layer's pruned map."""
    network = VGG16(1, 2, width=2)
    with torch.no_grad():
        network.conv1.weight.copy_(torch.tensor([1.0, 2.0])[:, None, None, None])
        network.conv2.weight.copy_(torch.tensor([[9.0, 1.0], [2.0, 3.0]])[..., None, None])
    for greedy, stays in ((True, [1]), (False, [0])):
        assert prune(copy.deepcopy(network), {1: 1, 2: 1}, greedy=greedy)[2].tolist() == stays


@pytest.mark.parametrize("make", [resnet, vgg, lambda: resnet(20)])
def test_operations_are_those_of_torchs_counter(make):
    network, x = make(), torch.randn(1, 3, 32, 32, dtype=torch.float64)
    for _ in range(2):
        with FlopCounterMode(display=False) as counter:
            network(x)
        assert 2 * sum(flop(network, x).values()) == counter.get_total_flops()
        prune(network, plan(network, [0.5] * (prunable(network)[-1].stage + 1)))


@pytest.mark.parametrize(("filters", "share", "left"), [
    (16, 0.1, 14), (32, 0.1, 28), (64, 0.1, 57), (16, 0.6, 6), (32, 0.3, 22), (64, 0.3, 44),
    (10, 0.9, 1), (10, 0.7, 3), (64, 0.5, 32), (4, 0.9, 1), (2, 0.99, 1)])
def test_filters_left_are_rounded_down_but_one_stays(filters, share, left):
    assert filters_left(filters, share) == left
    assert filters_left(64, 0.1, "round") == 58


def test_other_layers_are_refused():
    with pytest.raises(ValueError, match="layer 3: expected one of 2, 4, 6"):
        prune(resnet(), {3: 4})
    with pytest.raises(ValueError, match="layer 5: expected one of 2, 4, 6"):
        plan(resnet(), [0.5] * 3, [5])
    with pytest.raises(ValueError, match="2 shares: expected one for each of 3 stages"):
        plan(resnet(), [0.5] * 2)


def test_vgg_is_its_layers_and_every_parameter_gets_a_gradient():
    network = VGG16(3, 10, width=2).double()
    x = torch.randn(6, 3, 32, 32, dtype=torch.float64)
    h, size = x, []
    for k in range(1, 14):
        conv, bn = getattr(network, f"conv{k}"), getattr(network, f"bn{k}")
        h = F.conv2d(h, conv.weight, padding=1)
        size.append(h.shape[-1])
        h = F.batch_norm(h, None, None, bn.weight, bn.bias, training=True).clamp(min=0)
        if k in (2, 4, 7, 10, 13):
            h = F.max_pool2d(h, 2)
    assert size == [32] * 2 + [16] * 2 + [8] * 3 + [4] * 3 + [2] * 3  # Table 2
    h = F.batch_norm(h.flatten(1) @ network.fc1.weight.T, None, None, training=True)
    h = h.clamp(min=0) @ network.fc2.weight.T + network.fc2.bias
    torch.testing.assert_close(network(x), h)
    F.cross_entropy(network(x), torch.arange(6)).backward()
    for name, p in network.named_parameters():
        assert p.grad.abs().sum() > 0, name


def test_a_cut_layer_keeps_what_stays():
    whole = resnet()
    small, layer = copy.deepcopy(whole), prunable(whole)[1]
    keep = torch.tensor([0, 3, 17])
    cut(small, layer, keep)
    for name, index in ((f"{layer.conv}.weight", (keep,)), (f"{layer.bn}.running_var", (keep,)),
                        (f"{layer.bn}.bias", (keep,)),
                        (f"{layer.following}.weight", (slice(None), keep))):
        assert torch.equal(small.state_dict()[name], whole.state_dict()[name][index]), name
    others = {k for k, v in small.state_dict().items() if v.shape != whole.state_dict()[k].shape}
    assert all(k.startswith(layer.conv.removesuffix(".conv1")) for k in others)


def test_counts_of_the_papers_plans():
    """The whole counts that Table 1 gives in part; computed once by hand from the layers."""
    expected = {"vgg16_a": (313_463_808, 206_279_680, 14_977_728, 5_390_176),
                "resnet56_a": (125_485_696, 112_435_840, 848_944, 769_456),
                "resnet110_b": (252_887_680, 155_124_352, 1_719_856, 1_161_712)}
    for name, counts in expected.items():
        assert (facts.whole(name, "flop"), facts.pruned(name, "flop"),
                facts.whole(name, "weights"), facts.pruned(name, "weights")) == counts


def test_exact_facts():
    assert facts.masked_difference() == facts.saved_operations() == 0
    assert 50 < facts.same_choice() <= 100
