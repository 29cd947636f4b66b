"""Several seeds of one experiment trained as one batched network, by ``torch.func``.

A small network's step is mostly the overhead of many small operations; ten networks stacked into
one share it. Every seed keeps its own batches, weights, optimiser state, checkpoints and results,
so a run begun this way can be continued alone, and the other way round.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap

from common.errors import UserError
from common.training.compiling import compile_apart
from common.training.recipe import Batch, Planned, Recipe, Supervised


class Objective(nn.Module):
    """A recipe's loss as a module, so that ``functional_call`` can replace its weights."""

    def __init__(self, recipe: Supervised):
        super().__init__()
        self.model = recipe.model
        self.loss = recipe.loss

    def forward(self, *batch: Tensor) -> Tensor:
        return self.loss(batch, {})


class BatchedSeeds:
    """Several recipes that the training loop treats as one.

    Args:
        recipes: recipes of one experiment, one per seed. A recipe that overrides ``step`` or
            ``update``, or whose loss draws random numbers, cannot be batched.

    Attributes:
        recipes: as given; their own weights are current only after :meth:`gather`.
        device: the device of all recipes.

    Raises:
        UserError: the recipes cannot be batched.
    """

    def __init__(self, recipes: Sequence[Recipe]):
        first = recipes[0]
        if not isinstance(first, Supervised) or (type(first).step, type(first).update) != (
                Planned.step, Supervised.update):
            raise UserError("train.vectorize=true: this paper's update is its own, not the shared "
                            "one; leave the key out")
        self.recipes = [r for r in recipes if isinstance(r, Supervised)]
        self.first, self.device = first, first.device
        for r in self.recipes:
            r.batchable()
            r.net = r.model  # the batched step is compiled instead
            for name in ("inputs", "labels", "eval_inputs", "eval_labels"):
                if torch.equal(getattr(r, name), getattr(first, name)):
                    setattr(r, name, getattr(first, name))  # one copy of the data for all
        self.plain_batches = type(first).batch is Supervised.batch and all(
            r.inputs is first.inputs and r.labels is first.labels for r in self.recipes)
        self.names: dict[Tensor, str] = {p: f"model.{k}" for k, p in first.model.named_parameters()}
        kind: Callable[..., torch.optim.Optimizer] = type(first.optimizer)
        self.optimizer = kind(
            [{**group, "params": [torch.empty(len(recipes), *p.shape, device=p.device)
                                  for p in group["params"]]}
             for group in first.optimizer.param_groups])
        self.parameters = {self.names[p]: stacked for old, new in zip(
            first.optimizer.param_groups, self.optimizer.param_groups, strict=True)
            for p, stacked in zip(old["params"], new["params"], strict=True)}
        self.buffers: dict[str, Tensor] = {}
        objective = Objective(first)

        def one(parameters: dict[str, Tensor], buffers: dict[str, Tensor], batch: Batch) -> Tensor:
            return functional_call(objective, (parameters, buffers), batch)
        self._gradients = compile_apart(vmap(grad_and_value(one), randomness="error"))
        self.scatter()

    def batch(self, step: int) -> Batch:
        """The batches of all seeds, stacked: (seeds, b, …)."""
        rows = [r.row(step) for r in self.recipes]
        if self.plain_batches:
            index = torch.stack([row["index"] for row in rows])
            return self.first.inputs[index], self.first.labels[index]
        return tuple(torch.stack(parts) for parts in zip(
            *(r.batch(row) for r, row in zip(self.recipes, rows, strict=True)), strict=True))

    def step(self, number: int) -> Tensor:
        """Make update ``number`` of every network; returns the losses, (seeds,).

        Raises:
            UserError: the loss draws random numbers, or depends on the step.
        """
        try:
            gradients, losses = self._gradients(self.parameters, self.buffers, self.batch(number))
        except Exception as e:  # the compiler wraps vmap's own in several of its own
            if "random" not in str(e):
                raise
            raise UserError("train.vectorize=true: this paper's loss draws random numbers, which "
                            "cannot be those of separate runs; leave the key out") from e
        for k, p in self.parameters.items():
            p.grad = gradients[k]
        for group in self.optimizer.param_groups:
            group.update(self.first.rates(number))
        self.optimizer.step()
        return losses.detach()

    @torch.no_grad()
    def scatter(self) -> None:
        """Copy weights, buffers and optimiser state from the recipes."""
        parameters, buffers = stack_module_state([r.model for r in self.recipes])
        for k, p in self.parameters.items():
            p.copy_(parameters[k.removeprefix("model.")])
        self.buffers = {f"model.{k}": b for k, b in buffers.items()}
        for p, stacked in zip(self.names, self.parameters.values(), strict=True):
            twins = zip(self.recipes, self.twins(p), strict=True)
            states = [r.optimizer.state[q] for r, q in twins]
            if states[0]:
                self.optimizer.state[stacked] = {
                    k: torch.stack([s[k] for s in states]) if is_weight_like(v, p) else v
                    for k, v in states[0].items()}

    @torch.no_grad()
    def gather(self) -> None:
        """Copy weights, buffers, optimiser state and rates back to the recipes."""
        for i, r in enumerate(self.recipes):
            mine = {k.removeprefix("model."): v[i] for k, v in
                    (self.parameters | self.buffers).items()}
            r.model.load_state_dict(mine, strict=False)
            for ours, theirs in zip(r.optimizer.param_groups, self.optimizer.param_groups,
                                    strict=True):
                ours.update({k: v for k, v in theirs.items() if k != "params"})
        for p, stacked in zip(self.names, self.parameters.values(), strict=True):
            for i, (r, q) in enumerate(zip(self.recipes, self.twins(p), strict=True)):
                state: dict[str, Any] = self.optimizer.state.get(stacked, {})
                if state:
                    r.optimizer.state[q] = {
                        k: v[i].clone() if is_weight_like(v, stacked) else
                        v.clone() if isinstance(v, Tensor) else v for k, v in state.items()}

    def twins(self, p: Tensor) -> list[Tensor]:
        """The parameters of all recipes that correspond to a parameter of the first."""
        name = self.names[p].removeprefix("model.")
        return [r.model.get_parameter(name) for r in self.recipes]


def is_weight_like(v: Any, p: Tensor) -> bool:
    """Whether an entry of the optimiser's state has one value per weight."""
    return isinstance(v, Tensor) and v.shape == p.shape
