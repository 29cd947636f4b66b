"""Cards of weights, read by the hub's own library."""

import pytest
from huggingface_hub import ModelCard

from common.evidence.card import Evaluation, card


def made():
    return card("small", ["A network of three weights."], Evaluation("cifar10", 8.48, 10_000),
                "network = load('small.safetensors')", "python train.py", ["Input: pixels."])


def test_the_hubs_library_reads_the_result():
    read = ModelCard(made())
    (result,) = read.data.eval_results
    assert read.data.license == "mit" and read.data.datasets == ["uoft-cs/cifar10"]
    assert (read.data.model_name, result.task_type) == ("small", "image-classification")
    assert (result.dataset_type, result.dataset_split) == ("uoft-cs/cifar10", "test")
    assert (result.metric_type, result.metric_value) == ("accuracy", pytest.approx(0.9152))
    for word in ("# small", "three weights", "8.48 %", "Input: pixels.",
                 "```python\nnetwork = load('small.safetensors')\n```", "python train.py"):
        assert word in read.text


def test_the_interval_is_the_binomials():
    low, high = Evaluation("mnist", 8.48, 10_000).interval
    z, p, n = 1.959964, 0.0848, 10_000  # Wilson's formula
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    assert (low, high) == pytest.approx((100 * (middle - half), 100 * (middle + half)), rel=1e-5)
    assert Evaluation("mnist", 0.0, 10).interval[0] == 0


def test_data_that_are_on_no_hub_keep_their_name():
    text = card("small", [], Evaluation("digits", 2.0, 100), "", "")
    assert ModelCard(text).data.datasets == ["digits"]
