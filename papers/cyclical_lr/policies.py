"""The learning-rate policies of sections 3.1 and 4.1.1, in stages as in Table 2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from common.config import key
from common.errors import UserError
from common.training.schedules import (
    divided,
    exp_range,
    exponential,
    linear,
    triangular,
    triangular2,
)

CYCLIC = ("triangular", "triangular2", "exp_range")
BOUNDED = ("decay", "range_test", *CYCLIC)


@dataclass
class ScheduleConfig:
    policy: Literal["fixed", "decay", "range_test", "triangular", "triangular2", "exp",
                    "exp_range"] = key("fixed", "how the rate depends on the step")
    base_lr: float = key(0.001, "the rate, or its lower bound", least=0)
    max_lr: float = key(0.006, "its upper bound", above=0, only={"schedule.policy": BOUNDED})
    stepsize: list[int] = key([2000], "steps of half a cycle, or of the whole line of decay and "
                                      "range_test, for each stage; the last number is for the rest",
                              least=1, some=True, only={"schedule.policy": BOUNDED})
    gamma: float = key(0.99994, "factor of the rate in each step", above=0, most=1,
                       only={"schedule.policy": ("exp", "exp_range")})
    stages: list[int] = key([], "steps at which the policy restarts with its rates divided by 10",
                            least=1)

    def check(self) -> None:
        """Refuse values that are incompatible.

        Raises:
            UserError: bounds or stages are out of order, or there are more step sizes than stages.
        """
        if self.policy in BOUNDED and self.max_lr < self.base_lr:
            raise UserError(f"schedule.max_lr={self.max_lr:g}: expected at least "
                            f"schedule.base_lr={self.base_lr:g}")
        if self.stages != sorted(set(self.stages)):
            raise UserError(f"schedule.stages={self.stages}: expected steps in ascending order")
        if self.policy in BOUNDED and len(self.stepsize) > len(self.stages) + 1:
            raise UserError(f"schedule.stepsize={self.stepsize}: expected at most "
                            f"{len(self.stages) + 1}, one for each stage")


def rate(schedule: ScheduleConfig, step: int) -> float:
    """The learning rate of update ``step``, from 0."""
    begun = [s for s in schedule.stages if s <= step]
    base, top = (divided(lr, begun, step) for lr in (schedule.base_lr, schedule.max_lr))
    size = schedule.stepsize[min(len(begun), len(schedule.stepsize) - 1)]
    k = step - (begun[-1] if begun else 0)
    match schedule.policy:
        case "decay":
            return linear(top, base, size, k)
        case "range_test":
            return linear(base, top, size, k)
        case "triangular":
            return triangular(base, top, size, k)
        case "triangular2":
            return triangular2(base, top, size, k)
        case "exp":
            return exponential(base, schedule.gamma, k)
        case "exp_range":
            return exp_range(base, top, size, schedule.gamma, k)
    return base
