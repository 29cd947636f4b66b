"""A row's values on their way to the device."""

import torch

from common.training.rows import as_tensor, on_device, scalar


def test_numbers_become_tensors_without_rounding():
    assert as_tensor(0.1).dtype == torch.float64 and as_tensor(0.1).item() == 0.1
    assert as_tensor(2**40).item() == 2**40
    whole = torch.arange(3)
    assert as_tensor(whole) is whole


def test_a_device_gets_float32_and_a_cpu_what_there_is():
    there = on_device(as_tensor(0.1), torch.device("meta"))
    assert (there.dtype, there.device.type) == (torch.float32, "meta")
    here = as_tensor(0.1)
    assert on_device(here, torch.device("cpu")) is here


def test_a_number_on_a_cpu_is_a_plain_one():
    assert scalar(0.1) == 0.1 and scalar(as_tensor(0.1)) == 0.1
    assert isinstance(scalar(as_tensor(3)), int)
    elsewhere = torch.empty((), device="meta")
    assert scalar(elsewhere) is elsewhere
