from __future__ import annotations

import hashlib
import lzma
import re
from importlib.resources import files
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

from sa_perf.demo.data import ROWS, fill, read_columns

DATA = Path(str(files("sa_perf.demo") / "data"))
README = (DATA / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("table", ROWS)
def test_every_column_has_the_rows_that_the_readme_states(table: str) -> None:
    columns = read_columns(table)

    assert {len(values) for values in columns.values()} == {ROWS[table]}
    assert re.search(rf"\| `{table}\.csv\.xz` \| {ROWS[table]:,} \|", README)


@pytest.mark.parametrize("table", ROWS)
def test_files_have_the_size_and_sums_that_the_readme_states(table: str) -> None:
    packed = (DATA / f"{table}.csv.xz").read_bytes()
    line = next(line for line in README.splitlines() if f"`{table}.csv.xz`" in line)

    assert f"| {len(packed):,} |" in line
    assert re.findall(r"[0-9a-f]{64}", line) == [
        hashlib.sha256(packed).hexdigest(),
        hashlib.sha256(lzma.decompress(packed)).hexdigest(),
    ]


def test_data_take_at_most_three_megabytes_of_the_wheel() -> None:
    assert sum(path.stat().st_size for path in DATA.iterdir()) <= 3_000_000


def test_licence_lies_beside_the_data() -> None:
    assert "CC0 1.0 Universal" in (DATA / "LICENSE").read_text(encoding="utf-8")


@pytest.mark.exhaustive
def test_whole_year_fills_a_database_in_one_transaction(sqlite_url: str) -> None:
    engine = create_engine(sqlite_url)
    parts: list[int] = []

    inserted = fill(engine, progress=parts.append)

    assert inserted == ROWS
    assert sum(parts) == sum(ROWS.values())
    with engine.connect() as connection:
        # Sums of the source, computed from flights.csv itself.
        totals = connection.execute(
            text(
                "SELECT count(*), count(tail_number), count(departure_delay), sum(departure_delay),"
                " count(arrival_delay), sum(arrival_delay), sum(air_time_minutes),"
                " sum(distance_miles), sum(number), count(DISTINCT tail_number) FROM flights"
            )
        ).one()
    engine.dispose()
    assert tuple(totals) == (
        *(336_776, 334_264, 328_521, 4_152_200, 327_346, 2_257_174),
        *(49_326_610, 350_217_607, 664_096_549, 4_043),
    )


def test_first_flight_has_every_value_of_the_source(session: Session) -> None:
    flight = session.execute(text("SELECT * FROM flights WHERE id = 1")).one()

    assert tuple(flight) == (
        *(1, "UA", 1545, "N14228", "EWR", "IAH"),
        *("2013-01-01 05:15:00.000000", "08:19:00.000000", "2013-01-01 10:00:00.000000"),
        *(2, 11, 227, 1400),
    )


def test_fewer_days_leave_out_later_flights_only(sqlite_url: str) -> None:
    engine = create_engine(sqlite_url)

    inserted = fill(engine, days=2)

    with engine.connect() as connection:
        days = connection.execute(
            text("SELECT DISTINCT substr(scheduled_departure, 1, 10) FROM flights")
        ).scalars()
        assert sorted(days) == ["2013-01-01", "2013-01-02"]
    engine.dispose()
    assert inserted == {**ROWS, "flights": 842 + 943}


@pytest.mark.parametrize("days", [0, 366])
def test_days_outside_the_year_are_refused(days: int, sqlite_url: str) -> None:
    engine = create_engine(sqlite_url)

    with pytest.raises(ValueError, match=f"days={days} cannot be used"):
        fill(engine, days=days)


def test_failed_load_leaves_no_row_behind(sqlite_url: str) -> None:
    engine = create_engine(sqlite_url)

    def stop(rows: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill(engine, days=1, progress=stop)

    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM airlines")).scalar() == 0
    engine.dispose()
