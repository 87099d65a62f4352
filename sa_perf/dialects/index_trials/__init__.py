"""Indexes that do not exist, tried: would the planner use them?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sa_perf.dialects.index_trials.base import IndexTrial, TrialPlan
from sa_perf.dialects.index_trials.definition import IndexDefinition, IndexKey

if TYPE_CHECKING:
    from sa_perf.dialects.base import Dialect
    from sa_perf.dialects.dbapi import DBAPIConnection
    from sa_perf.dialects.facts import TableFacts

__all__ = ["IndexDefinition", "IndexKey", "IndexTrial", "TrialPlan", "open_trial"]


def open_trial(
    dialect: Dialect,
    dbapi_connection: DBAPIConnection,
    facts: Mapping[str, TableFacts],
    *,
    timeout_seconds: float = 2.0,
) -> IndexTrial:
    """The trial of a database; see `IndexTrial` for the arguments. To be closed after use."""
    kind = IndexTrial
    if dialect.name == "sqlite":
        from sa_perf.dialects.index_trials.sqlite import SQLiteTrial

        kind = SQLiteTrial
    elif dialect.name == "postgresql":
        from sa_perf.dialects.index_trials.hypopg import HypoPGTrial

        kind = HypoPGTrial
    elif dialect.name in ("mysql", "mariadb"):
        from sa_perf.dialects.index_trials.mysql import MySQLTrial

        kind = MySQLTrial
    return kind(dialect, dbapi_connection, facts, timeout_seconds=timeout_seconds)
