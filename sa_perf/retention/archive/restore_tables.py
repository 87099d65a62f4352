"""Bring rows back from archive tables, from which they are removed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Table, and_, delete, exists, func, or_, select, type_coerce

from sa_perf.dialects.stored_values import Stored, stored_values_for
from sa_perf.errors import ArchiveError, RetentionError
from sa_perf.retention.archive.archive_table import ARCHIVED_RUN, require_columns
from sa_perf.retention.archive.keyed_rows import KeyedRows
from sa_perf.retention.archive.other_database import OtherDatabase
from sa_perf.retention.archive.returning import links_within, parents_first
from sa_perf.tables import UNRECORDED

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from sa_perf.retention.archive.returning import Restoring
    from sa_perf.retention.archive.tables import TableArchive

__all__ = ["restore_tables"]

_COUNTED = {**UNRECORDED, "preserve_rowcount": True}


def restore_tables(restoring: Restoring, archive: TableArchive) -> None:
    """Move the rows of runs from the archive's tables to their own.

    Raises:
        ArchiveError: see `sa_perf.retention.archive.restore`.
        RetentionError: other tables were named to fill.
    """
    if restoring.into:
        raise RetentionError("rows of an archive of tables are moved to where they came from only")
    other = archive.other(stored_values_for(restoring.engine.dialect))
    try:
        # Tables in the order of the batches, each with the runs that archived from it.
        found: dict[tuple[str, bool], dict[str, None]] = {}
        for batch in restoring.batches:
            found.setdefault((batch.table, batch.is_child), {})[batch.run] = None
        for (name, is_child), run_ids in found.items():
            target = restoring.target(name)
            source = archive.table_for(target, is_child=is_child)
            chosen = source.columns[ARCHIVED_RUN].in_(list(run_ids))
            if other is not None:
                _FromElsewhere(restoring, other, name, source, chosen).move()
            else:
                _Here(restoring, name, source, chosen).move()
    finally:
        if other is not None:
            other.close()


class _Here:
    """Moves within one database: INSERT ... SELECT and DELETE in one transaction."""

    def __init__(
        self, restoring: Restoring, name: str, source: Table, chosen: ColumnElement[bool]
    ) -> None:
        self._restoring = restoring
        self._name = name
        self._source = source
        self._target = restoring.target(name)
        self._chosen = chosen
        self._stored = stored_values_for(restoring.engine.dialect)
        self._key = [source.columns[one.name] for one in self._target.primary_key.columns]
        self._present = _has(self._target, [(one, one.name) for one in self._key])

    def move(self) -> None:
        """Move all rows that are chosen; those that are there already stay in the archive."""
        engine = self._restoring.engine
        with engine.begin() as connection:
            _require(connection, self._source)
            skipped = self._count(connection, self._present)
        if skipped and not self._restoring.skip:
            raise ArchiveError(
                f"{skipped} rows are in {self._name!r} already; nothing was changed; with "
                'on_conflict="skip" they stay in both'
            )
        moved = -1
        while moved:
            with engine.begin() as connection:
                moved = self._some(connection)
            self._restoring.done(self._name, moved, 0)
        self._restoring.done(self._name, 0, skipped)

    def _some(self, connection: Connection) -> int:
        """Move some rows, those first whose parents in the same table are there."""
        keys = self._keys(connection, self._parents_are_there()) or self._keys(connection)
        if not keys:
            return 0
        columns = [one for one in self._target.columns if one.computed is None]
        for at in range(0, len(keys), 500):
            some = keys[at : at + 500]
            which = self._stored.matches(self._key, some)
            values = [type_coerce(self._source.columns[one.name], Stored()) for one in columns]
            put = self._stored.insert_from(
                self._target, columns, select(*values).select_from(self._source).where(which)
            )
            put_in = connection.execute(put, execution_options=_COUNTED).rowcount
            gone = delete(self._source).where(which)
            removed = connection.execute(gone, execution_options=UNRECORDED).rowcount
            if not put_in == removed == len(some):
                raise ArchiveError(
                    f"{put_in} rows were put into {self._name!r} and {removed} removed from "
                    f"{self._source.fullname!r} instead of {len(some)}; the transaction was rolled "
                    "back"
                )
        return len(keys)

    def _keys(self, connection: Connection, *criteria: ColumnElement[bool]) -> list[Any]:
        statement = (
            select(*(self._stored.read(one).label(one.name) for one in self._key))
            .where(self._chosen, ~self._present, *criteria)
            .order_by(*self._key)
            .limit(self._restoring.batch_rows)
        )
        return list(connection.execute(statement, execution_options=UNRECORDED))

    def _count(self, connection: Connection, criterion: ColumnElement[bool]) -> int:
        statement = select(func.count()).select_from(self._source).where(self._chosen, criterion)
        return int(connection.execute(statement, execution_options=UNRECORDED).scalar_one())

    def _parents_are_there(self) -> ColumnElement[bool]:
        """For a table that refers to itself: a row's parent is back, or it has none."""
        needed: list[ColumnElement[bool]] = []
        for key in self._target.foreign_key_constraints:
            if key.referred_table is not self._target:
                continue
            pairs = [(self._source.columns[e.parent.name], e.column.name) for e in key.elements]
            empty = [column.is_(None) for column, _ in pairs]
            needed.append(or_(*empty, _has(self._target, pairs)))
        return and_(True, *needed)


class _FromElsewhere:
    """Moves between databases: rows are committed here before they are removed there."""

    def __init__(
        self,
        restoring: Restoring,
        other: OtherDatabase,
        name: str,
        source: Table,
        chosen: ColumnElement[bool],
    ) -> None:
        self._restoring = restoring
        self._other = other
        self._name = name
        self._source = source
        self._chosen = chosen
        target = restoring.target(name)
        columns = [one for one in target.columns if one.computed is None]
        self._target = target
        self._names = [one.name for one in columns]
        key = [self._names.index(one.name) for one in target.primary_key.columns]
        # Those to the primary key, by which parents are found; of others the database decides.
        self._links = [
            link for link in links_within(target, self._names) if [to for _, to in link] == key
        ]
        self._here = KeyedRows(other.here, target, columns)
        self._there = KeyedRows(other.there, source, [source.columns[c.name] for c in columns])

    def move(self) -> None:
        """Move all rows; those that are here with other values stay in the archive."""
        with self._other.engine.begin() as there:
            _require(there, self._source)
        # A table that refers to itself: as long as there are rows whose parents are back.
        while self._links and self._pass(wait=True):
            pass
        self._pass(wait=False)

    def _pass(self, *, wait: bool) -> int:
        """Go through what is in the archive once; rows that were moved.

        Args:
            wait: let rows be whose parents in the same table are not back yet.
        """
        after, moved = None, 0
        while True:
            with self._other.engine.begin() as there:
                page = self._there.page(there, after, self._restoring.batch_rows, self._chosen)
            if not page:
                return moved
            after = self._there.key(page[-1])
            with self._restoring.engine.begin() as here:
                rows = self._ready(here, page) if wait else page
                put_in, skipped = self._restoring.put(here, self._name, self._here, rows)
                back = self._here.found(here, map(self._here.key, rows))
            same = [
                self._there.key(row)
                for row in rows
                if self._here.same(row, back[self._here.key(row)])
            ]
            with self._other.engine.begin() as there:
                moved += self._there.delete(there, same)
            self._restoring.done(self._name, put_in, skipped)

    def _ready(self, here: Connection, page: list[Any]) -> list[Any]:
        """Rows that are not here, but whose parents in the same table are, or come before them."""
        links = self._links
        present = self._here.found(here, map(self._here.key, page))
        parents = {tuple(row[own] for own, _ in link) for link in links for row in page}
        known = set(self._here.found(here, (key for key in parents if None not in key)))
        ready = []
        for row in parents_first(self._target, self._names, page):
            needed = [tuple(row[own] for own, _ in link) for link in links]
            itself = self._here.key(row)
            if itself not in present and all(
                None in key or key == itself or key in known for key in needed
            ):
                known.add(itself)
                ready.append(row)
        return ready


def _has(target: Table, pairs: Sequence[tuple[ColumnElement[Any], str]]) -> ColumnElement[bool]:
    """Whether the table has a row whose columns of these names hold the values."""
    other = target.alias()
    return exists().where(*(other.columns[name] == column for column, name in pairs))


def _require(connection: Connection, source: Table) -> None:
    if not require_columns(connection, source):
        raise ArchiveError(
            f"archive table {source.fullname!r} is not in the database; give the archive that the "
            "rows went to"
        )
