"""Compilations of closures and of networks of one class do not share a limit."""

import copy
from functools import partial

import pytest
import torch
from torch import nn

from common.errors import UserError
from common.training.compiling import compile_apart, compile_parts

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


def compilations(depth, monkeypatch):
    """How many graphs a residual network of a depth makes in a training step."""
    from papers.resnet.model import Block, cifar_resnet
    graphs = []

    def backend(graph, example_inputs):
        graphs.append(graph)
        return graph.forward
    monkeypatch.setattr(torch, "compile", partial(COMPILE, backend=backend))
    torch.manual_seed(0)
    network = cifar_resnet(depth, channels=1)
    plain = copy.deepcopy(network)
    x = torch.randn(4, 1, 8, 8)
    compile_parts(network, Block)
    y = network(x)
    torch.testing.assert_close(y, plain(x))
    y.sum().backward()
    assert all(p.grad is not None for p in network.parameters())
    torch.testing.assert_close(network.eval()(x), plain.eval()(x))
    return len(graphs)


@pytest.mark.slow
def test_a_deeper_network_takes_no_more_compilations(monkeypatch):
    assert compilations(14, monkeypatch) == compilations(32, monkeypatch) > 0


def test_without_a_compiler_it_is_one_line(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="there is no no-such-compiler here"):
        compile_apart(torch.sin)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    compile_apart(torch.sin)  # a card has a compiler of its own
