"""A batch into the store's tables, exactly once.

The number of the last batch of a process stands in its row and goes up in the transaction that
inserts the batch's rows. Whoever does not know whether a commit came through sends the batch again:
where its number stands there already, nothing is added. What many processes share, the texts of
statements, is inserted before, in a transaction of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import Table, insert, select, update

from sa_perf.dialects.keeping import upsert
from sa_perf.errors import StoreError
from sa_perf.store.batch import Batch, Process
from sa_perf.store.rows import (
    document_row,
    process_row,
    query_row,
    sample_rows,
    scope_rows,
    slow_row,
    statement_row,
    storable,
    transaction_row,
)
from sa_perf.store.tables import (
    DAY,
    HOUR,
    MAX_NAME,
    MINUTE,
    documents,
    levels,
    processes,
    queries,
    samples,
    scopes,
    slow,
    statements,
    transactions,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from sa_perf.queries.aggregate import QueryStats
    from sa_perf.queries.slow_log import SlowExecution

__all__ = ["Writer"]

#: Statements whose numbers are remembered; beyond it they are asked for anew.
_MAX_REMEMBERED = 20_000
_ASKED_AT_ONCE = 500
_Key: TypeAlias = tuple[str, str]


class Writer:
    """Writes the batches of one process.

    Args:
        process: whose they are.
    """

    def __init__(self, process: Process) -> None:
        self.process = process
        self._id: int | None = None
        #: Number of each statement, and the day on which it was seen last.
        self._statements: dict[_Key, tuple[int, int]] = {}

    def write(self, connection: Connection, batch: Batch, *, lost: tuple[int, int]) -> bool:
        """Store a batch, unless it is stored already.

        Args:
            connection: in no transaction.
            batch: the next one, or one of which it is not known whether it came through.
            lost: flushes and calls that this process had to drop so far.

        Returns:
            Whether it was stored now.

        Raises:
            SQLAlchemyError: the database refused; nothing of the batch stands there, unless the
                connection broke in the COMMIT.
        """
        if self._id is None:
            self._id = self._registered(connection, batch)
        self._learn_statements(connection, batch)
        with connection.begin():
            if not self._claim(connection, batch, lost):
                return False
            self._insert(connection, batch)
        return True

    # The process

    def _registered(self, connection: Connection, batch: Batch) -> int:
        own = process_row(self.process, batch)
        nothing = [{"width": width, "closed_at": 0, "rolled_at": 0} for width in (HOUR, DAY)]
        with connection.begin():
            connection.execute(upsert(connection.dialect, processes, ["token"]), own)
            connection.execute(upsert(connection.dialect, levels, ["width"]), nothing)
        with connection.begin():
            found = select(processes.c.id).where(processes.c.token == self.process.token)
            return int(connection.execute(found).scalar_one())

    def _claim(self, connection: Connection, batch: Batch, lost: tuple[int, int]) -> bool:
        """Let the number of the last batch go up; False where it stands there already."""
        raised = (
            update(processes)
            .where(processes.c.id == self._id, processes.c.flush < batch.number)
            .values(
                flush=batch.number,
                seen_at=int(batch.taken_at),
                lost_flushes=lost[0],
                lost_calls=lost[1],
                facts=batch.facts,
            )
        )
        if connection.execute(raised).rowcount:
            return True
        known = select(processes.c.id).where(processes.c.id == self._id)
        if connection.execute(known).scalar() is None:
            # Retention took the row of a process that was silent for long.
            self._id = None
            raise StoreError("the row of this process is gone; it is written anew")
        return False

    # Statements

    def _learn_statements(self, connection: Connection, batch: Batch) -> None:
        """See to it that each statement has its number, and is known to be in use."""
        today = int(batch.taken_at) // DAY
        used: list[QueryStats | SlowExecution] = [*batch.slow, *batch.queries]
        wanted = {_key(one): one for one in used}
        if len(self._statements) > _MAX_REMEMBERED:
            self._statements.clear()
        unknown = [key for key in wanted if key not in self._statements]
        stale = [key for key in wanted if self._statements.get(key, (0, today))[1] != today]
        if unknown:
            self._ask(connection, unknown, today)
            missing = [wanted[key] for key in unknown if key not in self._statements]
            if missing:
                with connection.begin():
                    new = upsert(connection.dialect, statements, ["fingerprint", "database_label"])
                    rows = [statement_row(one, batch.taken_at) for one in missing]
                    connection.execute(new, sorted(rows, key=lambda row: row["fingerprint"]))
                self._ask(connection, [_key(one) for one in missing], today)
        if stale:
            numbers = [self._statements[key][0] for key in stale]
            with connection.begin():
                for some in _pieces(numbers):
                    seen = update(statements).where(statements.c.id.in_(some))
                    connection.execute(seen.values(seen_at=int(batch.taken_at)))
            self._statements.update({key: (self._statements[key][0], today) for key in stale})

    def _ask(self, connection: Connection, keys: Sequence[_Key], today: int) -> None:
        names = statements.c.id, statements.c.fingerprint, statements.c.database_label
        wanted = set(keys)
        with connection.begin():
            for some in _pieces([fingerprint for fingerprint, _ in keys]):
                asked = select(*names).where(statements.c.fingerprint.in_(some))
                for number, fingerprint, label in connection.execute(asked):
                    if (fingerprint, label) in wanted:
                        self._statements[fingerprint, label] = number, today

    # Rows

    def _insert(self, connection: Connection, batch: Batch) -> None:
        width, began_at = self._span(connection, batch)
        whose = {"process_id": self._id, "flush": batch.number}
        span = {"began_at": began_at, **whose}
        dialect = connection.dialect
        _insert_all(connection, queries[width], [span | self._query(one) for one in batch.queries])
        _insert_all(connection, scopes[width], [span | one for one in scope_rows(batch.scopes)])
        ended = batch.transactions
        if ended.commits or ended.rollbacks:
            _insert_all(connection, transactions[width], [span | transaction_row(ended)])
        _insert_all(connection, slow, [self._slow(one) for one in batch.slow])
        taken = {"taken_at": int(batch.taken_at), **whose}
        _insert_all(connection, samples, [taken | one for one in sample_rows(batch.samples)])
        if batch.documents:
            kept = upsert(dialect, documents, ["kind", "identity"], update=["seen_at", "document"])
            # In one order in all processes: they may have some in common.
            ordered = sorted(batch.documents, key=lambda one: (one.kind, one.identity))
            connection.execute(kept, [document_row(one, batch.taken_at) for one in ordered])

    def _span(self, connection: Connection, batch: Batch) -> tuple[int, int]:
        """Width and begin of the span: of a batch that comes late, the narrowest still open.

        Locks the levels for others until the transaction ends: none is closed meanwhile.
        """
        asked = select(levels.c.width, levels.c.closed_at).with_for_update(read=True)
        closed = {width: closed_at for width, closed_at in connection.execute(asked)}
        width = MINUTE
        for wider in (HOUR, DAY):
            if batch.began_at < closed.get(wider, 0):
                width = wider
        return width, batch.began_at // width * width

    def _query(self, one: QueryStats) -> dict[str, Any]:
        return {"statement_id": self._statements[_key(one)][0], **query_row(one)}

    def _slow(self, one: SlowExecution) -> dict[str, Any]:
        number = self._statements[_key(one)][0]
        return {"statement_id": number, "process_id": self._id, **slow_row(one)}


def _key(one: QueryStats | SlowExecution) -> _Key:
    return one.fingerprint, storable(one.database, MAX_NAME)


def _pieces(values: Sequence[Any]) -> Iterable[Sequence[Any]]:
    """No database takes any number of parameters."""
    return (values[at : at + _ASKED_AT_ONCE] for at in range(0, len(values), _ASKED_AT_ONCE))


def _insert_all(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        connection.execute(insert(table), rows)
