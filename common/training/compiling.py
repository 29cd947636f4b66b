"""torch.compile, the way this repository uses it."""

from __future__ import annotations

from typing import Any

import torch


def compile_apart(f: Any, dynamic: bool | None = False) -> Any:
    """``f``, compiled for every shape it meets.

    Each call keeps its compilations to itself. All closures of one function otherwise share torch's
    limit of eight, and the later runs of a process go on uncompiled.

    Args:
        f: a function or module.
        dynamic: as of ``torch.compile``; False: each new shape is compiled by itself.
    """
    return torch.compile(f, dynamic=dynamic, isolate_recompiles=True)
