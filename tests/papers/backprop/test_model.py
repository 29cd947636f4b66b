"""Back-propagation by hand against automatic differentiation and finite differences."""

import pytest
import torch

from papers.backprop.model import ACTIVATIONS, Descent, Loss, Network, layered

SKIP = [(0, 2), (1, 2), (0, 3), (2, 3), (1, 4), (2, 4), (3, 4)]


def network(activation="logistic", connections=SKIP, sizes=(3, 2, 4, 3, 2), inputs=2, networks=3):
    return Network(sizes, inputs, connections, networks, activation, 1.0,
                   torch.Generator().manual_seed(0), torch.float64)


def cases(n=7):
    g = torch.Generator().manual_seed(1)
    return ([torch.rand(n, k, generator=g, dtype=torch.float64) for k in (3, 2)],
            torch.rand(n, 2, generator=g, dtype=torch.float64))


def by_hand(net, groups, d, loss):
    x, y = net(groups)
    net.backward(x, y, loss.slope(y[-1], d))
    return [p.grad for p in net.parameters()]


def automatic(net, groups, d, loss):
    for p in net.parameters():
        p.requires_grad_(True)
    return torch.autograd.grad(loss.error(net.outputs(groups), d).sum(), list(net.parameters()))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", [Loss(), Loss(tolerance=0.2), Loss("cross_entropy")])
def test_gradients_equal_autograd(activation, loss):
    if loss.name == "cross_entropy" and activation != "logistic":
        pytest.skip("outputs are no probabilities")
    net, (groups, d) = network(activation), cases()
    for a, b in zip(by_hand(net, groups, d, loss), automatic(net, groups, d, loss), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
        assert a.abs().sum() > 0, "the gradient of every declared parameter is non-zero"


def test_gradients_equal_finite_differences():
    net, (groups, d) = network(), cases()
    loss, h = Loss(), 1e-6
    gradients = by_hand(net, groups, d, loss)
    for p, g in zip(net.parameters(), gradients, strict=True):
        index = (0,) * p.dim()
        keep = p[index].item()
        e = []
        for step in (h, -h):
            p[index] = keep + step
            e.append(loss.error(net.outputs(groups), d)[0].item())
        p[index] = keep
        assert (e[0] - e[1]) / (2 * h) == pytest.approx(g[index].item(), rel=1e-5, abs=1e-9)


def test_networks_side_by_side_are_independent():
    net, (groups, d) = network(), cases()
    together = by_hand(net, groups, d, Loss())
    with torch.no_grad():
        for p in net.parameters():
            p[1:] += 1.0
    for a, b in zip(together, by_hand(net, groups, d, Loss()), strict=True):
        assert torch.equal(a[0], b[0]) and not torch.equal(a[1], b[1])


def test_error_by_hand():
    y, d = torch.tensor([[[0.9], [0.4]]]), torch.tensor([[1.0], [0.0]])
    assert Loss().error(y, d).item() == pytest.approx((0.01 + 0.16) / 2)
    assert Loss(tolerance=0.2).error(y, d).item() == pytest.approx(0.08)
    assert Loss("cross_entropy").error(y, d).item() == pytest.approx(
        torch.nn.functional.binary_cross_entropy(y[0], d, reduction="sum").item(), rel=1e-6)


def test_momentum_and_decay_are_equation_9():
    w = torch.nn.Parameter(torch.tensor([1.0, -2.0]), requires_grad=False)
    descent = Descent([w], lr=0.1, momentum=0.9, decay=0.002)
    expected, change = [1.0, -2.0], [0.0, 0.0]
    for gradient in ([1.0, 0.5], [-2.0, 0.5], [0.0, 3.0]):
        w.grad = torch.tensor(gradient)
        descent.step()
        change = [-0.1 * g + 0.9 * c for g, c in zip(gradient, change, strict=True)]
        expected = [(e + c) * (1 - 0.002) for e, c in zip(expected, change, strict=True)]
    assert w.tolist() == pytest.approx(expected)


def test_momentum_equals_torch_sgd():
    a, b = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
    ours, torchs = Descent([a], 0.1, 0.9), torch.optim.SGD([b], 0.1, 0.9)
    for k in range(5):
        a.grad = b.grad = torch.arange(3.0) + k
        ours.step(), torchs.step()
    torch.testing.assert_close(a, b)


def test_skip_connects_every_group_to_all_later_ones():
    assert layered([2, 1, 1], skip=True) == [(0, 1), (0, 2), (1, 2)]
    assert layered([6, 2, 1]) == [(0, 1), (1, 2)]


def test_initial_weights_are_uniform_in_the_range():
    net = Network([6, 2, 1], 1, layered([6, 2, 1]), 2000, init=0.3)
    w = net.w["0-1"]
    assert w.abs().max() <= 0.3 and w.std().item() == pytest.approx(0.3 / 3**0.5, rel=0.02)


@pytest.mark.parametrize("loss", [Loss(), Loss("squared", 0.2), Loss("cross_entropy")])
def test_a_sweep_on_a_device_waits_for_nothing(accelerator_without_float64, loss):
    found = []
    for device in (torch.device("cpu"), accelerator_without_float64.device):
        network = Network([3, 4, 2], 1, layered([3, 4, 2], skip=True), 5,
                          generator=torch.Generator().manual_seed(0))
        descent = Descent(list(network.parameters()), 0.1, 0.9, 0.01)
        network.to(device)
        draw = torch.Generator().manual_seed(1)
        x, d = (torch.rand(6, n, generator=draw).to(device) for n in (3, 2))
        with accelerator_without_float64.watch() as log:
            for _ in range(2):
                totals, outputs = network([x])
                error = loss.error(outputs[-1], d)
                network.backward(totals, outputs, loss.slope(outputs[-1], d))
                descent.step()
        assert log.reads == log.uploads == log.scalars == log.mixed == []
        found.append([error.tolist(), *(p.tolist() for p in network.parameters())])
    assert found[0] == found[1]
