"""The architectures against the paper's tables and against an independent implementation."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from common.data import generator
from papers.resnet.model import (
    IMAGENET,
    BasicBlock,
    ResNet,
    ZeroPad,
    cifar_resnet,
    imagenet_resnet,
    initialise,
    layer_responses,
    multiply_adds,
)

EXACT = {20: 269_722, 32: 464_154, 44: 658_586, 56: 853_018, 110: 1_727_962, 1202: 19_421_274}


@pytest.mark.parametrize(("depth", "count"), EXACT.items())
def test_parameter_counts_and_that_plain_has_the_same(depth, count):
    with torch.device("meta"):
        for kind in ("A", "none"):
            assert sum(p.numel() for p in cifar_resnet(depth, kind).parameters()) == count
        weighted = [m for m in cifar_resnet(depth).modules()
                    if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(weighted) == depth


@pytest.mark.parametrize(("depth", "count"), [
    (18, 11_689_512), (34, 21_797_672), (50, 25_557_032), (101, 44_549_160), (152, 60_192_808)])
def test_imagenet_networks_have_the_well_known_counts(depth, count):
    with torch.device("meta"):
        network = imagenet_resnet(depth, "B")
        assert sum(p.numel() for p in network.parameters()) == count
        layers = sum(isinstance(m, nn.Conv2d | nn.Linear) for n, m in network.named_modules()
                     if "shortcut" not in n)
        assert layers == depth
        assert network(torch.zeros(2, 3, 224, 224)).shape == (2, 1000)


def test_option_b_adds_the_projections_of_two_stages_and_c_of_all():
    with torch.device("meta"):
        a, b, c = (sum(p.numel() for p in cifar_resnet(20, k).parameters()) for k in "ABC")
    conv = 16 * 32 + 32 * 64
    assert b - a == conv + 2 * (32 + 64)
    assert c - b == 3 * (16 * 16 + 2 * 16) + 2 * (32 * 32 + 2 * 32) + 2 * (64 * 64 + 2 * 64)


def test_zero_pad_is_the_subsampled_identity_with_new_channels_zero():
    x = torch.randn(2, 3, 6, 6)
    y = ZeroPad(3, 5, 2)(x)
    assert y.shape == (2, 5, 3, 3)
    assert torch.equal(y[:, :3], x[:, :, ::2, ::2]) and not y[:, 3:].any()


def independent(state, x, n, plain=False):
    """ResNet-(6n+2) by functional calls on a state dict, written from the paper alone."""
    def bn(x, name):
        return F.batch_norm(x, state[f"{name}.running_mean"], state[f"{name}.running_var"],
                            state[f"{name}.weight"], state[f"{name}.bias"])
    x = F.relu(bn(F.conv2d(x, state["conv1.weight"], padding=1), "bn1"))
    for stage in (1, 2, 3):
        for block in range(n):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = F.conv2d(x, state[f"{name}.conv1.weight"], stride=stride, padding=1)
            y = F.relu(bn(y, f"{name}.bn1"))
            y = bn(F.conv2d(y, state[f"{name}.conv2.weight"], padding=1), f"{name}.bn2")
            if not plain:
                if stride == 2:
                    x = torch.cat([x[:, :, ::2, ::2], torch.zeros_like(x[:, :, ::2, ::2])], 1)
                y = y + x
            x = F.relu(y)
    return F.linear(x.flatten(2).mean(2), state["fc.weight"], state["fc.bias"])


@pytest.mark.parametrize("kind", ["A", "none"])
def test_logits_equal_an_independent_implementation(kind):
    network = cifar_resnet(20, kind)
    initialise(network, generator(0, "init"))
    for _ in range(3):  # running statistics that are not the initial ones
        network(torch.randn(16, 3, 32, 32))
    network.eval()
    x = torch.randn(4, 3, 32, 32)
    torch.testing.assert_close(network(x), independent(network.state_dict(), x, 3, kind == "none"),
                               rtol=1e-4, atol=1e-5)


def test_initialisation_is_he_fan_in():
    network = cifar_resnet(110)
    initialise(network, generator(0, "init"))
    assert network.layer3[5].conv1.weight.std().item() == pytest.approx(
        (2 / (9 * 64)) ** 0.5, rel=0.02)
    assert network.layer3[0].conv1.weight.std().item() == pytest.approx(
        (2 / (9 * 32)) ** 0.5, rel=0.02), "fan in, not fan out"
    assert not network.fc.bias.any()


@pytest.mark.parametrize("kind", ["A", "B", "C", "none"])
def test_every_declared_parameter_gets_a_gradient(kind):
    network = cifar_resnet(8, kind)
    initialise(network, generator(0, "init"))
    F.cross_entropy(network(torch.randn(20, 3, 16, 16)), torch.arange(20) % 10).backward()
    for name, p in network.named_parameters():
        assert p.grad is not None and p.grad.abs().sum() > 0, name


def test_multiply_adds_of_a_layer_by_hand():
    network = ResNet(BasicBlock, [1], 4, "none", channels=2, classes=3)
    by_hand = 6 * 6 * (4 * 2 * 9 + 2 * 4 * 4 * 9) + 4 * 3
    assert multiply_adds(network, torch.zeros(1, 2, 6, 6)) == by_hand


def test_layer_responses_are_the_std_behind_each_3x3_layer():
    network = cifar_resnet(8)
    batches = list(torch.randn(12, 3, 16, 16).split(5))  # of unequal size
    seen = []
    handle = network.layer2[0].bn1.register_forward_hook(lambda m, i, y: seen.append(y))
    stds = layer_responses(network, batches)
    handle.remove()
    assert len(stds) == 7
    assert stds[3] == pytest.approx(torch.cat(seen).std(correction=0).item(), rel=1e-5)
    assert network.training, "the mode is put back"


@pytest.mark.parametrize(("make", "depth"), [(cifar_resnet, 21), (cifar_resnet, 2),
                                             (imagenet_resnet, 20)])
def test_depths_the_paper_does_not_have_are_refused(make, depth):
    with pytest.raises(ValueError, match=f"depth {depth}: expected"):
        make(depth)


def test_table_1_lists_five_networks():
    assert list(IMAGENET) == [18, 34, 50, 101, 152]


def test_a_step_and_layer_responses_on_a_device_without_float64(accelerator_without_float64):
    network, x = cifar_resnet(8), torch.randn(6, 3, 8, 8, generator=generator(0, "images"))
    initialise(network, generator(0, "init"))
    expected = layer_responses(network, [x[:4], x[4:]])
    d = accelerator_without_float64.device
    network.to(d)
    x, y = x.to(d), torch.zeros(6, dtype=torch.long, device=d)
    with accelerator_without_float64.watch() as log:
        found = layer_responses(network, [x[:4], x[4:]])
    assert found == pytest.approx(expected, rel=1e-5)
    assert not log.uploads and len(log.reads) == 7, "one copy for each layer"
    with accelerator_without_float64.watch() as log:
        F.cross_entropy(network(x), y).backward()
    assert not log.uploads and not log.reads
