"""Hopfield networks: what they remember, against the theory of Amit, Gutfreund & Sompolinsky.

    python papers/hopfield/train.py experiment=quick           # bundled digits, seconds, offline
    python papers/hopfield/train.py experiment=load_2000       # overlap against load
    python papers/hopfield/train.py experiment=random_30       # where random states end

A step is one asynchronous sweep over all neurons of all trials.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal
from common.entry import exit_with

import torch
from einops import rearrange
from torch import Tensor, nn

from common import data
from common.conditions import NEVER
from common.config import Config as BaseConfig
from common.config import key
from common.data import generator
from common.decoded import of_tensors
from common.errors import UserError
from common.running.cli import main
from common.training.recipe import Recipe
from papers.hopfield.measures import own_is_nearest, reached, remembered, unstable_bits
from papers.hopfield.model import (
    asynchronous,
    asynchronous_by_overlaps,
    energy,
    pseudo_inverse,
    synchronous,
    whole_hebb,
    zero_one_bias,
)


@dataclass
class ModelConfig:
    neurons: int = key(500, "N; for digits there is one for each pixel", least=1, most=100_000,
                       only={"model.patterns": "random"})
    load: float = key(0.1, "α; p = α N patterns, rounded", above=0, most=1000,
                      only={"model.patterns": "random"})
    patterns: Literal["random", "digits"] = key("random", "unbiased ±1, or one digit of each class")
    rule: Literal["hebb", "pseudo_inverse"] = key("hebb", "how couplings are made from patterns")
    states: Literal["plus_minus", "zero_one"] = key(
        "plus_minus", "neurons are ±1, or 0 and 1 as in 1982, which changes their fields")
    update: Literal["asynchronous", "synchronous"] = key("asynchronous", "one by one, or at once")


@dataclass
class StartConfig:
    trials: int = key(
        50, "networks side by side; where they start at patterns, at most one for each",
        least=1, most=10**6)
    repeats: int = key(1, "starts from each pattern, every time with other bits turned",
                       least=1, most=10**6, only={"start.random": False})
    random: bool = key(False, "start at random instead of at a pattern")
    flipped: float = key(
        0.0, "fraction of the pattern's bits that are turned at the start", least=0, most=1,
        only={"start.random": False})


@dataclass
class Config(BaseConfig):
    honoured: ClassVar = dict.fromkeys(
        ("data.name", "data.evaluate_on", "train.batch_size", "train.compile",
         "start_from"), NEVER)
    precisions: ClassVar = ("float32", "tf32")
    model: ModelConfig = field(default_factory=ModelConfig)
    start: StartConfig = field(default_factory=StartConfig)

    def check(self) -> None:
        if self.model.states == "zero_one" and self.model.update == "synchronous":
            raise UserError("model.states=zero_one: expected model.update=asynchronous")


class State(nn.Module):
    """The states of all trials, in the form that checkpoints hold."""

    def __init__(self, S: Tensor):
        super().__init__()
        self.S: Tensor
        self.register_buffer("S", S)


class HopfieldRecipe(Recipe):
    """Start at patterns or at random, sweep until nothing changes, measure overlaps.

    Attributes:
        ξ: the patterns, (p, N).
        own: where trials start from patterns, the pattern of each, (t, N).
        nearest: whether a trial starts nearer to its own pattern than to any other memory, (t,).
        J: the couplings times ``unit``; None where sweeps need only overlaps.
        changed: whether the last sweep changed any neuron.
    """

    state_names, loss_name = (*Recipe.state_names, "changed"), "neurons changed, as a fraction"
    config: Config
    model: State

    def load_data(self) -> None:
        """The patterns ξ, (p, N)."""
        c = self.config.model
        if c.patterns == "digits":
            digits = data.load("digits").train
            first = torch.stack([(digits.labels == k).nonzero()[0, 0] for k in range(10)])
            ξ = (rearrange(digits.images[first], "p 1 h w -> p (h w)") > 127).float() * 2 - 1
        else:
            p = round(c.load * c.neurons)
            if p < 1:
                raise UserError(f"model.load={c.load}: expected at least one pattern of the "
                                f"{c.neurons} neurons")
            draw = generator(self.config.seed, "patterns")
            ξ = torch.randint(0, 2, (p, c.neurons), generator=draw).float() * 2 - 1
        self.data = of_tensors("patterns", ξ, torch.arange(len(ξ)))
        self.ξ = ξ.to(self.device)

    def build(self) -> None:
        c, ξ = self.config, self.ξ
        n = ξ.shape[1]
        draw = generator(c.seed, "start")
        if c.start.random:
            S = torch.randint(0, 2, (c.start.trials, n), generator=draw).float() * 2 - 1
        else:
            mine = torch.arange(len(ξ), device=ξ.device)[:c.start.trials].repeat(c.start.repeats)
            self.own = ξ[mine]
            S = self.own.cpu().clone()
            turned = torch.rand(S.shape, generator=draw).argsort(1) < round(c.start.flipped * n)
            S[turned] *= -1
            self.nearest = own_is_nearest(S.to(ξ.device), ξ, mine)
        self.model = State(S)
        zero_one = c.model.states == "zero_one"
        self.by_overlaps = (c.model.rule == "hebb" and c.model.update == "asynchronous"
                            and not zero_one)
        self.J: Tensor | None = None if self.by_overlaps else (
            whole_hebb(ξ) if c.model.rule == "hebb" else pseudo_inverse(ξ))
        self.unit = n if c.model.rule == "hebb" else 1  # self.J is N J, or J
        self.bias = zero_one_bias(self.J) if zero_one and self.J is not None else None
        self.changed = torch.ones((), dtype=torch.bool)

    def order(self, number: int) -> Tensor:
        """The order in which neurons are updated in a sweep."""
        n = self.ξ.shape[1]
        return torch.randperm(n, generator=self.generator("order", number)).to(self.device)

    def step(self, number: int) -> Tensor:
        """Make a sweep; returns the fraction of neurons it changed. At rest nothing is computed."""
        S = self.model.S
        if not self.changed:
            return torch.zeros(())
        if self.J is None:
            new = asynchronous_by_overlaps(self.ξ, S, self.order(number))
        elif self.config.model.update == "asynchronous":
            new = asynchronous(self.J, S, self.order(number), self.bias)
        else:
            new = synchronous(self.J, S)
        share = (new != S).float().mean()
        self.changed = share > 0
        S.copy_(new)
        return share

    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """What the states have kept of their patterns, or where random starts have ended.

        See :func:`remembered` and :func:`reached`. Finally ``at_rest``: whether the last sweep
        changed nothing, ``energy`` per neuron, and :func:`unstable_bits` of the patterns.
        """
        S = self.model.S
        metrics = (reached(S, self.ξ) if self.config.start.random
                   else remembered(S, self.own, self.nearest))
        if final:
            metrics |= {"at_rest": float(not self.changed), "energy": self.energy(),
                        "unstable_bits": unstable_bits(self.ξ, self.bias is not None)}
        return metrics

    def energy(self) -> float:
        """E/N, mean over trials; for neurons 0 and 1 by Hopfield's eq. (7), V = (S + 1)/2."""
        ξ, S = self.ξ, self.model.S
        n = S.shape[1]
        if self.J is not None:
            V = S if self.bias is None else (S + 1) / 2
            return (energy(self.J, V) / (n * self.unit)).mean().item()
        sums = S @ ξ.T  # E = −(Σ_μ sums² − p N)/2N
        return (-(sums.square().sum(1) - len(ξ) * n) / (2 * n * n)).mean().item()


recipe = HopfieldRecipe

if __name__ == "__main__":
    exit_with(lambda: main(recipe, Config, __file__))
