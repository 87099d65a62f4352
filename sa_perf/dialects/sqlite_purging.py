"""Purging SQLite: one writer at a time, moments that are texts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    Date,
    DateTime,
    String,
    Table,
    and_,
    func,
    literal,
    not_,
    or_,
    select,
    text,
    type_coerce,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError

from sa_perf.dialects.purging_base import Purging

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Engine
    from sqlalchemy.types import TypeEngine

__all__ = ["SQLitePurging"]

#: Stored moments that are looked at, at each end of a column.
_PROBED = 1_000
_DAY = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"
_MINUTE = "[0-9][0-9]:[0-9][0-9]"
_USUAL = "????-??-?? ??:??:??." + "[0-9]" * 6


class SQLitePurging(Purging):
    """One writer at a time: a batch's time is what the application waits for."""

    target_seconds = 0.05
    least_pause_ratio = 0.25
    # Who waits for the lock looks for it 1, 3, 8, 18, 33, 53, 78, 103 ms after it began to wait
    # (sqliteDefaultBusyCallback, main.c): a shorter pause is missed, again and again, and the batch
    # has to end before 78 ms for the next look to be within a target of 100.
    least_pause_seconds = 0.025
    margin = 0.7
    clustered = True

    @contextmanager
    def connection(self, engine: Engine) -> Iterator[Connection]:
        """Its ``busy_timeout`` is put back at its end."""
        with super().connection(engine) as connection:
            with self.reading(connection):
                before = connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one()
            try:
                yield connection
            finally:
                if not (connection.closed or connection.invalidated):
                    if connection.in_transaction():
                        connection.rollback()
                    with self.reading(connection):
                        connection.exec_driver_sql(f"PRAGMA busy_timeout = {int(before)}").close()

    @contextmanager
    def transaction(self, connection: Connection, *, lock_seconds: float) -> Iterator[None]:
        """BEGIN IMMEDIATE: a transaction that reads first may not write any more when it wants to.

        https://www.sqlite.org/lang_transaction.html, "SQLITE_BUSY_SNAPSHOT". BEGIN, COMMIT and
        ROLLBACK are said by us: the driver, its mode, and listeners of the application's begin
        where they please or not at all.
        """
        with connection.begin():
            if _in_transaction(connection):
                connection.exec_driver_sql("ROLLBACK")
            # It gives a row, which is to be fetched before a transaction can begin.
            limit = math.ceil(lock_seconds * 1_000)
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {limit}").all()
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                yield
                # A reader may keep it waiting; the transaction then is still open.
                connection.exec_driver_sql("COMMIT")
            except BaseException:
                if not connection.invalidated and _in_transaction(connection):
                    connection.exec_driver_sql("ROLLBACK")
                raise

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
            "SELECT 1 FROM sqlite_master WHERE type = 'trigger' AND lower(tbl_name) = lower(:name) "
            "LIMIT 1"
        )
        return connection.execute(found, {"name": table.name}).first() is not None

    def compared(self, value: object, type_: TypeEngine[Any]) -> ColumnElement[Any]:
        """Without zeros at the end: '12:00:00' is before '12:00:00.000000', though not as time."""
        plain = isinstance(type_, sqlite.DATETIME) and type_._storage_format == _USUAL_FORMAT
        if not plain or not isinstance(value, datetime):
            return literal(value, type_)
        stored = f"{value:%Y-%m-%d %H:%M:%S.%f}".rstrip("0").rstrip(".").removesuffix(":00")
        return literal(stored, String())

    def sound_moment(self, moment: ColumnElement[Any]) -> ColumnElement[bool] | None:
        """Moments are texts, and numbers sort below all of them."""
        stored = self.stored_type(moment.type)
        words = type_coerce(moment, String())
        if isinstance(stored, Date):
            return words.op("GLOB", is_comparison=True)(_DAY)
        if not isinstance(stored, DateTime):
            return None
        sound = and_(
            words.op("GLOB", is_comparison=True)(f"{_DAY} {_MINUTE}*"),
            words.op("NOT GLOB", is_comparison=True)("* *[^0-9:.]*"),
        )
        # The form that SQLAlchemy writes is found sound in half the time: a set of characters is
        # dear, datetime() is not, and gives the first half back as it is if that is digits.
        usual = and_(
            words.op("GLOB", is_comparison=True)(_USUAL),
            # Not is_not_distinct_from: SQLAlchemy's would not write the numbers into a plan's SQL.
            func.substr(words, 1, 19).op("IS", is_comparison=True)(func.datetime(words)),
        )
        return or_(usual, sound)

    def odd_moments(
        self, connection: Connection, moment: ColumnElement[Any], table: Table, near: datetime
    ) -> str | None:
        """'2026-01-01T08:00' is not before '2026-01-01 12:00', 1767254400 is before both."""
        sound = self.sound_moment(moment)
        if sound is None:
            return None
        words = type_coerce(moment, String())
        present = select(words.label("moment"), sound.label("sound")).select_from(table)
        present = present.where(words.is_not(None))
        days = [f"{near + timedelta(days=days):%Y-%m-%d}" for days in (-2, 3)]
        for some in (
            present.order_by(words).limit(_PROBED),
            present.order_by(words.desc()).limit(_PROBED),
            present.where(words >= days[0], words < days[1]).limit(_PROBED * 100),
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


_USUAL_FORMAT = sqlite.DATETIME()._storage_format  # type: ignore[no-untyped-call]  # SQLAlchemy's own


def _in_transaction(connection: Connection) -> bool:
    """Whether the database has a transaction open, whoever began it."""
    driver: Any = connection.connection.driver_connection
    return bool(driver.in_transaction)
