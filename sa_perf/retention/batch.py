"""One batch: a range of rows and what refers to them.

In the transaction of a batch the lease is renewed, rows are changed (and archived), and the audit
gets its row: all of it happens, or nothing. Rows of children go before, in transactions of their
own, so that a parent with a million of them is no long batch; a parent that has some again by then
stays for a second look.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import ColumnElement, delete, func, not_, select, update

from sa_perf.retention.audit import add_batch
from sa_perf.retention.children import in_keys
from sa_perf.retention.holds import held_keys
from sa_perf.retention.ranges import key_from, key_text

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from sa_perf.retention.children import Child
    from sa_perf.retention.disposal import Disposal, Disposed
    from sa_perf.retention.lease import Lease
    from sa_perf.retention.ranges import Key, Walk, WalkSQL
    from sa_perf.retention.steps import Step
    from sa_perf.retention.throttle import Throttle

__all__ = ["Batch", "BatchResult", "Batches", "resumed"]

Condition: TypeAlias = ColumnElement[bool]
#: Keys of parents in one statement.
_CHUNK = 500
#: How often a range is looked at whose rows get children meanwhile.
_LOOKS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A range of a walk.

    Attributes:
        after: key that it begins above; None: at the start.
        upto: key that it goes up to; None: to the end.
        rows: that were asked for.
        pause_seconds: that was made before it.
    """

    after: Key | None
    upto: Key | None
    rows: int
    pause_seconds: float


@dataclass(slots=True, kw_only=True)
class BatchResult:
    """What a batch did; counts of rows.

    Attributes:
        changed: of the policy's table.
        archived: of it and of its children.
        refused: that should have been changed but were not.
        children: that were changed.
        archive_bytes: written.
        seconds: of its longest transaction.
    """

    changed: int = 0
    archived: int = 0
    refused: int = 0
    children: int = 0
    archive_bytes: int = 0
    seconds: float = 0.0


@dataclass(slots=True, kw_only=True)
class Batches:
    """Carries out the batches of one policy's run.

    Attributes:
        connection: of the run.
        step: the policy.
        lease: the right to run it.
        run_id: of the audit.
        disposal: how rows are changed and archived.
        throttle: bounds the children in one transaction.
        may_refuse: the table has triggers or rules that may keep rows.
        number: of transactions so far.
        clock: monotonic seconds.
    """

    connection: Connection
    step: Step
    lease: Lease
    run_id: int
    disposal: Disposal
    throttle: Throttle
    may_refuse: bool
    number: int = 0
    clock: Callable[[], float] = time.monotonic
    _result: BatchResult = field(default_factory=BatchResult)

    def carry_out(self, sql: WalkSQL, batch: Batch) -> BatchResult:
        """Change the rows of a range that have expired.

        Raises:
            LeaseLost: another runner has the policy now.
            DBAPIError: the database refused; the transaction under way was rolled back.
        """
        self._result = BatchResult()
        found = sql.range(batch.after, batch.upto)
        own = [] if found.condition is None else [found.condition]
        own += self.step.matching(sql.walk)
        followed = [child for child in self.step.children if child.how != "restrict"]
        for look in range(_LOOKS):
            for child in followed:
                self._clear_below(child, own, found.parameters, batch)
            self._change(sql.walk, batch, own, found.parameters)
            if not followed and not self.may_refuse:
                break
            left = self._left(own, found.parameters)
            if not left or not followed or look == _LOOKS - 1:
                self._result.refused = left
                break
        return self._result

    def _change(
        self, walk: Walk, batch: Batch, own: Sequence[Condition], parameters: dict[str, Any]
    ) -> None:
        """The transaction of the policy's own rows."""
        step, connection = self.step, self.connection
        with self._transaction() as started:
            self.lease.renew(connection, position=_position(walk, batch.upto or batch.after))
            held = held_keys(connection, step.tables)
            cleared = [child for child in step.children if child.how in ("delete_first", "detach")]
            conditions = [*own, *step.not_held(held), *(not_(child.any()) for child in cleared)]
            cascading = [child for child in step.children if child.how == "cascade"]
            for child in cascading:
                self._result.children += self._count(child, conditions, parameters)
            done = self.disposal.dispose(
                connection, step.change(conditions), parameters, number=self.number + 1
            )
            self._write(batch, walk.table.fullname, done, started)
        self._took(started, done)
        self._result.changed += done.rows

    def _clear_below(
        self,
        child: Child,
        own: Sequence[Condition],
        parameters: dict[str, Any],
        batch: Batch,
    ) -> None:
        """Delete or detach the rows that refer to rows of a range."""
        if child.how == "cascade":
            return  # counted in the transaction that deletes the parents
        with self.step.purging.reading(self.connection):
            held = held_keys(self.connection, self.step.tables)
            keys = self.connection.execute(
                select(*child.refers_to).where(*own, *self.step.not_held(held), child.any()),
                parameters,
            ).all()
        self._clear(child, keys, batch)

    def _clear(self, child: Child, parents: Sequence[Any], batch: Batch) -> None:
        for at in range(0, len(parents), _CHUNK):
            some = in_keys(child.columns, parents[at : at + _CHUNK])
            while True:
                rows = self._some_of(child, some)
                if not rows or not self._clear_rows(child, rows, some, batch):
                    break

    def _some_of(self, child: Child, some: Condition) -> Sequence[Any]:
        """Rows of a child: the key, then what each of its own children refers to."""
        columns = [*child.key]
        for deeper in child.children:
            columns += deeper.refers_to
        with self.step.purging.reading(self.connection):
            found: Sequence[Any] = self.connection.execute(
                select(*(columns or child.columns)).where(some).limit(self.throttle.rows)
            ).all()
        return found

    def _clear_rows(self, child: Child, rows: Sequence[Any], some: Condition, batch: Batch) -> int:
        """Change some rows of a child, after those that refer to them; how many were."""
        place = len(child.key)
        for deeper in child.children:
            width = len(deeper.refers_to)
            if deeper.how in ("delete_first", "detach"):
                self._clear(deeper, [row[place : place + width] for row in rows], batch)
            place += width
        changed = 0
        size = _CHUNK * 4
        for at in range(0, len(rows), size):
            keys = [row[: len(child.key)] for row in rows[at : at + size]]
            changed += self._clear_keys(child, keys, some, batch)
        return changed

    def _clear_keys(self, child: Child, keys: Sequence[Any], some: Condition, batch: Batch) -> int:
        table = child.table
        with self._transaction() as started:
            self.lease.renew(self.connection, position=self.lease.position)
            held = held_keys(self.connection, [table]).get(table.fullname)
            which = [some, in_keys(child.key, keys)] if child.key else [some]
            if held:
                which.append(not_(in_keys(child.key, held)))
            stmt: Any = (
                update(table).where(*which).values({column: None for column in child.columns})
                if child.how == "detach"
                else delete(table).where(*which)
            )
            done = self.disposal.dispose(self.connection, stmt, {}, number=self.number + 1)
            self._write(batch, table.fullname, done, started)
        self._took(started, done)
        self._result.children += done.rows
        return done.rows

    def _write(self, batch: Batch, table: str, done: Disposed, started: float) -> None:
        """Add the audit's row, the last statement of a transaction."""
        if not done.rows and table != self.step.target.table.fullname:
            return
        file = done.file
        add_batch(
            self.connection,
            run_id=self.run_id,
            number=self.number + 1,
            table_name=table,
            after_key=key_text(batch.after),
            upto_key=key_text(batch.upto),
            rows_scanned=batch.rows if batch.upto is not None else done.rows,
            rows_archived=done.archived,
            rows_changed=done.rows,
            target_rows=batch.rows,
            seconds=self.clock() - started,
            pause_seconds=batch.pause_seconds,
            archive_file=None if file is None else file.name,
            archive_sha256=None if file is None else file.sha256,
            archive_bytes=0 if file is None else file.bytes,
            finished_at=self.step.purging.utc_now(self.connection),
        )

    def _took(self, started: float, done: Disposed) -> None:
        """Take note of a transaction that was committed."""
        self.number += 1
        result = self._result
        result.seconds = max(result.seconds, self.clock() - started)
        result.archived += done.archived
        if done.file is not None:
            result.archive_bytes += done.file.bytes
        self.disposal.committed(done)

    @contextmanager
    def _transaction(self) -> Iterator[float]:
        """A transaction of a batch; gives when it began."""
        limits = self.step.target.policy.batch
        started = self.clock()
        with self.step.purging.transaction(self.connection, lock_seconds=limits.lock_seconds):
            yield started

    def _count(
        self, child: Child, conditions: Sequence[Condition], parameters: dict[str, Any]
    ) -> int:
        """Rows that the database will delete along."""
        table = self.step.target.table
        stmt = (
            select(func.count())
            .select_from(child.table.join(table, child.joined()))
            .where(*conditions)
        )
        return int(self.connection.execute(stmt, parameters).scalar_one())

    def _left(self, own: Sequence[Condition], parameters: dict[str, Any]) -> int:
        """Rows of a range that should be gone."""
        with self.step.purging.reading(self.connection):
            held = held_keys(self.connection, self.step.tables)
            stmt = (
                select(func.count())
                .select_from(self.step.target.table)
                .where(*own, *self.step.not_held(held))
            )
            return int(self.connection.execute(stmt, parameters).scalar_one())


def _position(walk: Walk, key: Key | None) -> str:
    """Where a run stands, for the next one to go on from."""
    return json.dumps({"walk": walk.name, "key": key_text(key)})


def resumed(walk: Walk, position: str | None) -> Key | None:
    """The key from which a walk goes on that an earlier run did not finish; None: its start."""
    if position is None:
        return None
    found = json.loads(position)
    return key_from(found["key"]) if found["walk"] == walk.name else None
