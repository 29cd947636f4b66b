"""The closing lines of ``papers reproduce``: claims' verdicts, and what the new runs measured."""

from __future__ import annotations

from collections.abc import Sequence

from common.errors import UserError
from common.evidence import results, tables
from common.evidence.claims import Claim
from common.evidence.measurable import unknown_metrics
from common.evidence.paper import Paper
from common.files import run_folder, shown
from common.running.plan import finished
from common.running.runs import Outcome, PendingRun


def outcome_by_claim(before: Paper, now: Paper, claims: Sequence[Claim], runs: Sequence[PendingRun],
                     outcome: Outcome) -> str:
    """Published value, measured value and verdict of each claim, and the value of each new run.

    Args:
        before: the paper before the runs.
        now: the paper after them.
        claims: the claims to list.
        runs: the runs that were planned.
        outcome: which of the runs did not finish.
    """
    failed = {(r.experiment, s) for r, _ in outcome.failed for s in r.seeds}
    unmade = failed | {(r.experiment, s) for r in (*outcome.paused, *outcome.waiting)
                       for s in r.seeds}
    made = {(r.experiment, s) for r in runs for s in r.seeds} - unmade
    lines = []
    for c in claims:
        j = now.judge(c)
        published = "–" if c.published is None else tables.number(c.published, c.show)
        lines.append(f"{c.id}: published {published}, measured {tables.measured(j)}: {j.verdict}")
        if j.verdict == "not run" and c.because:
            lines.append(f"    {c.because}")
        its = sorted({s for e, s in made if e in c.experiments})
        lines += [f"    seed {s}, measured now: {of_seed(now, c, s)}"
                  f"{earlier(of_seed(before, c, s))}" for s in its]
        if any(e in c.experiments for e, _ in failed):
            lines.append("    a run of it failed just now; this is of the results that were there")
    return "\n".join(lines)


def check_metrics(paper: Paper, claims: Sequence[Claim]) -> None:
    """Refuse claims whose metric the results of their experiments do not have.

    Raises:
        UserError: the message names the first such claim.
    """
    for name in dict.fromkeys(e for c in claims for e in c.experiments):
        current = [r for r in paper.results.get(name, []) if paper.outdated(name, r.seed) is None]
        refuse(paper, unknown_metrics(claims, name, current))


def finished_and_measured(paper: Paper, claims: Sequence[Claim], run: PendingRun) -> bool:
    """:func:`finished`; a run that is tells whether it has the metrics that claims want of it.

    Raises:
        UserError: it does not; runs under way then write a checkpoint.
    """
    done = finished(paper, run)
    if done:
        refuse(paper, unknown_metrics(claims, run.experiment, [
            results.parse(run_folder(paper.name, run.experiment, seed) / "result.json",
                          paper.schema) for seed in run.seeds]))
    return done


def refuse(paper: Paper, messages: Sequence[str]) -> None:
    """Raise the first of the messages, if there is one."""
    if messages:
        raise UserError(f"{shown(paper.folder / 'claims.yaml')}: {messages[0]}")


def of_seed(paper: Paper, claim: Claim, seed: int) -> str:
    """The value of a claim from the runs of one seed, as text; empty if a run is missing."""
    runs = {e: r for e in claim.experiments for r in paper.results.get(e, []) if r.seed == seed}
    if len(runs) < len(set(claim.experiments)):
        return ""
    return tables.number(paper.measured(claim, runs), claim.show)


def earlier(value: str) -> str:
    """A remark on the value of the result that was replaced; empty for none."""
    return f" (the result that stood here before: {value})" if value else ""
