"""Back-propagation by hand: equations 1 to 9 of Rumelhart, Hinton & Williams (1986).

Symbols are the letter's: unit j has total input x_j, output y_j and desired output d_j; w_ji is
the weight from unit i to unit j; ε is the learning rate and α the momentum. Everything carries a
leading axis s of independent networks, which are trained side by side, and an axis c of cases.
No automatic differentiation is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from einops import einsum, rearrange, reduce
from torch import Tensor, nn


@dataclass(frozen=True)
class Activation:
    """y = f(x), and dy/dx as a function of x and y."""

    f: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor, Tensor], Tensor]


ACTIVATIONS: dict[str, Activation] = {
    "logistic": Activation(torch.sigmoid, lambda x, y: y * (1 - y)),               # eq. (2)
    "tanh": Activation(torch.tanh, lambda x, y: 1 - y**2),
    "relu": Activation(torch.relu, lambda x, y: (x > 0).to(x.dtype)),
    "softsign": Activation(lambda x: x / (1 + x.abs()), lambda x, y: (1 - y.abs()) ** 2),
}


@dataclass(frozen=True)
class Loss:
    """E per network, and ∂E/∂y of the output units.

    ``tolerance`` is what the letter says of family trees: an output above 1 − tolerance where it
    should be 1, or below tolerance where it should be 0, has no error.
    """

    name: str = "squared"
    tolerance: float = 0.0

    def error(self, y: Tensor, d: Tensor) -> Tensor:
        """E = ½ Σ_c Σ_j (y_jc − d_jc)², eq. (3), or the cross-entropy; (s c j), (c j) → (s)."""
        if self.name == "squared":
            return reduce(torch.where(self.right(y, d), 0.0, (y - d) ** 2), "s c j -> s",
                          "sum") / 2
        y = y.clamp(1e-7, 1 - 1e-7)
        return -reduce(d * y.log() + (1 - d) * (1 - y).log(), "s c j -> s", "sum")

    def slope(self, y: Tensor, d: Tensor) -> Tensor:
        """∂E/∂y_j = y_j − d_j, eq. (4), or the cross-entropy's (y − d)/(y(1 − y))."""
        if self.name == "squared":
            return torch.where(self.right(y, d), 0.0, y - d)
        y = y.clamp(1e-7, 1 - 1e-7)
        return (y - d) / (y * (1 - y))

    def right(self, y: Tensor, d: Tensor) -> Tensor:
        """Where an output is close enough to count as having no error."""
        if not self.tolerance:
            return torch.zeros_like(y, dtype=torch.bool)
        return (y - d).abs() < self.tolerance


class Network(nn.Module):
    """Groups of units and the connections between them, many networks side by side.

    Args:
        sizes: units of each group; a group's inputs come from groups before it.
        inputs: how many of the first groups are input units.
        connections: pairs (from, to) of groups, fully connected.
        networks: how many networks s are held.
        activation: a key of :data:`ACTIVATIONS`, for every group but the inputs.
        init: weights and biases start uniformly in [−init, init].
        generator: source of the initial weights.
        dtype: of the weights.
    """

    def __init__(self, sizes: Sequence[int], inputs: int, connections: Sequence[tuple[int, int]],
                 networks: int = 1, activation: str = "logistic", init: float = 0.3,
                 generator: torch.Generator | None = None, dtype: torch.dtype = torch.float32):
        super().__init__()
        self.sizes, self.n_inputs = list(sizes), inputs
        self.connections = sorted(connections, key=lambda c: (c[1], c[0]))
        self.activation = ACTIVATIONS[activation]

        def uniform(*shape: int) -> nn.Parameter:
            start = torch.rand(networks, *shape, generator=generator, dtype=dtype)
            return nn.Parameter((2 * start - 1) * init, requires_grad=False)

        self.w = nn.ParameterDict({f"{i}-{j}": uniform(sizes[j], sizes[i])
                                   for i, j in self.connections})
        self.b = nn.ParameterDict({str(j): uniform(sizes[j]) for j in range(inputs, len(sizes))})

    def forward(self, groups: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """The forward pass, eqs. (1) and (2).

        Args:
            groups: the input groups' outputs, each (c, units), the same for every network.

        Returns:
            Total inputs x and outputs y of every group, each (s, c, units); x is the input itself
            for input groups.
        """
        networks = len(next(iter(self.w.values())))
        y = [g.expand(networks, *g.shape) for g in groups]
        x = list(y)
        for j in range(self.n_inputs, len(self.sizes)):
            total = rearrange(self.b[str(j)], "s j -> s 1 j")
            for i, to in self.connections:
                if to == j:  # x_j = Σ_i y_i w_ji
                    total = total + einsum(y[i], self.w[f"{i}-{j}"], "s c i, s j i -> s c j")
            x.append(total)
            y.append(self.activation.f(total))
        return x, y

    def outputs(self, groups: Sequence[Tensor]) -> Tensor:
        """The last group's outputs, (s, c, units)."""
        return self(groups)[1][-1]

    def backward(self, x: list[Tensor], y: list[Tensor], dE_dy: Tensor) -> None:
        """The backward pass, eqs. (5) to (7): set the gradient of every weight and bias.

        Args:
            x, y: from :meth:`forward`.
            dE_dy: ∂E/∂y of the last group, (s, c, units), from eq. (4).
        """
        into = {len(self.sizes) - 1: dE_dy}
        for j in reversed(range(self.n_inputs, len(self.sizes))):
            dE_dx = into.pop(j) * self.activation.slope(x[j], y[j])           # eq. (5)
            self.b[str(j)].grad = reduce(dE_dx, "s c j -> s j", "sum")        # of a unit with y = 1
            for i, to in self.connections:
                if to != j:
                    continue
                w = self.w[f"{i}-{j}"]
                w.grad = einsum(dE_dx, y[i], "s c j, s c i -> s j i")         # eq. (6)
                if i >= self.n_inputs:
                    back = einsum(dE_dx, w, "s c j, s j i -> s c i")          # eq. (7)
                    into[i] = into[i] + back if i in into else back


class Descent(torch.optim.Optimizer):
    """Δw(t) = −ε ∂E/∂w(t) + α Δw(t−1), eq. (9); with α = 0, eq. (8).

    Args:
        weights: the weights and biases; their ``grad`` is ∂E/∂w.
        lr: ε.
        momentum: α.
        decay: fraction by which the magnitude of every weight is reduced after each change.
    """

    def __init__(self, weights: Sequence[Tensor], lr: float, momentum: float, decay: float = 0.0):
        super().__init__(weights, {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # torch: a closure or none
        for group in self.param_groups:
            for w in group["params"]:
                state = self.state[w]
                if "change" not in state:
                    state["change"] = torch.zeros_like(w)
                change = state["change"]
                change.mul_(group["momentum"]).add_(w.grad, alpha=-group["lr"])
                w.add_(change)
                if group["decay"]:
                    w.mul_(1 - group["decay"])


def layered(sizes: Sequence[int], skip: bool = False) -> list[tuple[int, int]]:
    """Connections of a layered network, with ``skip`` from every group to all later ones."""
    last = len(sizes) - 1
    if skip:
        return [(i, j) for j in range(1, last + 1) for i in range(j)]
    return [(j - 1, j) for j in range(1, last + 1)]
