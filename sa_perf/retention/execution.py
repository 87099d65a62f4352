"""One policy's run: lease, walks, batch after batch, audit."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from sa_perf.dialects.seeking import seeking_for
from sa_perf.errors import RetentionError
from sa_perf.retention import audit
from sa_perf.retention.access import access_of
from sa_perf.retention.batch import Batches, BatchResult, Transactions
from sa_perf.retention.clearing import Clearing
from sa_perf.retention.disposal import disposal_for
from sa_perf.retention.estimates import expected_rows
from sa_perf.retention.lease import Lease, acquire
from sa_perf.retention.lookahead import Lookahead
from sa_perf.retention.position import Pass, passes
from sa_perf.retention.ranges import WalkSQL
from sa_perf.retention.results import Outcome, PolicyRun, Progress
from sa_perf.retention.throttle import Throttle
from sa_perf.retention.tries import Ended, Tries
from sa_perf.retention.wording import error_words, logged, predicate_text

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from sa_perf.dialects.purging import Purging
    from sa_perf.retention.batch import Batch
    from sa_perf.retention.limits import Limits
    from sa_perf.retention.ranges import Key, Walk
    from sa_perf.retention.results import Hooks
    from sa_perf.retention.steps import Step

__all__ = ["Context", "Execution"]

log = logging.getLogger("sa_perf.retention")
#: How often a run goes through a tree; each time the rows go that have no more below them.
_ROUNDS = 30


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
    """

    context: Context
    step: Step
    _expected: int | None = None
    _total: BatchResult = field(default_factory=BatchResult)
    _ended: tuple[Outcome, str | None] = ("failed", None)

    def go(self) -> PolicyRun:
        """Take the lease, walk, write the audit, give the lease back.

        Raises:
            PolicyBusy: another runner has the policy.
        """
        context, purging = self.context, self.step.purging
        with purging.connection(context.engine) as connection:
            tries = Tries(
                step=self.step, limits=context.limits, connection=connection, sleep=context.sleep
            )
            taken = partial(acquire, connection, purging, policy=self.step.name, run=context.run)
            try:
                lease = tries.lease = tries.of(taken)
                try:
                    self._in_audit(connection, tries, lease)
                finally:
                    released = partial(lease.release, connection, done=self._ended[0] == "done")
                    _quietly(partial(tries.at_last, released))
            except Ended as ended:
                self._ended = ended.how
        return self._result()

    def _in_audit(self, connection: Connection, tries: Tries, lease: Lease) -> None:
        """Carry the policy out between the first and the last that the audit has of its run."""
        run_id = tries.of(partial(self._open, connection))
        try:
            self._walk_all(connection, tries, lease, run_id)
        except BaseException as error:
            self._ended = ("failed", error_words(error))
            if not isinstance(error, Exception):
                self._ended = ("stopped", "it was interrupted")
                tries.hurried = True
                raise
            log.warning("retention policy %r failed", self.step.name, exc_info=logged(error))
        finally:
            _quietly(partial(tries.at_last, partial(self._close, connection, run_id)))

    def _walk_all(self, connection: Connection, tries: Tries, lease: Lease, run_id: int) -> None:
        try:
            tries.of(partial(self._require_sound, connection))
            tries.keep_lease()
            walks = tries.of(partial(self._walks, connection))
            tries.keep_lease()
            may_refuse = tries.of(partial(self._look_ahead, connection))
            tries.keep_lease()
            opened = partial(self._transactions, connection, tries, lease, run_id)
            ours = tries.of(opened)
            try:
                self._total = ours.total
                clear = Clearing(ours).clear
                batches = Batches(transactions=ours, clear=clear, may_refuse=may_refuse)
                for way in passes(walks, lease.position):
                    self._walk(batches, tries, way)
                if self.step.frees_itself:
                    self._walk_again(batches, tries, walks)
                self._ended = ("done", None)
            finally:
                ours.disposal.close()
        except Ended as ended:
            self._ended = ended.how

    def _walks(self, connection: Connection) -> Sequence[Walk]:
        """The ways through the policy's table."""
        return access_of(connection, self.step).walks

    def _look_ahead(self, connection: Connection) -> bool:
        """Whether the table may keep rows; looks how many are expected, where somebody asks."""
        if self.context.progress is not None:
            self._expected, _ = expected_rows(connection, self.step)
        with self.step.purging.reading(connection):
            return self.step.purging.may_refuse(connection, self.step.target.table)

    def _walk(self, batches: Batches, tries: Tries, way: Pass) -> None:
        """Go along a key, range by range, until its end or the run's."""
        ours, limits = batches.transactions, self.context.limits
        ahead = self._ahead(ours, way.walk, upto=way.upto)
        after, pause, failures = way.after, 0.0, 0
        while True:
            self._end_if_reached(ours, tries)
            left, rows = limits.rows_left, ours.throttle.rows
            batch = tries.of(partial(ahead.batch, after, rows, left=left, pause_seconds=pause))
            if batch is None:
                return
            self.context.hooks.before_batch(self.step.name, ours.number + 1)
            before = ours.total.changed
            try:
                result = batches.carry_out(ahead.sql, batch)
            except Exception as error:
                failures += 1
                if not tries.is_worth_one(error, failures):
                    raise
                # The next try is a smaller range: it meets fewer locks.
                ours.throttle.failed()
                tries.back_off(error, failures)
                continue
            finally:
                limits.changed(ours.total.changed - before)
            failures = 0
            pause = self._learn(ours, batch, result)
            if batch.upto is None:
                return
            after = batch.upto
            tries.pause(pause)

    def _ahead(self, ours: Transactions, walk: Walk, *, upto: Key | None = None) -> Lookahead:
        """What lies ahead on a walk."""
        sql = WalkSQL(walk, seeking_for(ours.connection.dialect), end=upto)
        return Lookahead(step=self.step, sql=sql, connection=ours.connection)

    def _walk_again(self, batches: Batches, tries: Tries, walks: Sequence[Walk]) -> None:
        """Rows of a tree come free behind a walk, as those that refer to them go."""
        ours, before = batches.transactions, 0
        for _ in range(_ROUNDS):
            left = [walk for walk in walks if tries.of(self._ahead(ours, walk).any_left)]
            if not left or ours.total.changed == before:
                return
            before = ours.total.changed
            for walk in left:
                self._walk(batches, tries, Pass(walk=walk))
        if ours.total.changed > before:
            raise Ended(("limited", f"after {_ROUNDS} rounds its rows still set others free"))

    def _end_if_reached(self, ours: Transactions, tries: Tries) -> None:
        """End the run where it has to; waits first while there is a reason to."""
        limits = self.context.limits
        while True:
            ended: Any = limits.reached()
            if ended is not None:
                raise Ended(ended)
            reason = limits.reason_to_wait()
            if reason is None:
                return
            self._progress(ours, seconds=0.0, waiting=reason)
            tries.pause(limits.wait_seconds)

    def _between(self, ours: Transactions, tries: Tries, seconds: float) -> None:
        """Between two transactions of one batch, after one that took so long."""
        tries.pause(ours.throttle.pause(seconds))
        ended: Any = self.context.limits.reached()
        if ended is not None:
            raise Ended(ended)

    def _learn(self, ours: Transactions, batch: Batch, result: BatchResult) -> float:
        """Note a batch; the pause to make now."""
        scanned = batch.rows if batch.upto is not None else result.changed
        pause = ours.throttle.took(scanned, result.seconds)
        self._progress(ours, seconds=result.seconds)
        return pause

    def _progress(self, ours: Transactions, *, seconds: float, waiting: str | None = None) -> None:
        progress = Progress(
            policy=self.step.name,
            batches=ours.number,
            rows_scanned=ours.total.scanned,
            rows_changed=ours.total.changed,
            rows_expected=self._expected,
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

    def _transactions(
        self, connection: Connection, tries: Tries, lease: Lease, run_id: int
    ) -> Transactions:
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
        ours.pause = partial(self._between, ours, tries)
        return ours

    def _close(self, connection: Connection, run_id: int) -> None:
        purging = self.step.purging
        with purging.transaction(connection, lock_seconds=5):
            audit.close_run(
                connection,
                run_id,
                finished_at=purging.utc_now(connection),
                outcome=self._ended[0],
                error=self._ended[1],
                **self._total.as_columns(),
            )

    def _result(self) -> PolicyRun:
        return PolicyRun(
            policy=self.step.name,
            table=self.step.target.table.fullname,
            action=self.step.target.policy.action,
            cutoff=self.step.cutoff,
            outcome=self._ended[0],
            reason=self._ended[1],
            longest_batch_seconds=self._total.seconds,
            **self._total.as_columns(),
        )


def _quietly(function: Callable[[], None]) -> None:
    """Do what a dead connection may not allow: the next runner finds the lease expired."""
    try:
        function()
    except Exception as error:
        log.warning("retention could not be put away properly", exc_info=logged(error))
