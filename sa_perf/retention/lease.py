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
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import psutil
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from sa_perf.errors import LeaseLost, PolicyBusy
from sa_perf.retention.tables import leases

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from sa_perf.dialects.purging import Purging

__all__ = ["Lease", "acquire", "owner_name"]

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
        position: where the policy's run stands, or where one before it stopped; None: at the start.
        purging: the database's ways.
        seconds: how long it holds without being renewed.
    """

    policy: str
    token: int
    position: str | None
    purging: Purging
    seconds: float = LEASE_SECONDS

    def renew(self, connection: Connection, *, position: str | None) -> datetime:
        """Hold on to it, in the transaction of a batch; the database's time.

        Raises:
            LeaseLost: somebody else has it now.
        """
        now = self.purging.utc_now(connection)
        changed = connection.execute(
            update(leases)
            .where(leases.c.policy == self.policy, leases.c.token == self.token)
            .values(expires_at=now + timedelta(seconds=self.seconds), position=position)
        )
        if changed.rowcount != 1:
            raise LeaseLost(
                f"policy {self.policy!r} was taken over by another runner, since this one did not "
                f"come back for {self.seconds:g} seconds; its last batch was rolled back"
            )
        self.position = position
        return now

    def release(self, connection: Connection, *, done: bool) -> None:
        """Let others have it at once; a lease that is lost already stays as it is.

        Args:
            connection: of the run.
            done: the next run begins at the start, not where this one stands.
        """
        with self.purging.transaction(connection, lock_seconds=5):
            connection.execute(
                update(leases)
                .where(leases.c.policy == self.policy, leases.c.token == self.token)
                .values(owner=None, expires_at=None, position=None if done else self.position)
            )
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
            _add_row(connection, policy)
            token, position = _take(connection, purging, policy, run, locked=locked)
    except BaseException:
        if locked:
            purging.unlock(connection, _lock_name(policy))
        raise
    return Lease(policy=policy, token=token, position=position, purging=purging)


def _lock_name(policy: str) -> str:
    return f"sa_perf:retention:{policy}"


def _add_row(connection: Connection, policy: str) -> None:
    known = connection.execute(select(leases.c.policy).where(leases.c.policy == policy)).first()
    if known is not None:
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
    held = row.owner is not None and row.expires_at is not None and row.expires_at > now
    if held and not (locked and _is_gone(row.owner, purging)):
        since, until = f"{row.acquired_at:%Y-%m-%d %H:%M:%S}", f"{row.expires_at:%H:%M:%S}"
        raise PolicyBusy(
            f"policy {policy!r} is being run by {row.owner} since {since} UTC (run {row.run}); its "
            f"lease ends at {until} UTC unless it goes on",
            owner=row.owner,
        )
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


def _is_gone(owner: str, purging: Purging) -> bool:
    """Whether an owner cannot come back, though its lease has not expired."""
    if purging.locks_end_with_connections:
        return True  # we have its lock
    host, _, rest = owner.partition(":")
    pid = rest.partition(":")[0]
    same_host = host == (platform.node() or "localhost")
    return same_host and pid.isdigit() and not psutil.pid_exists(int(pid))
