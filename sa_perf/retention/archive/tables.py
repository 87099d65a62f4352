"""Archive to a table, in the same database or in another one.

In the same database copy and deletion are one transaction. In another one the rows are committed
there before their deletion commits here: after a crash between the two they stand in both, until
the next run removes from the archive what by the audit was not deleted here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, cast

from sqlalchemy import URL, Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError

from sa_perf.dialects.stored_values import stored_values_for
from sa_perf.errors import ArchiveError, RetentionError
from sa_perf.retention.archive.archive_table import Marks, archive_table_for, require_fitting
from sa_perf.retention.archive.other_database import OtherDatabase
from sa_perf.retention.archive.same_database import SameDatabase
from sa_perf.retention.archive.source_columns import connected, require_whole_rows

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Table

    from sa_perf.retention.archive.left_over import Doubtful

__all__ = ["TableArchive", "TableSink"]


@dataclass(frozen=True, slots=True)
class TableArchive:
    """A table beside the one that rows are deleted from, or one in another database.

    It is made where it is missing, with the source's columns and primary key and four more columns
    that tell when, in which run, for which policy and in which of its transactions a row went:
    ``archived_at``, ``archived_run``, ``archived_policy``, ``archived_batch``. A primary key must
    never be given to a second row, nor may two tables or databases with the same keys share an
    archive: a row whose key is taken there is refused.

    Example:
        >>> RetentionPolicy(days=90, by="created_at", action="archive", archive=TableArchive())

    Attributes:
        table: its name; None: the source's with ``suffix``. Tables of children are always named by
            their sources.
        url: of another database.
        engine: of another database; or give ``url``. Synchronous.
        schema: None: the source's own in the same database, the default one in another.
        suffix: of the name. A schema of the source's that is not the archive's stands before it.

    Raises:
        RetentionError: arguments that do not go together.
    """

    table: str | None = None
    url: str | URL | None = field(default=None, repr=False)  # it may have a password
    engine: Engine | None = field(default=None, repr=False)
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
        schema = self.schema or (None if self.is_elsewhere else source.schema)
        name = source.name + self.suffix
        if source.schema not in (None, schema):
            name = f"{source.schema}_{name}"
        if self.table and not is_child:
            name = self.table
        return archive_table_for(source, name, schema, indexed=self.is_elsewhere)

    def other(self, source: Connection) -> OtherDatabase | None:
        """The other database; None: the archive lies in the same one.

        Args:
            source: to the rows' own database.
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
            policy: its name, which goes into ``archived_policy``.
            run: its id, which goes into ``archived_run``.
            children: tables whose rows are archived along.

        Raises:
            ArchiveError: a table is there but lacks columns or has another key, cannot be made, or
                would hold the rows of two; or rows would not be archived whole.
            UnsupportedDatabase: it is not known how its values are read exactly.
        """
        stored = stored_values_for(bind.dialect)
        require_whole_rows(bind, (table, *children))
        tables = {table.fullname: self.table_for(table)}
        for child in children:
            tables.setdefault(child.fullname, self.table_for(child, is_child=True))
        _require_one_each(tables)
        if not self.is_elsewhere:
            _make_tables(bind, list(tables.values()))
            return TableSink(tables, policy=policy, run=run, place=SameDatabase(stored))
        with connected(bind) as connection:
            other = cast("OtherDatabase", self.other(connection))
        try:
            _make_tables(other.engine, list(tables.values()))
        except BaseException:
            other.close()
            raise
        return TableSink(tables, policy=policy, run=run, place=other)


class TableSink:
    """Moves the rows of one policy's run; made by `TableArchive.open`, used by one thread."""

    def __init__(
        self,
        tables: dict[str, Table],
        *,
        policy: str,
        run: str,
        place: SameDatabase | OtherDatabase,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self._tables = tables
        self._policy = policy
        self._run = run
        self._place = place
        self._now = now

    def move(
        self,
        connection: Connection,
        table: Table,
        criteria: Sequence[ColumnElement[bool]],
        *,
        number: int,
    ) -> int:
        """Move rows into the archive within a transaction; returns how many are gone.

        Args:
            connection: in the transaction; once it is committed, call `committed`.
            table: the policy's, or a child's named at `TableArchive.open`.
            criteria: which rows; all must hold.
            number: of the transaction in the policy's run, which goes into ``archived_batch``.

        Raises:
            ArchiveError: the archive does not hold what was sent, or has a row with the key; the
                transaction is to be rolled back.
            DBAPIError: the database refused, e.g. since the key stands in the archive already.
        """
        target = self._tables.get(table.fullname)
        if target is None:
            raise ArchiveError(
                f"table {table.fullname!r} was not named when the archive was opened; give it as "
                "one of children="
            )
        marks = Marks(at=self._now(), run=self._run, policy=self._policy, batch=number)
        return self._place.move(connection, table, target, criteria, marks)

    def committed(self) -> None:
        """Take note that the transaction was committed whose rows were moved last."""
        if isinstance(self._place, OtherDatabase):
            self._place.committed()

    @property
    def outlives_rollbacks(self) -> bool:
        """Whether rows may stand in the archive whose transaction here was not committed."""
        return isinstance(self._place, OtherDatabase)

    def reconcile(self, doubtful: Doubtful) -> None:
        """Remove what killed runs left in the archive; call it as the only runner of the policy.

        Args:
            doubtful: these runs, and which of their transactions were committed.
        """
        if isinstance(self._place, OtherDatabase):
            self._place.remove_left_over(list(self._tables.items()), doubtful)

    def close(self) -> None:
        """Give back the connections to another database."""
        if isinstance(self._place, OtherDatabase):
            self._place.close()


def _require_one_each(tables: Mapping[str, Table]) -> None:
    names = [one.fullname.casefold() for one in tables.values()]
    for (source, target), name in zip(tables.items(), names, strict=True):
        if names.count(name) > 1:
            raise ArchiveError(
                f"rows of {source!r} and of another table would go to one archive table "
                f"{target.fullname!r}; name the archive of the policy's table otherwise by table=, "
                "or all of them by suffix="
            )


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
            if not require_fitting(bind, table):
                table.create(bind, checkfirst=True)
