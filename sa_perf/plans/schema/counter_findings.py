"""Sequences and the like near the end of their numbers. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from sa_perf.dialects.inventory import DDL, Counter, Inventory
from sa_perf.finding import Finding, Severity
from sa_perf.plans.schema.index_findings import remedy_evidence
from sa_perf.plans.schema.limits import Limits

__all__ = ["counter_findings"]


def counter_findings(inventory: Inventory, ddl: DDL, limits: Limits) -> Iterator[Finding]:
    """Of each counter that has given out much of what it has."""
    for counter in inventory.counters:
        if counter.used_ratio < limits.noted_ratio:
            continue
        remedy = ddl.widen(counter)
        yield Finding(
            kind="sequence_near_end",
            severity=_severity(counter, limits),
            message=_message(counter),
            remedy=remedy.sql,
            place=_place(counter),
            evidence={
                "sequence": counter.sequence,
                "column": counter.column,
                "column_type": counter.column_type,
                "last": counter.last,
                "limit": counter.limit,
                "remaining": counter.remaining,
                "used_ratio": round(counter.used_ratio, 4),
                **remedy_evidence(remedy),
            },
        )


def _severity(counter: Counter, limits: Limits) -> Severity:
    if counter.cycles and not _fails(counter):
        return "info"
    if counter.used_ratio >= limits.critical_ratio:
        return "critical"
    return "warning" if counter.used_ratio >= limits.warned_ratio else "info"


def _message(counter: Counter) -> str:
    what = counter.sequence or counter.column or "the rowid"
    used = min(counter.used_ratio, 1.0) * 100
    of_column = f"{counter.column} is {counter.column_type}"
    end = f"the last number is {counter.limit:,}"
    if counter.limited_by_column:
        end = f"{of_column}, which ends at {counter.limit:,}"
        if counter.sequence is not None and not counter.limited_by_sequence:
            end += ", before the sequence does"
    if counter.remaining == 0 and _fails(counter):
        return f"{what} has given out its last number: {end}. INSERTs fail."
    then = "INSERTs fail then" if _fails(counter) else "It begins again then"
    return (
        f"{what} has given out {used:.1f} % of its numbers, {counter.remaining:,} are left: {end}. "
        f"{then}."
    )


def _fails(counter: Counter) -> bool:
    """Whether no number comes behind the last one."""
    return not counter.cycles or not (counter.limited_by_sequence or counter.sequence is None)


def _place(counter: Counter) -> str:
    name = counter.table or counter.sequence or "?"
    kind = "table" if counter.table is not None else "sequence"
    return f"{kind} {name if counter.is_default_schema else f'{counter.schema}.{name}'}"
