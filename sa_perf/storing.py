"""An instrumentation's way to its store."""

from __future__ import annotations

import logging
import os
import socket
import time
from typing import TYPE_CHECKING

from sa_perf.errors import InvalidSettings, StoreError
from sa_perf.store.batch import Process
from sa_perf.store.flushing import Flusher
from sa_perf.store.levels import GRACE_SECONDS, roll_up
from sa_perf.store.place import Place
from sa_perf.store.tables import HOUR

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Engine

    from sa_perf.queries.faults import Faults
    from sa_perf.settings import Settings
    from sa_perf.snapshot import Snapshot

__all__ = ["flusher_for"]

_LOGGER = logging.getLogger("sa_perf.store")
#: How often old spans are deleted.
_KEEPING_SECONDS = 6 * HOUR


def flusher_for(
    settings: Settings, engine: Engine | None, read: Callable[[], Snapshot], faults: Faults
) -> Flusher:
    """What sends an instrumentation's statistics to ``settings.store``.

    Args:
        settings: with a store.
        engine: that it stands on; None: on all.
        read: what was recorded since its last call.
        faults: where errors are noted.

    Raises:
        InvalidSettings: no store can be there.
    """
    try:
        place = Place(settings.store or "", engine)
    except StoreError as error:
        raise InvalidSettings((f"store: {error}",)) from error

    def process() -> Process:
        return Process(
            service=settings.service,
            release=settings.release,
            host=socket.gethostname(),
            pid=os.getpid(),
            started_at=int(time.time()),
        )

    return Flusher(
        place,
        process,
        read,
        faults,
        seconds=settings.store_seconds,
        make_tables=_make_tables,
        upkeep=_Upkeep(),
    )


def _make_tables(connection: Connection) -> None:
    from sa_perf import migration  # loads Alembic

    migration.upgrade(connection)


class _Upkeep:
    """Rolls spans up that are over, and now and then deletes what was kept for long enough."""

    def __init__(self) -> None:
        self._hour: int | None = None

    def __call__(self, place: Place, process: Process) -> None:
        """Once in an hour, when the one before it can be rolled up."""
        now = time.time()
        hour = int((now - GRACE_SECONDS) // HOUR)
        if hour != self._hour:
            self._hour = hour
            place.run(lambda connection: _roll_up(connection, place, process, now))


def _roll_up(connection: Connection, place: Place, process: Process, now: float) -> None:
    rolled = roll_up(connection, process.token, now)
    if rolled.unreadable:
        _LOGGER.warning(
            "%d histograms in the store %s cannot be read and are left out",
            rolled.unreadable,
            place.label,
        )
    # By whoever rolled the last hour of a quarter of a day.
    if any(end % _KEEPING_SECONDS == 0 for end in rolled.ends):
        from sa_perf.store.keeping import keep_small

        keep_small(connection)
