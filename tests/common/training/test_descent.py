"""SGD with its rates in tensors makes the updates of torch's."""

import pytest
import torch

from common.training.descent import SGDByTensors, sgd


def problem(kind, **options):
    torch.manual_seed(0)
    params = [torch.randn(5, 3, requires_grad=True), torch.randn(4, requires_grad=True)]
    unused = torch.randn(2, requires_grad=True)
    groups = [{"params": params[:1]}, {"params": [params[1], unused], "weight_decay": 0.0}]
    return params, kind(groups, **options)


def run(params, optimizer, rates, as_tensors):
    for lr, momentum in rates:
        for group in optimizer.param_groups:
            group["lr"] = torch.tensor(lr) if as_tensors else lr
            group["momentum"] = torch.tensor(momentum) if as_tensors else momentum
        optimizer.zero_grad()
        sum((p**3).sum() for p in params).backward()
        optimizer.step()


RATES = [(0.01, 0.5), (0.01, 0.9), (0.005, 0.95), (0.001, 0.95)]


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_tensors_and_numbers_make_the_same_updates(decay):
    ours, optimizer = problem(SGDByTensors, lr=0.1, momentum=0.5, weight_decay=decay)
    theirs, reference = problem(torch.optim.SGD, lr=0.1, momentum=0.5, weight_decay=decay)
    run(ours, optimizer, RATES, True)
    run(theirs, reference, RATES, False)
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p, q)
    for a, b in zip(optimizer.state.values(), reference.state.values(), strict=True):
        torch.testing.assert_close(a["momentum_buffer"], b["momentum_buffer"])


def test_a_rate_alone_may_be_a_tensor():
    ours, optimizer = problem(SGDByTensors, lr=0.1)
    theirs, reference = problem(torch.optim.SGD, lr=0.1)
    for params, o, lr in ((ours, optimizer, torch.tensor(0.02)), (theirs, reference, 0.02)):
        for group in o.param_groups:
            group["lr"] = lr
        sum((p**3).sum() for p in params).backward()
        o.step()
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p, q)


def test_it_takes_plain_numbers_too():
    ours, optimizer = problem(SGDByTensors, lr=0.1, momentum=0.5)
    theirs, reference = problem(torch.optim.SGD, lr=0.1, momentum=0.5)
    run(ours, optimizer, RATES, False)
    run(theirs, reference, RATES, False)
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p, q)


@pytest.mark.parametrize("device, kind", [("cpu", torch.optim.SGD), ("cuda", SGDByTensors)])
def test_a_cpu_has_torchs_own(device, kind):
    params, _ = problem(torch.optim.SGD, lr=0.1)
    made = sgd(params, torch.device(device), lr=0.2, momentum=0.5)
    assert type(made) is kind and made.defaults["lr"] == 0.2 and made.defaults["momentum"] == 0.5


@pytest.mark.parametrize("option", [{"nesterov": True, "momentum": 0.9}, {"dampening": 0.5},
                                    {"maximize": True}])
def test_what_it_cannot_do_is_refused_and_not_ignored(option):
    name = next(iter(option))
    with pytest.raises(ValueError, match=f"{name}=.*: expected torch.optim.SGD, which has it"):
        SGDByTensors([torch.ones(1)], lr=0.1, **option)
