"""Purging SQLite: one writer at a time, moments that are texts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    Column,
    Date,
    DateTime,
    String,
    Table,
    and_,
    literal_column,
    not_,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError

from sa_perf.dialects.purging_base import Purging
from sa_perf.tables import UNRECORDED

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Engine
    from sqlalchemy.engine.interfaces import Dialect as SQLAlchemyDialect

__all__ = ["SQLitePurging"]

#: Stored moments that are looked at, at each end of a column.
_PROBED = 1_000


class SQLitePurging(Purging):
    """One writer at a time: a batch's time is what the application waits for."""

    target_seconds = 0.05
    least_pause_ratio = 0.25
    clustered = True

    @contextmanager
    def connection(self, engine: Engine) -> Iterator[Connection]:
        """Without the driver's own BEGIN, which is too late, see `transaction`."""
        with engine.connect() as connection:
            yield connection.execution_options(isolation_level="AUTOCOMMIT", **UNRECORDED)
            _end_of_autobegin(connection)

    @contextmanager
    def transaction(self, connection: Connection, *, lock_seconds: float) -> Iterator[None]:
        """BEGIN IMMEDIATE: a transaction that reads first may not write any more when it wants to.

        https://www.sqlite.org/lang_transaction.html, "SQLITE_BUSY_SNAPSHOT".
        """
        # It gives a row, which is to be fetched before a transaction can begin.
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {math.ceil(lock_seconds * 1_000)}").all()
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            connection.exec_driver_sql("ROLLBACK")
            raise
        connection.exec_driver_sql("COMMIT")
        _end_of_autobegin(connection)

    @contextmanager
    def reading(self, connection: Connection) -> Iterator[None]:
        """Each statement is a transaction of its own."""
        yield
        _end_of_autobegin(connection)

    def utc_now(self, connection: Connection) -> datetime:
        """To the millisecond; it is this machine's clock."""
        now = connection.exec_driver_sql("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')").scalar_one()
        return datetime.fromisoformat(now).replace(tzinfo=timezone.utc)

    def is_transient(self, error: BaseException) -> bool:
        """Database or table is locked."""
        return isinstance(error, DBAPIError) and "is locked" in str(error.orig)

    def enforces_foreign_keys(self, connection: Connection) -> bool:
        """Only where ``PRAGMA foreign_keys`` is on, for each connection anew."""
        return bool(connection.exec_driver_sql("PRAGMA foreign_keys").scalar())

    def may_refuse(self, connection: Connection, table: Table) -> bool:
        """Whether the table has triggers: RAISE(IGNORE) keeps a row."""
        found = text(
            "SELECT 1 FROM sqlite_master WHERE type = 'trigger' AND tbl_name = :name LIMIT 1"
        )
        return connection.execute(found, {"name": table.name}).first() is not None

    def sound_moment(self, column: Column[Any]) -> ColumnElement[bool] | None:
        """Moments are texts, and numbers sort below all of them."""
        moment = literal_column(_quoted(self._dialect, column.name), String)
        day = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"
        if isinstance(column.type, Date):
            return moment.op("GLOB")(day)
        return and_(moment.op("GLOB")(f"{day} *"), moment.op("NOT GLOB")("* *[-+Zz]*"))

    def odd_moments(
        self, connection: Connection, column: Column[Any], near: datetime
    ) -> str | None:
        """'2026-01-01T08:00' is not before '2026-01-01 12:00', 1767254400 is before both."""
        sound = self.sound_moment(column)
        moment: Any = literal_column(_quoted(self._dialect, column.name))
        if sound is None or not isinstance(column.type, (Date, DateTime)):
            return None
        present = select(moment.label("moment"), sound.label("sound")).select_from(column.table)
        present = present.where(moment.is_not(None))
        days = [f"{near + timedelta(days=days):%Y-%m-%d}" for days in (-2, 3)]
        for some in (
            present.order_by(moment).limit(_PROBED),
            present.order_by(moment.desc()).limit(_PROBED),
            present.where(moment >= days[0], moment < days[1]).limit(_PROBED * 100),
        ):
            rows = some.subquery()
            odd = select(rows.c.moment).where(not_(rows.c.sound)).limit(1)
            found = connection.execute(odd).first()
            if found is not None:
                return repr(found[0])
        return None

    def size(self, connection: Connection, table: Table) -> tuple[float | None, int | None]:
        """Bytes by ``dbstat``, where SQLite was built with it; rows have to be counted."""
        names = text(
            "SELECT sum(pgsize) FROM dbstat WHERE name IN "
            "(SELECT name FROM sqlite_master WHERE tbl_name = :name)"
        )
        try:
            found = connection.execute(names, {"name": table.name}).scalar()
        except DBAPIError:
            return None, None
        return None, None if found is None else int(found)


def _quoted(dialect: SQLAlchemyDialect, name: str) -> str:
    return dialect.identifier_preparer.quote(name)


def _end_of_autobegin(connection: Connection) -> None:
    """End what SQLAlchemy takes for a transaction; the driver is in none."""
    if connection.in_transaction():
        connection.rollback()
