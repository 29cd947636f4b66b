"""Groups of experiments in a ``config.yaml``: which are sound, and what they stand for."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence

from common.errors import UserError, nearest

DEEPEST = 20
"""How many groups may stand in one another."""

MOST = 1000
"""The largest number of experiments of one ``vary``, or of a group with all that it contains."""


def check_groups(groups: Mapping[str, Sequence[str]], experiments: Container[str],
                 names: Iterable[str], where: str) -> None:
    """Refuse groups that cannot be expanded.

    Args:
        groups: the members of each group.
        experiments: the names of single experiments.
        names: all names, for a suggestion.
        where: the file, for the message.

    Raises:
        UserError: a group contains an unknown experiment or, directly or not, itself; is too deep;
            or stands for too many experiments.
    """
    sizes: dict[str, int] = {}  # of groups known to be sound
    depths: dict[str, int] = {}

    def look(name: str, led: list[str]) -> None:
        if name in led:
            raise UserError(f"{where}: experiment {name!r} runs itself: "
                            f"{' → '.join([*led[led.index(name):], name])}")
        if name not in sizes:
            for member in groups[name]:
                if member in groups and len(led) < DEEPEST:
                    look(member, [*led, name])
                elif member not in groups and member not in experiments:
                    raise UserError(f"{where}: experiment {name!r} runs {member!r}, which does not "
                                    f"exist{nearest(member, names)}")
            sizes[name] = sum(sizes.get(m, 1) for m in groups[name])
            depths[name] = 1 + max(depths.get(m, 0 if m in experiments else DEEPEST)
                                   for m in groups[name])
        if depths[name] > DEEPEST:
            raise UserError(f"{where}: experiment {name!r} runs groups of groups: expected at most "
                            f"{DEEPEST} of them in one another")
        if sizes[name] > MOST:
            raise UserError(f"{where}: experiment {name!r} runs {sizes[name]:,} experiments: "
                            f"expected at most {MOST:,}")
    for name in groups:
        look(name, [])
