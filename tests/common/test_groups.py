"""Groups of experiments: a few, of a few, or one line."""

import re

import pytest

from common.errors import UserError
from common.groups import check_groups


def chain(deep, many=1):
    """Groups of groups: the first runs the second, so many times, and the last an experiment."""
    return {f"g{k}": [f"g{k + 1}" if k < deep - 1 else "a"] * many for k in range(deep)}


def backwards(groups):
    return dict(reversed(groups.items()))


def check(groups):
    check_groups(groups, ["a", "b"], ["a", "b", *groups], "config.yaml")


@pytest.mark.parametrize("groups", [
    {}, {"g": ["a", "b", "a"]}, {"g": ["a"] * 1000}, chain(20), backwards(chain(20)),
    chain(9, many=2), {"g": ["h", "h"], "h": ["a"]}])
def test_groups_of_a_few_are_sound(groups):
    check(groups)


@pytest.mark.parametrize("way", [dict, backwards], ids=["down", "up"])
@pytest.mark.parametrize(("groups", "message"), [
    ({"g": ["c"]}, "'g' runs 'c', which does not exist"),
    ({"g": ["g"]}, "'g' runs itself: g → g"), ({"g": ["h"], "h": ["a", "g"]}, "runs itself: "),
    ({"g": ["a"] * 1001}, "'g' runs 1,001 experiments: expected at most 1,000"),
    (chain(10, many=2), "'g0' runs 1,024 experiments: expected at most 1,000"),
    (chain(20, many=9), "experiments: expected at most 1,000"),
    *((chain(deep), "runs groups of groups: expected at most 20 of them in one another")
      for deep in (21, 22, 1500))], ids=range(9))
def test_others_are_one_line(groups, message, way):
    with pytest.raises(UserError, match=f"config.yaml: experiment .*{re.escape(message)}") as e:
        check(way(groups))
    assert "\n" not in str(e.value)
