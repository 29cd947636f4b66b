"""The stand-in for an accelerator notices what a real one would mind, and nothing else."""

import io

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.common.accelerator import DEVICE, StandInTensor, stand_in


def trained(device, **options):
    """The loss and the state of a small network after three steps, on the CPU."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 5), nn.Sigmoid(), nn.Linear(5, 5))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, **options)
    model.to(device)  # the optimiser keeps its parameters, as on a real device
    x, y = torch.randn(8, 3, 6, 6).to(device), torch.randint(0, 5, (8,)).to(device)
    for _ in range(3):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
    return [loss.detach(), *model.state_dict().values()]


@pytest.mark.parametrize("options", [{"foreach": False}, {"foreach": True}, {"fused": True}],
                         ids=str)
def test_a_network_trains_on_it_to_the_bits_of_the_cpu(options):
    expected = trained("cpu", **options)
    with stand_in(float64=False) as accelerator:
        with accelerator.watch() as log:
            found = trained(accelerator.device, **options)
        assert all(isinstance(t, StandInTensor) for t in found)
        assert all(torch.equal(a, b.cpu()) for a, b in zip(expected, found, strict=True))
    assert not log.reads and len(log.uploads) == 13  # 8 parameters, 3 buffers, the batch


@pytest.mark.parametrize("make", [
    lambda: torch.arange(5, device=DEVICE), lambda: torch.eye(2, device=DEVICE),
    lambda: nn.Linear(2, 3, device=DEVICE).weight,
    lambda: torch.zeros(2, device=DEVICE).new_ones(3),
    lambda: F.pad(torch.zeros(2, 2, device=DEVICE), (0, 1), value=1.0),
    lambda: torch.randn(2, 2, device=DEVICE).gather(1, torch.zeros(2, 1, dtype=torch.long,
                                                                  device=DEVICE)),
    lambda: torch.zeros(3, device=DEVICE).unsqueeze_(0),
    lambda: torch.func.vmap(torch.func.grad(lambda w: w.square().sum()))(
        torch.ones(2, 3, device=DEVICE))])
def test_its_tensors_stay_on_it_and_nothing_crosses(accelerator, make):
    with accelerator.watch() as log:
        made = make()
    assert made.device == DEVICE and not made.is_cpu
    assert made.shape == made.held.shape
    assert log.reads == log.uploads == log.mixed == []


@pytest.mark.parametrize("read", [
    lambda x: x.sum().item(), lambda x: float(x[0]), lambda x: bool(x.sum() > 0),
    lambda x: x.tolist(), lambda x: x.cpu(), lambda x: x.to("cpu"),
    lambda x: torch.empty(4).copy_(x), lambda x: int(x[1]), lambda x: torch.ones(4)[int(x[1])],
    lambda x: x.nonzero(), lambda x: x[x > 0], lambda x: torch.equal(x, x), lambda x: f"{x[0]:.1f}",
    lambda x: x.masked_select(x > 0), lambda x: x.long().bincount(minlength=4),
    lambda x: torch.save(x, io.BytesIO())])
def test_every_read_of_the_host_is_logged(accelerator, read):
    x = torch.arange(4.0).to(accelerator.device)
    with accelerator.watch() as log:
        read(x)
    assert len(log.reads) == 1 and "tests/common/test_accelerator.py:" in log.reads[0]
    assert not log.uploads


@pytest.mark.parametrize("upload", [
    lambda x: torch.ones(3).to(x), lambda x: x.copy_(torch.ones(4)),
    lambda x: torch.tensor(1.0, device=x.device), lambda x: x.new_tensor([1.0, 2.0]),
    lambda x: x[torch.tensor([0, 1])], lambda x: x[[0, 1]],
    lambda x: x.__setitem__(slice(0, 2), torch.zeros(2)), lambda x: x.fill_(torch.tensor(1.0))])
def test_every_copy_to_the_device_is_logged(accelerator, upload):
    x = torch.arange(4.0).to(accelerator.device)
    with accelerator.watch() as log:
        upload(x)
    assert len(log.uploads) == 1 and not log.reads


@pytest.mark.parametrize("mix", [
    lambda x: x + torch.ones(4), lambda x: torch.ones(4).add_(x), lambda x: x @ torch.ones(4),
    lambda x: torch.stack([x.sum(), torch.tensor(1.0)]), lambda x: torch.zeros(()).add_(x.sum()),
    lambda x: x.gather(0, torch.zeros(1, dtype=torch.long)),
    lambda x: torch.ones(4)[x.long()], lambda x: torch.where(torch.ones(4) > 0, x, x),
    lambda x: torch.zeros(4).index_add(0, x.long(), x),
    lambda x: torch._foreach_add([x], [torch.ones(4)]), lambda x: F.linear(x, torch.ones(1, 4))])
def test_operations_across_devices_are_refused(accelerator, mix):
    x = torch.arange(4.0).to(accelerator.device)
    with accelerator.watch() as log, pytest.raises(RuntimeError, match="on the same device"):
        mix(x)
    assert len(log.mixed) == 1 and "tests/common/test_accelerator.py:" in log.mixed[0]


def test_pointwise_operations_take_a_scalar_of_the_cpu(accelerator):
    x = torch.arange(4.0).to(accelerator.device)
    with accelerator.watch() as log:
        y = torch.where(x > 1, x * torch.tensor(2.0), torch.tensor(0.5))
    assert y.tolist() == [0.5, 0.5, 4.0, 6.0]
    assert log.reads == log.uploads == log.mixed == []
    assert [s.split()[0] for s in log.scalars] == ["mul", "where"]


def test_each_log_ends_with_its_block(accelerator):
    x = torch.ones((), device=accelerator.device)
    with accelerator.watch() as outer:
        x.item()
        with accelerator.watch() as inner:
            x.item()
    x.item()
    assert len(outer.reads) == 2 and len(inner.reads) == 1


def test_float64_can_be_refused(accelerator_without_float64):
    x = torch.ones(3).to(accelerator_without_float64.device)
    for make in (x.double, lambda: torch.ones(3).double().to(x.device),
                 lambda: torch.zeros(3, dtype=torch.float64, device=x.device),
                 lambda: x.sum(dtype=torch.float64),
                 lambda: x.long().mul(torch.tensor(2.0, dtype=torch.float64))):
        with pytest.raises(TypeError, match="float64"):
            make()
    assert (x.cpu().double() * 2).sum() == 6


def test_a_generator_belongs_to_a_device(accelerator):
    d = accelerator.device
    mine, cpus = torch.Generator(device=d).manual_seed(3), torch.Generator().manual_seed(3)
    assert (mine.device, cpus.device) == (d, torch.device("cpu"))
    drawn = torch.empty(5, device=d).normal_(generator=mine)
    assert torch.equal(drawn.cpu(), torch.empty(5).normal_(generator=cpus))
    for wrong in (lambda: torch.rand(2, device=d, generator=cpus),
                  lambda: torch.rand(2, generator=mine)):
        with pytest.raises(RuntimeError, match="device type for generator"):
            wrong()
    with accelerator.watch() as log:
        kept = mine.get_state()
        a = torch.randperm(5, device=d, generator=mine)
        mine.set_state(kept)
        b = torch.randperm(5, device=d, generator=mine)
    assert torch.equal(a, b) and not log.uploads


def test_a_saved_tensor_is_one_of_the_cpu(accelerator):
    file = io.BytesIO()
    torch.save({"x": torch.ones(2, device=accelerator.device)}, file)
    file.seek(0)
    (x,) = torch.load(file).values()
    assert type(x) is torch.Tensor and x.tolist() == [1, 1]


def test_it_leaves_nothing_behind():
    before = torch.Generator, torch.accelerator.current_accelerator()
    with stand_in() as accelerator:
        assert torch.accelerator.current_accelerator() == before[1]  # train.device=auto
        torch.empty(1, device=accelerator.device)
    assert (torch.Generator, torch.accelerator.current_accelerator()) == before
    assert not torch.__future__.get_swap_module_params_on_conversion()
    with pytest.raises(Exception, match=r"Lazy|lazy"):
        torch.empty(1, device=DEVICE)
