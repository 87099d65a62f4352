"""Which query a finding is about, what it costs and who issues it."""

from __future__ import annotations

from sa_perf.cli.wording.plain_text import one_line
from sa_perf.cli.wording.units import count, duration, percent
from sa_perf.finding import Finding
from sa_perf.snapshot import Snapshot

__all__ = ["finding_cost", "finding_origin", "finding_statement", "ranked_findings"]

_SEVERITIES = ("critical", "warning", "info")


def ranked_findings(snapshot: Snapshot) -> tuple[Finding, ...]:
    """Worst first; of the equally severe those first whose query takes most time."""
    seconds: dict[str | None, float] = {}
    for query in snapshot.queries:
        seconds[query.fingerprint] = seconds.get(query.fingerprint, 0.0) + query.total_seconds
    return tuple(
        sorted(
            snapshot.findings,
            key=lambda one: (
                _SEVERITIES.index(one.severity),
                -seconds.get(one.fingerprint, 0.0),
            ),
        )
    )


def finding_statement(finding: Finding, snapshot: Snapshot) -> str | None:
    """The statement that shows it; None where the snapshot holds none."""
    known = {one.fingerprint: one.statement for one in snapshot.slow}
    known.update((one.fingerprint, one.statement) for one in snapshot.queries)
    return known.get(finding.fingerprint or "")


def finding_cost(finding: Finding, snapshot: Snapshot) -> str | None:
    """What its query costs: ``29.2 % of the time, 12 calls, p95 78.6 ms``; None where unknown."""
    ran = [one for one in snapshot.queries if one.fingerprint == finding.fingerprint]
    if not ran or snapshot.total_seconds <= 0:
        return None
    share = percent(sum(one.total_seconds for one in ran) / snapshot.total_seconds)
    calls = sum(one.calls for one in ran)
    slowest = max(one.p95_seconds for one in ran)
    return f"{share} of the time, {count(calls)} calls, p95 {duration(slowest)}"


def finding_origin(finding: Finding, snapshot: Snapshot) -> str | None:
    """Line and scope of the query's last slow execution; None where none is kept."""
    for one in snapshot.slow:
        if one.fingerprint == finding.fingerprint:
            words = [str(one.call_site)] if one.call_site is not None else []
            words += [f"in {' < '.join(one.scope)}"] if one.scope else []
            return one_line(", ".join(words)) or None
    return None
