"""One frozen reading of everything; its JSON form is a contract."""

from __future__ import annotations

from sa_perf.snapshot.parts import Database, Health, StoreHealth
from sa_perf.snapshot.reading import (
    SCHEMA,
    QueryOrder,
    Snapshot,
    derived_findings,
    findings_of,
    ranked_findings,
)

__all__ = [
    "SCHEMA", "Database", "Health", "QueryOrder", "Snapshot", "StoreHealth", "derived_findings",
    "findings_of", "ranked_findings",
]  # fmt: skip
