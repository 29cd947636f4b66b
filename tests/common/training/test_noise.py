"""Noise of two threads: normal, and a pure function of its arguments."""

import pytest
import scipy.stats
import torch
from torch import nn

from common.training.layers import Dropout
from common.training.noise import normal_, normal_like, uniform_like, use_generator


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_it_is_normal_in_all_its_parts():
    ε = normal_(torch.empty(200_001), 0, "noise", 0)
    for part in (ε, ε[:100_001], ε[100_001:]):
        assert scipy.stats.kstest(part.numpy(), "norm").pvalue > 0.001
    assert abs(torch.corrcoef(torch.stack([ε[:100_000], ε[100_001:]]))[0, 1]) < 0.01


def test_threads_do_not_change_it(threads):
    drawn = []
    for n in (1, 2):
        threads(n)
        drawn.append(normal_(torch.empty(3, 1001), 5, "noise", 7))
    assert torch.equal(*drawn)


@pytest.mark.parametrize("other", [(1, "noise", 7), (0, "other", 7), (0, "noise", 8)])
def test_every_argument_counts(other):
    a, b = normal_(torch.empty(1000), 0, "noise", 7), normal_(torch.empty(1000), *other)
    assert abs(torch.corrcoef(torch.stack([a, b]))[0, 1]) < 0.2


def test_one_number_and_none():
    assert normal_(torch.empty(1), 0, "noise", 0).isfinite()
    assert normal_(torch.empty(0), 0, "noise", 0).numel() == 0


def test_on_a_device_the_runs_generator_draws(accelerator):
    d = accelerator.device
    with pytest.raises(ValueError, match="expected a generator of this run"):
        normal_(torch.empty(3, device=d), 0, "noise", 0)
    drawn = []
    untouched = torch.get_rng_state()
    for _ in range(2):
        g = torch.Generator(device=d).manual_seed(4)
        with accelerator.watch() as log:
            drawn.append([normal_(torch.empty(3, device=d), 0, "noise", k, g) for k in (0, 1)])
        assert not log.uploads and not log.reads
    assert torch.equal(torch.get_rng_state(), untouched)
    (a, b), again = drawn
    assert torch.equal(a, again[0]) and torch.equal(b, again[1]) and not torch.equal(a, b)


def test_on_a_cpu_a_generator_changes_nothing():
    g = torch.Generator().manual_seed(4)
    assert torch.equal(normal_(torch.empty(9), 0, "noise", 1, g),
                       normal_(torch.empty(9), 0, "noise", 1))


@pytest.mark.parametrize("draw", [uniform_like, normal_like])
def test_numbers_like_a_tensor_come_from_the_generator(draw):
    x = torch.zeros(3, 5, dtype=torch.float64)
    torch.manual_seed(7)
    by_default = draw(x, None)
    assert by_default.dtype == x.dtype
    assert torch.equal(draw(x, torch.Generator().manual_seed(7)), by_default)


def test_every_module_that_draws_is_given_the_generator():
    g = torch.Generator()
    model = nn.Sequential(nn.Linear(2, 2), Dropout(0.5), nn.Sequential(Dropout(0.2)))
    use_generator(model, g)
    assert model[1].generator is g and model[2][0].generator is g
    assert not hasattr(model[0], "generator")
    use_generator(model, None)
    assert model[1].generator is None
