"""How MySQL and MariaDB count the use of indexes, where they do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from sa_perf.dialects.inventory.base import CatalogReader, Record

__all__ = ["Counting", "Uses", "how_uses_are_counted", "uses_in"]

_UNUSED = "never used indexes"
_SERVER = """
SHOW GLOBAL STATUS WHERE Variable_name IN ('Uptime', 'Performance_schema_index_stat_lost',
                                           'Performance_schema_table_instances_lost')
"""
_VARIABLES = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('performance_schema', 'userstat')"
_INSTRUMENTS = """
SELECT count(*) AS number FROM performance_schema.setup_instruments
 WHERE name = 'wait/io/table/sql/handler' AND enabled = 'YES'
"""
_WAITS = """
SELECT object_name AS table_name, index_name, count_star AS uses
  FROM performance_schema.table_io_waits_summary_by_index_usage
 WHERE object_schema = :schema AND index_name IS NOT NULL
"""
_USERSTAT = """
SELECT table_name, index_name, rows_read AS uses FROM information_schema.index_statistics
 WHERE table_schema = :schema
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counting:
    """How uses are counted.

    Attributes:
        seconds: for so long, at most: counts can be thrown away, and that leaves no trace.
        since: the same as a moment.
        statement: gives the counts of one database; None where there are none.
    """

    seconds: float | None = None
    since: datetime | None = None
    statement: str | None = None


class Uses:
    """How often indexes were used.

    Args:
        counts: by table and index.
        unlisted: what it means that one is not among them; None: nothing is known.
    """

    def __init__(self, counts: Mapping[tuple[str, str], int], *, unlisted: int | None) -> None:
        self._counts = counts
        self._unlisted = unlisted

    def of(self, table: str, index: str) -> int | None:
        """Uses of one; None if unknown."""
        return self._counts.get((table, index), self._unlisted)


def how_uses_are_counted(reader: CatalogReader) -> Counting:
    """Ask the server; where it does not count, that is noted as unknown."""
    server = _values(reader.asked(_UNUSED, _SERVER))
    variables = _values(reader.asked(_UNUSED, _VARIABLES))
    if "uptime" not in server:
        return Counting()
    seconds = float(server["uptime"])
    started = reader.rows("SELECT utc_timestamp() - INTERVAL :up SECOND AS moment", up=int(seconds))
    moment = started[0]["moment"].replace(tzinfo=timezone.utc)
    if variables.get("performance_schema") == "ON":
        enabled = reader.asked(_UNUSED, _INSTRUMENTS)
        if enabled and not enabled[0]["number"]:
            reader.unknown(_UNUSED, "the instrument wait/io/table/sql/handler is off")
        elif any(int(number) for name, number in server.items() if name.endswith("_lost")):
            reader.unknown(_UNUSED, "performance_schema has too little room: some uses are lost")
        elif enabled:
            return Counting(seconds=seconds, since=moment, statement=_WAITS)
    elif variables.get("userstat") == "ON":
        return Counting(seconds=seconds, since=moment, statement=_USERSTAT)
    else:
        reader.unknown(
            _UNUSED, "the server does not count them: performance_schema"
            + (" and userstat are off" if "userstat" in variables else " is off"),
        )  # fmt: skip
    return Counting()


def uses_in(reader: CatalogReader, schema: str, counting: Counting) -> Uses:
    """Uses by table and index of one database.

    userstat lists those that were used; performance_schema also the others of each table that was
    opened since the server started.
    """
    if counting.statement is None:
        return Uses({}, unlisted=None)
    before = len(reader.unknowns)
    rows = reader.asked(_UNUSED, counting.statement, schema=schema)
    counts = {(row["table_name"], row["index_name"]): int(row["uses"]) for row in rows}
    answered = len(reader.unknowns) == before
    return Uses(counts, unlisted=0 if answered and counting.statement == _USERSTAT else None)


def _values(rows: Sequence[Record]) -> dict[str, str]:
    return {row["variable_name"].lower(): str(row["value"]) for row in rows}
