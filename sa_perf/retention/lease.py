"""Who runs a policy: a lease row, whose token each batch checks.

A database's advisory lock ends with the process that holds it, so the next runner need not wait for
the lease to expire. It is no guard by itself: a connection pooler may give it to two, and a runner
that was cut off or stopped does not know that it has lost it. The token is: it goes up with each
owner, and a batch whose token is not the row's any more is rolled back.
"""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import psutil
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from sa_perf.errors import LeaseLost, PolicyBusy
from sa_perf.retention.tables import leases

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from sa_perf.dialects.purging import Purging

__all__ = ["EVERY_POLICY", "Lease", "acquire", "lock_all", "owner_name"]

#: In place of a policy's name, which is never empty: of the row that keeps new ones out.
EVERY_POLICY = ""
#: Longer than any batch and its pause take; a runner that does not come back in time has lost it.
LEASE_SECONDS = 60.0


def owner_name() -> str:
    """This thread, as others see it: host, process, thread."""
    return f"{platform.node() or 'localhost'}:{os.getpid()}:{threading.get_ident()}"


@dataclass(slots=True, kw_only=True)
class Lease:
    """The right to run a policy, until it expires.

    Attributes:
        policy: whose.
        token: higher than that of any owner before.
        position: where the policy's run stands by what was committed, or where one before it
            stopped; None: at the start.
        purging: the database's ways.
        seconds: how long it holds without being renewed.
        clock: monotonic seconds.
    """

    policy: str
    token: int
    position: str | None
    purging: Purging
    seconds: float = LEASE_SECONDS
    clock: Callable[[], float] = time.monotonic
    _renewed: float = 0.0

    def __post_init__(self) -> None:
        """Begin to count."""
        self._renewed = self.clock()

    def renew(self, connection: Connection, *, position: str | None) -> None:
        """Hold on to it, in the transaction of a batch.

        Args:
            connection: in the transaction.
            position: where the run stands once that is committed; say so to `committed`.

        Raises:
            LeaseLost: somebody else has it now.
        """
        expires_at = self.purging.clock(connection, ahead=self.seconds)
        changed = connection.execute(
            update(leases)
            .where(leases.c.policy == self.policy, leases.c.token == self.token)
            .values(expires_at=expires_at, position=position)
        )
        if changed.rowcount != 1:
            raise LeaseLost(
                f"policy {self.policy!r} was taken over by another runner, since this one did not "
                f"come back for {self.seconds:g} seconds; its last batch was rolled back"
            )

    def committed(self, position: str | None) -> None:
        """Take note that the transaction was committed which renewed it."""
        self.position = position
        self._renewed = self.clock()

    def keep(self, connection: Connection) -> None:
        """Renew it while nothing else is done, where it is time to; in no transaction.

        Raises:
            LeaseLost: somebody else has it now.
        """
        if self.clock() - self._renewed < self.seconds / 4:
            return
        with self.purging.transaction(connection, lock_seconds=5):
            self.renew(connection, position=self.position)
        self.committed(self.position)

    def release(self, connection: Connection, *, done: bool) -> None:
        """Let others have it at once; a lease that is lost already stays as it is.

        Args:
            connection: of the run.
            done: the next run begins at the start, not where this one stands.
        """
        try:
            with self.purging.transaction(connection, lock_seconds=5):
                connection.execute(
                    update(leases)
                    .where(leases.c.policy == self.policy, leases.c.token == self.token)
                    .values(owner=None, expires_at=None, position=None if done else self.position)
                )
        finally:
            self.purging.unlock(connection, _lock_name(self.policy))


def acquire(connection: Connection, purging: Purging, *, policy: str, run: str) -> Lease:
    """Become the one who runs a policy.

    Args:
        connection: that the run uses; the advisory lock is its.
        purging: the database's ways.
        policy: its name.
        run: id of the run.

    Raises:
        PolicyBusy: somebody else runs it; says who.
    """
    locked = purging.lock(connection, _lock_name(policy))
    try:
        with purging.transaction(connection, lock_seconds=5):
            _add_policy(connection, policy)
            token, position = _take(connection, purging, policy, run, locked=locked)
    except BaseException as error:
        if locked:
            purging.unlock(connection, _lock_name(policy))
        if purging.is_transient(error):
            _raise_if_busy(connection, purging, policy)  # a batch of its owner has the row locked
        raise
    return Lease(policy=policy, token=token, position=position, purging=purging)


def lock_all(connection: Connection, purging: Purging) -> None:
    """Keep every policy from its next batch until the transaction ends; waits for those under way.

    Also a policy that is about to run for the first time, and has no lease yet to be locked.
    """
    purging.lock_table(connection, leases)
    _add_row(connection, EVERY_POLICY)
    connection.execute(select(leases.c.policy).order_by(leases.c.policy).with_for_update()).all()


def _lock_name(policy: str) -> str:
    return f"sa_perf:retention:{policy}"


def _add_policy(connection: Connection, policy: str) -> None:
    """Add a policy's row where it is missing, unless `lock_all` keeps new ones out."""
    if not _is_known(connection, policy):
        _add_row(connection, EVERY_POLICY)
        every = select(leases.c.policy).where(leases.c.policy == EVERY_POLICY)
        connection.execute(every.with_for_update()).one()
        _add_row(connection, policy)


def _is_known(connection: Connection, policy: str) -> bool:
    stmt = select(leases.c.policy).where(leases.c.policy == policy)
    return connection.execute(stmt).first() is not None


def _add_row(connection: Connection, policy: str) -> None:
    if _is_known(connection, policy):
        return
    try:
        with connection.begin_nested():
            connection.execute(insert(leases).values(policy=policy, token=0))
    except IntegrityError:
        pass  # somebody else has just added it


def _take(
    connection: Connection, purging: Purging, policy: str, run: str, *, locked: bool
) -> tuple[int, str | None]:
    row = connection.execute(
        select(leases).where(leases.c.policy == policy).with_for_update()
    ).one()
    now = purging.utc_now(connection)
    if _is_held(row, now) and not (locked and _is_gone(row.owner, purging)):
        raise _busy(row)
    connection.execute(
        update(leases)
        .where(leases.c.policy == policy)
        .values(
            token=row.token + 1,
            owner=owner_name(),
            run=run,
            acquired_at=now,
            expires_at=now + timedelta(seconds=LEASE_SECONDS),
        )
    )
    return row.token + 1, row.position


def _is_held(row: Row[Any], now: datetime) -> bool:
    return row.owner is not None and row.expires_at is not None and row.expires_at > now


def _raise_if_busy(connection: Connection, purging: Purging, policy: str) -> None:
    with purging.reading(connection):
        row = connection.execute(select(leases).where(leases.c.policy == policy)).first()
        now = purging.utc_now(connection)
    if row is not None and _is_held(row, now):
        raise _busy(row)


def _busy(row: Row[Any]) -> PolicyBusy:
    since, until = f"{row.acquired_at:%Y-%m-%d %H:%M:%S}", f"{row.expires_at:%H:%M:%S}"
    return PolicyBusy(
        f"policy {row.policy!r} is being run by {row.owner} since {since} UTC (run {row.run}); its "
        f"lease ends at {until} UTC unless it goes on",
        owner=row.owner,
    )


def _is_gone(owner: str, purging: Purging) -> bool:
    """Whether an owner cannot come back, though its lease has not expired."""
    if purging.locks_end_with_connections:
        return True  # we have its lock
    host, _, rest = owner.partition(":")
    pid = rest.partition(":")[0]
    if host != (platform.node() or "localhost") or not pid.isdigit():
        return False
    try:
        return psutil.Process(int(pid)).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False
