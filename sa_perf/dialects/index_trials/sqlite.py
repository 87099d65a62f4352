"""SQLite: indexes tried in a copy of the schema, without its rows."""

from __future__ import annotations

from sa_perf.dialects.index_trials.base import IndexTrial

__all__ = ["SQLiteTrial"]


class SQLiteTrial(IndexTrial):
    """Tries indexes in a database in memory that has the schema and the statistics."""
