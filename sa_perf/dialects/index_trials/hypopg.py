"""PostgreSQL: indexes tried by HypoPG, in one session, never built."""

from __future__ import annotations

from sa_perf.dialects.index_trials.base import IndexTrial

__all__ = ["HypoPGTrial"]


class HypoPGTrial(IndexTrial):
    """Tries indexes by the extension HypoPG, where the database has it."""
