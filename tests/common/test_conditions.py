"""Conditions: what they want, and how they are said."""

import pytest

from common.conditions import ALWAYS, NEVER, Not, Unlike, alternatives, described, fits


@pytest.mark.parametrize(("value", "wanted", "fitting"), [
    (3, 3, True), (3, 4, False), ("a", ("a", "b"), True), ("c", ("a", "b"), False),
    (0.0, Not(0.0), False), (0.1, Not(0.0), True), ([], Not([]), False), ([1], Not([]), True),
    (2, Unlike("k"), False), (3, Unlike("k"), True), (True, True, True), (False, True, False)])
def test_fits(value, wanted, fitting):
    assert fits(value, wanted, {"k": 2}) is fitting


@pytest.mark.parametrize(("only", "text"), [
    ({"task.name": "bandit"}, "task.name=bandit"),
    ({"m": ("a", "b"), "bn": True}, "m=a|b and bn=true"),
    (({"m": "a"}, {"l1": Not(0.0)}), "m=a or l1≠0.0"),
    ({"first": Unlike("last")}, "first≠last"), (ALWAYS, ""), (NEVER, "")])
def test_said(only, text):
    assert described(alternatives(only)) == text
