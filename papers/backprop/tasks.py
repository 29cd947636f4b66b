"""The patterns the networks learn: symmetry, family trees, XOR, parity, encoder."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from papers.backprop.model import layered


@dataclass(frozen=True)
class Task:
    """A set of cases and the network that learns them.

    Attributes:
        groups: input groups, each (c, units).
        targets: d, (c, units).
        sizes: units of every group of the network.
        connections: pairs of groups.
    """

    groups: list[Tensor]
    targets: Tensor
    sizes: list[int]
    connections: list[tuple[int, int]]


def binary(n: int) -> Tensor:
    """All 2ⁿ vectors of n bits, (2ⁿ, n)."""
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=n)))


def symmetry(hidden: int = 2, skip: bool = False) -> Task:
    """Fig. 1: is a vector of six bits symmetric about its middle?"""
    x = binary(6)
    d = (x == x.flip(1)).all(1, keepdim=True).float()
    return Task([x], d, [6, hidden, 1], layered([6, hidden, 1], skip))


def xor(hidden: int = 2, skip: bool = False) -> Task:
    """Exclusive or of two bits."""
    return parity(2, hidden, skip)


def parity(n: int = 4, hidden: int = 4, skip: bool = False) -> Task:
    """Is the number of ones odd?"""
    x = binary(n)
    return Task([x], x.sum(1, keepdim=True) % 2, [n, hidden, 1], layered([n, hidden, 1], skip))


def encoder(hidden: int = 3, skip: bool = False) -> Task:
    """Eight one-hot patterns through three hidden units onto themselves."""
    x = torch.eye(8)
    return Task([x], x, [8, hidden, 8], layered([8, hidden, 8], skip))


ENGLISH = ["Christopher", "Andrew", "Arthur", "James", "Charles", "Colin",
           "Penelope", "Christine", "Victoria", "Jennifer", "Margaret", "Charlotte"]
ITALIAN = ["Roberto", "Pierro", "Emilio", "Marco", "Tomaso", "Alfonso",
           "Maria", "Francesca", "Lucia", "Angela", "Gina", "Sophia"]
"""The persons of Fig. 2 in the same places of the two trees; the first six of each are men."""

RELATIONS = ["father", "mother", "husband", "wife", "son", "daughter", "uncle", "aunt", "brother",
             "sister", "nephew", "niece"]

COUPLES = [(0, 6), (1, 7), (2, 10), (3, 8), (4, 9)]
CHILDREN = {(0, 6): [2, 8], (1, 7): [3, 9], (3, 8): [5, 11]}
GENERATION = [0, 0, 1, 1, 1, 2, 0, 0, 1, 1, 1, 2]
"""Christopher and Penelope have Arthur and Victoria, Andrew and Christine have James and
Jennifer, James and Victoria have Colin and Charlotte."""


def relatives(person: int, relation: str) -> list[int]:
    """Who stands in a relation to a person of one tree; uncles and aunts also by marriage."""
    def man(p: int) -> bool:
        return p < 6
    parents = next((list(c) for c, kids in CHILDREN.items() if person in kids), [])
    spouse = [o for c in COUPLES if person in c for o in c if o != person]
    siblings = [k for kids in CHILDREN.values() if person in kids for k in kids if k != person]
    children = [k for c, kids in CHILDREN.items() if person in c for k in kids]

    def siblings_of(p: int) -> list[int]:
        return [k for kids in CHILDREN.values() if p in kids for k in kids if k != p]
    elders = [s for p in parents for s in siblings_of(p)]
    elders += [o for s in elders for c in COUPLES if s in c for o in c if o != s]
    own = [person, *spouse]
    juniors = [k for p in own for s in siblings_of(p)
               for c, kids in CHILDREN.items() if s in c for k in kids if s not in own]
    pool = {"father": parents, "mother": parents, "husband": spouse, "wife": spouse,
            "son": children, "daughter": children, "uncle": elders, "aunt": elders,
            "brother": siblings, "sister": siblings, "nephew": juniors, "niece": juniors}[relation]
    male = relation in ("father", "husband", "son", "uncle", "brother", "nephew")
    return sorted({p for p in pool if man(p) == male})


def family_cases() -> list[tuple[int, int, list[int]]]:
    """All (person, relation, persons in that relation) with at least one such person.

    Persons 0 … 11 are the English tree's, 12 … 23 the Italian tree's.
    """
    cases = []
    for tree in (0, 12):
        for person in range(12):
            for r, relation in enumerate(RELATIONS):
                found = relatives(person, relation)
                if found:
                    cases.append((person + tree, r, [p + tree for p in found]))
    return cases


def family_trees() -> Task:
    """Fig. 2 to 4: (person, relation) → persons, through 6+6, 12 and 6 hidden units."""
    cases = family_cases()
    persons, relations = torch.zeros(len(cases), 24), torch.zeros(len(cases), 12)
    targets = torch.zeros(len(cases), 24)
    for c, (person, relation, found) in enumerate(cases):
        persons[c, person], relations[c, relation] = 1, 1
        targets[c, found] = 1
    return Task([persons, relations], targets, [24, 12, 6, 6, 12, 6, 24],
                [(0, 2), (1, 3), (2, 4), (3, 4), (4, 5), (5, 6)])
