"""Layers by oneDNN: the numbers of torch's own, and of float64."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from common.training import linear as module
from common.training.linear import Linear, linear


def case(n, inputs, outputs):
    g = torch.Generator().manual_seed(0)
    wide = torch.randn(outputs, inputs + 1, generator=g)
    return torch.randn(n, inputs, generator=g), wide[:, :-1], wide[:, -1]


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("shape", [(100, 784, 256), (128, 1200, 10), (4, 8, 3)])
def test_values_and_gradients_are_float64s(shape, biased):
    x, w, b = case(*shape)  # w and b are columns of one tensor, with gaps
    up = torch.randn(shape[0], shape[2])
    found, expected = [], []
    for into, f, kind in ((found, linear, torch.float32), (expected, F.linear, torch.float64)):
        leaves = [t.to(kind).requires_grad_() for t in ((x, w, b) if biased else (x, w))]
        y = f(*leaves)
        into += [y, *torch.autograd.grad(y, leaves, up.to(kind))]
    for a, e in zip(found, expected, strict=True):
        torch.testing.assert_close(a.double(), e, rtol=1e-4, atol=1e-3)


def test_several_seeds_as_one_batched_network():
    x, w, b = case(128, 784, 400)
    several = torch.func.vmap(linear, (None, 0, 0))(x, torch.stack([w, 2 * w]), torch.stack([b, b]))
    torch.testing.assert_close(several[1], F.linear(x, 2 * w, b), rtol=1e-4, atol=1e-3)


def counted(monkeypatch):
    calls, real = [], module.product
    monkeypatch.setattr(module, "product", lambda *a: calls.append(1) or real(*a))
    return calls


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch without oneDNN")
@pytest.mark.filterwarnings("ignore:TF32")  # of flags(), about other hardware
def test_when_onednn_is_used(monkeypatch):
    calls = counted(monkeypatch)
    x, w, b = case(128, 784, 400)
    linear(x, w, b)
    assert len(calls) == 1
    linear(x[:4, :8], w[:3, :8], b[:3])  # too small
    linear(x.double(), w.double(), b.double())
    linear(x[None], w, b)
    with torch.backends.mkldnn.flags(enabled=False):
        linear(x, w, b)
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(x, w, b).dtype == torch.bfloat16
    assert len(calls) == 1


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch without oneDNN")
def test_gradients_nobody_asks_for_are_not_computed(monkeypatch):
    x, w, b = case(128, 784, 400)
    w = w.clone().requires_grad_()
    y = linear(x, w, b)
    calls = counted(monkeypatch)
    y.sum().backward()
    assert len(calls) == 1 and x.grad is None


def test_the_module_is_a_linear_layer_in_all_but_speed():
    ours, torchs = Linear(784, 256), nn.Linear(784, 256)
    ours.load_state_dict(torchs.state_dict())
    x = torch.rand(100, 784)
    torch.testing.assert_close(ours(x), torchs(x), rtol=1e-5, atol=1e-5)
    assert isinstance(ours, nn.Linear)


def test_a_batch_of_any_size_is_traced():
    """A product large enough for oneDNN asks for its length, which a traced batch does not have."""
    layer, x = Linear(1024, 1024), torch.randn(2, 1024)
    program = torch.export.export(layer, (x,), dynamic_shapes=({0: torch.export.Dim("n", max=64)},))
    torch.testing.assert_close(program.module()(x[:1].repeat(7, 1)), layer(x[:1].repeat(7, 1)))
