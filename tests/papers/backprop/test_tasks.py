"""The cases: their numbers, and what Fig. 2 shows."""

import pytest
import torch

from papers.backprop import tasks


def named(person, relation):
    return {tasks.ENGLISH[p] for p in tasks.relatives(tasks.ENGLISH.index(person), relation)}


def test_family_trees_have_the_letters_104_cases_and_112_triples():
    cases = tasks.family_cases()
    assert len(cases) == 104 and sum(len(found) for _, _, found in cases) == 112


@pytest.mark.parametrize(("person", "relation", "expected"), [
    ("Colin", "aunt", {"Jennifer", "Margaret"}), ("Colin", "uncle", {"Arthur", "Charles"}),
    ("Charlotte", "brother", {"Colin"}), ("Arthur", "nephew", {"Colin"}),
    ("Charles", "niece", {"Charlotte"}), ("Christopher", "daughter", {"Victoria"}),
    ("Andrew", "wife", {"Christine"}), ("James", "mother", {"Christine"}),
    ("Penelope", "father", set()), ("Victoria", "son", {"Colin"})])
def test_relations(person, relation, expected):
    assert named(person, relation) == expected


def test_relations_have_inverses():
    inverse = {"father": ("son", "daughter"), "mother": ("son", "daughter"),
               "husband": ("wife",), "uncle": ("nephew", "niece"), "aunt": ("nephew", "niece"),
               "brother": ("brother", "sister"), "sister": ("brother", "sister")}
    for person in range(12):
        for relation, backs in inverse.items():
            for other in tasks.relatives(person, relation):
                assert any(person in tasks.relatives(other, b) for b in backs)


def test_generations_follow_from_who_is_whose_child_and_spouse():
    assert [tasks.GENERATION[tasks.ENGLISH.index(p)] for p in ("Christopher", "Andrew")] == [0, 0]
    for person in range(12):
        for relation, step in (("father", -1), ("mother", -1), ("son", 1), ("daughter", 1),
                               ("husband", 0), ("wife", 0), ("brother", 0), ("sister", 0)):
            for other in tasks.relatives(person, relation):
                assert tasks.GENERATION[other] == tasks.GENERATION[person] + step


def test_the_two_trees_are_isomorphic():
    cases = tasks.family_cases()
    english = {(p, r): f for p, r, f in cases if p < 12}
    italian = {(p - 12, r): [x - 12 for x in f] for p, r, f in cases if p >= 12}
    assert english == italian


@pytest.mark.parametrize(("task", "n", "ones"), [
    (tasks.symmetry(), 64, 8), (tasks.xor(), 4, 2), (tasks.parity(), 16, 8),
    (tasks.encoder(), 8, 8)])
def test_numbers_of_cases(task, n, ones):
    assert len(task.targets) == n and task.targets.sum() == ones
    assert sum(g.shape[1] for g in task.groups) == task.sizes[0]


def test_symmetry_marks_palindromes():
    task = tasks.symmetry()
    for x, d in zip(task.groups[0], task.targets, strict=True):
        assert bool(d) == torch.equal(x, x.flip(0))


def test_family_network_is_the_letters():
    task = tasks.family_trees()
    assert task.sizes == [24, 12, 6, 6, 12, 6, 24]
    assert [g.shape for g in task.groups] == [(104, 24), (104, 12)]
