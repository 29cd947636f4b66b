"""Wrappers around ``torch.compile``."""

from __future__ import annotations

import functools
import inspect
import os
import shutil
import sys
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from common.errors import UserError


def compile_apart(f: Any, dynamic: bool | None = False) -> Any:
    """Compile ``f``, with a compilation cache of its own for every call of this function.

    Otherwise all closures of one function share torch's limit of eight compilations, and later runs
    in the same process execute uncompiled.

    Args:
        f: a function or module.
        dynamic: as in ``torch.compile``; False: each new shape is compiled separately.

    Raises:
        UserError: compiling for a CPU needs a C++ compiler, and there is none.
    """
    cxx = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    if not torch.cuda.is_available() and shutil.which(cxx) is None:
        raise UserError(f"train.compile=true or train.vectorize=true: expected a C++ compiler, and "
                        f"there is no {cxx} here; install one, or name it in $CXX")
    warnings.filterwarnings("ignore", category=FutureWarning,  # of torch to its own authors
                            module=r"torch\._inductor")
    if "isolate_recompiles" in inspect.signature(torch.compile).parameters:
        alone: dict[str, Any] = {"isolate_recompiles": True}  # torch's types do not know it yet
        return torch.compile(f, dynamic=dynamic, **alone)
    return torch.compile(_with_code_of_its_own(f), dynamic=dynamic)


MANY = 64
"""How many different input shapes the parts of one network may meet, evaluation included."""


def compile_parts(network: nn.Module, kind: type[nn.Module]) -> nn.Module:
    """Compile every submodule of one class, such as the blocks of a residual network, in place.

    Submodules that are alike share one compilation, so that a deeper network takes no longer to
    compile. The rest of the network is not compiled.

    Args:
        network: contains the submodules.
        kind: their class.

    Returns:
        The same network.
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
    """Wrap ``f`` in a function with a new code object; up to torch 2.11 the limit is per code."""
    def call(*args: Any, **kwargs: Any) -> Any:
        return f(*args, **kwargs)
    call.__code__ = call.__code__.replace()
    return _Behind(f, call) if isinstance(f, nn.Module) else call


class _Behind(nn.Module):
    """A module that holds another module and calls a function that wraps it."""

    def __init__(self, module: nn.Module, call: Callable[..., Any]):
        super().__init__()
        self.module, self.forward = module, call
