"""A recipe's state from a checkpoint: held to what the recipe has, then put in its place.

A checkpoint may be of other code: a layer was added since, an option became a list. What differs
is found before anything is changed, and said in one line.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from common.config import one_line
from common.errors import UserError, cut, shorten

if TYPE_CHECKING:
    from common.training.recipe import Recipe

SHAPED = ("momentum_buffer", "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "square_avg", "sum")
"""What torch's optimisers keep for a parameter in the parameter's own shape."""

DISCARD = "add fresh=true to discard it"


def restore(recipe: Recipe, state: Mapping[str, Any]) -> None:
    """Give a recipe the state that :meth:`common.training.recipe.Recipe.state` returned.

    Raises:
        UserError: it is the state of another recipe, or of another version of this one.
    """
    names = {name for name in recipe.state_names if getattr(recipe, name) is not None}
    if state.keys() - {"chance"} != names:
        raise UserError(f"the checkpoint holds {', '.join(sorted(state))}: expected "
                        f"{', '.join(sorted(names))}; {DISCARD}")
    try:
        for name in sorted(names):
            if said := difference(getattr(recipe, name), state[name]):
                raise UserError(f"the checkpoint's {name} is not this code's: {said}; {DISCARD}")
        for name in sorted(names):
            here, there = getattr(recipe, name), state[name]
            if hasattr(here, "load_state_dict"):
                here.load_state_dict(there)
            else:
                setattr(recipe, name, there.to(here.device) if isinstance(here, Tensor) else there)
        if recipe.chance is not None and "chance" in state:
            recipe.chance.set_state(state["chance"])
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as e:
        raise UserError(f"the checkpoint's state is not this code's: {cut(one_line(e), 160)}; "
                        f"{DISCARD}") from e


def difference(here: Any, there: Any) -> str:
    """What keeps a part of a checkpoint from taking the place of a part of a recipe; else empty.

    Args:
        here: the recipe's: a module, an optimiser, a tensor, a number, a list of numbers.
        there: the checkpoint's.
    """
    if hasattr(here, "state_dict"):
        if not isinstance(there, dict):
            return f"{described(there)} there, a mapping here"
        if isinstance(here, nn.Module):
            return of_tensors(here.state_dict(), there)
        return of_optimizer(here, there) if isinstance(here, torch.optim.Optimizer) else ""
    if isinstance(here, list):
        alike = isinstance(there, list) and all(isinstance(v, int | float) for v in there)
    elif isinstance(here, Tensor):
        alike = isinstance(there, Tensor) and there.shape == here.shape
    else:
        alike = isinstance(there, int | float) and isinstance(there, bool) == isinstance(here, bool)
    return "" if alike else f"{described(there)} there, {described(here)} here"


def of_tensors(here: Mapping[str, Any], there: Mapping[str, Any]) -> str:
    """The first difference of two modules' tensors: one is absent or has another shape."""
    for name in [*here, *(k for k in there if k not in here)]:
        ours, theirs = (described(side[name]) if name in side else "absent"
                        for side in (here, there))
        if ours != theirs:
            return f"{name} is {theirs} there, {ours} here"
    return ""


def of_optimizer(here: torch.optim.Optimizer, there: Mapping[str, Any]) -> str:
    """The first difference of two optimisers' groups, or of what they keep of a parameter."""
    groups, kept = there.get("param_groups"), there.get("state")
    if not isinstance(groups, list) or not isinstance(kept, dict):
        return "it lacks param_groups or state"
    counts = [len(g["params"]) for g in here.param_groups]
    theirs = [len(g["params"]) if isinstance(g, dict) and isinstance(g.get("params"), list) else -1
              for g in groups]
    if counts != theirs:
        return f"it has groups of {theirs} parameters there, of {counts} here"
    for ours, group in zip(here.param_groups, groups, strict=True):
        for k in (ours.keys() & group.keys()) - {"params"}:
            if not same_kind(ours[k], group[k]):
                return f"{k} is {described(group[k])} there, {described(ours[k])} here"
    parameters = [p for g in here.param_groups for p in g["params"]]
    by_number = dict(zip([n for g in groups for n in g["params"]], parameters, strict=True))
    for number, values in kept.items():
        if not isinstance(values, dict) or number not in by_number:
            return f"state.{shorten(str(number))} is of no parameter"
        shape = tuple(by_number[number].shape)
        for k in SHAPED:
            if (v := values.get(k)) is not None and described(v) != str(shape):
                return f"{k} of parameter {number} is {described(v)} there, {shape} here"
    return ""


def same_kind(here: Any, there: Any) -> bool:
    """Whether an option of an optimiser may take another's place."""
    def kind(v: Any) -> Any:
        if isinstance(v, list | tuple):
            return [kind(part) for part in v]
        return "number" if isinstance(v, int | float | Tensor) else type(v)
    return here is None or there is None or kind(here) == kind(there)


def described(value: Any) -> str:
    """A value in a message: a tensor by its shape, else what it is."""
    if isinstance(value, Tensor):
        return str(tuple(value.shape))
    return shorten(repr(value), 40) if isinstance(value, int | float | str) else (
        f"a {type(value).__name__}")
