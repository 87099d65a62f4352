"""Sums over stored spans, made by the database; one statement a table.

Rows are first added up within their span, which is the order in which they are stored: there is
nothing to sort but what is left, an eighth with eight processes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Table,
    and_,
    case,
    func,
    literal,
    select,
    union_all,
)

from sa_perf.store.spans import Piece
from sa_perf.store.stored_histograms import Blobs
from sa_perf.store.tables import MERGED, queries, scopes, transactions

__all__ = ["query_histograms", "query_sums", "scope_sums", "transaction_histograms",
           "transaction_sums"]  # fmt: skip

_Tables: TypeAlias = "dict[int, Table]"
_Columns: TypeAlias = "dict[str, tuple[str, ...]]"
#: By how they are added up. Without a call there was no duration, nor a moment at which it ended.
_QUERY: _Columns = {
    "sum": (
        "calls", "errors", "row_count", "executions", "parameter_sets", "executemany_calls",
        "insertmanyvalues_calls", "total_seconds", "fetch_seconds", "loop_wait_seconds",
        "sum_squares",
    ),
    "min_called": ("min_seconds", "first_seen"),
    "max_called": ("last_seen",),
    "max": ("max_seconds", "last_error"),
}  # fmt: skip
_SCOPE: _Columns = {
    "sum": ("runs", "statements", "row_count", "database_seconds", "total_seconds"),
    "max": ("max_statements", "max_database_seconds"),
}
_TRANSACTION: _Columns = {
    "sum": ("commits", "rollbacks", "total_seconds"),
    "max": ("max_seconds",),
}


def query_sums(connection: Connection, pieces: Sequence[Piece]) -> Sequence[Row[Any]]:
    """One row a statement: `statement_id` and the columns of the table; no order."""
    return _sums(connection, queries, "statement_id", _QUERY, pieces)


def scope_sums(connection: Connection, pieces: Sequence[Piece]) -> Sequence[Row[Any]]:
    """One row a scope: `name` and the columns of the table; no order."""
    return _sums(connection, scopes, "name", _SCOPE, pieces)


def transaction_sums(connection: Connection, pieces: Sequence[Piece]) -> Sequence[Row[Any]]:
    """One row of all transactions, or none."""
    return _sums(connection, transactions, None, _TRANSACTION, pieces)


def query_histograms(
    connection: Connection, pieces: Sequence[Piece], statements: Sequence[int]
) -> Blobs:
    """Histograms of some statements, by their numbers."""
    found: defaultdict[int, Counter[bytes]] = defaultdict(Counter)
    if pieces:
        parts = []
        for one in pieces:
            table = queries[one.width].c
            wanted = _within(queries, one), table.statement_id.in_(statements)
            parts.append(select(table.statement_id, table.histogram).where(*wanted))
        for statement, blob in connection.execute(union_all(*parts)).all():
            found[statement][bytes(blob)] += 1
    return found


def transaction_histograms(connection: Connection, pieces: Sequence[Piece]) -> Iterable[bytes]:
    """Histograms of the transactions of all databases together."""
    if not pieces:
        return ()
    parts = [
        select(transactions[one.width].c.histogram).where(_within(transactions, one))
        for one in pieces
    ]
    return [bytes(blob) for (blob,) in connection.execute(union_all(*parts))]


def _sums(
    connection: Connection,
    tables: _Tables,
    key: str | None,
    columns: _Columns,
    pieces: Sequence[Piece],
) -> Sequence[Row[Any]]:
    if not pieces:
        return ()
    keys = [] if key is None else [key]
    spans = union_all(*(_of_each_span(tables, keys, columns, one) for one in pieces)).subquery()
    sums = [
        _ADDED[how](spans.c[name]).label(name) for how, names in columns.items() for name in names
    ]
    whole = select(*(spans.c[one] for one in keys), *sums).group_by(*(spans.c[one] for one in keys))
    return connection.execute(whole).all()


_ADDED: dict[str, Any] = {
    "sum": func.sum, "min_called": func.min, "max_called": func.max, "max": func.max,
}  # fmt: skip


def _of_each_span(
    tables: _Tables, keys: Sequence[str], columns: _Columns, piece: Piece
) -> Select[Any]:
    table = tables[piece.width]
    by = [table.c.began_at, *(table.c[one] for one in keys)]
    added = [
        _ADDED[how](_called(table, name) if how.endswith("called") else table.c[name]).label(name)
        for how, names in columns.items()
        for name in names
    ]
    return select(*by, *added).where(_within(tables, piece)).group_by(*by)


def _called(table: Table, name: str) -> ColumnElement[Any]:
    return case((table.c.calls > literal(0), table.c[name]))


def _within(tables: _Tables, piece: Piece) -> ColumnElement[bool]:
    table = tables[piece.width].c
    condition = and_(table.began_at >= piece.begin, table.began_at < piece.end)
    return and_(condition, table.process_id > MERGED) if piece.late else condition
