"""What the optimiser refuses, in one line each."""

from __future__ import annotations

import math

from torch import nn

from common.errors import UserError, nearest

RULES, SOLVERS = ("gain", "plain"), ("cholesky", "qr", "cg")


def check_settings(rule: str, solver: str, damping: float, β: float, scaled: bool, cg_steps: int,
                   cg_tolerance: float, max_bytes: int) -> None:
    """Refuse settings of :class:`~papers.levenberg_marquardt.optim.LevenbergMarquardt`.

    Raises:
        UserError: one of them cannot be used; says which and what was expected.
    """
    for name, value, known in (("rule", rule, RULES), ("solver", solver, SOLVERS)):
        if value not in known:
            raise UserError(f"{name}={value!r}{nearest(str(value), known)}")
    for name, number, expected, fits in (
            ("damping", damping, "a finite number above 0", lambda v: 0 < v < math.inf),
            ("β", β, "a finite number above 1", lambda v: 1 < v < math.inf),
            ("cg_steps", cg_steps, "at least 1", lambda v: v >= 1),
            ("cg_tolerance", cg_tolerance, "at least 0 and below 1", lambda v: 0 <= v < 1),
            ("max_bytes", max_bytes, "at least 1", lambda v: v >= 1)):
        if not isinstance(number, int | float) or not fits(number):
            raise UserError(f"{name}={number!r}: expected {expected}")
    if not isinstance(scaled, bool):
        raise UserError(f"scaled={scaled!r}: expected True or False")
    if scaled and solver == "cg":
        raise UserError("scaled=True: expected False with solver='cg', which never sees a column "
                        "of J")


def check_module(module: nn.Module) -> None:
    """Refuse layers that see other examples, or chance, beside the example at hand.

    Raises:
        UserError: batch normalisation that uses the batch's statistics, or dropout at work.
    """
    for name, part in module.named_modules():
        called = f"{name or 'the module'} ({type(part).__name__})"
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and (
                part.training or part.running_mean is None):
            raise UserError(f"{called} takes the statistics of a batch: expected running ones, in "
                            "evaluation mode (module.eval()), for every example counts by itself")
        if isinstance(part, nn.modules.dropout._DropoutNd) and part.training and part.p:
            raise UserError(f"{called} draws random numbers: expected evaluation mode "
                            "(module.eval()) or p=0, for a step compares losses")
