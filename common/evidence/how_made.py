"""How a report's results were made: the time, the machines, and every run with its versions."""

from __future__ import annotations

from common.evidence import results
from common.evidence.counting import card_seconds, core_seconds
from common.evidence.paper import Paper
from common.evidence.tables import fold, on_what, table

SHARED = (" Runs that take turns in one process divide its minutes; a process counts in full where "
          "others were on the card at the same time.")
"""What a sum of process-minutes on a graphics card means."""


def how_made(paper: Paper) -> list[str]:
    """How the results were made: time and machines in a sentence, every run in a fold."""
    records = [r.record for runs in paper.results.values() for r in runs]
    if not records:
        return ["No run has finished yet."]
    segments = [s for r in records for s in r.segments]
    machines = dict.fromkeys(s.hardware.processor for s in segments if s.hardware.gpu is None)
    cards = dict.fromkeys(f"{s.hardware.gpu} ({s.hardware.precision or 'float32'})"
                          for s in segments if s.hardware.gpu is not None)
    spent = [f"{sum(map(core_seconds, records)) / 3600:,.1f} core-hours on {', '.join(machines)}"
             ] if machines else []
    if cards:
        spent.append(f"{sum(map(card_seconds, records)) / 60:,.1f} process-minutes of "
                     f"{', '.join(cards)}")
    commits = dict.fromkeys(s.code for s in segments)
    unclean = sum(any(s.dirty for s in r.segments) for r in records)
    changed = f" Runs of code with changes that were not committed: {unclean}." if unclean else ""
    versions = dict.fromkeys(s.versions.torch for s in segments)
    name = paper.name
    return [
        f"{len(records)} run{'s' * (len(records) > 1)} of {len(paper.results)} "
        f"experiment{'s' * (len(paper.results) > 1)}: {' and '.join(spent)}, with torch "
        f"{', '.join(versions)}, at {len(commits)} commit{'s' * (len(commits) > 1)} of this "
        f"repository.{changed}{SHARED * bool(cards)} Any number again: `papers reproduce {name} "
        "claims=ID`, with the ID that its verdict leads to. Whether today's code still does what "
        f"the results say: `papers recheck {name}`.",
        fold("Every run", runs(paper))]


def runs(paper: Paper) -> str:
    """The table of provenance: the runs, their commits, versions and hardware."""
    rows = []
    for experiment, runs in paper.results.items():
        alike: dict[str, list[results.Result]] = {}
        for r in runs:
            alike.setdefault("; ".join(dict.fromkeys(
                on_what(s.hardware) + in_turn(s.side_by_side) for s in r.record.segments)),
                []).append(r)
        for hardware, like in alike.items():
            segments = [s for r in like for s in r.record.segments]
            commits = dict.fromkeys(s.code for s in segments)
            versions = dict.fromkeys(s.versions.torch for s in segments)
            seconds = [r.record.seconds for r in like]
            rows.append([experiment, ", ".join(str(r.seed) for r in like),
                         f"{sum(seconds) / len(seconds) / 60:.1f}", ", ".join(commits),
                         ", ".join(versions), hardware])
    return table(["experiment", "seeds", "minutes a run", "commit", "torch", "hardware"], rows)


def in_turn(runs: int | None) -> str:
    """How many runs took turns in a process; empty if it made one."""
    return f", {runs} runs in turn" if runs else ""
