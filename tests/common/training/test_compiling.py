"""Compilations of closures and of networks of one class do not share a limit."""

from functools import partial

import pytest
import torch
from torch import nn

from common.training.compiling import compile_apart

COMPILE = torch.compile


@pytest.fixture(params=["this torch", "torch 2.11"])
def limit_of_two(request, monkeypatch):
    """At most two compilations a function, or an error; once as if by an older torch."""
    def older(f, dynamic):
        return COMPILE(f, dynamic=dynamic, backend="eager")
    monkeypatch.setattr(torch, "compile", older if request.param == "torch 2.11" else
                        partial(COMPILE, backend="eager"))
    with torch._dynamo.config.patch(recompile_limit=2, fail_on_recompile_limit_hit=True):
        yield
    torch._dynamo.reset()


def test_closures_of_one_function_stay_compiled(limit_of_two):
    def times(factor):
        return compile_apart(lambda x: x * factor)
    for factor in (2.0, 3.0, 4.0, 5.0):
        f = times(factor)
        for n in (3, 4):
            assert torch.equal(f(torch.ones(n)), torch.full((n,), factor))


def test_networks_of_one_class_stay_compiled(limit_of_two):
    for outputs in (2, 3, 4, 5):
        model = nn.Sequential(nn.Linear(3, outputs), nn.Dropout(0.5))
        compiled = compile_apart(model)
        for x in (torch.ones(1, 3), torch.ones(2, 3)):
            model.eval()
            assert torch.equal(compiled(x), model(x))
        assert list(compiled.parameters()) == list(model.parameters()), "for DDP"


def test_a_method_stays_compiled_for_each_object(limit_of_two):
    class Holder:
        def __init__(self, factor):
            self.factor = factor

        def times(self, x):
            return x * self.factor
    for factor in (2.0, 3.0, 4.0, 5.0):
        f = compile_apart(Holder(factor).times)
        for n in (3, 4):
            assert torch.equal(f(torch.ones(n)), torch.full((n,), factor))
