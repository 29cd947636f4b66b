"""Groups of experiments in a ``config.yaml``, and names: which are sound."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence

from common.errors import UserError, nearest
from common.files import no_name_on_windows

DEEPEST = 20
"""How many groups may stand in one another."""

MOST = 1000
"""The largest number of experiments of one ``vary``, or of a group with all that it contains."""


def repeated(names: Iterable[str]) -> str | None:
    """The first name that stands there for the second time, or None."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


class Names:
    """The names of a file's experiments and groups, each of which means one thing."""

    def __init__(self) -> None:
        self._taken: dict[str, tuple[str, str]] = {}  # by name in lower case

    def add(self, name: str, group: str = "", changes: bool = False) -> None:
        """Take a name.

        Args:
            name: of an experiment or a group.
            group: whose ``vary`` makes it; empty if it stands in the file.
            changes: whether the entry changes what has the name, which a ``vary`` has made.

        Raises:
            UserError: it is taken, up to upper and lower case, or can be no folder everywhere.
        """
        if changes and self._taken.get(name.lower(), ("", ""))[1]:
            return
        if name == "default":
            raise UserError(f"the name {name!r}: expected another, since in seeds it stands for "
                            "all experiments that are not named there")
        if no_name_on_windows(name):
            raise UserError(f"the name {name!r}: expected another, since Windows allows no folder "
                            "of this name")
        if name.lower() in self._taken:
            other, of = self._taken[name.lower()]
            raise UserError(f"the name {name!r}: expected another, since " + (
                f"{other!r} differs from it in upper and lower case alone" if other != name
                else f"a member of {of!r} has it, or from: {name} to change that one" if of
                else "another experiment or group has it"))
        self._taken[name.lower()] = name, group


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
