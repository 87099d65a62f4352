"""Sizes on MySQL and MariaDB: tables, binary logs, connections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sa_perf.dialects.inventory.mysql import MariaDBReader, MySQLReader
from sa_perf.dialects.sizes.base import DatabaseSizes, TableSize, folder_here, is_local, unanswered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

__all__ = ["mysql_sizes"]

_SIZE = """
SELECT coalesce(sum(data_length + index_length), 0) AS used, coalesce(sum(data_free), 0) AS free
  FROM information_schema.tables WHERE table_type = 'BASE TABLE' AND table_schema = database()
"""
#: Of InnoDB what is free lies beside what is used, of other engines within.
_TABLES = """
SELECT table_name AS name, engine AS storage, table_rows AS number, data_length AS data,
       index_length AS indexes, data_free AS free
  FROM information_schema.tables WHERE table_type = 'BASE TABLE' AND table_schema = database()
 ORDER BY data_length + index_length + data_free DESC, table_name LIMIT :tables
"""
_BINARY_LOG = "SELECT @@log_bin AS does"
#: Needs BINLOG MONITOR (MariaDB) or REPLICATION CLIENT.
_LOGS = "SHOW BINARY LOGS"
_SERVER = "SELECT @@datadir AS folder, @@max_connections AS most"
_CONNECTIONS = "SHOW GLOBAL STATUS LIKE 'Threads_connected'"
_ONLINE = "InnoDB"


def mysql_sizes(
    connection: Connection, tables: int, timeout_seconds: float, *, is_mariadb: bool
) -> DatabaseSizes:
    """See `read_sizes`; figures of MySQL may be a day old (information_schema_stats_expiry)."""
    kind = MariaDBReader if is_mariadb else MySQLReader
    reader = kind(connection, timeout_seconds=timeout_seconds)
    size = reader.asked("size of the database", _SIZE)
    largest = reader.asked("sizes of tables", _TABLES, tables=tables)
    server = reader.asked("settings of the server", _SERVER)
    connections = reader.asked("connections", _CONNECTIONS)
    logs = _log_bytes(reader)
    folder = None
    if server and is_local(connection.engine.url):
        folder = folder_here(str(server[0]["folder"]), reader)
    return DatabaseSizes(
        total_bytes=int(size[0]["used"]) + int(size[0]["free"]) if size else None,
        free_bytes=int(size[0]["free"]) if size else None,
        log_bytes=logs,
        tables=tuple(map(_table, largest)),
        folder=folder,
        max_connections=int(server[0]["most"]) if server else None,
        connections=int(connections[0]["value"]) if connections else None,
        unanswered=unanswered(reader),
    )


def _log_bytes(reader: MySQLReader) -> int | None:
    does = reader.asked("size of the binary logs", _BINARY_LOG)
    if not does:
        return None
    if not int(does[0]["does"]):
        return 0
    logs: Sequence[Any] = reader.asked("size of the binary logs", _LOGS)
    return sum(int(row["file_size"]) for row in logs) if logs else None


def _table(row: Any) -> TableSize:  # noqa: ANN401 -- a row's values
    data, indexes = int(row["data"] or 0), int(row["indexes"] or 0)
    free = int(row["free"] or 0)
    whole = data + indexes + (free if row["storage"] == _ONLINE else 0)
    return TableSize(
        name=row["name"],
        total_bytes=whole,
        index_bytes=indexes,
        dead_ratio=min(1.0, free / whole) if whole else 0.0,
        rows=None if row["number"] is None else int(row["number"]),
    )
