"""torch.compile, the way this repository uses it."""

from __future__ import annotations

import functools
import inspect
import os
import shutil
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from common.errors import UserError


def compile_apart(f: Any, dynamic: bool | None = False) -> Any:
    """``f``, compiled for every shape it meets.

    Each call keeps its compilations to itself. All closures of one function otherwise share torch's
    limit of eight, and the later runs of a process go on uncompiled.

    Args:
        f: a function or module.
        dynamic: as of ``torch.compile``; False: each new shape is compiled by itself.

    Raises:
        UserError: for a CPU a C++ compiler is needed, and there is none.
    """
    cxx = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    if not torch.cuda.is_available() and shutil.which(cxx) is None:
        raise UserError(f"train.compile=true or train.vectorize=true: expected a C++ compiler, and "
                        f"there is no {cxx} here; install one, or name it in $CXX")
    if "isolate_recompiles" in inspect.signature(torch.compile).parameters:
        alone: dict[str, Any] = {"isolate_recompiles": True}  # torch's types do not know it yet
        return torch.compile(f, dynamic=dynamic, **alone)
    return torch.compile(_with_code_of_its_own(f), dynamic=dynamic)


MANY = 64
"""Shapes that the parts of one network may have, in training and in evaluation."""


def compile_parts(network: nn.Module, kind: type[nn.Module]) -> nn.Module:
    """Compile every part of one kind, such as the blocks of a residual network, in place.

    Equal parts share one compilation, so that a deeper network takes no longer to compile. What
    lies between the parts stays as it is.

    Args:
        network: contains the parts.
        kind: their class.

    Returns:
        The network.
    """
    def call(part: nn.Module, x: Any) -> Any:
        return type(part).forward(part, x)

    shared = compile_apart(call)
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, MANY)
    for part in network.modules():
        if isinstance(part, kind):
            part.forward = functools.partial(shared, part)
    return network


def _with_code_of_its_own(f: Any) -> Any:
    """``f`` behind a function whose code object is new: up to torch 2.11 the limit is of those."""
    def call(*args: Any, **kwargs: Any) -> Any:
        return f(*args, **kwargs)
    call.__code__ = call.__code__.replace()
    return _Behind(f, call) if isinstance(f, nn.Module) else call


class _Behind(nn.Module):
    """A module that calls a function around another module, whose parameters it has."""

    def __init__(self, module: nn.Module, call: Callable[..., Any]):
        super().__init__()
        self.module, self.forward = module, call
