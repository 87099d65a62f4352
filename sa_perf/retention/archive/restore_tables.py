"""Bring rows back from archive tables, from which they are removed.

The policies are nobody else's meanwhile: a run would archive anew what has just come back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Table,
    and_,
    delete,
    exists,
    func,
    or_,
    select,
    type_coerce,
)

from sa_perf.dialects.stored_values import Stored, stored_values_for
from sa_perf.errors import ArchiveError, RetentionError
from sa_perf.retention.archive.archive_table import of_runs, require_fitting
from sa_perf.retention.archive.keyed_rows import KeyedRows
from sa_perf.retention.archive.left_over import doubtful_runs
from sa_perf.retention.archive.other_database import OtherDatabase
from sa_perf.retention.archive.returning import links_within, parents_first
from sa_perf.retention.archive.same_database import is_copied
from sa_perf.retention.lease import Lease, acquire
from sa_perf.tables import UNRECORDED

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from sa_perf.dialects.purging import Purging
    from sa_perf.retention.archive.returning import Restoring
    from sa_perf.retention.archive.tables import TableArchive

__all__ = ["restore_tables"]

_COUNTED = {**UNRECORDED, "preserve_rowcount": True}
#: How long a transaction waits for a lock.
_LOCK_SECONDS = 10.0


def restore_tables(restoring: Restoring, archive: TableArchive) -> None:
    """Move the rows of runs from the archive's tables to their own.

    Raises:
        ArchiveError: see `sa_perf.retention.archive.restore`.
        PolicyBusy: a run of the policy is under way.
        RetentionError: other tables were named to fill.
    """
    if restoring.into:
        raise RetentionError("rows of an archive of tables are moved to where they came from only")
    purging = restoring.purging
    with ExitStack() as stack:
        connection = stack.enter_context(purging.connection(restoring.engine))
        with purging.reading(connection):
            other = archive.other(connection)
        if other is not None:
            stack.callback(other.close)
        names = sorted({batch.policy for batch in restoring.batches})
        leases = [stack.enter_context(_lease(connection, purging, name)) for name in names]
        work = _Work(restoring=restoring, connection=connection, purging=purging, leases=leases)
        moves = list(_moves(work, archive, other))
        for move in moves:
            move.check()
        for move in moves:
            move.move()


def _moves(
    work: _Work, archive: TableArchive, other: OtherDatabase | None
) -> Iterator[_Here | _FromElsewhere]:
    """One for each table and policy, in the order of the batches."""
    found: dict[tuple[str, bool, str], dict[str, None]] = {}
    for batch in work.restoring.batches:
        found.setdefault((batch.table, batch.is_child, batch.policy), {})[batch.run] = None
    for (name, is_child, policy), run_ids in found.items():
        source = archive.table_for(work.restoring.target(name), is_child=is_child)
        chosen = and_(*of_runs(source, policy, run_ids))
        if other is None:
            yield _Here(work, name, source, chosen)
        else:
            yield _FromElsewhere(work, other, name, source, chosen, policy)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What the moves of a restore share: one connection, and the right to use the policies."""

    restoring: Restoring
    connection: Connection
    purging: Purging
    leases: Sequence[Lease]

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        with self.purging.transaction(self.connection, lock_seconds=_LOCK_SECONDS):
            yield self.connection

    def done(self, name: str, put_in: int, skipped: int) -> None:
        """Take note of a committed transaction."""
        for lease in self.leases:
            lease.keep(self.connection)
        self.restoring.done(name, put_in, skipped)


class _Here:
    """Moves within one database: INSERT ... SELECT and DELETE in one transaction."""

    def __init__(self, work: _Work, name: str, source: Table, chosen: ColumnElement[bool]) -> None:
        self._work = work
        self._name = name
        self._source = source
        self._target = work.restoring.target(name)
        self._chosen = chosen
        self._stored = stored_values_for(work.connection.dialect)
        #: What the database computes it computes again.
        self._columns = [one for one in self._target.columns if one.computed is None]
        self._key = [source.columns[one.name] for one in self._target.primary_key.columns]
        pairs = zip(self._key, self._target.primary_key.columns, strict=True)
        self._present = _has(self._target, list(pairs))
        self._skipped = 0

    def check(self) -> None:
        """Refuse before any table is changed.

        Raises:
            ArchiveError: there is no such archive table, or rows are there already.
        """
        with self._work.purging.reading(self._work.connection):
            _require(self._work.connection, self._source)
            statement = select(func.count()).select_from(self._source)
            statement = statement.where(self._chosen, self._present)
            found = self._work.connection.execute(statement, execution_options=UNRECORDED)
            self._skipped = int(found.scalar_one())
        if self._skipped and not self._work.restoring.skip:
            raise ArchiveError(
                f"{self._skipped} rows are in {self._name!r} already; nothing was changed; with "
                'on_conflict="skip" they stay in both'
            )

    def move(self) -> None:
        """Move all rows that are chosen; those that are there already stay in the archive."""
        moved = -1
        while moved:
            with self._work.transaction() as connection:
                moved = self._some(connection)
            self._work.done(self._name, moved, 0)
        self._work.done(self._name, 0, self._skipped)

    def _some(self, connection: Connection) -> int:
        """Move some rows, those first whose parents in the same table are there."""
        keys = self._keys(connection, self._parents_are_there()) or self._keys(connection)
        for at in range(0, len(keys), 500):
            self._move(connection, keys[at : at + 500])
        return len(keys)

    def _move(self, connection: Connection, keys: Sequence[Any]) -> None:
        which = [self._chosen, self._stored.matches(self._key, keys)]
        names = [one.name for one in self._columns]
        values = [type_coerce(self._source.columns[name], Stored()) for name in names]
        found = select(*values).select_from(self._source).where(*which)
        put = self._stored.insert_from(self._target, self._columns, found)
        put_in = connection.execute(put, execution_options=_COUNTED).rowcount
        copied = [self._source.columns[name] for name in names]
        back = is_copied(self._stored, self._source, self._target, copied)
        gone = delete(self._source).where(*which, back)
        removed = connection.execute(gone, execution_options=UNRECORDED).rowcount
        if put_in == removed == len(keys):
            return
        there = KeyedRows(self._stored, self._source, copied).found(connection, map(tuple, keys))
        here = KeyedRows(self._stored, self._target, self._columns)
        present = here.found(connection, there)
        for key, row in there.items():
            here.require_same(row, present.get(key))
        raise ArchiveError(
            f"{put_in} rows were put into {self._name!r} and {removed} removed from "
            f"{self._source.fullname!r} instead of {len(keys)}; the transaction was rolled back"
        )

    def _keys(self, connection: Connection, *criteria: ColumnElement[bool]) -> list[Any]:
        statement = (
            select(*(self._stored.read(one).label(one.name) for one in self._key))
            .where(self._chosen, ~self._present, *criteria)
            .order_by(*self._key)
            .limit(self._work.restoring.batch_rows)
        )
        return list(connection.execute(statement, execution_options=UNRECORDED))

    def _parents_are_there(self) -> ColumnElement[bool]:
        """For a table that refers to itself: a row's parent is back, or it has none."""
        needed: list[ColumnElement[bool]] = []
        for key in self._target.foreign_key_constraints:
            if key.referred_table is not self._target:
                continue
            pairs = [(self._source.columns[e.parent.name], e.column) for e in key.elements]
            empty = [column.is_(None) for column, _ in pairs]
            needed.append(or_(*empty, _has(self._target, pairs)))
        return and_(True, *needed)


class _FromElsewhere:
    """Moves between databases: rows are committed here before they are removed there."""

    def __init__(
        self,
        work: _Work,
        other: OtherDatabase,
        name: str,
        source: Table,
        chosen: ColumnElement[bool],
        policy: str,
    ) -> None:
        self._work = work
        self._other = other
        self._name = name
        self._source = source
        self._chosen = chosen
        self._policy = policy
        target = work.restoring.target(name)
        columns = [one for one in target.columns if one.computed is None]
        self._target = target
        self._names = [one.name for one in columns]
        self._here = KeyedRows(other.here, target, columns)
        key = [self._names.index(one.name) for one in target.primary_key.columns]
        # Those to the primary key, by which parents are found; of others the database decides.
        self._links = [
            link for link in links_within(target, self._names) if [to for _, to in link] == key
        ]
        self._there = KeyedRows(other.there, source, [source.columns[c.name] for c in columns])

    def check(self) -> None:
        """Remove what is in the archive though it was not deleted here.

        Raises:
            ArchiveError: there is no such archive table.
        """
        with self._other.transaction() as there:
            _require(there, self._source)
        with self._work.purging.reading(self._work.connection):
            doubtful = doubtful_runs(self._work.connection, self._policy)
        self._other.remove_left_over([(self._name, self._source)], doubtful)

    def move(self) -> None:
        """Move all rows; those that are here with other values stay in the archive."""
        # A table that refers to itself: as long as there are rows whose parents are back.
        while self._links and self._pass(wait=True):
            pass
        self._pass(wait=False)

    def _pass(self, *, wait: bool) -> int:
        """Go through what is in the archive once; rows that were moved.

        Args:
            wait: let rows be whose parents in the same table are not back yet.
        """
        restoring = self._work.restoring
        after, moved = None, 0
        while True:
            with self._other.transaction() as there:
                page = self._there.page(there, after, restoring.batch_rows, self._chosen)
            if not page:
                return moved
            after = self._there.key(page[-1])
            with self._work.transaction() as here:
                rows = self._ready(here, page) if wait else page
                put_in, skipped = restoring.put(here, self._name, self._here, rows)
                back = self._here.found(here, map(self._here.key, rows))
            same = [
                self._there.key(row)
                for row in rows
                if self._here.same(row, back[self._here.key(row)])
            ]
            with self._other.transaction() as there:
                # Of the runs only: whatever happens here meanwhile, a later copy stays.
                moved += self._there.delete(there, same, self._chosen)
            self._work.done(self._name, put_in, skipped)

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


@contextmanager
def _lease(connection: Connection, purging: Purging, policy: str) -> Iterator[Lease]:
    """The right to run a policy; where a run of it stopped it can go on."""
    lease = acquire(connection, purging, policy=policy, run="restore")
    try:
        yield lease
    finally:
        lease.release(connection, done=False)


def _has(
    target: Table, pairs: Sequence[tuple[ColumnElement[Any], Column[Any]]]
) -> ColumnElement[bool]:
    """Whether the table has a row whose columns hold the values."""
    other = target.alias()
    return exists().where(*(other.columns[named.key] == value for value, named in pairs))


def _require(connection: Connection, source: Table) -> None:
    if not require_fitting(connection, source):
        raise ArchiveError(
            f"archive table {source.fullname!r} is not in the database; give the archive that the "
            "rows went to"
        )
