"""Changes of a table in use: short waits, then another try."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy.exc import DBAPIError

from sa_perf.dialects.synchronous import refuse_asynchronous
from sa_perf.errors import PartitionError, PolicyBusy

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from sa_perf.dialects.partitioning import Partitioning
    from sa_perf.retention.partitions.declaration import PartitionPlan

__all__ = ["Patience", "alone", "lock_name"]

T = TypeVar("T")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 10.0


@dataclass(slots=True, kw_only=True)
class Patience:
    """How long to wait for locks, and how often.

    Attributes:
        lock_seconds: each wait; meanwhile others queue behind it, so it is to be short.
        tries: in all.
        sleep: pauses between tries, each twice as long as the one before.
        retries: so many were needed.
    """

    lock_seconds: float
    tries: int
    sleep: Callable[[float], None] = time.sleep
    retries: int = field(default=0, init=False)

    def run(self, kind: Partitioning, connection: Connection, act: Callable[[], T]) -> T:
        """Try until the lock is to be had.

        Raises:
            PartitionError: it was not.
        """
        pause = _FIRST_PAUSE
        for number in range(1, self.tries + 1):
            try:
                return act()
            except DBAPIError as error:
                connection.rollback()
                if not kind.purging.is_transient(error):
                    raise
                if number == self.tries:
                    raise PartitionError(
                        f"the table was in use: {self.tries} tries of {self.lock_seconds:g} s "
                        "found no moment for the change; try again at a quieter time"
                    ) from error
            self.retries += 1
            self.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        raise PartitionError(f"tries={self.tries!r}; it must be at least 1")


@contextmanager
def alone(engine: Engine, plan: PartitionPlan) -> Iterator[tuple[Partitioning, Connection]]:
    """A connection that alone may change the table's partitions.

    Raises:
        PartitionError: the database has none, or the table is not partitioned as declared, or is
            managed by somebody else.
        PolicyBusy: another process is at it.
        RetentionError: the engine is asynchronous.
    """
    refuse_asynchronous(engine)
    kind = plan.partitioning(engine.dialect)
    name = lock_name(engine, plan)
    with kind.connection(engine) as connection:
        kind.check(connection)
        if not kind.purging.lock(connection, name):
            raise PolicyBusy(
                f"somebody else changes the partitions of {plan.table.fullname!r} now; "
                "nothing was done, and nothing needs to be",
                owner=None,
            )
        try:
            yield kind, connection
        finally:
            connection.rollback()
            kind.purging.unlock(connection, name)


def lock_name(engine: Engine, plan: PartitionPlan) -> str:
    """Of the lock for a table's partitions; some databases share locks of all their schemas."""
    return f"sa_perf:partitions:{engine.url.database}:{plan.table.fullname}"
