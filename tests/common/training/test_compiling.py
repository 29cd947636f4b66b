"""Compilations of closures do not share a limit."""

from functools import partial

import torch

from common.training.compiling import compile_apart


def test_closures_of_one_function_stay_compiled(monkeypatch):
    def times(factor):
        return compile_apart(lambda x: x * factor)
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    with torch._dynamo.config.patch(recompile_limit=2, fail_on_recompile_limit_hit=True):
        for factor in (2.0, 3.0, 4.0, 5.0):
            f = times(factor)
            for n in (3, 4):
                assert torch.equal(f(torch.ones(n)), torch.full((n,), factor))
