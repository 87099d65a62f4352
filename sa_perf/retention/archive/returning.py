"""What a restore works on, and the one step that puts rows into a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sa_perf.errors import ArchiveError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, MetaData, Table

    from sa_perf.dialects.purging import Purging
    from sa_perf.retention.archive.keyed_rows import KeyedRows

__all__ = ["ArchivedBatch", "Restoring", "links_within", "parents_first"]

#: That a transaction waits for a lock.
_LOCK_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedBatch:
    """A committed batch of the audit.

    Attributes:
        run: that archived it.
        policy: whose run it was.
        table: full name of the table that its rows came from.
        is_child: it is not the policy's own table.
        rows: that were archived.
        file: that they are in; None: they are in a table.
        sha256: of the file.
    """

    run: str
    policy: str
    table: str
    is_child: bool
    rows: int
    file: str | None
    sha256: str | None


@dataclass(slots=True, kw_only=True)
class Restoring:
    """A restore under way.

    Attributes:
        engine: of the tables to fill.
        purging: the database's ways.
        batches: in the order in which they come back.
        metadata: of the tables that rows came from.
        into: other tables to fill, by full name.
        skip: rows whose key is there already stay as they are.
        batch_rows: of one transaction.
        progress: called with the rows done and the rows in all.
        put_in: rows put in, by table.
        skipped: rows that were there already.
    """

    engine: Engine
    purging: Purging
    batches: list[ArchivedBatch]
    metadata: MetaData
    into: Mapping[str, Table]
    skip: bool
    batch_rows: int
    progress: Callable[[int, int], None]
    put_in: Counter[str] = field(default_factory=Counter)
    skipped: int = 0

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A transaction of the database to fill, also where its engine makes none by itself."""
        with (
            self.purging.connection(self.engine) as connection,
            self.purging.transaction(connection, lock_seconds=_LOCK_SECONDS),
        ):
            yield connection

    def target(self, name: str) -> Table:
        """The table to fill with rows of the table of this name.

        Raises:
            ArchiveError: it has no primary key, or one that the database computes.
        """
        table = self.into.get(name, self.metadata.tables[name])
        key = table.primary_key.columns
        if not key or any(one.computed is not None for one in key):
            raise ArchiveError(
                f"table {table.fullname!r} has no primary key that could be put in, by which rows "
                "are told apart; no row was changed; give one that has it by into="
            )
        return table

    def put(
        self, connection: Connection, name: str, target: KeyedRows, rows: Sequence[Sequence[Any]]
    ) -> tuple[int, int]:
        """Put rows in, within a transaction; rows that were new, and rows that were there.

        Raises:
            ArchiveError: a key is there already, or comes twice, or rows are not what was put in.
        """
        by_key = {target.key(row): row for row in rows}
        if len(by_key) != len(rows):
            raise ArchiveError(f"archived rows of {name!r} hold a primary key twice")
        there = target.found(connection, by_key)
        if there and not self.skip:
            raise ArchiveError(
                f"{len(there)} of {len(rows)} rows are in {name!r} already; the transaction was "
                'rolled back; with on_conflict="skip" they stay as they are'
            )
        target.insert(connection, [row for key, row in by_key.items() if key not in there])
        return len(by_key) - len(there), len(there)

    def done(self, name: str, put_in: int, skipped: int) -> None:
        """Take note of a committed transaction."""
        self.put_in[name] += put_in
        self.skipped += skipped
        total = sum(batch.rows for batch in self.batches)
        self.progress(sum(self.put_in.values()) + self.skipped, total)


def parents_first(
    table: Table, columns: Sequence[str], rows: list[Sequence[Any]]
) -> list[Sequence[Any]]:
    """Rows of a table that refers to itself, each behind the row that it refers to. Pure.

    Rows in a circle stay as they are.

    Args:
        table: with its foreign keys.
        columns: names, in the order of a row's values.
        rows: of the table.
    """
    links = links_within(table, columns)
    waiting: dict[int, list[int]] = {}
    needs = [0] * len(rows)
    for link in links:
        owner = {tuple(row[there] for _, there in link): at for at, row in enumerate(rows)}
        for at, row in enumerate(rows):
            parent = owner.get(tuple(row[here] for here, _ in link))
            if parent is not None and parent != at:
                waiting.setdefault(parent, []).append(at)
                needs[at] += 1
    free = [at for at, number in enumerate(needs) if not number]
    for at in free:  # grows
        for child in waiting.get(at, ()):
            needs[child] -= 1
            if not needs[child]:
                free.append(child)
    return [rows[at] for at in [*free, *(at for at, number in enumerate(needs) if number)]]


def links_within(table: Table, columns: Sequence[str]) -> list[list[tuple[int, int]]]:
    """Foreign keys of a table to itself: places of a column and of what it refers to, in a row."""
    place = {name: at for at, name in enumerate(columns)}
    return [
        [(place[one.parent.name], place[one.column.name]) for one in key.elements]
        for key in table.foreign_key_constraints
        if key.referred_table is table
    ]
