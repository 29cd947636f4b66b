"""The work of a step, counted, against what it is on paper."""

import pytest
import torch

from common.running import limits
from tests.common.toy import Toy, experiments


def test_work_is_what_it_is_on_paper(tmp_path):
    recipe = Toy(experiments(tmp_path / "toy").resolve("base", 0))
    found = limits.work(recipe)
    weights = 64 * 16 + 16 * 10
    # forward; gradients of both weights; and of the second layer's input, the images need none
    assert found.flops == 2 * 20 * (weights + weights + 16 * 10)
    parameters = 4 * (weights + 26)
    assert found.bytes > (5 + 2) * parameters, "weights, gradients and momentum alone"
    assert found.bytes < 7 * parameters + 2 * 4 * 20 * (64 + 5 * 16 + 2 * 10) + 1000


def test_a_device_has_rates_and_a_step_is_slower_than_its_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "SIZE", 128)
    monkeypatch.setattr(limits, "COPIED", 2**16)
    flops, moved = limits.rates(torch.device("cpu"))
    assert flops > 0 and moved > 0
    monkeypatch.setattr(limits, "seconds_per_step", lambda recipes: 0.004)
    recipe = Toy(experiments(tmp_path / "toy").resolve("base", 0))
    its = limits.work(recipe)
    line = limits.beside_the_limit("toy", recipe, (its.flops / 0.002, its.bytes / 0.001))
    assert line.split()[:9] == [
        "toy", "4.000", "ms", "2.000", "ms", "by", "multiply-adds", "2.0", "×"]
    assert line.split()[9:] == [f"{its.flops / 0.004 / 1e12:.3f}", "of",
                                f"{its.flops / 0.002 / 1e12:.3f}", "TFLOP/s"]
    line = limits.beside_the_limit("toy", recipe, (its.flops / 0.002, its.bytes / 0.008))
    assert line.split()[6:9] == ["bytes", "0.5", "×"], "a limit that is none is shown as it is"
    assert limits.fastest(lambda: None, torch.device("cpu")) == pytest.approx(0, abs=0.1)


def test_the_product_is_of_the_numbers_that_the_step_multiplies(monkeypatch):
    monkeypatch.setattr(limits, "SIZE", 8)
    monkeypatch.setattr(limits, "COPIED", 8)
    made = []

    def fastest(do, device):
        made.append(do().dtype)
        return 1.0
    monkeypatch.setattr(limits, "fastest", fastest)
    for precision in ("float32", "tf32", "bfloat16"):
        assert limits.rates(torch.device("cpu"), precision) == (2 * 8**3, 2 * 8 * 4)
    assert made[::2] == [torch.float32, torch.float32, torch.bfloat16]
