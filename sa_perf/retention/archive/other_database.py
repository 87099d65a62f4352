"""Archive tables in another database: rows go there before they go here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import select

from sa_perf.dialects.stored_values import ExchangedValues, StoredValues, stored_values_for
from sa_perf.retention.archive.keyed_rows import KeyedRows
from sa_perf.tables import UNRECORDED

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Engine, Table

__all__ = ["OtherDatabase"]

CHUNK_ROWS = 500


class OtherDatabase:
    """Where archive tables lie, and how rows come there.

    Between databases of one kind values go as they are kept; else as the Python objects of the
    columns' types. Either way they are read again and compared.

    Args:
        engine: of it.
        owned: it is disposed of at the end.
        source: of the database that rows come from.
    """

    def __init__(self, engine: Engine, *, owned: bool, source: StoredValues) -> None:
        self.engine = engine
        self._owned = owned
        there = stored_values_for(engine.dialect)
        is_alike = there.family == source.family
        #: How values are read and written here, and there.
        self.here = source if is_alike else ExchangedValues(source.dialect)
        self.there = there if is_alike else ExchangedValues(engine.dialect)

    def copy(
        self,
        connection: Connection,
        source: Table,
        target: Table,
        criteria: Sequence[ColumnElement[bool]],
        marks: Mapping[str, object],
    ) -> int:
        """Put rows there in place of any with their keys, and commit; returns their number.

        Five hundred rows at most are held at a time; the rows here are locked.

        Raises:
            ArchiveError: it does not hold what was sent.
        """
        columns = list(source.columns)
        rows = connection.execute(
            select(*(self.here.read(one).label(one.name) for one in columns))
            .where(*criteria)
            .with_for_update(of=source),
            execution_options={**UNRECORDED, "yield_per": CHUNK_ROWS},
        )
        there = KeyedRows(
            self.there,
            target,
            [target.columns[one.name] for one in columns],
            constants={target.columns[name]: value for name, value in marks.items()},
        )
        number = 0
        with self.engine.begin() as connected:
            for part in rows.partitions():
                there.delete(connected, [there.key(row) for row in part])
                there.insert(connected, part)
                number += len(part)
        return number

    def close(self) -> None:
        """Give back connections."""
        if self._owned:
            self.engine.dispose()
