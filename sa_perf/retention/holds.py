"""Legal holds: rows that no run touches until they are released.

A hold is placed under the lock of the policies' lease rows, which each batch updates: once `place`
returns, no batch that could still take the row is under way, nor a policy's first one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import Table, insert, select, update
from sqlalchemy import types as sqltypes
from sqlalchemy.exc import StatementError

from sa_perf.dialects.purging import purging_of
from sa_perf.errors import RetentionError
from sa_perf.retention.cutoff import plain_type
from sa_perf.retention.keys import as_stored
from sa_perf.retention.lease import lock_all
from sa_perf.retention.ranges import key_from, key_text
from sa_perf.retention.tables import holds
from sa_perf.retention.wording import error_words
from sa_perf.tables import require_tables

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.types import TypeEngine

__all__ = ["Hold", "held_keys", "list_holds", "place", "release"]

#: What the table's column holds, in characters.
_LONGEST_KEY = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A row that is held.

    Attributes:
        id: of the hold.
        table_name: of the row, with its schema.
        key: of the row, as the database has it, in its columns' order.
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
    """Hold a row: no run deletes, archives, anonymises or soft-deletes it.

    Nor is a row deleted or archived that it hangs on by foreign keys whose rows go with their
    parents; such a row may be anonymised or softly deleted, since it stays. Waits for a batch that
    is under way.

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
            lock_all(connection, purging)
            stored = _stored_key(connection, table, values)
            now = purging.utc_now(connection)
            done = connection.execute(
                insert(holds).values(
                    table_name=table.fullname,
                    row_key=stored,
                    reason=reason,
                    placed_by=by,
                    placed_at=now,
                )
            )
            number = int(done.inserted_primary_key[0])  # type: ignore[index]  # one row
    return Hold(
        id=number,
        table_name=table.fullname,
        key=_key(stored),
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
            key=_key(row.row_key),
            reason=row.reason,
            placed_by=row.placed_by,
            placed_at=row.placed_at,
            released_by=row.released_by,
            released_at=row.released_at,
        )
        for row in rows
    ]


def held_keys(connection: Connection, tables: Iterable[Table]) -> dict[str, list[tuple[Any, ...]]]:
    """Primary keys of the rows that are held now, by their table's full name; for `among`.

    To be called within a batch's transaction, behind the update of its lease row.
    """
    rows = connection.execute(
        select(holds.c.table_name, holds.c.row_key)
        .where(
            holds.c.table_name.in_({table.fullname for table in tables}),
            holds.c.released_at.is_(None),
        )
        .distinct()
    )
    found: dict[str, list[tuple[Any, ...]]] = {}
    for name, text in rows:
        found.setdefault(name, []).append(_key(text))
    return found


def _key(text: str) -> tuple[Any, ...]:
    return key_from(text) or ()


def _stored_key(connection: Connection, table: Table, values: Sequence[Any]) -> str:
    """The key of the row with some values, as the database has it, as text.

    Raises:
        RetentionError: there is no such row.
    """
    columns = list(table.primary_key.columns)
    conditions = [column == value for column, value in zip(columns, values, strict=True)]
    stmt = select(*as_stored(columns, connection.dialect)).where(*conditions)
    try:
        row = connection.execute(stmt).first()
    except (StatementError, ValueError, TypeError) as error:
        raise RetentionError(
            f"{values!r} is no key of {table.fullname!r}: {error_words(error)}"
        ) from error
    if row is None:
        raise RetentionError(f"{table.fullname!r} has no row with key {values!r} to hold")
    text = key_text(tuple(row)) or ""
    if len(text) > _LONGEST_KEY:
        raise RetentionError(
            f"the key of {table.fullname!r} is too long to be held: {text[:50]}..."
        )
    return text


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
            _from_text(column.type, value) for column, value in zip(columns, given, strict=True)
        )
    except (ValueError, TypeError, ArithmeticError) as error:
        raise RetentionError(f"{given!r} is no key of {table.fullname!r}: {error}") from error


def _from_text(type_: TypeEngine[Any], value: Any) -> Any:  # noqa: ANN401
    """A value of a column from what a command line has for it; others stay as they are."""
    plain = plain_type(type_)
    if not isinstance(value, str) or isinstance(plain, (sqltypes.String, sqltypes.Enum)):
        return value
    for kind, read in _READ:
        if isinstance(plain, kind):
            return read(value)
    return value


_READ: tuple[tuple[type[TypeEngine[Any]], Callable[[str], Any]], ...] = (
    (sqltypes.LargeBinary, bytes.fromhex),
    # Python 3.10 does not read the Z.
    (sqltypes.DateTime, lambda text: datetime.fromisoformat(re.sub("[zZ]$", "+00:00", text))),
    (sqltypes.Date, date.fromisoformat),
    (sqltypes.Time, time.fromisoformat),
    (sqltypes.Integer, int),
    (sqltypes.Float, float),
    (sqltypes.Numeric, Decimal),
    (sqltypes.Uuid, UUID),
)
