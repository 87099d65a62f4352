"""Legal holds: rows that no run touches until they are released.

A hold is placed under the lock of the policies' lease rows, which each batch updates: once `place`
returns, no batch that could still take the row is under way.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Table, insert, select, update
from sqlalchemy import types as sqltypes

from sa_perf.dialects.purging import purging_of
from sa_perf.errors import RetentionError
from sa_perf.retention.cutoff import plain_type
from sa_perf.retention.tables import holds, leases
from sa_perf.tables import require_tables

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.types import TypeEngine

__all__ = ["Hold", "held_keys", "list_holds", "place", "release", "row_key"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A row that is held.

    Attributes:
        id: of the hold.
        table_name: of the row, with its schema.
        key: of the row, by column.
        reason: why.
        placed_by: whoever placed it.
        placed_at: when.
        released_by: whoever released it; None while it holds.
        released_at: when.
    """

    id: int
    table_name: str
    key: tuple[Any, ...]
    reason: str
    placed_by: str | None
    placed_at: datetime
    released_by: str | None = None
    released_at: datetime | None = None


def place(engine: Engine, table: Table, key: object, *, reason: str, by: str | None = None) -> Hold:
    """Hold a row: no run deletes, archives, anonymises or soft-deletes it, nor what it hangs on.

    Waits for a batch that is under way.

    Args:
        engine: of the database.
        table: of the row.
        key: its primary key: a value, or values in the key's order, or a mapping by column.
        reason: why; kept for the audit.
        by: whoever wants it.

    Raises:
        RetentionError: the key does not fit, the reason is empty, or there is no such row.
        MissingTables: the database lacks sa_perf's tables.
    """
    values = _values(table, key)
    if not reason.strip():
        raise RetentionError("a hold needs a reason")
    purging = purging_of(engine)
    with purging.connection(engine) as connection:
        require_tables(connection)
        with purging.transaction(connection, lock_seconds=60):
            connection.execute(select(leases.c.policy).with_for_update()).all()
            condition = [
                column == value
                for column, value in zip(table.primary_key.columns, values, strict=True)
            ]
            if (
                connection.execute(select(*table.primary_key.columns).where(*condition)).first()
                is None
            ):
                raise RetentionError(f"{table.fullname!r} has no row with key {values!r} to hold")
            text = row_key(table, values)
            now = purging.utc_now(connection)
            done = connection.execute(
                insert(holds).values(
                    table_name=table.fullname,
                    row_key=text,
                    reason=reason,
                    placed_by=by,
                    placed_at=now,
                )
            )
            number = int(done.inserted_primary_key[0])  # type: ignore[index]  # one row
    return Hold(
        id=number,
        table_name=table.fullname,
        key=tuple(json.loads(text)),
        reason=reason,
        placed_by=by,
        placed_at=now,
    )


def release(engine: Engine, hold_id: int, *, by: str | None = None) -> None:
    """Release a hold; its row stays in the audit.

    Raises:
        RetentionError: there is no such hold, or it is released already.
    """
    purging = purging_of(engine)
    with purging.connection(engine) as connection:
        require_tables(connection)
        with purging.transaction(connection, lock_seconds=60):
            changed = connection.execute(
                update(holds)
                .where(holds.c.id == hold_id, holds.c.released_at.is_(None))
                .values(released_at=purging.utc_now(connection), released_by=by)
            )
            if changed.rowcount != 1:
                raise RetentionError(f"there is no hold {hold_id!r} that is not released")


def list_holds(
    engine: Engine, *, table_name: str | None = None, released: bool = False
) -> list[Hold]:
    """Holds, newest first.

    Args:
        engine: of the database.
        table_name: of this table only.
        released: those that are released too.
    """
    stmt = select(holds).order_by(holds.c.id.desc())
    if table_name is not None:
        stmt = stmt.where(holds.c.table_name == table_name)
    if not released:
        stmt = stmt.where(holds.c.released_at.is_(None))
    purging = purging_of(engine)
    with purging.connection(engine) as connection:
        require_tables(connection)
        with purging.reading(connection):
            rows = connection.execute(stmt).all()
    return [
        Hold(
            id=row.id,
            table_name=row.table_name,
            key=tuple(json.loads(row.row_key)),
            reason=row.reason,
            placed_by=row.placed_by,
            placed_at=row.placed_at,
            released_by=row.released_by,
            released_at=row.released_at,
        )
        for row in rows
    ]


def held_keys(connection: Connection, tables: Iterable[Table]) -> dict[str, list[tuple[Any, ...]]]:
    """Primary keys of the rows that are held now, by their table's full name.

    To be called within a batch's transaction, behind the update of its lease row.
    """
    by_name = {table.fullname: table for table in tables}
    rows = connection.execute(
        select(holds.c.table_name, holds.c.row_key).where(
            holds.c.table_name.in_(by_name), holds.c.released_at.is_(None)
        )
    )
    found: dict[str, list[tuple[Any, ...]]] = {}
    for name, text in rows:
        key = tuple(
            _from_json(column.type, value)
            for column, value in zip(
                by_name[name].primary_key.columns, json.loads(text), strict=True
            )
        )
        found.setdefault(name, []).append(key)
    return found


def row_key(table: Table, values: Sequence[Any]) -> str:
    """A row's primary key as text: JSON, so that a person can read and type it."""
    columns = table.primary_key.columns
    parts = [_to_json(column.type, value) for column, value in zip(columns, values, strict=True)]
    return json.dumps(parts, separators=(",", ":"), ensure_ascii=False)


def _values(table: Table, key: object) -> tuple[Any, ...]:
    names = [column.key for column in table.primary_key.columns]
    if isinstance(key, Mapping):
        if set(key) != set(names):
            raise RetentionError(f"the key of {table.fullname!r} is {', '.join(names)}")
        given = tuple(key[name] for name in names)
    else:
        given = tuple(key) if isinstance(key, (list, tuple)) else (key,)
    if len(given) != len(names) or not names:
        raise RetentionError(
            f"the key of {table.fullname!r} is {', '.join(names) or 'missing'}; "
            f"{len(given)} values are given"
        )
    columns = table.primary_key.columns
    try:
        return tuple(
            _from_json(column.type, value) for column, value in zip(columns, given, strict=True)
        )
    except (ValueError, TypeError, ArithmeticError) as error:
        raise RetentionError(f"{given!r} is no key of {table.fullname!r}: {error}") from error


def _to_json(type_: TypeEngine[Any], value: Any) -> object:  # noqa: ANN401
    if isinstance(value, bytes):
        return value.hex()
    return value if isinstance(value, (int, str)) else str(value)


def _from_json(type_: TypeEngine[Any], value: Any) -> Any:  # noqa: ANN401
    """A value of a column from what JSON or a command line has for it."""
    plain = plain_type(type_)
    if not isinstance(value, (str, int)) or isinstance(plain, sqltypes.String):
        return value
    if isinstance(plain, sqltypes.LargeBinary) and isinstance(value, str):
        return bytes.fromhex(value)
    if isinstance(plain, sqltypes.DateTime) and isinstance(value, str):
        return datetime.fromisoformat(value)
    try:
        wanted = plain.python_type
    except NotImplementedError:
        return value
    return value if isinstance(value, wanted) else wanted(value)
