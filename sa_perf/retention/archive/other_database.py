"""Archive tables elsewhere: rows are committed there, then here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError

from sa_perf.dialects.exchanged_values import ExchangedValues
from sa_perf.dialects.purging import purging_for, purging_of
from sa_perf.dialects.stored_values import stored_values_for
from sa_perf.errors import ArchiveError
from sa_perf.retention.archive.archive_table import Marks, batches_in, of_runs
from sa_perf.retention.archive.keyed_rows import KEYS, Key, KeyedRows
from sa_perf.tables import UNRECORDED

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Engine, Table

    from sa_perf.retention.archive.left_over import Doubtful

__all__ = ["OtherDatabase"]

#: How long a transaction there waits for a lock.
_LOCK_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sent:
    """Rows of a batch that were committed there, and here not yet."""

    there: KeyedRows
    keys: list[Key] = field(default_factory=list)
    criteria: list[ColumnElement[bool]] = field(default_factory=list)


class OtherDatabase:
    """Where archive tables lie, and how rows come there.

    Between databases of one kind values go as they are kept; else as the Python objects of the
    columns' types. Either way they are read again and compared. A row that stands there is never
    replaced by another one, unless the transaction here which had sent it was rolled back.

    Args:
        engine: of it.
        owned: it is disposed of at the end.
        source: to the database that rows come from; one statement asks for its session's settings,
            which hold there too, so that values read alike.

    Raises:
        ArchiveError: with the session's settings some values could not be read again.
        UnsupportedDatabase: it is not known how values are read exactly, there or here.
        DBAPIError: it cannot be reached.
    """

    def __init__(self, engine: Engine, *, owned: bool, source: Connection) -> None:
        self.engine = engine
        self._owned = owned
        self._purging = purging_of(engine)
        self._returning = purging_for(source.dialect).returning
        here, there = stored_values_for(source.dialect), stored_values_for(engine.dialect)
        is_alike = there.family == here.family
        #: How values are read and written here, and there.
        self.here = here if is_alike else ExchangedValues(source.dialect)
        self.there = there if is_alike else ExchangedValues(engine.dialect)
        self._session = self.here.session(source)
        self._sent: list[_Sent] = []

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A transaction there, whatever the engine's own level; values read as they do here."""
        with (
            self._purging.connection(self.engine) as connection,
            self._purging.transaction(connection, lock_seconds=_LOCK_SECONDS),
            self.there.within(connection, self._session),
        ):
            yield connection

    def move(
        self,
        connection: Connection,
        source: Table,
        target: Table,
        criteria: Sequence[ColumnElement[bool]],
        marks: Marks,
    ) -> int:
        """Delete rows here, within a transaction, and commit them there; returns how many.

        Once the transaction here is committed too, say so to `committed`. The rows are held in
        memory.

        Raises:
            ArchiveError: a key is taken there, or it does not hold what was sent.
        """
        here = KeyedRows(self.here, source, list(source.columns))
        rows = here.take(connection, criteria, returning=self._returning)
        there = KeyedRows(
            self.there,
            target,
            [target.columns[one.name] for one in source.columns],
            constants=marks.values(target),
        )
        sent = _Sent(
            there=there, keys=[there.key(row) for row in rows], criteria=marks.stand_in(target)
        )
        # What an earlier try of this batch sent there was rolled back here.
        before, self._sent = self._sent, [*self._sent, sent]
        with self.transaction() as connected:
            for one in before:
                one.there.delete(connected, one.keys, *one.criteria)
            for at in range(0, len(rows), KEYS):
                _insert(connected, there, target, rows[at : at + KEYS])
        self._sent = [sent]
        return len(rows)

    def committed(self) -> None:
        """Take note that the transaction was committed here whose rows went there last."""
        self._sent = []

    def remove_left_over(self, names: Sequence[tuple[str, Table]], doubtful: Doubtful) -> None:
        """Remove rows that killed runs sent there and did not delete here.

        Args:
            names: full names of sources, with their archive tables.
            doubtful: the runs; call it as the only runner of their policy.
        """
        if not doubtful.runs:
            return
        for name, target in names:
            of_them = of_runs(target, doubtful.policy, doubtful.runs)
            columns = batches_in(target)
            with self.transaction() as connected:
                found = connected.execute(
                    select(*columns).where(*of_them).distinct(), execution_options=UNRECORDED
                )
                for run, number in found.all():
                    if (name, run, number) not in doubtful.committed:
                        batch = [columns[0] == run, columns[1] == number]
                        connected.execute(
                            delete(target).where(*of_them, *batch), execution_options=UNRECORDED
                        )

    def close(self) -> None:
        """Give back connections."""
        if self._owned:
            self.engine.dispose()


def _insert(
    connection: Connection, there: KeyedRows, target: Table, rows: Sequence[Sequence[Any]]
) -> None:
    try:
        there.insert(connection, rows)
    except IntegrityError as error:
        # Its message holds values.
        raise ArchiveError(
            f"archive table {target.fullname!r} does not take a row, most likely since it has "
            f"another one with that key ({type(error.orig).__name__}): rows of another table or "
            "database go there too, or keys are given again once their rows are gone, or its "
            "collation takes two keys for one; give each source an archive table of its own, or "
            "archive to files; nothing was deleted"
        ) from None
