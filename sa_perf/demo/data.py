"""Reads the shipped data set and fills a database with it.

Half a second to unpack and two or three to insert, in one transaction; memory stays below
200 MB because equal texts are kept once.
"""

from __future__ import annotations

import csv
import lzma
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, timedelta
from importlib.resources import files
from io import TextIOWrapper
from itertools import islice
from typing import TypeAlias

from sqlalchemy import Connection, Engine, Table, insert

from sa_perf.demo.models import Base

__all__ = ["ROWS", "fill", "read_columns"]

Column: TypeAlias = Sequence["str | None"]
Row: TypeAlias = tuple["str | int | None", ...]

ROWS = {"airlines": 16, "airports": 1_458, "planes": 3_322, "weather": 26_115, "flights": 336_776}
"""Rows of each shipped table, in the order in which :func:`fill` inserts them."""

_CHUNK_ROWS = 20_000
_FIRST_DAY = date(2013, 1, 1)
# Daylight saving time of New York in 2013, in local time: UTC-4 within, UTC-5 outside. The zone
# database would say the same, but is no part of Python on every system.
_SUMMER_BEGINS = datetime(2013, 3, 10, 2)
_SUMMER_ENDS = datetime(2013, 11, 3, 2)


def read_columns(table: str) -> dict[str, Column]:
    """Unpack one shipped table.

    Args:
        table: a key of :data:`ROWS`.

    Returns:
        The source's column names with their values as text, None where the source has none;
        every column in the same row order. Equal texts are one object.
    """
    path = files("sa_perf.demo") / "data" / f"{table}.csv.xz"
    columns: dict[str, Column] = {}
    known: dict[str, str | None] = {"": None}
    with path.open("rb") as packed, lzma.open(packed) as unpacked:
        for name, *values in csv.reader(TextIOWrapper(unpacked, encoding="utf-8", newline="")):
            columns[name] = [known.setdefault(value, value) for value in values]
    return columns


def fill(
    engine: Engine, *, days: int = 365, progress: Callable[[int], None] = lambda rows: None
) -> dict[str, int]:
    """Create the tables and insert the data set in one transaction.

    Args:
        engine: an empty SQLite database; its column types turn the text into numbers.
        days: how many days of flights to insert, counted from 1 January 2013; 1..365. The other
            tables are always whole.
        progress: called with the number of rows that were inserted since the last call.

    Returns:
        Rows inserted by table.

    Raises:
        ValueError: ``days`` is outside 1..365.
    """
    if not 1 <= days <= 365:
        raise ValueError(f"days={days!r} cannot be used; the data set covers 1..365 days of 2013")
    sources = {
        "airlines": _in_order("airlines", ("carrier", "name")),
        "airports": _in_order("airports", _AIRPORT),
        "planes": _in_order("planes", _PLANE),
        "weather": _weather(),
        "flights": _flights(days),
    }
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        return {
            table: _insert(connection, Base.metadata.tables[table], rows, progress)
            for table, rows in sources.items()
        }


_AIRPORT = ("faa", "name", "lat", "lon", "alt", "tz", "dst", "tzone")
_PLANE = (
    *("tailnum", "year", "type", "manufacturer", "model"),
    *("engines", "seats", "speed", "engine"),
)
_WEATHER = (
    *("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust"),
    *("precip", "pressure", "visib"),
)


def _insert(
    connection: Connection,
    table: Table,
    rows: Iterator[Row],
    progress: Callable[[int], None],
) -> int:
    # The driver's own executemany: the database converts the text itself, so the work of
    # SQLAlchemy's bind processors, several times that of the insert, would change nothing.
    statement = str(insert(table).compile(dialect=connection.dialect))
    total = 0
    while chunk := list(islice(rows, _CHUNK_ROWS)):
        connection.exec_driver_sql(statement, chunk)
        total += len(chunk)
        progress(len(chunk))
    return total


def _in_order(table: str, names: Sequence[str]) -> Iterator[Row]:
    columns = read_columns(table)
    yield from zip(*(columns[name] for name in names), strict=True)


def _weather() -> Iterator[Row]:
    columns = read_columns("weather")
    hours = [f"{hour[:10]} {hour[11:19]}.000000" for hour in _present(columns["time_hour"])]
    measured = (columns[name] for name in _WEATHER)
    yield from zip(columns["origin"], hours, *measured, strict=True)


def _flights(days: int) -> Iterator[Row]:
    """Flights by scheduled departure, as an airline's own system would have written them."""
    columns = read_columns("flights")
    calendar = {str(n + 1): str(_FIRST_DAY + timedelta(days=n)) for n in range(days)}
    clocks = _clocks()
    departures = [
        f"{calendar[day]} {clocks[clock]}" if day in calendar else ""
        for day, clock in zip(
            _present(columns["day_of_year"]), _present(columns["sched_dep_time"]), strict=True
        )
    ]
    arrivals = [clocks[clock] for clock in _present(columns["sched_arr_time"])]
    order = sorted((n for n, local in enumerate(departures) if local), key=departures.__getitem__)
    kept = [columns[name] for name in ("carrier", "flight", "tailnum", "origin", "dest")]
    delay, lateness, air_time, distance = (
        columns[name] for name in ("dep_delay", "arr_lateness", "air_time", "distance")
    )
    hours: dict[str, str] = {}
    for row, n in enumerate(order, start=1):
        local = departures[n]
        if local[:13] not in hours:
            hours[local[:13]] = _hour_utc(local[:13])
        yield (
            row,
            *(column[n] for column in kept),
            local,
            arrivals[n],
            hours[local[:13]],
            delay[n],
            # A diverted flight landed, but its delay counts for no destination.
            lateness[n] if air_time[n] else None,
            air_time[n],
            distance[n],
        )


def _clocks() -> dict[str, str]:
    """From the source's HHMM number, which has no leading zero, to a stored time."""
    clocks = {
        f"{hour}{minute:02}".lstrip("0") or "0": f"{hour:02}:{minute:02}:00.000000"
        for hour in range(24)
        for minute in range(60)
    }
    return {**clocks, "2400": clocks["0"]}


def _present(column: Column) -> Iterator[str]:
    """The column's values; every one is there."""
    return (value or "" for value in column)


def _hour_utc(local_hour: str) -> str:
    local = datetime.strptime(local_hour, "%Y-%m-%d %H")
    utc = local + timedelta(hours=4 if _SUMMER_BEGINS <= local < _SUMMER_ENDS else 5)
    return f"{utc:%Y-%m-%d %H:%M:%S}.000000"
