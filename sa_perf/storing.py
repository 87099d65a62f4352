"""An instrumentation's way to its store."""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING

from sa_perf.errors import InvalidSettings, StoreError
from sa_perf.store.batch import Process
from sa_perf.store.flushing import Flusher
from sa_perf.store.place import Place

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Engine

    from sa_perf.queries.faults import Faults
    from sa_perf.settings import Settings
    from sa_perf.snapshot import Snapshot

__all__ = ["flusher_for"]


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
        place, process, read, faults, seconds=settings.store_seconds, make_tables=_make_tables
    )


def _make_tables(connection: Connection) -> None:
    from sa_perf import migration  # loads Alembic

    migration.upgrade(connection)
