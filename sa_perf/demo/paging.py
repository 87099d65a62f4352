"""The first and the deepest page of flights, by keyset and offset."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

from sqlalchemy import Connection, Engine, func, select

from sa_perf.demo.models import Flight
from sa_perf.pagination import KeysetPager, OffsetPager, keyset, offset

__all__ = ["PageTimes", "time_pages"]

_SIZE = 50
_READINGS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class PageTimes:
    """One way to read pages.

    Attributes:
        method: ``"keyset"`` or ``"offset"``.
        size: rows of a page.
        deep_page: number of the deepest page, from 1 on.
        first_seconds: median time of the first page.
        deep_seconds: median time of the deepest page.
        same_rows: the deepest page holds the same rows as that of the other method.
    """

    method: str
    size: int
    deep_page: int
    first_seconds: float
    deep_seconds: float
    same_rows: bool


def time_pages(engine: Engine) -> tuple[PageTimes, ...]:
    """Read both pages in both ways, several times each; nothing where there is one page only.

    What is timed is one call of a pager that has read such pages before. The cursor of the deepest
    page is read each time, but none is made. Offset runs with its deferred join, which gains
    nothing here: an index holds all that the pages show.
    """
    stmt = select(Flight.id, Flight.scheduled_departure).order_by(
        Flight.scheduled_departure, Flight.id
    )
    with engine.connect() as connection:
        rows = connection.scalar(select(func.count()).select_from(Flight)) or 0
        deep_page = (rows - 1) // _SIZE + 1
        if deep_page < 2:
            return ()
        by_key = keyset(stmt, size=_SIZE, max_size=max(rows, _SIZE), signer="unsigned")
        by_number = offset(stmt, size=_SIZE)
        return _timed(connection, by_key, by_number, deep_page)


def _timed(
    connection: Connection,
    by_key: KeysetPager[Any],
    by_number: OffsetPager[Any],
    deep_page: int,
) -> tuple[PageTimes, ...]:
    # An application gets here page by page; one long page is a shorter way to the same cursor.
    cursor = by_key.page(connection, size=(deep_page - 1) * _SIZE).next_cursor
    readings: dict[str, tuple[Callable[[], list[object]], Callable[[], list[object]]]] = {
        "keyset": (
            lambda: by_key.page(connection).items,
            lambda: by_key.page(connection, cursor).items,
        ),
        "offset": (
            lambda: by_number.page(connection, 1).items,
            lambda: by_number.page(connection, deep_page).items,
        ),
    }
    deepest = {method: deep() for method, (_, deep) in readings.items()}
    return tuple(
        PageTimes(
            method=method,
            size=_SIZE,
            deep_page=deep_page,
            first_seconds=_median_seconds(first),
            deep_seconds=_median_seconds(deep),
            same_rows=deepest["keyset"] == deepest["offset"],
        )
        for method, (first, deep) in readings.items()
    )


def _median_seconds(read: Callable[[], object]) -> float:
    durations = []
    for _ in range(_READINGS):
        began = time.perf_counter()
        read()
        durations.append(time.perf_counter() - began)
    return median(durations)
