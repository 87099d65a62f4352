"""One batch: a range of rows and what refers to them.

In the transaction of a batch the lease is renewed, rows are changed (and archived), and the audit
gets its row: all of it happens, or nothing. Rows of children go before, in transactions of their
own, so that a parent with a million of them is no long batch; a parent that has some again by then
stays for a second look.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import ColumnElement, func, not_, select

from sa_perf.retention.audit import add_batch
from sa_perf.retention.cascades import rows_along
from sa_perf.retention.disposal import Disposed
from sa_perf.retention.holds import held_keys
from sa_perf.retention.position import position_text
from sa_perf.retention.ranges import key_text

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from sa_perf.retention.children import Child
    from sa_perf.retention.disposal import Disposal
    from sa_perf.retention.lease import Lease
    from sa_perf.retention.ranges import Key, WalkSQL
    from sa_perf.retention.steps import Step
    from sa_perf.retention.throttle import Throttle

__all__ = ["Batch", "BatchResult", "Batches", "Transactions"]

Condition: TypeAlias = ColumnElement[bool]
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
    """What transactions did that were committed; counts of rows.

    Attributes:
        transactions: how many, those of children too.
        scanned: of the policy's table, by the ranges gone over.
        changed: of the policy's table.
        archived: of it and of its children.
        refused: that should have been changed but were not.
        children: that were changed.
        archive_bytes: written.
        seconds: of the longest transaction.
    """

    transactions: int = 0
    scanned: int = 0
    changed: int = 0
    archived: int = 0
    refused: int = 0
    children: int = 0
    archive_bytes: int = 0
    seconds: float = 0.0

    def add(self, done: Disposed, seconds: float, *, scanned: int, of_child: bool) -> None:
        """Take note of a transaction."""
        self.transactions += 1
        self.scanned += scanned
        if of_child:
            self.children += done.rows
        else:
            self.changed += done.rows
        self.archived += done.archived
        self.archive_bytes += 0 if done.file is None else done.file.bytes
        self.seconds = max(self.seconds, seconds)

    def as_columns(self) -> dict[str, int]:
        """The counts, by their names in the audit."""
        return {
            "batches": self.transactions,
            "rows_scanned": self.scanned,
            "rows_changed": self.changed,
            "rows_archived": self.archived,
            "rows_refused": self.refused,
            "children_changed": self.children,
            "archive_bytes": self.archive_bytes,
        }


@dataclass(slots=True, kw_only=True)
class Transactions:
    """The transactions of one policy's run, each with its row in the audit.

    Attributes:
        connection: of the run.
        step: the policy.
        lease: the right to run it.
        run_id: of the audit.
        disposal: how rows are changed and archived.
        throttle: bounds the children in one transaction.
        pause: called between those of children, with the seconds that the last one took; whatever
            it raises ends the batch.
        clock: monotonic seconds.
        total: what all of them did.
        batch: what those of the batch under way did.
        refused: rows that stayed, by walk.
    """

    connection: Connection
    step: Step
    lease: Lease
    run_id: int
    disposal: Disposal
    throttle: Throttle
    pause: Callable[[float], None] = lambda _: None
    clock: Callable[[], float] = time.monotonic
    total: BatchResult = field(default_factory=BatchResult)
    batch: BatchResult = field(default_factory=BatchResult)
    refused: Counter[str] = field(default_factory=Counter)

    @property
    def number(self) -> int:
        """Of transactions so far."""
        return self.total.transactions

    @contextmanager
    def begun(self, position: str | None) -> Iterator[float]:
        """A transaction in which the lease is still ours; gives when it began.

        Raises:
            LeaseLost: another runner has the policy now.
        """
        limits = self.step.target.policy.batch
        started = self.clock()
        with self.step.purging.transaction(self.connection, lock_seconds=limits.lock_seconds):
            self.lease.renew(self.connection, position=position)
            yield started
        self.lease.committed(position)

    def held(self) -> list[Condition]:
        """What rows meet that no hold keeps; behind the lease's renewal, so that none is missed."""
        return self.step.not_held(held_keys(self.connection, self.step.tables))

    def write(
        self, batch: Batch, table: str, done: Disposed, started: float, *, scanned: int
    ) -> None:
        """Add the audit's row, the last statement of a transaction."""
        file = done.file
        add_batch(
            self.connection,
            run_id=self.run_id,
            number=self.number + 1,
            table_name=table,
            after_key=key_text(batch.after),
            upto_key=key_text(batch.upto),
            rows_scanned=scanned,
            rows_archived=done.archived,
            rows_changed=done.rows,
            target_rows=batch.rows,
            seconds=self.clock() - started,
            pause_seconds=batch.pause_seconds,
            archive_file=None if file is None else file.name,
            archive_sha256=None if file is None else file.sha256,
            archive_bytes=0 if file is None else file.bytes,
            finished_at=self.step.purging.clock(self.connection),
        )

    def took(
        self, started: float, done: Disposed, *, scanned: int = 0, of_child: bool = False
    ) -> None:
        """Take note of a transaction that was committed."""
        seconds = self.clock() - started
        for result in (self.batch, self.total):
            result.add(done, seconds, scanned=scanned, of_child=of_child)
        self.disposal.committed(done)

    def kept(self, walk: str, rows: int) -> None:
        """Take note of rows that a walk could not change; another may have met them too."""
        self.refused[walk] += rows
        met = max(self.refused["key"], self.refused["time"])
        self.total.refused = met + self.refused["timeless"]

    def cascaded(self, rows: int) -> None:
        """Take note of children that the database deleted along."""
        for result in (self.batch, self.total):
            result.children += rows


@dataclass(slots=True, kw_only=True)
class Batches:
    """Carries out the batches of one policy's run.

    Attributes:
        transactions: of the run.
        clear: deletes or detaches what refers to some rows: a child of the policy's table, the
            conditions on the policy's rows and their parameters, the batch.
        may_refuse: the table has triggers or rules that may keep rows.
    """

    transactions: Transactions
    clear: Callable[[Child, Sequence[Condition], dict[str, Any], Batch], None]
    may_refuse: bool

    def carry_out(self, sql: WalkSQL, batch: Batch) -> BatchResult:
        """Change the rows of a range that have expired.

        Raises:
            LeaseLost: another runner has the policy now.
            DBAPIError: the database refused; the transaction under way was rolled back.
        """
        result = self.transactions.batch = BatchResult()
        step = self.transactions.step
        found = sql.range(batch.after, batch.upto)
        own = [] if found.condition is None else [found.condition]
        own += step.matching(sql.walk)
        followed = [child for child in step.children if child.how != "restrict"]
        for look in range(_LOOKS):
            for child in followed:
                if child.how != "cascade":  # the database deletes those along
                    self.clear(child, own, found.parameters, batch)
            # Only the last of them ends the batch.
            self._change(sql, batch, own, found.parameters, again=look > 0)
            if not followed and not self.may_refuse:
                break
            result.refused = self._left(own, found.parameters)
            if not result.refused or not followed:
                break
        self.transactions.kept(sql.walk.name, result.refused)
        return result

    def _change(
        self,
        sql: WalkSQL,
        batch: Batch,
        own: Sequence[Condition],
        parameters: dict[str, Any],
        *,
        again: bool,
    ) -> None:
        """The transaction of the policy's own rows."""
        ours = self.transactions
        step, connection = ours.step, ours.connection
        cleared = [child for child in step.children if child.how in ("delete_first", "detach")]
        position = position_text(sql.walk, batch.upto or batch.after)
        with ours.begun(position) as started:
            conditions = [*own, *ours.held(), *(not_(child.any()) for child in cleared)]
            if step.children:
                self._lock(conditions, parameters)
            below = rows_along(connection, step.children, conditions, parameters)
            done = ours.disposal.dispose(
                connection, step.change(conditions), parameters, number=ours.number + 1
            )
            scanned = 0 if again else batch.rows if batch.upto is not None else done.rows
            ours.write(batch, step.target.table.fullname, done, started, scanned=scanned)
            for name, rows in below.items():
                ours.write(batch, name, Disposed(rows=rows), started, scanned=0)
        ours.took(started, done, scanned=scanned)
        ours.cascaded(sum(below.values()))

    def _lock(self, conditions: Sequence[Condition], parameters: dict[str, Any]) -> None:
        """Lock rows, so that none gets a child which the database would delete along unseen.

        Whatever the models say of its ON DELETE, and also where it is to keep its parent.
        """
        ours = self.transactions
        table = ours.step.target.table
        stmt = select(*ours.step.target.key).where(*conditions).with_for_update(of=table)
        ours.connection.execute(stmt, parameters).all()

    def _left(self, own: Sequence[Condition], parameters: dict[str, Any]) -> int:
        """Rows of a range that should be gone."""
        ours = self.transactions
        with ours.step.purging.reading(ours.connection):
            table = ours.step.target.table
            stmt = select(func.count()).select_from(table).where(*own, *ours.held())
            return int(ours.connection.execute(stmt, parameters).scalar_one())
