"""PlanNode tree + statement + table facts -> findings in words.

Pure: nothing is asked of a database. Where the statement cannot be read or the facts are missing,
fewer findings come out; a remedy is given only for what is known.
"""

from __future__ import annotations

from collections.abc import Mapping

from sa_perf.dialects import Dialect, Plan, TableFacts
from sa_perf.finding import Finding
from sa_perf.plans.case import Case, Ranked, Rule
from sa_perf.plans.join_findings import automatic_indexes, inner_scans
from sa_perf.plans.order_findings import deep_offsets, disk_use, sorts, temporary_tables
from sa_perf.plans.predicates import read
from sa_perf.plans.scan_findings import filtered_index_scans, table_scans
from sa_perf.plans.statement_findings import large_results, not_in_nullable, wrong_estimates

__all__ = ["find"]

_RULES: tuple[Rule, ...] = (
    table_scans,
    inner_scans,
    automatic_indexes,
    filtered_index_scans,
    sorts,
    temporary_tables,
    disk_use,
    deep_offsets,
    large_results,
    not_in_nullable,
    wrong_estimates,
)
_SEVERITIES = {"critical": 2, "warning": 1, "info": 0}


def find(
    plan: Plan,
    *,
    statement: str,
    facts: Mapping[str, TableFacts],
    dialect: Dialect,
    parameters: object = None,
    rows_returned: int | None = None,
    big_table_rows: int = 10_000,
) -> list[Finding]:
    """Say what is wrong with a plan.

    Args:
        plan: of the statement.
        statement: its text as it went to the driver.
        facts: of its tables, by any name.
        dialect: of the database, with the driver's paramstyle.
        parameters: as they went to the driver; their values reach no finding.
        rows_returned: rows that the statement returned or changed; None or negative if unknown.
        big_table_rows: smaller tables give no findings, >= 0.

    Returns:
        Findings without fingerprint, the most costly first; each remedy once.
    """
    reading = read(statement, dialect=dialect, facts=facts, parameters=parameters)
    known = None if rows_returned is None or rows_returned < 0 else rows_returned
    case = Case.of(plan, reading, facts, dialect=dialect, rows_returned=known, big=big_table_rows)
    ranked: list[Ranked] = [one for rule in _RULES for one in rule(case)]
    ranked.sort(key=lambda one: (_SEVERITIES[one[1].severity], one[0]), reverse=True)
    # One remedy stands once, with the worst of what it mends.
    unique: dict[tuple[str | None, str], Finding] = {}
    for _, finding in ranked:
        unique.setdefault((finding.place, finding.remedy), finding)
    return list(unique.values())
