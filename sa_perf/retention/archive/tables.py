"""Archive to a table, by INSERT ... SELECT or into another database.

In the same database copy and deletion are one transaction. In another one the rows are committed
there before their deletion commits here: after a crash between the two they stand in both, until
the next run copies them again over themselves and deletes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import URL, Engine, create_engine, literal, make_url, select, type_coerce
from sqlalchemy.exc import ArgumentError

from sa_perf.dialects.stored_values import Stored, StoredValues, stored_values_for
from sa_perf.errors import ArchiveError, RetentionError
from sa_perf.retention.archive.archive_table import (
    ARCHIVED_AT,
    ARCHIVED_RUN,
    archive_table_for,
    require_columns,
)
from sa_perf.retention.archive.other_database import OtherDatabase
from sa_perf.tables import UNRECORDED

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, CursorResult, Table

__all__ = ["TableArchive", "TableSink"]

#: Of an INSERT SQLAlchemy keeps the number of rows only if it is asked to.
_COUNTED = {**UNRECORDED, "preserve_rowcount": True}


@dataclass(frozen=True, slots=True)
class TableArchive:
    """A table beside the one that rows are deleted from, or one in another database.

    It is made where it is missing, with the source's columns and primary key and two more columns,
    ``archived_at`` and ``archived_run``. A primary key must never be given to a second row: an
    archive in the same database refuses such a row, one in another database takes it for the first.

    Example:
        >>> RetentionPolicy(days=90, by="created_at", action="archive", archive=TableArchive())

    Attributes:
        table: its name; None: the source's with ``suffix``. Tables of children are always named by
            their sources.
        url: of another database.
        engine: of another database; or give ``url``. Synchronous.
        schema: None: the source's own in the same database, the default one in another.
        suffix: of the name.

    Raises:
        RetentionError: arguments that do not go together.
    """

    table: str | None = None
    url: str | URL | None = None
    engine: Engine | None = None
    schema: str | None = None
    suffix: str = "_archive"

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.url is not None and self.engine is not None:
            raise RetentionError("give either url= or engine=, and not both")
        if self.table is not None and not isinstance(self.table, str):
            raise RetentionError(f"table is {self.table!r}; it is a name")
        if self.engine is not None and not isinstance(self.engine, Engine):
            raise RetentionError(
                f"engine is a {type(self.engine).__name__}; it is a synchronous Engine"
            )
        if not self.table and not self.suffix and not self.is_elsewhere and self.schema is None:
            raise RetentionError(
                "with no table, suffix, schema or other database the archive would be the source"
            )
        if self.url is not None:
            try:
                make_url(self.url)
            except ArgumentError:
                raise RetentionError("url is no URL of SQLAlchemy's") from None

    def __str__(self) -> str:
        """Where, without user and password."""
        name = self.table or f"*{self.suffix}"
        place = f"table {self.schema + '.' if self.schema else ''}{name}"
        url = self.engine.url if self.engine is not None else self.url
        if url is None:
            return place
        parts = make_url(url)
        where = URL.create(
            parts.drivername, host=parts.host, port=parts.port, database=parts.database
        )
        return f"{place} in {where}"

    @property
    def is_elsewhere(self) -> bool:
        """Whether it lies in another database."""
        return self.url is not None or self.engine is not None

    def table_for(self, source: Table, *, is_child: bool = False) -> Table:
        """The archive's table for a source.

        Raises:
            ArchiveError: the source cannot be archived to a table.
        """
        own = None if is_child else self.table
        schema = self.schema or (None if self.is_elsewhere else source.schema)
        return archive_table_for(source, own or source.name + self.suffix, schema)

    def other(self, source: StoredValues) -> OtherDatabase | None:
        """The other database; None: the archive lies in the same one.

        Args:
            source: how values of the rows' own database are read.
        """
        if not self.is_elsewhere:
            return None
        engine = self.engine or create_engine(cast("str | URL", self.url))
        return OtherDatabase(engine, owned=self.engine is None, source=source)

    def open(
        self,
        bind: Engine | Connection,
        table: Table,
        *,
        policy: str,
        run: str,
        children: Sequence[Table] = (),
    ) -> TableSink:
        """Begin to archive; makes the archive's tables where they are missing.

        Args:
            bind: whose rows are archived; a connection must be in no transaction, since some
                databases commit at CREATE TABLE.
            table: of the policy.
            policy: its name.
            run: its id, which goes into ``archived_run``.
            children: tables whose rows are archived along.

        Raises:
            ArchiveError: a table is there but lacks columns, or cannot be made.
            UnsupportedDatabase: it is not known how its values are read exactly.
        """
        stored = stored_values_for(bind.dialect)
        tables = {table.fullname: self.table_for(table)}
        for child in children:
            tables.setdefault(child.fullname, self.table_for(child, is_child=True))
        other = self.other(stored)
        try:
            _make_tables(other.engine if other else bind, list(tables.values()))
        except BaseException:
            if other is not None:
                other.close()
            raise
        return TableSink(tables, run=run, other=other)


class TableSink:
    """Copies the rows of one policy's run; made by `TableArchive.open`, used by one thread."""

    def __init__(
        self,
        tables: dict[str, Table],
        *,
        run: str,
        other: OtherDatabase | None,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self._tables = tables
        self._run = run
        self._other = other
        self._now = now

    def copy(self, connection: Connection, table: Table, *criteria: ColumnElement[bool]) -> int:
        """Copy rows into the archive and lock them; returns their number.

        Run it in the transaction that deletes the rows, and compare the number with the DELETE's.

        Args:
            connection: in the transaction.
            table: the policy's, or a child's named at `TableArchive.open`.
            criteria: which rows; all must hold.

        Raises:
            ArchiveError: an archive in another database does not hold what was sent.
            DBAPIError: the database refused, e.g. since the key stands in the archive already.
        """
        target = self._tables.get(table.fullname)
        if target is None:
            raise ArchiveError(
                f"table {table.fullname!r} was not named when the archive was opened; give it as "
                "one of children="
            )
        marks = {ARCHIVED_AT: self._now(), ARCHIVED_RUN: self._run}
        if self._other is not None:
            return self._other.copy(connection, table, target, criteria, marks)
        added = [literal(value, target.columns[name].type) for name, value in marks.items()]
        kept = [type_coerce(one, Stored()) for one in table.columns]
        source = select(*kept, *added).where(*criteria).with_for_update(of=table)
        names = [*(one.name for one in table.columns), *marks]
        statement = target.insert().from_select(names, source, include_defaults=False)
        result = cast(
            "CursorResult[Any]", connection.execute(statement, execution_options=_COUNTED)
        )
        return int(result.rowcount)

    def close(self) -> None:
        """Give back the connections to another database."""
        if self._other is not None:
            self._other.close()


def _make_tables(bind: Engine | Connection, tables: Sequence[Table]) -> None:
    if isinstance(bind, Engine):
        with bind.connect() as connection:
            _make_tables(connection, tables)
        return
    if bind.in_transaction():
        raise RetentionError(
            "an archive's tables are made outside transactions; open it before one begins"
        )
    with bind.begin():
        for table in tables:
            if not require_columns(bind, table):
                table.create(bind, checkfirst=True)
