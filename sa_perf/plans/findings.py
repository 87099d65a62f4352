"""PlanNode tree and statement -> findings in words. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from sa_perf.dialects import Dialect, Plan, TableFacts
from sa_perf.finding import Finding

__all__ = ["find"]


def find(
    plan: Plan,
    *,
    statement: str,
    parameters: object = None,
    facts: Mapping[str, TableFacts],
    dialect: Dialect,
    rows_returned: int | None = None,
    big_table_rows: int = 10_000,
) -> list[Finding]:
    """What is wrong with a plan, the most costly first."""
    return []
