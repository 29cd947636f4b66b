"""Choosing a device, and what it can do."""

import pytest
import torch

from common.errors import UserError
from common.training.devices import choose_device, run_generator, widest_float

CPU = torch.device("cpu")


def test_a_cpu_draws_from_the_default_generator():
    assert run_generator(CPU, 0) is None


def test_an_accelerators_runs_have_generators_of_their_own(accelerator):
    one, other, again = (run_generator(accelerator.device, s) for s in (0, 1, 0))
    draws = [torch.rand(4, generator=g, device=accelerator.device).tolist()
             for g in (one, other, again)]
    assert draws[0] == draws[2] != draws[1]


def test_a_device_without_float64_is_known(accelerator_without_float64):
    assert widest_float(accelerator_without_float64.device) == torch.float32
    assert widest_float(CPU) == torch.float64


def test_a_paper_that_needs_float64_is_told_in_one_line(accelerator_without_float64):
    name = str(accelerator_without_float64.device)
    assert choose_device(name) == accelerator_without_float64.device
    with pytest.raises(UserError, match=f"train.device={name}: expected a device with float64"):
        choose_device(name, float64=True)
    assert choose_device("cpu", float64=True) == CPU


@pytest.mark.parametrize("name", ["meta", "tpu9", "cuda:99", "cpu:1", ""])
def test_devices_that_cannot_compute_are_refused(name):
    with pytest.raises(UserError, match=f"train.device={name}: not available here"):
        choose_device(name)


@pytest.mark.parametrize("card", [True, False])
def test_only_devices_that_are_there_are_offered(monkeypatch, card):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: card)
    with pytest.raises(UserError, match="; try auto or cpu" + " or cuda" * card + "$"):
        choose_device("meta")
