"""What is issued one by one, as findings in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sa_perf.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sa_perf.finding import Severity
    from sa_perf.queries.over_eager import EagerLoadStats
    from sa_perf.queries.repeats import RepeatStats

__all__ = ["repeat_findings"]

#: Statements of one occurrence from which on it is critical.
_CRITICAL_CALLS = 100
#: Share of scope runs without a read from which on an eager load is a finding.
_MOST_UNUSED = 0.9
#: Kind of the finding, and what happens; "{n}" and "{name}" are filled in.
_WORDS = {
    "lazy_load": ("n_plus_one", "{name} is loaded one by one: {n} SELECTs"),
    "own_query": ("n_plus_one", "the collection {name} is asked for one by one: {n} SELECTs"),
    "deferred_columns": ("deferred_one_by_one", "deferred {name} is loaded apart: {n} SELECTs"),
    "expired_reload": ("expired_one_by_one", "{name} objects are read again: {n} SELECTs"),
    "same_select": ("same_select", "the same SELECT with the same parameters is issued {n} times"),
    "single_insert": ("single_inserts", "rows are inserted one by one: {n} INSERTs"),
}  # fmt: skip


def repeat_findings(
    repeats: Sequence[RepeatStats], eager_loads: Sequence[EagerLoadStats] = ()
) -> Iterator[Finding]:
    """A finding for each repetition, and for each eager load that hardly anybody reads."""
    for one in repeats:
        yield _of_repeat(one)
    for eager in eager_loads:
        if eager.unused_runs > _MOST_UNUSED * eager.runs:
            yield _of_eager_load(eager)


def _of_eager_load(eager: EagerLoadStats) -> Finding:
    name = f"{eager.entity}.{eager.attribute}"
    return Finding(
        kind="over_eager",
        severity="info",
        message=(
            f"{name} is loaded eagerly and not read: {eager.unused_loads} of {eager.loads} loads, "
            f"in {eager.unused_runs} of {eager.runs} scope runs, first in {eager.scope!r}"
        ),
        remedy=(
            f"leave the eager load of {name} out of the query, or, where the relationship has it "
            f"by itself, select({eager.entity}).options(lazyload({name}))"
        ),
        place=f"relationship {name}",
        evidence={
            "loads": eager.loads,
            "unused_loads": eager.unused_loads,
            "runs": eager.runs,
            "unused_runs": eager.unused_runs,
            "wasted_seconds": eager.wasted_seconds,
        },
    )


def _of_repeat(repeat: RepeatStats) -> Finding:
    kind, words = _WORDS[repeat.kind]
    name = ".".join(one for one in (repeat.entity, repeat.attribute) if one)
    message = words.format(n=repeat.max_calls, name=name)
    where = f" in {_within(repeat)}"
    site = f", at {repeat.call_site}" if repeat.call_site is not None else ""
    severity: Severity = "critical" if repeat.max_calls >= _CRITICAL_CALLS else "warning"
    return Finding(
        kind=kind,
        severity=severity,
        message=f"{message}{where}{site}",
        remedy=repeat.remedy,
        place=_place(repeat),
        fingerprint=repeat.fingerprint,
        evidence={
            "calls": repeat.calls,
            "max_calls": repeat.max_calls,
            "occurrences": repeat.occurrences,
            "parents": repeat.max_parents or None,
            "path": repeat.path,
            "call_site": None if repeat.call_site is None else str(repeat.call_site),
            "scope": repeat.scope[0] if repeat.scope else None,
            "wasted_seconds": repeat.wasted_seconds,
        },
    )


def _within(repeat: RepeatStats) -> str:
    # The outermost: what is inside may have run many times.
    return f"one run of {repeat.scope[-1]!r}" if repeat.scope else "one transaction"


def _place(repeat: RepeatStats) -> str | None:
    if repeat.entity is None:
        return None
    if repeat.kind in ("lazy_load", "own_query"):
        return f"relationship {repeat.entity}.{repeat.attribute}"
    if repeat.kind == "deferred_columns":
        return f"columns {repeat.entity}.{repeat.attribute}"
    return f"class {repeat.entity}"
