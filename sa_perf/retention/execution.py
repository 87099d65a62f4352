"""One policy's run: lease, walks, batch after batch, audit."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from sa_perf.dialects.seeking import seeking_for
from sa_perf.errors import RetentionError
from sa_perf.retention import audit
from sa_perf.retention.access import access_of
from sa_perf.retention.batch import Batch, Batches, BatchResult, resumed
from sa_perf.retention.disposal import RowsChanged, disposal_for
from sa_perf.retention.lease import Lease, acquire
from sa_perf.retention.ranges import WalkSQL
from sa_perf.retention.results import Outcome, PolicyRun, Progress
from sa_perf.retention.throttle import Throttle
from sa_perf.retention.wording import error_words, predicate_text

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from sa_perf.dialects.purging import Purging
    from sa_perf.retention.limits import Limits
    from sa_perf.retention.ranges import Key, Walk
    from sa_perf.retention.results import Hooks
    from sa_perf.retention.steps import Step

__all__ = ["Context", "Execution"]

log = logging.getLogger("sa_perf.retention")
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
        progress: called after each batch.
        actor: who runs it.
        sleep: makes pauses.
        run: its id.
        clock_difference: of this machine from the database, seconds.
    """

    engine: Engine
    purging: Purging
    limits: Limits
    hooks: Hooks
    progress: Callable[[Progress], None]
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
    _scanned: int = 0
    _ended: tuple[Outcome, str | None] = ("done", None)

    def go(self) -> PolicyRun:
        """Take the lease, walk, write the audit, give the lease back.

        Raises:
            PolicyBusy: another runner has the policy.
        """
        context, purging = self.context, self.step.purging
        with purging.connection(context.engine) as connection:
            lease = acquire(connection, purging, policy=self.step.name, run=context.run)
            done = False
            try:
                self._require_sound(connection)
                run_id = self._open(connection)
                batches = self._batches(connection, lease, run_id)
                try:
                    self._walk_all(connection, batches)
                    done = self._ended[0] == "done"
                except BaseException as error:
                    self._ended = ("failed", error_words(error))
                    if not isinstance(error, Exception):
                        self._ended = ("stopped", "it was interrupted")
                        raise
                    log.warning("retention policy %r failed", self.step.name, exc_info=error)
                finally:
                    batches.disposal.close()
                    self._close(connection, run_id, batches)
            finally:
                _quietly(lambda: lease.release(connection, done=done))
        return self._result(batches)

    def _walk_all(self, connection: Connection, batches: Batches) -> None:
        access = access_of(self.context.engine, connection, self.step)
        walks = list(access.walks)
        position = batches.lease.position
        started = next((w for w in walks if resumed(w, position) is not None), None)
        if started is not None:
            # Walks before the one that was interrupted were finished then.
            walks = walks[walks.index(started) :]
        for walk in walks:
            self._walk(connection, batches, walk, resumed(walk, position))
            position = None
            if self._ended[0] != "done":
                return

    def _walk(
        self, connection: Connection, batches: Batches, walk: Walk, after: Key | None
    ) -> None:
        """Go along a key, range by range, until its end or the run's."""
        sql = WalkSQL(walk, seeking_for(connection.dialect))
        pause = 0.0
        while True:
            ended = self._reached()
            if ended is not None:
                self._ended = ended
                return
            rows = batches.throttle.rows
            left = self.context.limits.rows_left
            rows = rows if left is None else min(rows, left)
            self.context.hooks.before_batch(self.step.name, batches.number + 1)
            batch = Batch(
                after=after,
                upto=self._end_of_range(connection, sql, after, rows),
                rows=rows,
                pause_seconds=pause,
            )
            if batch.upto is None and not self._any_left(connection, sql, after):
                return
            result = self._tried(batches, sql, batch)
            pause = self._learn(batches, batch, result)
            if batch.upto is None:
                return
            after = batch.upto
            self.context.sleep(pause)

    def _reached(self) -> tuple[Outcome, str] | None:
        """Why the run has to end now; waits first while there is a reason to."""
        limits = self.context.limits
        while True:
            ended: Any = limits.reached()
            if ended is not None:
                return ended  # type: ignore[no-any-return]
            reason = limits.reason_to_wait()
            if reason is None:
                return None
            self._progress(batches=0, rows=0, seconds=0.0, waiting=reason)
            self.context.sleep(limits.wait_seconds)

    def _end_of_range(
        self, connection: Connection, sql: WalkSQL, after: Key | None, rows: int
    ) -> Key | None:
        stmt, parameters = sql.last_of(after, rows)
        with self.step.purging.reading(connection):
            found = connection.execute(stmt, parameters).first()
        return None if found is None else tuple(found)

    def _any_left(self, connection: Connection, sql: WalkSQL, after: Key | None) -> bool:
        """Whether the last range has a row to change: without locks, unlike a DELETE."""
        found = sql.range(after, None)
        conditions = [] if found.condition is None else [found.condition]
        stmt = select(self.step.target.key[0]).where(*conditions, *self.step.matching(sql.walk))
        with self.step.purging.reading(connection):
            return connection.execute(stmt.limit(1), found.parameters).first() is not None

    def _tried(self, batches: Batches, sql: WalkSQL, batch: Batch) -> BatchResult:
        """Carry a batch out; once more where a lock or a deadlock stood in the way."""
        limits = self.step.target.policy.batch
        wait, longest = _BACK_OFF
        tries = 0
        while True:
            try:
                return batches.carry_out(sql, batch)
            except Exception as error:
                # A child that came in between is gone through in the next try.
                again = self.step.purging.is_transient(error) or isinstance(error, RowsChanged)
                again = again or (isinstance(error, IntegrityError) and bool(self.step.children))
                tries += 1
                if not again or tries > limits.retries or self.context.limits.stop.is_set():
                    raise
                log.info("batch of %s is tried again: %s", self.step.name, error_words(error))
            batches.throttle.failed()
            self.context.sleep(wait * (0.5 + random.random()))  # noqa: S311  # no secret
            wait = min(longest, wait * 2)

    def _learn(self, batches: Batches, batch: Batch, result: BatchResult) -> float:
        """Add a batch up; the pause to make now."""
        scanned = batch.rows if batch.upto is not None else result.changed
        self._scanned += scanned
        self.context.limits.changed(result.changed)
        total = self._total
        total.changed += result.changed
        total.archived += result.archived
        total.refused += result.refused
        total.children += result.children
        total.archive_bytes += result.archive_bytes
        total.seconds = max(total.seconds, result.seconds)
        pause = batches.throttle.took(scanned, result.seconds)
        self._progress(batches=batches.number, rows=batches.throttle.rows, seconds=result.seconds)
        return pause

    def _progress(
        self, *, batches: int, rows: int, seconds: float, waiting: str | None = None
    ) -> None:
        progress = Progress(
            policy=self.step.name,
            batches=batches,
            rows_scanned=self._scanned,
            rows_changed=self._total.changed,
            rows_expected=self.expected,
            batch_rows=rows,
            batch_seconds=seconds,
            waiting=waiting,
        )
        self.context.progress(progress)
        if waiting is None:
            self.context.hooks.after_batch(progress)

    def _require_sound(self, connection: Connection) -> None:
        """Refuse to compare texts that are no times with one that is."""
        column = self.step.target.time_column
        if column is None:
            return
        with self.step.purging.reading(connection):
            odd = self.step.purging.odd_moments(connection, column, self.step.cutoff)
        if odd is not None:
            raise RetentionError(
                f"policy {self.step.name!r}: {column.name!r} holds {odd}, which does not compare "
                "with other moments as time; rewrite such values as 'YYYY-MM-DD HH:MM:SS' first"
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

    def _batches(self, connection: Connection, lease: Lease, run_id: int) -> Batches:
        purging, policy = self.step.purging, self.step.target.policy
        with purging.reading(connection):
            may_refuse = purging.may_refuse(connection, self.step.target.table)
        return Batches(
            connection=connection,
            step=self.step,
            lease=lease,
            run_id=run_id,
            disposal=disposal_for(self.step, connection, self.context.run),
            throttle=Throttle(
                policy.batch,
                target_seconds=purging.target_seconds,
                least_pause_ratio=purging.least_pause_ratio,
            ),
            may_refuse=may_refuse,
            clock=time.monotonic,
        )

    def _close(self, connection: Connection, run_id: int, batches: Batches) -> None:
        purging, total = self.step.purging, self._total

        def close() -> None:
            with purging.transaction(connection, lock_seconds=5):
                audit.close_run(
                    connection,
                    run_id,
                    finished_at=purging.utc_now(connection),
                    outcome=self._ended[0],
                    error=self._ended[1],
                    batches=batches.number,
                    rows_scanned=self._scanned,
                    rows_archived=total.archived,
                    rows_changed=total.changed,
                    rows_refused=total.refused,
                    children_changed=total.children,
                    archive_bytes=total.archive_bytes,
                )

        _quietly(close)

    def _result(self, batches: Batches) -> PolicyRun:
        total = self._total
        return PolicyRun(
            policy=self.step.name,
            table=self.step.target.table.fullname,
            action=self.step.target.policy.action,
            cutoff=self.step.cutoff,
            outcome=self._ended[0],
            reason=self._ended[1],
            batches=batches.number,
            rows_scanned=self._scanned,
            rows_changed=total.changed,
            rows_archived=total.archived,
            rows_refused=total.refused,
            children_changed=total.children,
            archive_bytes=total.archive_bytes,
            longest_batch_seconds=total.seconds,
        )


def _quietly(function: Callable[[], None]) -> None:
    """Do what a dead connection may not allow: the next runner finds the lease expired."""
    try:
        function()
    except Exception:
        log.warning("retention could not be put away properly", exc_info=True)
