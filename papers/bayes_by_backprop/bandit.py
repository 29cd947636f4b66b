"""Section 5.3: the mushroom bandit, its agents and their memory.

All agents of a run play at the same time, each with a network, a memory and mushrooms of its own.
In shapes, s is the number of agents, b the minibatch size, i and o numbers of units.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from torch import Tensor, nn

from common import data
from common.data import generator
from common.training.compiling import compile_apart
from common.training.devices import widest_float
from common.training.recipe import Planned, Row
from common.training.schedules import divided
from papers.bayes_by_backprop.model import as_scalar, gradients, kl_weights
from papers.bayes_by_backprop.prior import Prior
from papers.bayes_by_backprop.settings import Config, make_prior

EAT, LEAVE = 0, 1
EDIBLE, POISONED, ESCAPED = 5.0, -35.0, 5.0
"""Rewards for eating an edible mushroom, and for a poisonous one's two equally likely outcomes."""


def reward(poisonous: Tensor, action: Tensor, luck: Tensor) -> Tensor:
    """The reward of an action; leaving a mushroom earns nothing.

    Args:
        poisonous: 1 where the mushroom is poisonous.
        action: EAT or LEAVE.
        luck: uniform in [0, 1); a poisonous mushroom does harm where it is below one half.
    """
    eaten = torch.where(poisonous.bool(), torch.where(luck < 0.5, POISONED, ESCAPED), EDIBLE)
    return torch.where(action == EAT, eaten, 0.0)


def oracle(poisonous: Tensor) -> Tensor:
    """The reward of an oracle: 5 for an edible mushroom, 0 for a poisonous one."""
    return torch.where(poisonous.bool(), 0.0, EDIBLE)


def contexts(features: Tensor) -> Tensor:
    """The network's inputs: a mushroom's features and the one-hot action.

    Args:
        features: features of m mushrooms, (m, f).

    Returns:
        (2 m, f + 2): row ``action · m + mushroom``.
    """
    m = len(features)
    actions = torch.eye(2, dtype=features.dtype, device=features.device).repeat_interleave(m, 0)
    return torch.cat([features.repeat(2, 1), actions], 1)


class Memory(nn.Module):
    """The last interactions of every agent: a row of :func:`contexts` and its reward.

    Args:
        agents: number of agents s.
        size: how many interactions each remembers, 4096 in the paper.
    """

    def __init__(self, agents: int, size: int):
        super().__init__()
        self.rows: Tensor
        self.rewards: Tensor
        self.register_buffer("rows", torch.zeros(agents, size, dtype=torch.long))
        self.register_buffer("rewards", torch.zeros(agents, size))

    def add(self, slot: Tensor, rows: Tensor, rewards: Tensor) -> None:
        """Store one interaction of every agent in a slot, replacing what was there.

        Args:
            slot: (1,), 0 … size − 1.
            rows, rewards: (s,).
        """
        self.rows.index_copy_(1, slot, rows[:, None])
        self.rewards.index_copy_(1, slot, rewards[:, None])

    def minibatches(self, recalled: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Rows and rewards of minibatches, (count, s, b) each.

        Args:
            recalled: the slots to recall, (s, count · b).
            count: number of minibatches.
        """
        return (rearrange(self.rows.gather(1, recalled), "s (n b) -> n s b", n=count),
                rearrange(self.rewards.gather(1, recalled), "s (n b) -> n s b", n=count))


def values(w: Sequence[Tensor], x: Tensor) -> Tensor:
    """The reward each agent's network expects.

    Args:
        w: weights and biases of every layer, (s, i + 1, o), biases in the last row.
        x: (s, b, i).

    Returns:
        (s, b).
    """
    for k, layer in enumerate(w):
        h = F.pad(torch.relu(x) if k else x, (0, 1), value=1.0)  # the bias's input
        x = einsum(h, layer, "s b i, s i o -> s b o")
    return rearrange(x, "s b 1 -> s b")


class Agents(nn.Module):
    """The networks of s agents, with posteriors over their weights or with plain weights.

    Args:
        agents: number of agents s.
        widths: numbers of inputs, of units in each hidden layer, and of outputs, which is 1.
        prior: P; None for plain weights, whose σ is zero.
        ρ: the initial ρ.
        noise: σ of the reward's Gaussian likelihood.
        generator: source of the initial μ, N(0, 1/inputs); biases are 0.
        compiled: whether to compile the update with torch.compile.

    Attributes:
        generator: the generator of ε, on the device of the weights; None: torch's default one.
    """

    def __init__(self, agents: int, widths: Sequence[int], prior: Prior | None, ρ: float,
                 noise: float, generator: torch.Generator, compiled: bool = False):
        super().__init__()
        shapes = [(agents, i + 1, o) for i, o in pairwise(widths)]
        self.μ = nn.ParameterList(torch.randn(s, generator=generator) * (s[1] - 1) ** -0.5
                                  for s in shapes)
        for μ in self.μ:
            μ.data[:, -1] = 0
        self.ρ = nn.ParameterList(torch.full(s, ρ) for s in shapes if prior is not None)
        self.prior, self.noise = prior, noise
        self.generator: torch.Generator | None = None
        self._ε: list[Tensor] = []
        self._update: Callable[..., Tensor] = self.update
        if compiled:
            self._update = compile_apart(self.update)

    def draw(self) -> list[Tensor]:
        """New ε ~ N(0, 1) for every weight, in the same tensors each time; none for plain ones."""
        if [ε.device for ε in self._ε] != [ρ.device for ρ in self.ρ]:
            self._ε = [torch.empty_like(ρ) for ρ in self.ρ]
        for ε in self._ε:
            ε.normal_(generator=self.generator)
        return self._ε

    @torch.no_grad()
    def expected(self, x: Tensor, samples: int) -> Tensor:
        """:func:`values` averaged over ``samples`` draws of the weights (Thompson: 1)."""
        if self.prior is None:
            return values(list(self.μ), x)
        total = x.new_zeros(x.shape[:2])
        for _ in range(samples):
            total += values([torch.addcmul(μ, F.softplus(ρ), ε) for μ, ρ, ε in
                             zip(self.μ, self.ρ, self.draw(), strict=True)], x)
        return total / samples

    def negative_log_likelihood(self, w: Sequence[Tensor], x: Tensor, r: Tensor) -> Tensor:
        """−log N(r | value, noise²) without its constant, summed over examples and agents."""
        return (values(w, x) - r).square().sum() / (2 * self.noise**2)

    def learn(self, x: Tensor, r: Tensor, lr: float | Tensor, π: float | Tensor) -> Tensor:
        """One step on a minibatch by eqs. (3) to (6).

        Args:
            x: (s, b, i).
            r: rewards, (s, b).
            lr: α, a number or a tensor ().
            π: weight of the KL term, a number or a tensor ().

        Returns:
            The negative log-likelihood per agent and example, before the step.
        """
        with torch.no_grad():
            return self._update(list(self.μ), list(self.ρ), self.draw(), x, r,
                                as_scalar(lr, self.μ[0]), as_scalar(π, self.μ[0]))

    def update(self, μ: list[Tensor], ρ: list[Tensor], ε: list[Tensor], x: Tensor, r: Tensor,
               lr: Tensor, π: Tensor) -> Tensor:
        """Update μ and ρ in place; torch.func gives ∂NLL/∂w, the paper's equations the rest."""
        σ = [F.softplus(p) for p in ρ]
        w = [m + s * e for m, s, e in zip(μ, σ, ε, strict=True)] if ρ else μ
        g, loss = torch.func.grad_and_value(self.negative_log_likelihood)(w, x, r)
        if self.prior is None:
            for m, gm in zip(μ, g, strict=True):
                m.sub_(lr * gm)
            return loss / r.numel()
        for m, p, s, e, wi, gi in zip(μ, ρ, σ, ε, w, g, strict=True):
            dμ, dρ = gradients(self.prior, s, e, wi, gi, π)
            m.sub_(lr * dμ)
            p.sub_(lr * dρ)
        return loss / r.numel()


def minibatches_held(remembered: int, batch: int) -> int:
    """M, the number of minibatches that a memory's interactions fill, at least 1."""
    return max(1, math.ceil(remembered / batch))


def passes(remembered: int, batch: int, count: int, agents: int, draw: torch.Generator) -> Tensor:
    """The slots of ``count`` minibatches that go through a memory, each time in a new order.

    A pass has :func:`minibatches_held` minibatches; the last is filled up from the pass's start.

    Args:
        remembered: interactions that each agent remembers, in the slots from 0.
        batch: the minibatch size b.
        count: number of minibatches; the last pass is cut short.
        agents: number of agents s; each has orders of its own.
        draw: source of the orders.

    Returns:
        (s, count · b).
    """
    m = minibatches_held(remembered, batch)
    positions = torch.arange(m * batch) % remembered
    orders = torch.stack([torch.randperm(remembered, generator=draw)
                          for _ in range(agents * math.ceil(count / m))])
    return rearrange(orders[:, positions], "(s p) i -> s (p i)", s=agents)[:, :count * batch]


class BanditRecipe(Planned):
    """Section 5.3: agents that eat or leave mushrooms; a step is one interaction of each."""

    state_names = (*Planned.state_names, "memory", "regret")
    block = 50
    config: Config
    model: Agents

    def load_data(self) -> None:
        """Load all mushrooms: their features, (m, f), and whether they are poisonous, (m,)."""
        self.data = data.load(self.config.data.name)
        self.features = self.data.train.images.flatten(1).float().to(self.device)
        self.poisonous = self.data.train.labels.to(self.device)

    def build(self) -> None:
        c = self.config
        self.contexts = contexts(self.features)
        prior = make_prior(c.prior) if c.model.arm == "bbb" else None
        widths = [self.contexts.shape[1], c.model.units, c.model.units, 1]
        self.model = Agents(c.task.agents, widths, prior, c.model.rho, c.task.noise,
                                   generator(c.seed, "init"), c.train.compile)
        self.memory = Memory(c.task.agents, c.task.memory)
        self.regret = torch.zeros(c.task.agents, dtype=widest_float(self.device),
                                  device=self.device)

    def rates(self, step: int) -> dict[str, float]:
        """The learning rate α, divided by 10 at the milestones."""
        return {"lr": divided(self.config.optim.lr, self.config.optim.milestones, step)}

    def row(self, step: int) -> Row:
        """The mushroom that each agent meets, ``met`` (s,), and uniform numbers ``chance`` (3, s).

        They are the same for all arms with one seed. The row also has the memory's ``slot`` to
        write, the slots ``recalled`` for the minibatches, (s, updates · b), and the weights ``π``
        of their KL terms, (updates,).
        """
        task, size = self.config.task, self.config.train.batch_size
        s, draw, shuffle = (task.agents, self.generator("bandit", step),
                            self.generator("memory", step + 1))
        remembered = min(step + 1, task.memory)
        if task.recall == "passes":
            recalled = passes(remembered, size, task.updates, s, shuffle)
        else:
            recalled = torch.randint(remembered, (s, task.updates * size), generator=shuffle)
        m = minibatches_held(remembered, size)
        π = kl_weights(m, self.config.optim.kl)[torch.arange(task.updates) % m]
        return super().row(step) | {
            "met": torch.randint(len(self.features), (s,), generator=draw),
            "chance": torch.rand(3, s, generator=draw),
            "slot": torch.tensor([step % task.memory]),
            "recalled": recalled,
            "π": π.float()}

    def update(self, row: Row) -> Tensor:
        """Act, remember, learn; returns the last minibatch's negative log-likelihood."""
        met, (luck, explores, chosen) = row["met"], row["chance"]
        task = self.config.task
        action = self.act(met)
        action = torch.where(explores < task.epsilon, (chosen * 2).long(), action)
        poisonous = self.poisonous[met]
        received = reward(poisonous, action, luck)
        self.regret += oracle(poisonous) - received
        self.memory.add(row["slot"], action * len(self.features) + met, received)
        rows, rewards = self.memory.minibatches(row["recalled"], task.updates)
        for r, y, π in zip(rows, rewards, row["π"], strict=True):
            loss = self.model.learn(self.contexts[r], y, row["lr"], π)
        return loss

    def act(self, met: Tensor) -> Tensor:
        """The action with the higher expected reward, (s,)."""
        both = torch.stack([self.contexts[met], self.contexts[met + len(self.features)]], 1)
        return self.model.expected(both, self.config.task.thompson).argmax(1)

    def evaluate(self, step: int, final: bool) -> dict[str, float]:
        """``regret``: the cumulative regret, mean over agents.

        After the last step also ``regret_<k>`` of each agent and, with posteriors,
        ``median_sigma``.
        """
        metrics = {"regret": self.regret.mean().item()}
        if final:
            metrics |= {f"regret_{k}": r.item() for k, r in enumerate(self.regret)}
            if len(self.model.ρ):
                ρ = torch.cat([p.detach().flatten() for p in self.model.ρ])
                metrics["median_sigma"] = F.softplus(ρ).median().item()
        return metrics
