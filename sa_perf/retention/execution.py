"""One policy's run: lease, walks, batch after batch, audit."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from sa_perf.dialects.seeking import seeking_for
from sa_perf.errors import RetentionError
from sa_perf.retention import audit
from sa_perf.retention.access import access_of
from sa_perf.retention.batch import Batch, Batches, BatchResult, Transactions
from sa_perf.retention.clearing import Clearing
from sa_perf.retention.disposal import RowsChanged, disposal_for
from sa_perf.retention.estimates import expected_rows
from sa_perf.retention.lease import Lease, acquire
from sa_perf.retention.position import passes
from sa_perf.retention.ranges import WalkSQL
from sa_perf.retention.results import Outcome, PolicyRun, Progress
from sa_perf.retention.throttle import Throttle
from sa_perf.retention.wording import error_words, predicate_text

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from sa_perf.dialects.purging import Purging
    from sa_perf.retention.limits import Limits
    from sa_perf.retention.position import Pass
    from sa_perf.retention.ranges import Key
    from sa_perf.retention.results import Hooks
    from sa_perf.retention.steps import Step

__all__ = ["Context", "Execution"]

T = TypeVar("T")
log = logging.getLogger("sa_perf.retention")
#: Rows from which on it pays to look for the end of a range by an index alone.
_MANY = 1_000
#: Seconds before the first new try of a batch that met a lock; they double, up to the second.
_BACK_OFF = (0.02, 2.0)


@dataclass(slots=True, kw_only=True)
class Context:
    """What the policies of a run share.

    Attributes:
        engine: of the database.
        purging: the database's ways.
        limits: that end the run.
        hooks: called around it.
        progress: called after each batch; None: nobody asks.
        actor: who runs it.
        sleep: makes pauses.
        run: its id.
        clock_difference: of this machine from the database, seconds.
    """

    engine: Engine
    purging: Purging
    limits: Limits
    hooks: Hooks
    progress: Callable[[Progress], None] | None
    actor: str | None
    sleep: Callable[[float], object]
    run: str = ""
    clock_difference: float = 0.0


@dataclass(slots=True, kw_only=True)
class Execution:
    """Carries out one policy.

    Attributes:
        context: of the run.
        step: the policy.
        expected: rows that are expected to be changed; None: unknown.
    """

    context: Context
    step: Step
    expected: int | None = None
    _total: BatchResult = field(default_factory=BatchResult)
    _number: int = 0
    _scanned: int = 0
    _ended: tuple[Outcome, str | None] = ("failed", None)

    def go(self) -> PolicyRun:
        """Take the lease, walk, write the audit, give the lease back.

        Raises:
            PolicyBusy: another runner has the policy.
        """
        context, purging = self.context, self.step.purging
        with purging.connection(context.engine) as connection:
            lease = self._tried(
                lambda: acquire(connection, purging, policy=self.step.name, run=context.run)
            )
            try:
                self._require_sound(connection)
                run_id = self._tried(lambda: self._open(connection))
                try:
                    self._walk_all(connection, lease, run_id)
                except BaseException as error:
                    self._ended = ("failed", error_words(error))
                    if not isinstance(error, Exception):
                        self._ended = ("stopped", "it was interrupted")
                        raise
                    log.warning("retention policy %r failed", self.step.name, exc_info=error)
                finally:
                    _quietly(lambda: self._tried(lambda: self._close(connection, run_id)))
            finally:
                done = self._ended[0] == "done"
                _quietly(lambda: self._tried(lambda: lease.release(connection, done=done)))
        return self._result()

    def _walk_all(self, connection: Connection, lease: Lease, run_id: int) -> None:
        access = access_of(connection, self.step)
        ours = self._transactions(connection, lease, run_id)
        self._total = ours.total
        with self.step.purging.reading(connection):
            may_refuse = self.step.purging.may_refuse(connection, self.step.target.table)
        if self.context.progress is not None:
            self.expected, _ = expected_rows(connection, self.step)
        batches = Batches(transactions=ours, clear=Clearing(ours).clear, may_refuse=may_refuse)
        try:
            for way in passes(access.walks, lease.position):
                self._walk(batches, way)
            self._ended = ("done", None)
        except _Ended as ended:
            self._ended = ended.how
        finally:
            self._number = ours.number
            ours.disposal.close()

    def _walk(self, batches: Batches, way: Pass) -> None:
        """Go along a key, range by range, until its end or the run's."""
        ours = batches.transactions
        sql = WalkSQL(way.walk, seeking_for(ours.connection.dialect), end=way.upto)
        after, pause, failures = way.after, 0.0, 0
        while True:
            self._end_if_reached(ours)
            batch = self._next(ours, sql, after, pause)
            if batch.upto is None and not self._any_left(ours.connection, sql, after):
                return
            before = ours.total.changed
            try:
                result = batches.carry_out(sql, batch)
            except Exception as error:
                failures += 1
                if not self._is_worth_a_try(error, failures):
                    raise
                # The next try is a smaller range: it meets fewer locks.
                ours.throttle.failed()
                self._back_off(error, failures)
                continue
            finally:
                self.context.limits.changed(ours.total.changed - before)
            failures = 0
            pause = self._learn(ours, batch, result)
            if batch.upto is None:
                return
            after = batch.upto
            self._pause(ours, pause)

    def _next(self, ours: Transactions, sql: WalkSQL, after: Key | None, pause: float) -> Batch:
        """The range behind a key."""
        left = self.context.limits.rows_left
        rows = ours.throttle.rows if left is None else min(ours.throttle.rows, left)
        self.context.hooks.before_batch(self.step.name, ours.number + 1)
        upto = self._end_of_range(ours.connection, sql, after, rows)
        return Batch(after=after, upto=upto, rows=rows, pause_seconds=pause)

    def _end_if_reached(self, ours: Transactions) -> None:
        """End the run where it has to; waits first while there is a reason to."""
        limits = self.context.limits
        while True:
            ended: Any = limits.reached()
            if ended is not None:
                raise _Ended(ended)
            reason = limits.reason_to_wait()
            if reason is None:
                return
            self._progress(ours, seconds=0.0, waiting=reason)
            self._pause(ours, limits.wait_seconds)

    def _pause(self, ours: Transactions, seconds: float) -> None:
        """Let the application go first; a lease is not lost over it."""
        part = ours.lease.seconds / 4
        while seconds > 0 and not self.context.limits.stop.is_set():
            self.context.sleep(min(seconds, part))
            seconds -= part
            ours.lease.keep(ours.connection)

    def _between(self, ours: Transactions, seconds: float) -> None:
        """Between two transactions of one batch, after one that took so long."""
        self._pause(ours, ours.throttle.pause(seconds))
        ended: Any = self.context.limits.reached()
        if ended is not None:
            raise _Ended(ended)

    def _end_of_range(
        self, connection: Connection, sql: WalkSQL, after: Key | None, rows: int
    ) -> Key | None:
        quick = None
        if after is not None and self.step.purging.keys_apart and rows >= _MANY:
            quick = sql.last_before(after, rows)
        with self.step.purging.reading(connection):
            found = None if quick is None else connection.execute(*quick).first()
            if found is None:
                found = connection.execute(*sql.last_of(after, rows)).first()
        return None if found is None else tuple(found)

    def _any_left(self, connection: Connection, sql: WalkSQL, after: Key | None) -> bool:
        """Whether the last range has a row to change: without locks, unlike a DELETE."""
        found = sql.range(after, None)
        conditions = [] if found.condition is None else [found.condition]
        stmt = select(self.step.target.key[0]).where(*conditions, *self.step.matching(sql.walk))
        with self.step.purging.reading(connection):
            return connection.execute(stmt.limit(1), found.parameters).first() is not None

    def _is_worth_a_try(self, error: Exception, failures: int) -> bool:
        """Whether a lock or a deadlock stood in the way, not too often, or a child came between."""
        again = self.step.purging.is_transient(error) or isinstance(error, RowsChanged)
        again = again or (isinstance(error, IntegrityError) and bool(self.step.children))
        return again and failures <= self.step.target.policy.batch.retries

    def _back_off(self, error: Exception, failures: int) -> None:
        log.info("retention of %s is tried again: %s", self.step.name, error_words(error))
        first, longest = _BACK_OFF
        wait = min(longest, first * 2 ** (failures - 1))
        self.context.sleep(wait * (0.5 + random.random()))  # noqa: S311  # no secret

    def _tried(self, function: Callable[[], T]) -> T:
        """What a short transaction gives; once more where a lock stands in its way."""
        failures = 0
        while True:
            try:
                return function()
            except Exception as error:
                failures += 1
                if not self._is_worth_a_try(error, failures):
                    raise
                self._back_off(error, failures)

    def _learn(self, ours: Transactions, batch: Batch, result: BatchResult) -> float:
        """Note a batch; the pause to make now."""
        scanned = batch.rows if batch.upto is not None else result.changed
        self._scanned += scanned
        pause = ours.throttle.took(scanned, result.seconds)
        self._progress(ours, seconds=result.seconds)
        return pause

    def _progress(self, ours: Transactions, *, seconds: float, waiting: str | None = None) -> None:
        progress = Progress(
            policy=self.step.name,
            batches=ours.number,
            rows_scanned=self._scanned,
            rows_changed=ours.total.changed,
            rows_expected=self.expected,
            batch_rows=ours.throttle.rows,
            batch_seconds=seconds,
            waiting=waiting,
        )
        if self.context.progress is not None:
            self.context.progress(progress)
        if waiting is None:
            self.context.hooks.after_batch(progress)

    def _require_sound(self, connection: Connection) -> None:
        """Refuse a view, and to compare texts that are no times with one that is."""
        target, purging = self.step.target, self.step.purging
        moment = target.time
        table = target.hops[-1].table if target.hops else target.table
        with purging.reading(connection):
            if purging.is_view(connection, target.table):
                raise RetentionError(
                    f"policy {self.step.name!r}: {target.table.fullname!r} is a view; declare the "
                    "policy for the table behind it"
                )
            odd = purging.odd_moments(connection, moment, table, self.step.cutoff)
        if odd is not None:
            raise RetentionError(
                f"policy {self.step.name!r}: {moment} holds {odd}, which does not compare with "
                "other moments as time; rewrite such values as 'YYYY-MM-DD HH:MM:SS' (a date: "
                "'YYYY-MM-DD') first"
            )

    def _open(self, connection: Connection) -> int:
        step, context = self.step, self.context
        with step.purging.transaction(connection, lock_seconds=5):
            now = step.purging.utc_now(connection)
            audit.close_abandoned(connection, step.name, now)
            return audit.open_run(
                connection,
                run=context.run,
                policy=step.name,
                table_name=step.target.table.fullname,
                action=step.target.policy.action,
                cutoff=step.cutoff,
                predicate=predicate_text(step, connection.dialect),
                archive=step.archive_words,
                started_at=now,
                clock_difference_seconds=context.clock_difference,
                actor=context.actor,
            )

    def _transactions(self, connection: Connection, lease: Lease, run_id: int) -> Transactions:
        purging = self.step.purging
        ours = Transactions(
            connection=connection,
            step=self.step,
            lease=lease,
            run_id=run_id,
            disposal=disposal_for(self.step, connection, self.context.run, lease),
            throttle=Throttle(
                self.step.target.policy.batch,
                target_seconds=purging.target_seconds,
                least_pause_ratio=purging.least_pause_ratio,
                least_pause_seconds=purging.least_pause_seconds,
                margin=purging.margin,
            ),
        )
        ours.pause = lambda seconds: self._between(ours, seconds)
        return ours

    def _close(self, connection: Connection, run_id: int) -> None:
        purging, total = self.step.purging, self._total
        with purging.transaction(connection, lock_seconds=5):
            audit.close_run(
                connection,
                run_id,
                finished_at=purging.utc_now(connection),
                outcome=self._ended[0],
                error=self._ended[1],
                batches=self._number,
                rows_scanned=self._scanned,
                rows_archived=total.archived,
                rows_changed=total.changed,
                rows_refused=total.refused,
                children_changed=total.children,
                archive_bytes=total.archive_bytes,
            )

    def _result(self) -> PolicyRun:
        total = self._total
        return PolicyRun(
            policy=self.step.name,
            table=self.step.target.table.fullname,
            action=self.step.target.policy.action,
            cutoff=self.step.cutoff,
            outcome=self._ended[0],
            reason=self._ended[1],
            batches=self._number,
            rows_scanned=self._scanned,
            rows_changed=total.changed,
            rows_archived=total.archived,
            rows_refused=total.refused,
            children_changed=total.children,
            archive_bytes=total.archive_bytes,
            longest_batch_seconds=total.seconds,
        )


class _Ended(Exception):
    """The run is to end before its walks do; not by an error."""

    def __init__(self, how: tuple[Outcome, str]) -> None:
        self.how = how
        super().__init__(how[1])


def _quietly(function: Callable[[], None]) -> None:
    """Do what a dead connection may not allow: the next runner finds the lease expired."""
    try:
        function()
    except Exception:
        log.warning("retention could not be put away properly", exc_info=True)
