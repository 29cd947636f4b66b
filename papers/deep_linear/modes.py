"""Networks trained on a task with known modes, and the times at which each mode is learned."""

from __future__ import annotations

import functools
import itertools
import math

import torch
from einops import einsum
from torch import Tensor, nn

from common.data import generator
from common.decoded import of_tensors
from common.training.recipe import Recipe
from papers.deep_linear.model import (
    curvature,
    decoupled,
    deep_learning_time,
    descend,
    product,
    random_orthogonal,
    time_of,
    unbalanced_velocity,
)
from papers.deep_linear.settings import Config


class Layers(nn.Module):
    """The weights of a network as a module, so that checkpoints store them."""

    def __init__(self, weights: list[Tensor]):
        super().__init__()
        self.weights = nn.ParameterList([nn.Parameter(W, requires_grad=False) for W in weights])

    def forward(self, x: Tensor) -> Tensor:
        """The outputs y for inputs x, (n, inputs) → (n, outputs)."""
        for W in self.weights:
            x = x @ W.T
        return x


class ModesRecipe(Recipe):
    """Full-batch gradient descent on white inputs, with the learning time of each mode."""

    float64 = True
    state_names = (*Recipe.state_names, "times", "halves")
    config: Config
    model: Layers

    def load_data(self) -> None:
        """Make Σ³¹ = U S Vᵀ with random singular vectors, and keep U, S and V."""
        s = torch.tensor(self.config.model.strengths, dtype=torch.float64)
        draw = generator(self.config.seed, "task")
        self.U, self.V = (random_orthogonal(len(s), len(s), draw) for _ in range(2))
        self.data = of_tensors("modes", self.U * s @ self.V.T)
        self.U, self.V, self.s = (t.to(self.device) for t in (self.U, self.V, s))
        self.Σ31 = self.data.train.images.to(self.device)

    def build(self) -> None:
        c, n = self.config.model, self.config.model.layers - 1
        draw, modes = generator(self.config.seed, "start"), len(c.strengths)
        if c.start == "decoupled":
            shares = torch.tensor(self.shares(), dtype=torch.float64)[:, None].expand(n, modes)
            weights = decoupled(self.U.cpu(), self.V.cpu(), shares, c.width, draw)
        else:
            sizes = [modes, *[c.width] * (n - 1), modes]
            weights = [c.std * torch.randn(above, below, generator=draw, dtype=torch.float64)
                       for below, above in itertools.pairwise(sizes)]
        self.model = Layers(weights)
        self.first = [W.clone().to(self.device) for W in weights]
        self.times = torch.zeros(modes, dtype=torch.float64, device=self.device)
        self.halves = torch.zeros_like(self.times)
        self.lr = self.config.optim.lr
        if self.config.optim.scaled:
            self.lr /= curvature(c.layers, max(c.strengths))

    def shares(self) -> list[float]:
        """a_i of every layer at a decoupled start, the same for all modes; their product is u_0."""
        c, n = self.config.model, self.config.model.layers - 1
        equal = c.u0 ** (1 / n)
        return [equal * c.unbalance, *[equal] * (n - 2), equal / c.unbalance]

    def strengths(self, W: Tensor) -> Tensor:
        """u_α = (Uᵀ W V)_αα, (modes,)."""
        return einsum(self.U, W, self.V, "i k, i j, j k -> k")

    def step(self, number: int) -> Tensor:
        """Make ``optim.updates`` updates; returns the error before the last of them."""
        weights, ε = list(self.model.weights), self.config.optim.ε
        for _ in range(self.config.optim.updates):
            W = descend(weights, self.lr, self.Σ31)
            u = self.strengths(W)
            self.times += u < self.s - ε
            self.halves += u < self.s / 2
        return 0.5 * (self.Σ31 - W).square().sum()

    def theory(self, short: float | None = None) -> list[float]:
        """The theoretical number of updates of each mode from the start to s − ε.

        By eq. (11), (15) or (9).

        Args:
            short: end at s − short · s instead of s − ε.

        Returns:
            One number per mode; NaN if its random initial strength is not between 0 and s.
        """
        c, τ = self.config.model, 1 / self.lr
        ends = [s - (self.config.optim.ε if short is None else short * s) for s in c.strengths]
        u0s = self.growing() if c.start == "random" else [c.u0] * len(c.strengths)
        if c.start == "decoupled" and c.unbalance != 1:
            squares = [a * a for a in self.shares()]
            return [τ * time_of(functools.partial(unbalanced_velocity, s=s, squares=squares), s,
                                c.u0, uf)
                    for s, uf in zip(c.strengths, ends, strict=True)]
        return [deep_learning_time(c.layers, s, u0, uf, τ) if 0 < u0 < s else math.nan
                for s, u0, uf in zip(c.strengths, u0s, ends, strict=True)]

    def headlines(self, names: list[str]) -> tuple[list[str], list[str]]:
        """The measured and theoretical learning times; the curves of the strengths."""
        modes = range(len(self.config.model.strengths))
        return ([f"{name}_{k}" for k in modes for name in ("time", "theory")],
                [f"u_{k}" for k in modes])

    def growing(self) -> list[float]:
        """Initial strengths of the growing part of random weights, |(W²ᵀu_α + W¹v_α)/2|²."""
        below, above = self.first[0] @ self.V, self.first[-1].T @ self.U
        return ((below + above) / 2).square().sum(0).tolist()

    def conserved(self) -> float:
        """Largest change of any entry of W^(l+1)ᵀW^(l+1) − W^l W^lᵀ, that is a_i² − a_j²."""
        def differences(weights: list[Tensor]) -> list[Tensor]:
            return [above.T @ above - below @ below.T
                    for below, above in itertools.pairwise(weights)]
        return max((now - then).abs().max().item() for now, then in zip(
            differences(list(self.model.weights)), differences(self.first), strict=True))

    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """``u_k``: strength of mode k, and ``mixed``, the largest |(Uᵀ W V)_αβ| with α ≠ β.

        After the last step also ``time_k``: updates until s − ε; ``half_k``: updates until s/2;
        ``theory_k``: the theoretical time; ``ratio_k`` and ``half_ratio_k``: measured over
        theoretical times; ``conserved``: largest change of a_i² − a_j²; and ``ordered``: 1 if
        stronger modes were learned before weaker ones.
        """
        W = self.U.T @ product(list(self.model.weights)) @ self.V  # the map between modes
        metrics = {f"u_{k}": u for k, u in enumerate(W.diagonal().tolist())}
        metrics["mixed"] = (W - W.diagonal().diag()).abs().max().item()
        if final:
            theory, halves = (torch.tensor(self.theory(short), dtype=torch.float64)
                              for short in (None, 0.5))
            learned = W.diagonal() >= self.s - self.config.optim.ε
            times = torch.where(learned, self.times, torch.inf).cpu()
            for name, values in (("time", times), ("half", self.halves), ("theory", theory),
                                 ("ratio", times / theory),
                                 ("half_ratio", self.halves.cpu() / halves)):
                metrics |= {f"{name}_{k}": v for k, v in enumerate(values.tolist())}
            by_strength = self.halves.cpu()[self.s.cpu().argsort(descending=True)]
            metrics["conserved"] = self.conserved()
            metrics["ordered"] = float((by_strength.diff() > 0).all())
        return metrics
