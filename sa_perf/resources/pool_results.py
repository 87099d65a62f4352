"""What is read of a connection pool, and what is wrong with it.

Frozen, with JSON forms. `pool_findings` says in words what the numbers mean.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from sa_perf.call_site import CallSite
from sa_perf.finding import Finding
from sa_perf.histogram import Histogram
from sa_perf.resources.results import Occupancy

__all__ = ["Holder", "Leak", "PoolStats", "over_commitment", "pool_findings"]

_NANOSECONDS = 1e9
#: From where on waiting is worth a word: a statement by its key takes less.
_LONG_WAIT_SECONDS = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """A connection that is out for longer than any request should take.

    Attributes:
        database: label of its engine's database.
        held_seconds: since it was taken.
        taken_at: UTC.
        call_site: the application's line that took it; None where none was on the stack.
    """

    database: str
    held_seconds: float
    taken_at: datetime
    call_site: CallSite | None

    @property
    def message(self) -> str:
        """One sentence."""
        return (
            f"{self.database}: a connection is out of its pool for {self.held_seconds:,.0f} s; "
            f"taken at {self.call_site or 'an unknown line'}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Connections that one line of the application had out when a checkout timed out.

    Attributes:
        call_site: that took them; None where none was on the stack.
        connections: that it had out.
        longest_seconds: for which one of them was out.
    """

    call_site: CallSite | None
    connections: int
    longest_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStats:
    """One pool since it is watched.

    Attributes:
        database: label of its engine's database.
        kind: name of the pool's class.
        size: connections that it keeps; None where the class has no such number.
        limit: connections at most, overflow included; None: no limit.
        checked_out: connections in use now.
        idle: open connections that wait for use; None where the class does not tell.
        overflow: connections open beyond ``size``.
        peak_checked_out: most that were in use at once since the monitor's reading before.
        checkouts: connections handed out.
        timeouts: checkouts that ended in SQLAlchemy's TimeoutError.
        failures: checkouts that ended in another error: no connection could be opened.
        opened: connections opened by a checkout.
        invalidations: connections given up as broken or old, by the driver or the application.
        oldest_seconds: age of the connection that has been open for longest; None: none is open.
        mean_age_seconds: of the open connections.
        waits: how long checkouts waited for a connection to be free; opening is not counted,
            timeouts are.
        openings: how long opening a connection took.
        leaks: connections out for too long now, longest first; 20 at most.
        leaked: connections that were reported as leaks so far.
        timeout_held_by: who had connections out when a checkout timed out last, most first.
    """

    database: str
    kind: str
    size: int | None = None
    limit: int | None = None
    checked_out: int = 0
    idle: int | None = None
    overflow: int = 0
    peak_checked_out: int = 0
    checkouts: int = 0
    timeouts: int = 0
    failures: int = 0
    opened: int = 0
    invalidations: int = 0
    oldest_seconds: float | None = None
    mean_age_seconds: float | None = None
    waits: Histogram = field(default_factory=Histogram)
    openings: Histogram = field(default_factory=Histogram)
    leaks: tuple[Leak, ...] = ()
    leaked: int = 0
    timeout_held_by: tuple[Holder, ...] = ()

    @property
    def wait_p50_seconds(self) -> float:
        """Half of the checkouts waited no longer."""
        return self.waits.percentile(0.5) / _NANOSECONDS

    @property
    def wait_p95_seconds(self) -> float:
        """95 of 100 checkouts waited no longer."""
        return self.waits.percentile(0.95) / _NANOSECONDS

    @property
    def wait_p99_seconds(self) -> float:
        """99 of 100 checkouts waited no longer."""
        return self.waits.percentile(0.99) / _NANOSECONDS

    def occupancy(self) -> Occupancy | None:
        """How near its limit it was, at its peak; None where it has none."""
        if self.limit is None or self.size is None:
            return None
        most = max(self.peak_checked_out, self.checked_out)
        detail = f"{most} of {self.limit} connections in use at once, {self.timeouts} timeouts"
        name = f"pool {self.database}"
        return Occupancy(resource=name, ratio=most / self.limit, detail=detail)


def pool_findings(pools: Iterable[PoolStats]) -> list[Finding]:
    """Leaks, checkouts that timed out, long waits; a finding each.

    Args:
        pools: as read.
    """
    found = []
    for pool in pools:
        found += [_leak(leak) for leak in pool.leaks]
        if pool.timeouts:
            found.append(_timeouts(pool))
        elif pool.wait_p95_seconds >= _LONG_WAIT_SECONDS:
            found.append(_waits(pool))
    return found


def over_commitment(
    pools: Iterable[PoolStats], *, workers: int, max_connections: int
) -> list[Finding]:
    """Pools that may ask for more connections than the server accepts.

    Args:
        pools: of one process on one server.
        workers: processes that have the same pools, >= 1.
        max_connections: that the server accepts from the application.

    Returns:
        One finding, or none.
    """
    limited = [pool for pool in pools if pool.limit is not None and pool.size is not None]
    wanted = sum(pool.limit or 0 for pool in limited) * workers
    if not limited or wanted <= max_connections:
        return []
    room = max(1, max_connections // workers)
    processes = "1 process" if workers == 1 else f"{workers} processes"
    return [
        Finding(
            kind="pool_over_commitment",
            severity="warning",
            message=(
                f"{processes} may open {wanted} connections to {limited[0].database} (pool_size "
                f"+ max_overflow, times the processes), its server accepts {max_connections}"
            ),
            remedy=(
                f"let pool_size + max_overflow be {room} at most in each process, put a pooler "
                "before the server, or raise its max_connections"
            ),
            place=f"pool of {limited[0].database}",
            evidence={
                "workers": workers,
                "connections_at_most": wanted,
                "max_connections": max_connections,
            },
        )
    ]


def _leak(leak: Leak) -> Finding:
    return Finding(
        kind="connection_leak",
        severity="warning",
        message=leak.message,
        remedy=(
            "close it where it was taken: with engine.connect() as connection, "
            "with Session(engine) as session"
        ),
        place=f"pool of {leak.database}",
        evidence={
            "call_site": None if leak.call_site is None else str(leak.call_site),
            "held_seconds": round(leak.held_seconds, 3),
        },
    )


def _timeouts(pool: PoolStats) -> Finding:
    holders = "; ".join(
        f"{one.call_site or 'an unknown line'} had {one.connections} out, one for "
        f"{one.longest_seconds:,.1f} s"
        for one in pool.timeout_held_by[:3]
    )
    times = "1 checkout" if pool.timeouts == 1 else f"{pool.timeouts:,} checkouts"
    return Finding(
        kind="pool_exhausted",
        severity="critical",
        message=(
            f"{pool.database}: {times} got no connection in time, since all {pool.limit} were in "
            f"use{f'; {holders}' if holders else ''}"
        ),
        remedy=(
            "give connections back sooner (shorter transactions, no other service called within "
            "one); where all are needed, raise pool_size"
        ),
        place=f"pool of {pool.database}",
        evidence={
            "timeouts": pool.timeouts,
            "checkouts": pool.checkouts,
            "limit": pool.limit,
            "wait_p95_seconds": pool.wait_p95_seconds,
        },
    )


def _waits(pool: PoolStats) -> Finding:
    return Finding(
        kind="pool_waits",
        severity="warning",
        message=(
            f"{pool.database}: one checkout in 20 waits {1_000 * pool.wait_p95_seconds:,.0f} ms or "
            f"longer for one of {pool.limit} connections"
        ),
        remedy="give connections back sooner, or raise pool_size",
        place=f"pool of {pool.database}",
        evidence={
            "checkouts": pool.checkouts,
            "limit": pool.limit,
            "wait_p95_seconds": pool.wait_p95_seconds,
            "wait_p99_seconds": pool.wait_p99_seconds,
        },
    )
