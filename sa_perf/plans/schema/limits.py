"""From when on something counts."""

from __future__ import annotations

from dataclasses import dataclass

from sa_perf.dialects.inventory import SchemaTable
from sa_perf.finding import Severity

__all__ = ["Limits"]

DAY = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """From when on something counts.

    Attributes:
        small_rows: a table with fewer rows is small: what is wrong with its indexes costs little
            and is told as ``"info"``.
        unused_days: uses of indexes must have been counted for so long before "never used" is said.
        sure_days: from so many days on it is a warning: monthly work has had its turn.
        noted_ratio: share of a counter's numbers that is behind it, from which on it is told.
        warned_ratio: from which on it is a warning.
        critical_ratio: from which on it is critical. PgHero and pg-index-health warn at 0.9.
    """

    small_rows: int = 1_000
    unused_days: float = 1.0
    sure_days: float = 30.0
    noted_ratio: float = 0.5
    warned_ratio: float = 0.75
    critical_ratio: float = 0.9

    def severity(self, table: SchemaTable) -> Severity:
        """Of a fault that costs time or space by the number of rows."""
        rows = table.rows_estimate
        return "info" if rows is not None and rows < self.small_rows else "warning"

    @property
    def unused_seconds(self) -> float:
        """`unused_days` in seconds."""
        return self.unused_days * DAY

    @property
    def sure_seconds(self) -> float:
        """`sure_days` in seconds."""
        return self.sure_days * DAY
