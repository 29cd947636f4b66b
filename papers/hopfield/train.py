"""Hopfield networks: what they remember, against the theory of Amit, Gutfreund & Sompolinsky.

    python papers/hopfield/train.py experiment=quick           # bundled digits, seconds, offline
    python papers/hopfield/train.py experiment=load_2000       # overlap against load
    python papers/hopfield/train.py experiment=random_starts   # where random states end

A step is one asynchronous sweep over all neurons of all trials.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from einops import rearrange
from torch import Tensor, nn

from common import data
from common.conditions import NEVER
from common.config import Config as BaseConfig
from common.config import key
from common.data import generator
from common.decoded import of_tensors
from common.errors import UserError, exit_with
from common.running.cli import main
from common.training.recipe import Recipe
from common.training.sums import fraction, wide
from papers.hopfield.model import (
    asynchronous,
    asynchronous_by_overlaps,
    energy,
    overlap,
    pseudo_inverse,
    synchronous,
    whole_hebb,
    zero_one_bias,
)


@dataclass
class ModelConfig:
    neurons: int = key(500, "N; with the patterns of digits their pixels", least=1,
                       only={"model.patterns": "random"})
    load: float = key(0.1, "α; p = α N patterns, rounded", above=0,
                      only={"model.patterns": "random"})
    patterns: Literal["random", "digits"] = key("random", "unbiased ±1, or one digit of each class")
    rule: Literal["hebb", "pseudo_inverse"] = key("hebb", "how couplings come from patterns")
    states: Literal["plus_minus", "zero_one"] = key(
        "plus_minus", "±1, or the 0 and 1 of 1982, whose fields are another's")
    update: Literal["asynchronous", "synchronous"] = key("asynchronous", "one by one, or at once")


@dataclass
class StartConfig:
    trials: int = key(
        50, "networks side by side; from patterns at most one for each pattern", least=1)
    repeats: int = key(1, "starts from each of these patterns, with other bits turned", least=1,
                       only={"start.random": False})
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


class State(nn.Module):
    """The states of all trials, as what a checkpoint holds."""

    def __init__(self, S: Tensor):
        super().__init__()
        self.S: Tensor
        self.register_buffer("S", S)


class HopfieldRecipe(Recipe):
    """Start at patterns or at random, sweep until nothing changes, measure overlaps."""

    kept, loss_name = (*Recipe.kept, "changed"), "neurons changed, as a fraction"
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
            S = ξ[:c.start.trials].cpu().repeat(c.start.repeats, 1)
            turned = torch.rand(S.shape, generator=draw).argsort(1) < round(c.start.flipped * n)
            S[turned] *= -1
        self.own = ξ[:c.start.trials].repeat(c.start.repeats, 1)
        self.nearest = self.own_is_nearest(S.to(ξ.device))
        self.model = State(S)
        zero_one = c.model.states == "zero_one"
        if zero_one and c.model.update == "synchronous":
            raise UserError("model.states=zero_one: expected model.update=asynchronous")
        self.by_overlaps = (c.model.rule == "hebb" and c.model.update == "asynchronous"
                            and not zero_one)
        self.J: Tensor | None = None if self.by_overlaps else (
            whole_hebb(ξ) if c.model.rule == "hebb" else pseudo_inverse(ξ))
        self.unit = n if c.model.rule == "hebb" else 1  # of self.J: N J, or J
        self.bias = zero_one_bias(self.J) if zero_one and self.J is not None else None
        self.changed = torch.ones((), dtype=torch.bool)

    def own_is_nearest(self, S: Tensor) -> Tensor:
        """Which trials start nearer to their own pattern than to any other pattern or reverse.

        Args:
            S: states at the start, (t, N).

        Returns:
            (t,); all False from random starts, which have no pattern of their own.
        """
        if self.config.start.random:
            return torch.zeros(len(S), dtype=torch.bool, device=S.device)
        sums = S @ self.ξ.T  # of a trial with every pattern, (t, p)
        mine = torch.arange(len(self.ξ), device=S.device)[:self.config.start.trials].repeat(
            self.config.start.repeats)[:, None]
        own = sums.gather(1, mine)[:, 0]
        return own > sums.abs().scatter(1, mine, -own[:, None]).amax(1)

    def order(self, number: int) -> Tensor:
        """The order in which neurons are updated in a sweep."""
        n = self.ξ.shape[1]
        return torch.randperm(n, generator=self.generator("order", number)).to(self.device)

    def step(self, number: int) -> Tensor:
        """One sweep; returns the fraction of neurons it changed. Nothing is done at rest."""
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
        """``overlap`` m with the own pattern, mean over trials, and ``wrong_bits`` in %.

        ``retrieved``: fraction of trials within 5 % of their pattern; ``under_5``: nearer than
        5 %; ``exact``: with no wrong bit; ``returned``: the same among those trials that started
        nearer to their pattern than to any other pattern or reverse. From random starts instead
        ``assigned``: fraction that ended in a pattern or its reverse exactly, ``near``: within 5 %
        of one, and ``elsewhere``: neither. Finally ``at_rest``: whether the last sweep changed
        nothing, ``energy`` per neuron, and ``unstable_bits``: % of the patterns' own bits that
        their field by Hebb's rule would turn in one step.
        """
        S = self.model.S
        metrics = {}
        if self.config.start.random:
            m = (S @ self.ξ.T / S.shape[1]).abs().amax(1)
            metrics = {"assigned": fraction(m == 1),
                       "near": fraction((m >= 0.9) & (m < 1)),
                       "elsewhere": fraction(m < 0.9)}
        else:
            m, wrong = overlap(self.own, S), (self.own != S).sum(1)
            metrics = {"overlap": wide(m).mean().item(),
                       "wrong_bits": 50 * (1 - wide(m).mean().item()),
                       "retrieved": fraction(20 * wrong <= S.shape[1]),
                       "under_5": fraction(20 * wrong < S.shape[1]),
                       "exact": fraction(wrong == 0)}
            if self.nearest.any():
                metrics["returned"] = fraction(wrong[self.nearest] == 0)
        if final:
            metrics |= {"at_rest": float(not self.changed), "energy": self.energy(),
                        "unstable_bits": self.unstable_bits()}
        return metrics

    def energy(self) -> float:
        """E/N, mean over trials; of neurons 0 and 1 with V = (S + 1)/2, Hopfield's eq. (7)."""
        ξ, S = self.ξ, self.model.S
        n = S.shape[1]
        if self.J is not None:
            V = S if self.bias is None else (S + 1) / 2
            return (energy(self.J, V) / (n * self.unit)).mean().item()
        sums = S @ ξ.T  # E = −(Σ_μ sums² − p N)/2N
        return (-(sums.square().sum(1) - len(ξ) * n) / (2 * n * n)).mean().item()

    def unstable_bits(self) -> float:
        """% of the bits of all patterns whose field has the other sign, by Hebb's couplings.

        Of ±1, or of 0 and 1 where the run's neurons are.
        """
        ξ = self.ξ
        h = (ξ @ ξ.T) @ ξ - len(ξ) * ξ  # N h, whole numbers
        if self.bias is not None:
            h = h + ξ.sum(1) @ ξ - len(ξ)  # what neurons 0 and 1 add: N Σ_j J_ij
        return 100 * fraction(h * ξ < 0)


recipe = HopfieldRecipe

if __name__ == "__main__":
    exit_with(lambda: main(recipe, Config, __file__))
