"""Figures and facts that meet a file without what they expect end in one line."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from common.config import one_line
from common.errors import UserError, nearest

T = TypeVar("T")


class Lookup(dict[str, T]):
    """A dictionary of what a file holds, for figures and facts that read it by name.

    Args:
        values: the values by name.
        where: the file, for the message.
        what: what a value is, such as ``metric``.
    """

    def __init__(self, values: Mapping[str, T], where: str, what: str):
        super().__init__(values)
        self.where, self.what = where, what

    def __missing__(self, name: str) -> T:
        raise UserError(f"{self.where} has no {self.what} {name!r}{nearest(name, self)}: expected "
                        "what its paper's figures and facts read")


FAULTS = (LookupError, ValueError, TypeError, ArithmeticError, RuntimeError, StopIteration)
"""What a paper's figures and facts raise where a file does not hold what they expect."""


def located(e: BaseException) -> str:
    """An exception in words, with the file and the line where it arose."""
    (*_, last) = traceback.extract_tb(e.__traceback__)
    said = type(e).__name__ if not str(e) else f"{type(e).__name__} {one_line(e)}"
    if isinstance(e, SyntaxError):  # its own words end with the file and the line
        return said
    own = [f for f in traceback.extract_tb(e.__traceback__) if "papers" in Path(f.filename).parts]
    frame = own[-1] if own else last
    return f"{said} ({Path(frame.filename).name}, line {frame.lineno})"
